//! One process that was started to be measured.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::super::processes::NamedProcess;
use super::own_program;
use crate::failure::Failure;

/// First connections to all servers are part of it, on a machine that may be busy.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_INTERVAL: Duration = Duration::from_millis(20);
/// More than any service's own grace period.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// As much of a log as says why a process ended.
const LAST_LINES: usize = 10;

#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts this very program with other arguments; what it says goes to a file in `folder`.
    pub(super) fn start<A: AsRef<OsStr>>(
        name: &'static str,
        arguments: &[A],
        variables: &[(String, String)],
        folder: &Path,
    ) -> Result<Self, Failure> {
        let cannot =
            |error: std::io::Error| Failure::local(format!("cannot start {name}: {error}"));
        let log = folder.join(format!("{name}.log"));
        let written = File::create(&log).map_err(cannot)?;
        let process = Command::new(own_program()?)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(written.try_clone().map_err(cannot)?)
            .stderr(written)
            .kill_on_drop(true)
            // Ctrl-C at the terminal is for us: functions are deleted before it stops.
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        Ok(Self { name, process, log })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn process(&self) -> Option<NamedProcess> {
        let pid = self.process.id()?;
        Some(NamedProcess {
            name: self.name.to_owned(),
            pid,
        })
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self, at: SocketAddr) -> Result<(), Failure> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let begun = Instant::now();
        while begun.elapsed() < READY_TIMEOUT {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(self.failure(&format!("ended with {status}")));
            }
            let request = Request::get(format!("http://{at}/readyz")).body(Empty::new());
            let request = request.map_err(|error| Failure::local(format!("{at}: {error}")))?;
            if client
                .request(request)
                .await
                .is_ok_and(|answer| answer.status() == StatusCode::OK)
            {
                return Ok(());
            }
            sleep(READY_INTERVAL).await;
        }
        Err(self.failure(&format!("is not ready after {READY_TIMEOUT:?}")))
    }

    /// Waits until it ends by itself, successfully.
    pub(super) async fn succeed(&mut self) -> Result<(), Failure> {
        match timeout(READY_TIMEOUT, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(self.failure(&format!("cannot be waited for: {error}"))),
            Err(_elapsed) => Err(self.failure(&format!("is not done after {READY_TIMEOUT:?}"))),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let (name, words) = (self.name, self.last_words());
        Failure::local(format!("{name} {what}\n{words}").trim_end())
    }

    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    pub(super) fn ask_to_stop(&self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // Refused only when it has ended already.
            let _gone = kill_process(pid, Signal::TERM);
        }
    }

    pub(super) async fn wait_or_kill(&mut self) {
        if timeout(STOP_TIMEOUT, self.process.wait()).await.is_err() {
            eprintln!(
                "tripline: {} did not stop in {STOP_TIMEOUT:?} and is killed",
                self.name
            );
            // Dropping it does the same, should this fail.
            drop(self.process.kill().await);
        }
    }
}
