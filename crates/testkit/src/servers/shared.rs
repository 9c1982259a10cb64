//! The set of servers that a whole test run shares, and the notes by which a set that was left
//! running is found and stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::{Options, Postgres, RabbitMq, Redis};
use crate::environment;
use crate::waiting::holds_within;

const END_TIMEOUT: Duration = Duration::from_secs(15);

/// `NAME=VALUE` lines, for `set -a; . FILE`.
const ENVIRONMENT_FILE: &str = "environment";
/// `PID FOLDER` lines: what `stop` ends and removes.
const PROCESSES_FILE: &str = "processes";

/// One of each server.
#[derive(Debug)]
pub struct SharedServers {
    rabbitmq: RabbitMq,
    postgres: Postgres,
    redis: Redis,
}

impl SharedServers {
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let (rabbitmq, postgres, redis) = tokio::try_join!(
            RabbitMq::start_with(options),
            Postgres::start_with(options),
            Redis::start_with(options),
        )?;
        Ok(Self {
            rabbitmq,
            postgres,
            redis,
        })
    }

    /// What tests need to find them, and the processes to measure.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let pid = |pid: Option<u32>| pid.map(|pid| pid.to_string()).unwrap_or_default();
        vec![
            (environment::POSTGRES_URL, self.postgres.url()),
            (environment::AMQP_URL, self.rabbitmq.url()),
            (environment::RABBITMQ_API, self.rabbitmq.api_url()),
            (environment::REDIS_URL, self.redis.url()),
            ("TRIPLINE_TEST_POSTGRES_PID", pid(self.postgres.pid())),
            ("TRIPLINE_TEST_RABBITMQ_PID", pid(self.rabbitmq.pid())),
            ("TRIPLINE_TEST_REDIS_PID", pid(self.redis.pid())),
        ]
    }

    /// Notes down in `folder` what tests and [`stop`] need; returns the environment file.
    pub fn note_down(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let processes = [
            (self.rabbitmq.pid(), self.rabbitmq.folder()),
            (
                Some(self.rabbitmq.port_mapper_pid()),
                self.rabbitmq.folder(),
            ),
            (self.postgres.pid(), self.postgres.folder()),
            (self.redis.pid(), self.redis.folder()),
        ];
        let processes = processes
            .into_iter()
            .filter_map(|(pid, folder)| Some(format!("{} {}\n", pid?, folder.display())));
        fs::write(folder.join(PROCESSES_FILE), processes.collect::<String>())
            .context("note the processes down")?;
        let environment: String = self
            .environment()
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let file = folder.join(ENVIRONMENT_FILE);
        fs::write(&file, environment).context("note the environment down")?;
        Ok(file)
    }
}

/// Ends the servers noted down in `folder` and removes their data; none is fine.
pub async fn stop(folder: &Path) -> anyhow::Result<()> {
    let notes = folder.join(PROCESSES_FILE);
    let Ok(text) = fs::read_to_string(&notes) else {
        return Ok(());
    };
    for line in text.lines() {
        let (pid, data) = line.split_once(' ').context("a line of PID and folder")?;
        end(pid.parse().context("a process id")?, Path::new(data)).await?;
    }
    for line in text.lines() {
        if let Some((_, data)) = line.split_once(' ')
            && Path::new(data).exists()
        {
            fs::remove_dir_all(data).with_context(|| format!("remove {data}"))?;
        }
    }
    fs::remove_file(folder.join(ENVIRONMENT_FILE)).context("remove the environment file")?;
    fs::remove_file(notes).context("remove the notes")
}

async fn end(pid: i32, data: &Path) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid).context("a process id is not 0")?;
    // A number may have been given to another process since: ours work in their own folder.
    let is_ours = || {
        fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()))
            .is_ok_and(|folder| folder.starts_with(data))
    };
    for signal in [Signal::QUIT, Signal::KILL] {
        if !is_ours() {
            return Ok(());
        }
        if kill_process(pid, signal).is_err() {
            // It ended between the question and the signal.
            return Ok(());
        }
        if holds_within(END_TIMEOUT, async || !is_ours()).await {
            return Ok(());
        }
    }
    anyhow::bail!("process {pid:?} does not end")
}
