//! One service as a process: settings, telemetry, tasks, one port, exit code.
//!
//! Every `main` does the same in the same order: read the settings or list their faults, start
//! telemetry, let the service connect and spawn its loops, wait for a reason to stop, drain.
//!
//! **Invariant:** knows no service; a service brings its settings and its `start`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the person who starts it"
)]

pub mod memory;
pub mod open_files;
pub mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lifecycle::{Ended, Tasks};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{error, info, warn};

/// A third of a worker's time went into the system's allocator, whose blocks fragment where
/// threads free what others allocated, as they do here all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The settings cannot be used; sysexits' `EX_USAGE`.
pub const EXIT_BAD_SETTINGS: u8 = 64;

/// Every section of the one document all services may share; each passes over what is not its own.
const SECTIONS: &[&str] = &[
    "telemetry",
    "broker",
    "storage",
    "coordination",
    "access",
    "registry",
    "all",
    "trigger_emitter",
    "function_handler",
    "delivery_worker",
    "log_service",
    "api_gateway",
];

/// What a service reads before it starts.
pub trait Settings: DeserializeOwned + Default + Serialize {
    fn telemetry(&self) -> &telemetry::Config;

    /// What is under way has this long to finish when the process is told to stop.
    fn grace_period(&self) -> Duration;

    /// Rules that concern several settings; every fault is listed.
    fn check(&self, _faults: &mut settings::Faults) {}
}

/// What every service takes on its command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Settings file (TOML); variables such as `TRIPLINE__BROKER__URL` come after it.
    #[arg(long, value_name = "FILE", env = "TRIPLINE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Print the settings in force, secrets masked, and end.
    #[arg(long)]
    pub print_config: bool,
}

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

/// The whole `main` of a service's own binary.
pub fn main<S: Settings>(
    service: &'static str,
    start: impl AsyncFnOnce(S, &Tasks) -> anyhow::Result<()>,
) -> ExitCode {
    let command_line = <CommandLine as clap::Parser>::parse();
    run(service, &command_line.options, start)
}

/// Runs a service until it is told to stop or fails.
pub fn run<S: Settings>(
    service: &'static str,
    options: &Options,
    start: impl AsyncFnOnce(S, &Tasks) -> anyhow::Result<()>,
) -> ExitCode {
    let environment = settings::process_environment();
    let file = options.config.as_deref();
    let settings: S = match settings::load_beside(service, file, environment, SECTIONS) {
        Ok(settings) => settings,
        Err(faults) => return bad_settings(&faults),
    };
    if options.print_config {
        // Also what is not complete yet: who asks wants to see what is missing.
        print!("{}", settings::print(&settings));
        return ExitCode::SUCCESS;
    }
    let mut faults = settings::Faults::new(service);
    settings.check(&mut faults);
    if let Err(faults) = faults.or_ok(()) {
        return bad_settings(&faults);
    }
    open_files::allow_many();
    memory::in_small_pages();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{service} cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run_on_runtime(service, settings, start))
}

fn bad_settings(faults: &settings::Faults) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(EXIT_BAD_SETTINGS)
}

async fn run_on_runtime<S: Settings>(
    service: &'static str,
    settings: S,
    start: impl AsyncFnOnce(S, &Tasks) -> anyhow::Result<()>,
) -> ExitCode {
    let telemetry = match telemetry::start(service, settings.telemetry()) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!(
                "{service} cannot start telemetry: {:#}",
                anyhow::Error::from(error)
            );
            return ExitCode::FAILURE;
        }
    };
    let signals = match lifecycle::signals() {
        Ok(signals) => signals,
        Err(error) => {
            error!(%error, "{service} cannot listen to signals");
            return ExitCode::FAILURE;
        }
    };
    let grace_period = settings.grace_period();
    let tasks = Tasks::default();
    let code = match start(settings, &tasks).await {
        Err(error) => {
            error!("{service} cannot start: {error:#}");
            ExitCode::FAILURE
        }
        Ok(()) => match lifecycle::run_until_stopped(tasks, signals, grace_period).await {
            Ended::Drained => {
                info!("{service} stopped; everything in flight was finished");
                ExitCode::SUCCESS
            }
            Ended::OutOfTime => {
                warn!("{service} stopped; what was unfinished comes again");
                ExitCode::SUCCESS
            }
            Ended::Failed(error) => {
                error!("{service} failed: {error:#}");
                ExitCode::FAILURE
            }
        },
    };
    drop(telemetry);
    code
}
