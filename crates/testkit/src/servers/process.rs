//! One server process: started with its output in a file, watched, and ended for certain.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Options;
use crate::waiting::{holds_within, pause};

/// A server that was told to end at once does so in milliseconds.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A folder of a server's own, gone with it unless the server is detached.
///
/// Not under the workspace: PostgreSQL refuses to run as root, and its user may not be able to
/// reach a clone in root's home.
pub(super) fn folder(name: &str, options: Options) -> anyhow::Result<TempDir> {
    // /tmp may be memory, where fsync means nothing.
    let parent = if options.durable {
        "/var/tmp".into()
    } else {
        std::env::temp_dir()
    };
    let mut folder = tempfile::Builder::new()
        .prefix(&format!("tripline-test-{name}-"))
        .tempdir_in(&parent)
        .with_context(|| format!("make a folder in {}", parent.display()))?;
    folder.disable_cleanup(options.detached);
    Ok(folder)
}

/// How a server is started; kept, so that it can be started again the same way.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// The user to become when started by root.
    pub(super) user: Option<&'static str>,
    pub(super) folder: PathBuf,
    pub(super) log: &'static str,
    /// What ends it at once, whatever it is doing.
    pub(super) end_signal: Signal,
    pub(super) detached: bool,
}

impl Launch {
    pub(super) fn spawn(&self) -> anyhow::Result<Process> {
        let log = self.folder.join(self.log);
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = self
            .command(&output)?
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        Ok(Process {
            child,
            log,
            end_signal: self.end_signal,
            detached: self.detached,
        })
    }

    fn command(&self, output: &File) -> anyhow::Result<Command> {
        use std::os::unix::process::CommandExt as _;

        let mut command = Command::new("setpriv");
        if !self.detached {
            // Also when the test is killed: nobody is left to end the server then.
            command.args(["--pdeathsig", signal_name(self.end_signal)]);
        }
        command
            .args(become_user(self.user))
            .arg("--")
            .arg(&self.program)
            .args(&self.arguments);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log")?)
            .stderr(output.try_clone().context("share the log")?)
            // Out of reach of a Ctrl-C meant for the tests, which end before their servers.
            .process_group(0);
        Ok(command)
    }
}

/// The words for setpriv that become `user`, when there is something to become.
pub(super) fn become_user(user: Option<&'static str>) -> Vec<&'static str> {
    match user {
        Some(user) if super::runs_as_root() => {
            vec![
                "--reuid",
                user,
                "--regid",
                user,
                "--init-groups",
                "--reset-env",
            ]
        }
        _ => Vec::new(),
    }
}

fn signal_name(signal: Signal) -> &'static str {
    if signal == Signal::QUIT {
        "QUIT"
    } else {
        "KILL"
    }
}

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    end_signal: Signal,
    detached: bool,
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask for a server's state")
    }

    /// Waits until `probe` says yes; fails at once when the process has ended.
    pub(super) async fn ready(
        &mut self,
        deadline: Duration,
        mut probe: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        loop {
            if probe().await {
                return Ok(());
            }
            if let Some(status) = self.exited()? {
                bail!("it ended with {status}: {}", self.log_tail());
            }
            if Instant::now() >= end {
                bail!("not ready after {deadline:?}: {}", self.log_tail());
            }
            pause().await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("signal process {}", self.pid()))
    }

    /// kill -9, and the body is gone from the process table when this returns.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if self.exited()?.is_none() {
            self.signal(Signal::KILL)?;
        }
        self.child.wait().context("wait for a killed server")?;
        Ok(())
    }

    /// Asks it to end in good order, and ends it by force at the deadline.
    pub(super) async fn stop(&mut self, signal: Signal, deadline: Duration) -> anyhow::Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        self.signal(signal)?;
        let ended = holds_within(deadline, async || !matches!(self.exited(), Ok(None))).await;
        if !ended {
            self.kill()?;
            bail!(
                "still running {deadline:?} after {signal:?}: {}",
                self.log_tail()
            );
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.detached || !matches!(self.exited(), Ok(None)) {
            return;
        }
        drop(self.signal(self.end_signal));
        let end = Instant::now() + END_TIMEOUT;
        while matches!(self.exited(), Ok(None)) {
            if Instant::now() >= end {
                drop(self.kill());
                return;
            }
            brief_pause();
        }
    }
}

/// For the few places that cannot await.
#[expect(
    clippy::disallowed_methods,
    reason = "waits for a process to end, with a deadline"
)]
pub(super) fn brief_pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Runs a helper program to its end, within `deadline`.
pub(super) async fn run(
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    folder: &Path,
    deadline: Duration,
) -> anyhow::Result<Output> {
    let program = program.as_ref();
    let name = Path::new(program).display();
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("{name} still running after {deadline:?}"))?
        .with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} {} ended with {}: {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
    Ok(output)
}
