//! Wires the trigger-emitter together, inside one process with others or in one of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use broker::{BatchLimits, Broker, RabbitMq};
use coordination::{IdempotencyKeys, RedisCoordination};
use lifecycle::{Health, Tasks};
use process::server::{self, Surface};
use protocol::access;
use protocol::registry_feed::{self, Interest, RegistryView};
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::service::Routes;

use crate::config::Config;
use crate::deduplicate::Deduplicator;
use crate::emit::{Door, DoorLimits};
use crate::inbound::grpc;
use crate::inbound::http as by_http;
use crate::metrics;
use crate::outbound::events::Events;
use crate::wait_for_reply::Waiters;

/// Full names of the gRPC services.
pub const SERVED: &[&str] = &["tripline.events.v1.EventService"];

/// What the door needs of the world.
#[derive(Debug)]
pub struct Parts {
    pub broker: Arc<dyn Broker>,
    pub keys: Arc<dyn IdempotencyKeys>,
    /// Projects and keys.
    pub registry: RegistryView,
    pub health: Health,
    pub keys_required: bool,
}

/// A door whose loops run.
#[derive(Debug)]
pub struct Service {
    door: Door,
    emitting: grpc::Emitting,
    http_limits: by_http::Limits,
}

/// Wires the door and starts its loops.
///
/// # Errors
/// When a setting cannot be used.
pub fn build(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Service> {
    let mut faults = settings::Faults::new("trigger-emitter");
    config.check(&mut faults);
    faults.or_ok(())?;
    metrics::describe();
    let limits = DoorLimits {
        data_bytes_max: config.data_bytes_max,
        request_events_max: config.request_events_max,
        in_flight_bytes_max: config.in_flight_bytes_max,
    };
    let events = Events::start(&parts.broker, &BatchLimits::default(), tasks);
    let deduplicator = Deduplicator::start(parts.keys, tasks);
    let check = parts.health.register("registry");
    let (registry, stopping) = (parts.registry.clone(), tasks.stopping());
    tasks.spawn("wait for the registry", async move {
        // Without projects and keys nobody can be told apart.
        let mut changes = registry.changes();
        tokio::select! {
            () = stopping => {}
            _filled = changes.wait_for(Option::is_some) => check.ready(),
        }
        Ok(())
    });
    let door = Door::new(
        parts.registry,
        parts.keys_required,
        limits,
        deduplicator,
        events,
        Waiters::start(&parts.broker, tasks),
    );
    Ok(Service {
        emitting: grpc::Emitting::new(door.clone(), tasks),
        door,
        http_limits: by_http::Limits {
            body_bytes_max: config.request_bytes_max,
            body_timeout: config.body_timeout.into(),
        },
    })
}

impl Service {
    pub fn grpc(&self, routes: Routes) -> Routes {
        routes.add_service(self.emitting.server(self.http_limits.body_bytes_max))
    }

    /// The service that takes events, for whoever hands some on in the same process.
    pub fn events(
        &self,
    ) -> impl tower::Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send,
    >
    + Clone
    + Send
    + Sync
    + 'static
    + use<> {
        self.emitting.server(self.http_limits.body_bytes_max)
    }

    pub fn http(&self) -> Router {
        by_http::router(self.door.clone(), self.http_limits)
    }
}

/// The document a trigger-emitter of its own reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub telemetry: telemetry::Config,
    pub broker: broker::Config,
    pub coordination: coordination::Config,
    pub access: access::Config,
    pub registry: registry_feed::Config,
    pub trigger_emitter: Config,
}

/// Runs a trigger-emitter in a process of its own: connects, wires, and serves until the tasks stop.
///
/// # Errors
/// When a setting cannot be used or the address cannot be listened on. What is away is waited for.
pub async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<()> {
    let health = Health::following(tasks);
    let broker = RabbitMq::start(&settings.broker, tasks, &health).context("set up the broker")?;
    let coordination =
        RedisCoordination::new(&settings.coordination).context("set up coordination")?;
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
            () = registry_feed::follow(channel, token, Interest::Access, feed) => {}
        }
        Ok(())
    });
    let parts = Parts {
        broker: Arc::new(broker),
        keys: Arc::new(coordination),
        registry,
        health: health.clone(),
        keys_required: settings.access.keys_required,
    };
    let config = settings.trigger_emitter;
    let service = build(&config, parts, tasks)?;
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(config.listen, "trigger_emitter.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.trigger_emitter.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        self.trigger_emitter.check(faults);
        self.registry.check(faults);
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
    }
}
