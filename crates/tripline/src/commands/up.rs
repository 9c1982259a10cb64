//! `tripline up`: everything in one process on embedded storage, for the first minutes and for
//! small systems that stay.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use broker::{Embedded, Topology};
use coordination::EmbeddedCoordination;
use etcetera::BaseStrategy;
use lifecycle::{Ended, Health, Tasks};
use process::server;
use protocol::access;
use storage::Cipher;

use crate::all_in_one::{self, Configs, Ground};
use crate::command_line::Up;
use crate::failure::Failure;

/// What is under way has this long to finish when the process is told to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &Up) -> ExitCode {
    process::open_files::allow_many();
    process::memory::in_small_pages();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::local(format!("cannot start: {error}")).report(),
    };
    match runtime.block_on(run_until_stopped(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::local(format!("up: {error:#}")).report(),
    }
}

async fn run_until_stopped(options: &Up) -> anyhow::Result<()> {
    let telemetry = telemetry::Config {
        log_filter: options.log.clone(),
        ..Default::default()
    };
    let _telemetry = telemetry::start("tripline", &telemetry).context("start telemetry")?;
    let signals = lifecycle::signals().context("listen to signals")?;
    let folder = match &options.data_dir {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    let tasks = Tasks::default();
    let listener = server::listen(options.listen, "--listen").await?;
    let listen = listener.local_addr().unwrap_or(options.listen);
    let _lock = lock(&folder)?;
    let health = Health::following(&tasks);
    let surface = match wire(&folder, &health, &tasks).await {
        Ok(surface) => surface,
        Err(error) => {
            tasks.stop();
            return Err(error);
        }
    };
    let router = server::router(surface, &health, &tasks)?;
    lifecycle::server::serve(listener, router, &tasks);
    welcome(listen, &folder);
    match lifecycle::run_until_stopped(tasks, signals, GRACE_PERIOD).await {
        Ended::Drained => Ok(()),
        Ended::OutOfTime => {
            eprintln!("stopped; what was unfinished comes again at the next start");
            Ok(())
        }
        Ended::Failed(error) => Err(error),
    }
}

async fn wire(folder: &Path, health: &Health, tasks: &Tasks) -> anyhow::Result<server::Surface> {
    let cipher = Cipher::from_file(&folder.join("secrets.key"), true)
        .context("read or make the key that seals secrets")?;
    let sqlite = storage::sqlite::open(folder)
        .await
        .context("open the databases")?;
    let queue = sqlite
        .queue(Default::default(), tasks)
        .await
        .context("open the queue")?;
    let registry = sqlite.registry(cipher);
    function_handler::bootstrap(registry.as_ref(), jiff::Timestamp::now())
        .await
        .context("create project default")?;
    let coordination = Arc::new(EmbeddedCoordination::default());
    let ground = Ground {
        broker: Arc::new(Embedded::start(queue, Topology::default(), tasks, health)),
        registry,
        waiting_room: sqlite.waiting_room(),
        logs: sqlite.logs(),
        redrives: sqlite.redrives(),
        keys: Arc::clone(&coordination) as _,
        membership: Arc::clone(&coordination) as _,
        memory: coordination,
        access: access::Config {
            keys_required: false,
            operator_token: None,
        },
        allow_loopback: true,
    };
    all_in_one::build(&Configs::default(), ground, health, tasks)
}

fn default_folder() -> anyhow::Result<PathBuf> {
    let strategy =
        etcetera::choose_base_strategy().context("find the home folder; give --data-dir")?;
    Ok(strategy.data_dir().join("tripline"))
}

/// Two processes on one folder would both give out the same work.
fn lock(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("make the folder {}", folder.display()))?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("make the file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "{} is in use by another `tripline up`; give --data-dir",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock the file {}", path.display()))
        }
    }
}

/// Says where it listens and what to try.
fn welcome(listen: SocketAddr, folder: &Path) {
    let host = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => "127.0.0.1".to_owned(),
        ip if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    };
    let server = format!("http://{host}:{}", listen.port());
    let flag = if server == "http://127.0.0.1:8700" {
        String::new()
    } else {
        format!(" --server {server}")
    };
    println!(
        "tripline listens on {server} (gRPC and HTTP); data in {}",
        folder.display()
    );
    if !listen.ip().is_loopback() {
        println!(
            "Warning: no API keys are asked for here, and {listen} is reachable from outside."
        );
    }
    println!("No API key is needed, and functions on this machine may be called.");
    println!();
    println!("Try, in another terminal:");
    println!(
        "  tripline{flag} functions create welcome --url http://127.0.0.1:9000/ --on AUTH_REGISTER --format schmuckli"
    );
    println!(
        "  tripline{flag} emit AUTH_REGISTER --data '{{\"user_id\": \"u1\", \"email\": \"ann@example.com\", \"lang\": \"en\"}}'"
    );
    println!("  tripline{flag} logs");
}
