//! A RabbitMQ server of one's own, with its management interface and its own Erlang port mapper.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;

use super::Options;
use super::process::{self, Launch, Process};
use crate::http_client::ManagementApi;
use crate::ports::free_port;
use crate::vhost::{self, TestVhost};

/// On two cores that compile at the same time it has been seen to take twenty seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Debian's wrappers in /usr/sbin want to become the user `rabbitmq`.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    port_mapper: u16,
}

// Fields are dropped in this order: the processes before their folder.
#[derive(Debug)]
pub struct RabbitMq {
    process: Option<Process>,
    port_mapper: Process,
    launch: Launch,
    ports: Ports,
    folder: TempDir,
}

impl RabbitMq {
    /// A fresh broker, gone with the value.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let folder = process::folder("rabbitmq", options)?;
        let ports = Ports {
            amqp: free_port(),
            management: free_port(),
            distribution: free_port(),
            port_mapper: free_port(),
        };
        write_settings(folder.path(), ports, options)?;
        let launch = server_launch(folder.path(), ports, options);
        let port_mapper = Launch {
            program: "epmd".into(),
            arguments: [
                "-address",
                "127.0.0.1",
                "-port",
                &ports.port_mapper.to_string(),
            ]
            .map(str::to_owned)
            .into(),
            log: "epmd.log",
            ..launch.clone()
        };
        let port_mapper = port_mapper.spawn()?;
        let mut server = Self {
            process: None,
            port_mapper,
            launch,
            ports,
            folder,
        };
        server.restart().await?;
        Ok(server)
    }

    /// Without a virtual host: see [`RabbitMq::vhost`] for one to work in.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)
    }

    /// Where the management interface is.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.management)
    }

    /// An empty virtual host on this broker.
    pub async fn vhost(&self) -> anyhow::Result<TestVhost> {
        vhost::create_vhost(self.url(), ManagementApi::new(self.api_url())).await
    }

    /// The Erlang machine itself, no script around it.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub(super) fn port_mapper_pid(&self) -> u32 {
        self.port_mapper.pid()
    }

    /// kill -9.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Stops in good order, which takes it some seconds.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process
            .stop(Signal::TERM, STOP_TIMEOUT)
            .await
            .context("stop RabbitMQ")
    }

    /// Starts it again with the same ports and data; a running one is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let mut process = self.launch.spawn()?;
        let api = ManagementApi::new(self.api_url());
        let question = format!("/api/health/checks/port-listener/{}", self.ports.amqp);
        let answers = async || api.get(&question).await.is_ok();
        process
            .ready(READY_TIMEOUT, answers)
            .await
            .context("start RabbitMQ")?;
        self.process = Some(process);
        Ok(())
    }

    /// Where its data and its log are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn write_settings(folder: &Path, ports: Ports, options: Options) -> anyhow::Result<()> {
    let mut settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {}\n\
         loopback_users = none\n\
         vm_memory_high_watermark.absolute = 2GB\n\
         disk_free_limit.absolute = 50MB\n",
        ports.amqp, ports.management,
    );
    if !options.durable {
        // A test that asks for a count should not wait five seconds for it; a bench should not
        // pay for the counting.
        settings.push_str("collect_statistics_interval = 500\n");
    }
    fs::write(folder.join("rabbitmq.conf"), settings).context("write rabbitmq.conf")?;
    fs::write(folder.join("enabled_plugins"), "[rabbitmq_management].\n")
        .context("write the list of plugins")
}

fn server_launch(folder: &Path, ports: Ports, options: Options) -> Launch {
    let within = |name: &str| folder.join(name).display().to_string();
    let mut erlang = "-kernel inet_dist_use_interface {127,0,0,1}".to_owned();
    if !options.durable {
        // Quorum queues count at this interval, in milliseconds.
        erlang.push_str(" -rabbit quorum_tick_interval 500");
    }
    let environment = [
        ("HOME", folder.display().to_string()), // where Erlang makes its cookie
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", ports.port_mapper.to_string()),
        (
            "RABBITMQ_NODENAME",
            format!("tripline-test-{}@localhost", ports.amqp),
        ),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("RABBITMQ_CONFIG_FILE", within("rabbitmq.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", within("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", within("mnesia")),
        ("RABBITMQ_LOG_BASE", within("log")),
        ("RABBITMQ_LOGS", "-".into()),
        ("RABBITMQ_PID_FILE", within("pid")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang),
        // Makes the script become the Erlang machine instead of staying beside it, so that our
        // signals reach the right process.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
    ];
    Launch {
        program: SERVER.into(),
        arguments: Vec::new(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        user: None,
        folder: folder.to_owned(),
        log: "rabbitmq.log",
        end_signal: Signal::KILL,
        detached: options.detached,
    }
}
