//! Wires the log-service together, inside one process with others or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use broker::{BatchLimits, Batcher, Broker, Encoding, Queue, RabbitMq};
use lifecycle::{Health, Tasks};
use process::server::{self, Surface};
use protocol::access;
use protocol::envelope::Envelope;
use protocol::registry_feed::{self, Interest, RegistryView};
use serde::{Deserialize, Serialize};
use storage::{LogStore, Redrives};
use tokio::sync::watch;
use tonic::service::Routes;

use crate::append::Appender;
use crate::config::Config;
use crate::database::{self, Database};
use crate::inbound::grpc::{Guard, Logs};
use crate::inbound::http;
use crate::inbound::records::{Gathering, Records};
use crate::inbound::redrives::Orders;
use crate::query::Reader;
use crate::redrive::work::{Pages, Worker};
use crate::{expire, metrics, owed};

/// Full names of the gRPC services.
pub const SERVED: &[&str] = &[
    "tripline.logs.v1.LogService",
    "tripline.redrive.v1.RedriveService",
];

/// What the log needs of the world.
#[derive(Debug)]
pub struct Parts {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn LogStore>,
    /// In the same database.
    pub redrives: Arc<dyn Redrives>,
    /// Projects, keys, functions and triggers; no secret is needed.
    pub registry: RegistryView,
    pub health: Health,
    pub keys_required: bool,
    /// This replica's name; no two may share it.
    pub replica: String,
}

/// A log whose loops run.
#[derive(Debug)]
pub struct Service {
    logs: Logs,
    orders: Orders,
    guard: Guard,
    reader: Reader,
}

/// Wires the log and starts its loops.
///
/// # Errors
/// When a setting cannot be used.
pub fn build(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Service> {
    check(config)?;
    metrics::describe();
    let Parts {
        broker,
        store,
        redrives,
        registry,
        health,
        keys_required,
        replica,
    } = parts;
    let retention = config.retention.get();
    let database = Database::new(health.register("database"));
    let (recorded, records_seen) = watch::channel(0);
    let (prepared, is_prepared) = watch::channel(false);
    let appender = Appender {
        store: Arc::clone(&store),
        database: database.clone(),
        retention,
        recorded,
        tasks: tasks.clone(),
    };
    let records = Records {
        consumer: broker.consume(Queue::Records, config.messages_in_hand_max),
        appender,
        gathering: Gathering {
            records_max: config.records_max,
            messages_max: config.messages_in_hand_max.into(),
            wait: config.gather_for.get(),
        },
    };
    tasks.spawn("records", records.run(is_prepared, tasks.clone()));
    let keep = expire::keep_days(Arc::clone(&store), retention, prepared, tasks.clone());
    tasks.spawn("keep days", keep);
    owed::start(Arc::clone(&store), config.owed_for.get(), tasks);
    let watch = database::watch(Arc::clone(&store), database, tasks.clone());
    tasks.spawn("watch the database", watch);
    let worker = Worker {
        redrives: Arc::clone(&redrives),
        logs: Arc::clone(&store),
        registry: registry.clone(),
        waiting: line(broker.as_ref(), Queue::Waiting, tasks),
        records: line(broker.as_ref(), Queue::Records, tasks),
        replica,
        begun: Arc::default(),
        pages: Pages::default(),
        tasks: tasks.clone(),
    };
    let begun = Arc::clone(&worker.begun);
    worker.start(retention);
    let guard = Guard {
        registry,
        keys_required,
    };
    let orders = Orders::new(guard.clone(), Arc::clone(&redrives), begun, tasks);
    let reader = Reader { store };
    let logs = Logs::new(
        guard.clone(),
        reader.clone(),
        redrives,
        records_seen,
        config.followers_max,
        tasks,
    );
    Ok(Service {
        logs,
        orders,
        guard,
        reader,
    })
}

fn check(config: &Config) -> anyhow::Result<()> {
    let mut faults = settings::Faults::new("log-service");
    config.check(&mut faults);
    Ok(faults.or_ok(())?)
}

/// What is put into `queue`, many to a message.
fn line<T: Envelope + Send + 'static>(
    broker: &dyn Broker,
    queue: Queue,
    tasks: &Tasks,
) -> Batcher<T> {
    let limits = BatchLimits::default();
    Batcher::start(
        broker.publisher(),
        queue,
        Encoding::of_envelope(),
        limits,
        tasks,
    )
}

impl Service {
    pub fn grpc(&self, routes: Routes) -> Routes {
        routes
            .add_service(self.logs.server())
            .add_service(self.orders.server())
    }

    pub fn http(&self) -> Router {
        http::router(self.guard.clone(), self.reader.clone())
    }
}

/// The document a log-service of its own reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub telemetry: telemetry::Config,
    pub broker: broker::Config,
    pub storage: storage::Config,
    pub access: access::Config,
    pub registry: registry_feed::Config,
    pub log_service: Config,
}

/// Runs a log-service in a process of its own: connects, wires, and serves until the tasks stop.
///
/// # Errors
/// When a setting cannot be used or the address cannot be listened on. What is away is waited for.
pub async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<()> {
    let health = Health::following(tasks);
    let broker = RabbitMq::start(&settings.broker, tasks, &health).context("set up the broker")?;
    let postgres = storage::postgres::connect(&settings.storage).context("read storage.url")?;
    let registry = RegistryView::default();
    let channel = settings
        .registry
        .channel()
        .context("read registry.server")?;
    let token = settings.registry.token_text();
    let (feed, stopping) = (registry.clone(), tasks.stopping());
    tasks.spawn("registry feed", async move {
        tokio::select! {
            () = stopping => {}
            () = registry_feed::follow(channel, token, Interest::Rules, feed) => {}
        }
        Ok(())
    });
    let parts = Parts {
        broker: Arc::new(broker),
        store: postgres.logs(),
        redrives: postgres.redrives(),
        registry,
        health: health.clone(),
        keys_required: settings.access.keys_required,
        replica: server::instance_name(),
    };
    let config = settings.log_service;
    let service = build(&config, parts, tasks)?;
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(config.listen, "log_service.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.log_service.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        self.log_service.check(faults);
        self.registry.check(faults);
        for fault in self.storage.faults() {
            faults.add(format!("storage.{fault}"));
        }
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
    }
}
