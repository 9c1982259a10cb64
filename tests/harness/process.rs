//! One process of the program under test: started with its output in a file, watched, and ended
//! for certain.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::eventually;

/// Enough to see what went wrong, little enough to read.
const SHOWN_LINES_MAX: usize = 80;

/// The built program, beside the folder of the test that runs.
pub(crate) fn tripline() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("a test is in target/PROFILE/deps");
    let program = folder.join("tripline");
    assert!(
        program.exists(),
        "{} is not there: run `cargo build --bin tripline` first (`make test` does)",
        program.display()
    );
    program
}

/// A command that inherits nothing but the path, so that no setting of the developer's shell
/// decides a test.
pub(crate) fn bare_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `tripline` with these words and variables; it is killed should the test be.
    pub(crate) fn start(
        name: &str,
        words: &[&str],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let errors = output.try_clone().expect("a second handle of the log file");
        let child = bare_command(Path::new("setpriv"))
            .args(["--pdeathsig", "KILL", "--"])
            .arg(tripline())
            .args(words)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("tripline should start");
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Everything it printed so far, over all its lives.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a process")
    }

    /// kill -9; the process is gone when this returns.
    pub(crate) fn kill9(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::KILL);
        }
        self.child.wait().expect("the end of a killed process");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::TERM);
        }
    }

    /// How it ended, as soon as it has.
    pub(crate) async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(deadline, &what, async || self.exited()).await
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own process");
    }

    fn show(&self) {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        let shown = lines
            .get(lines.len().saturating_sub(SHOWN_LINES_MAX)..)
            .unwrap_or_default();
        show(&format!(
            "---- {} ({} lines)\n{}\n",
            self.name,
            lines.len(),
            shown.join("\n")
        ));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill9();
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it with the test that failed"
)]
fn show(text: &str) {
    eprint!("{text}");
}
