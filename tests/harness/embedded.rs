//! `tripline up` in a folder of its own.

use std::process::ExitStatus;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{eventually, free_port};

use crate::SOON;
use crate::client::{Client, Servers};
use crate::http_client::Http;
use crate::process::Process;

/// Longer than its grace period.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

// Fields are dropped in this order: the process before its folder.
/// Everything in one process on embedded storage.
#[derive(Debug)]
pub struct Embedded {
    process: Process,
    url: String,
    folder: TempDir,
}

impl Embedded {
    /// Starts it and waits until it is ready.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tripline-test-up-")
            .tempdir_in("/var/tmp") // /tmp may be memory, where fsync means nothing
            .expect("a folder of its own");
        let url = format!("http://127.0.0.1:{}", free_port());
        let process = launch(&folder, &url);
        let mut system = Self {
            process,
            url,
            folder,
        };
        system.ready().await;
        system
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn client(&self) -> Client {
        Client::new(Servers::one(&self.url), None)
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again on the same port and folder; a running one is killed first.
    pub async fn restart(&mut self) {
        self.kill9();
        self.process = launch(&self.folder, &self.url);
        self.ready().await;
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.terminate();
        self.process.ended(STOP_DEADLINE).await
    }

    async fn ready(&mut self) {
        wait_until_ready(&mut self.process, &self.url).await;
    }
}

fn launch(folder: &TempDir, url: &str) -> Process {
    let listen = url.trim_start_matches("http://");
    let data = folder.path().join("data").display().to_string();
    let words = [
        "up",
        "--data-dir",
        &data,
        "--listen",
        listen,
        "--log",
        "info",
    ];
    Process::start("up", &words, &[], folder.path())
}

/// Waits until `/readyz` says yes; fails at once when the process has ended.
pub(crate) async fn wait_until_ready(process: &mut Process, url: &str) {
    let http = Http::default();
    let what = format!("{} is ready", process.name());
    eventually(SOON * 2, &what, async || {
        if let Some(status) = process.exited() {
            panic!("{} ended with {status}", process.name());
        }
        let answer = http.get(&format!("{url}/readyz")).await.ok()?;
        answer.status.is_success().then_some(())
    })
    .await;
}
