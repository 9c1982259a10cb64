//! `tripline serve`: one service, or all in one process, on RabbitMQ, PostgreSQL and Redis.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::RabbitMq;
use coordination::RedisCoordination;
use lifecycle::{Health, Tasks};
use process::server;
use protocol::access;
use serde::{Deserialize, Serialize};

use crate::all_in_one::{self, Configs, Ground};
use crate::command_line::{Role, Serve};

pub(crate) fn run(options: &Serve) -> ExitCode {
    let process = &options.process;
    match options.role {
        Role::TriggerEmitter => {
            process::run("trigger-emitter", process, async |settings, tasks| {
                trigger_emitter::start(settings, tasks).await
            })
        }
        Role::FunctionHandler => {
            process::run("function-handler", process, async |settings, tasks| {
                function_handler::start(settings, tasks).await
            })
        }
        Role::DeliveryWorker => {
            process::run("delivery-worker", process, async |settings, tasks| {
                delivery_worker::start(settings, tasks).await
            })
        }
        Role::LogService => process::run("log-service", process, async |settings, tasks| {
            log_service::start(settings, tasks).await
        }),
        Role::ApiGateway => process::run("api-gateway", process, async |settings, tasks| {
            api_gateway::start(settings, tasks).await
        }),
        Role::All => process::run("tripline", process, async |settings, tasks| {
            start_all(settings, tasks).await
        }),
    }
}

/// The whole settings document: what a service of its own reads, all of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) telemetry: telemetry::Config,
    pub(crate) broker: broker::Config,
    pub(crate) storage: storage::Config,
    pub(crate) coordination: coordination::Config,
    pub(crate) access: access::Config,
    pub(crate) all: All,
    pub(crate) trigger_emitter: trigger_emitter::Config,
    pub(crate) function_handler: function_handler::Config,
    pub(crate) delivery_worker: delivery_worker::Config,
    pub(crate) log_service: log_service::Config,
    pub(crate) api_gateway: api_gateway::Config,
}

/// `[all]`: the one process that runs all services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct All {
    /// Where gRPC and HTTP of all services are served.
    listen: SocketAddr,
    /// What is under way has this long to finish when the process is told to stop.
    grace_period: settings::Duration,
}

impl Default for All {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8700)),
            grace_period: Duration::from_secs(25).into(),
        }
    }
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.all.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        for fault in self.storage.faults() {
            faults.add(format!("storage.{fault}"));
        }
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
        self.trigger_emitter.check(faults);
        self.function_handler.check(faults);
        self.delivery_worker.check(faults);
        self.log_service.check(faults);
        self.api_gateway.check(faults);
    }
}

async fn start_all(settings: Settings, tasks: &Tasks) -> anyhow::Result<()> {
    let health = Health::following(tasks);
    let broker = RabbitMq::start(&settings.broker, tasks, &health).context("set up the broker")?;
    let postgres = storage::postgres::connect(&settings.storage).context("set up the database")?;
    let cipher = settings
        .storage
        .cipher()
        .context("read storage.encryption_key")?;
    let coordination =
        Arc::new(RedisCoordination::new(&settings.coordination).context("set up coordination")?);
    let ground = Ground {
        broker: Arc::new(broker),
        registry: postgres.registry(cipher),
        waiting_room: postgres.waiting_room(),
        logs: postgres.logs(),
        redrives: postgres.redrives(),
        keys: Arc::clone(&coordination) as _,
        membership: Arc::clone(&coordination) as _,
        memory: coordination,
        access: settings.access,
        allow_loopback: false,
    };
    let configs = Configs {
        trigger_emitter: settings.trigger_emitter,
        function_handler: settings.function_handler,
        delivery_worker: settings.delivery_worker,
        log_service: settings.log_service,
        api_gateway: settings.api_gateway,
    };
    let surface = all_in_one::build(&configs, ground, &health, tasks)?;
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(settings.all.listen, "all.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}
