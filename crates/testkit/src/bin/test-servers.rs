//! Installs, starts and stops the RabbitMQ, PostgreSQL and Redis that tests run against.
#![expect(
    clippy::print_stderr,
    reason = "a program of developers tells them what it does"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use testkit::servers::{self, Options, SharedServers};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A test runner that was interrupted cleans up in this time, or is ended.
const INTERRUPT_GRACE: Duration = Duration::from_secs(15);

/// RabbitMQ, PostgreSQL and Redis for tests, on private ports and in private folders.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install the three servers from Debian's packages, where they are missing.
    Install,
    /// Start them, run a command with their addresses in its environment, and stop them.
    Run {
        /// Keep fsync on: for measuring, and for tests about lost power.
        #[arg(long)]
        durable: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Start them and leave them running; their addresses are in the file `environment`.
    Start {
        /// Keep fsync on: for measuring, and for tests about lost power.
        #[arg(long)]
        durable: bool,
        #[arg(long, default_value = "target/test-servers")]
        folder: PathBuf,
    },
    /// Stop those that `start` left running, and remove their data.
    Stop {
        #[arg(long, default_value = "target/test-servers")]
        folder: PathBuf,
    },
}

// One thread: the servers are told to end with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Verb::Install => install().await,
        Verb::Run { durable, command } => run(durable, &command).await,
        Verb::Start { durable, folder } => start(durable, &folder).await,
        Verb::Stop { folder } => servers::stop(&folder).await.map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("test-servers: {error:#}");
        ExitCode::FAILURE
    })
}

async fn install() -> anyhow::Result<ExitCode> {
    eprintln!("test-servers: looking for RabbitMQ, PostgreSQL and Redis");
    let installed = servers::install().await?;
    if !installed.is_empty() {
        eprintln!("test-servers: installed {}", installed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(durable: bool, folder: &std::path::Path) -> anyhow::Result<ExitCode> {
    servers::stop(folder)
        .await
        .context("stop those of an earlier start")?;
    let servers = SharedServers::start(Options {
        durable,
        detached: true,
    })
    .await?;
    let environment = servers.note_down(folder)?;
    eprintln!(
        "test-servers: running; `set -a; . {}` to use them",
        environment.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn run(durable: bool, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("a command to run")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let began = Instant::now();
    let options = Options {
        durable,
        detached: false,
    };
    // A future that is dropped here takes the servers it has started with it.
    let servers = tokio::select! {
        servers = SharedServers::start(options) => servers?,
        _ = interrupted.recv() => return Ok(ExitCode::from(130)),
        _ = terminated.recv() => return Ok(ExitCode::from(143)),
    };
    eprintln!(
        "test-servers: ready after {:.1} s",
        began.elapsed().as_secs_f32()
    );

    let mut child = Command::new(program)
        .args(arguments)
        .envs(servers.environment())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let status = tokio::select! {
        status = child.wait() => status.context("wait for the command")?,
        // A Ctrl-C at the terminal has reached the command too.
        _ = interrupted.recv() => wait_or_end(&mut child).await?,
        _ = terminated.recv() => {
            ask_to_end(&child)?;
            wait_or_end(&mut child).await?
        }
    };
    // The last word is the command's own: nothing is said about stopping.
    drop(servers);
    Ok(exit_code(status))
}

fn ask_to_end(child: &Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("pass the signal on")?;
    }
    Ok(())
}

async fn wait_or_end(child: &mut Child) -> anyhow::Result<ExitStatus> {
    if let Ok(status) = tokio::time::timeout(INTERRUPT_GRACE, child.wait()).await {
        return status.context("wait for the command");
    }
    child.start_kill().context("end the command")?;
    child.wait().await.context("wait for the command")
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;

    let by_signal = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(by_signal).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
