//! A Redis server of one's own.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;

use super::Options;
use super::process::{self, Launch, Process};
use crate::keys::{self, DATABASES};
use crate::ports::free_port;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

// Fields are dropped in this order: the process before its folder.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    launch: Launch,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// A fresh server, gone with the value. It keeps nothing on disk: a restarted one is empty.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let folder = process::folder("redis", options)?;
        let port = free_port();
        let path = folder.path().display().to_string();
        let (port_text, databases) = (port.to_string(), DATABASES.to_string());
        let arguments: Vec<&str> = vec![
            "--bind",
            "127.0.0.1",
            "--port",
            &port_text,
            "--databases",
            &databases,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--dir",
            &path,
        ];
        let launch = Launch {
            program: "redis-server".into(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            environment: Vec::new(),
            user: None,
            folder: folder.path().to_owned(),
            log: "redis.log",
            end_signal: Signal::KILL,
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

    /// Without a database number: number 0.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// kill -9.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process
            .stop(Signal::TERM, STOP_TIMEOUT)
            .await
            .context("stop Redis")
    }

    /// Starts it again on the same port, empty; a running one is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let mut process = self.launch.spawn()?;
        let server = format!("127.0.0.1:{}", self.port);
        let answers = async || keys::ask(&server, &["PING"]).is_ok();
        process
            .ready(READY_TIMEOUT, answers)
            .await
            .context("start Redis")?;
        self.process = Some(process);
        Ok(())
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
