//! A PostgreSQL server of one's own.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{self, Launch, Process, become_user};
use super::{Options, postgres_program, runs_as_root};
use crate::database::{self, TestDatabase};
use crate::ports::free_port;

/// Recovery after a kill is part of it.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const INITDB_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Starting again while the killed server's last processes still hold its memory is refused.
const RESTARTS_MAX: u32 = 20;

/// The tests of a run share one server, each with pools of its own.
const CONNECTIONS_MAX: u32 = 400;

/// The user that Debian's package creates; the server refuses to run as root.
const USER: &str = "postgres";

// Fields are dropped in this order: the process before its folder.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    launch: Launch,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// A fresh server, gone with the value.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let folder = process::folder("postgres", options)?;
        let port = free_port();
        let data = initialise(&folder).await?;
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            format!("max_connections={CONNECTIONS_MAX}"),
        ];
        if !options.durable {
            settings.extend(["fsync=off".into(), "full_page_writes=off".into()]);
        }
        let mut arguments = vec!["-D".into(), data];
        for setting in settings {
            arguments.extend(["-c".into(), setting]);
        }
        let launch = Launch {
            program: postgres_program("postgres")?,
            arguments,
            environment: Vec::new(),
            user: Some(USER),
            folder: folder.path().to_owned(),
            log: "postgres.log",
            // An immediate shutdown: unlike a kill it gives its shared memory back.
            end_signal: Signal::QUIT,
            detached: options.detached,
        };
        let mut server = Self {
            process: None,
            launch,
            port,
            folder,
        };
        server.restart().await?;
        Ok(server)
    }

    /// The maintenance database; see [`Postgres::database`] for one to work in.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// An empty database on this server.
    pub async fn database(&self) -> TestDatabase {
        database::create_database(&self.url()).await
    }

    /// The postmaster; its children are the connections and the background work.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// kill -9 of the postmaster; its children end themselves.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Ends connections and stops in good order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process
            .stop(Signal::INT, STOP_TIMEOUT)
            .await
            .context("stop PostgreSQL")
    }

    /// Starts it again with the same port and data; a running one is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let mut refusals = 0;
        loop {
            let mut process = self.launch.spawn()?;
            match self.ready(&mut process).await {
                Ok(()) => {
                    self.process = Some(process);
                    return Ok(());
                }
                Err(_) if process.exited()?.is_some() && refusals < RESTARTS_MAX => {
                    refusals += 1;
                    crate::waiting::pause().await;
                }
                Err(error) => return Err(error.context("start PostgreSQL")),
            }
        }
    }

    async fn ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let pg_isready = postgres_program("pg_isready")?;
        let port = self.port.to_string();
        let question = ["-q", "-h", "127.0.0.1", "-p", &port, "-t", "1"];
        let deadline = Duration::from_secs(5);
        process
            .ready(READY_TIMEOUT, async || {
                process::run(&pg_isready, &question, self.folder.path(), deadline)
                    .await
                    .is_ok()
            })
            .await
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// Makes the data folder, as the user who will run the server; returns its path.
async fn initialise(folder: &TempDir) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = folder.path();
    let data = path.join("data").display().to_string();
    let minute = Duration::from_secs(60);
    if runs_as_root() {
        // The server's user must reach its data through our folder.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))?;
        let owned_folder = ["-d", "-m", "700", "-o", USER, "-g", USER, &data];
        process::run("install", &owned_folder, path, minute).await?;
    }
    let initdb = postgres_program("initdb")?.display().to_string();
    let mut words = become_user(Some(USER));
    words.extend([
        "--", &initdb, "-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8",
    ]);
    words.extend(["--locale=C.UTF-8", "--no-sync"]);
    process::run("setpriv", &words, path, INITDB_TIMEOUT)
        .await
        .context("create a database")?;
    Ok(data)
}
