//! Wires the delivery-worker together, inside one process with others or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use broker::{BatchLimits, Batcher, Broker, Encoding, OwnEvents, Queue, RabbitMq};
use coordination::{EndpointMemory, Membership, RedisCoordination};
use domain::invocation::CALL_BYTES_MAX;
use lifecycle::{Health, Tasks};
use process::server::{self, Surface};
use protocol::access;
use protocol::delivery::v1::delivery_service_server::DeliveryServiceServer;
use protocol::invocation::v1::invocation_service_server::InvocationServiceServer;
use protocol::registry_feed::{self, Interest, RegistryView};
use serde::{Deserialize, Serialize};
use settings::SecretString;
use tonic::service::Routes;

use crate::call_now::{CallLog, CallNow};
use crate::config::Config;
use crate::dead_letter::DeadLetters;
use crate::deliver::Deliverer;
use crate::engine::{self, Engine};
use crate::inbound::grpc::Deliveries;
use crate::inbound::http;
use crate::inbound::intercept::Intercepts;
use crate::inbound::invocation::Invocations;
use crate::inbound::shards::Shards;
use crate::intercept::Interceptor;
use crate::invoke::Invoker;
use crate::lanes::of_endpoint_max;
use crate::metrics;
use crate::outbound::door::Door;
use crate::outbound::endpoint_client::{EndpointClient, EndpointClientConfig};
use crate::settle::Settler;

/// Full names of the gRPC services.
pub const SERVED: &[&str] = &[
    "tripline.delivery.v1.DeliveryService",
    "tripline.intercept.v1.InterceptService",
    "tripline.invocation.v1.InvocationService",
];

/// Besides parameters and headers a message has some bytes of its own.
const FRAME_BYTES: usize = 64 * 1024;

/// What the worker needs of the world.
#[derive(Debug)]
pub struct Parts {
    pub broker: Arc<dyn Broker>,
    pub membership: Arc<dyn Membership>,
    /// What was learned about endpoints, for whoever owns them next.
    pub memory: Arc<dyn EndpointMemory>,
    /// Functions, triggers, projects and keys.
    pub registry: RegistryView,
    pub health: Health,
    pub keys_required: bool,
    /// What the other services show to speak for a project.
    pub internal_token: Option<SecretString>,
    /// Whether functions on this machine may be called.
    pub allow_loopback: bool,
    /// This worker's name, kept with each attempt; no two may share it.
    pub worker: String,
}

/// A worker whose loops run.
#[derive(Debug)]
pub struct Service {
    deliveries: Deliveries,
    intercepts: Intercepts,
    invocations: Invocations,
    door: Option<Door>,
}

/// Wires the worker and starts its loops.
///
/// # Errors
/// When a setting cannot be used.
pub fn build(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Service> {
    metrics::describe();
    let egress = config
        .egress
        .policy("delivery_worker", parts.allow_loopback)
        .map_err(anyhow::Error::msg)?;
    let client = EndpointClient::new(EndpointClientConfig {
        egress,
        connect_timeout: config.connect_timeout.into(),
        idle_per_host_max: of_endpoint_max(config.in_flight_max).into(),
        ..EndpointClientConfig::default()
    })
    .context("set up the client for endpoints")?;
    let deliverer = Deliverer {
        registry: parts.registry.clone(),
        client,
        worker: parts.worker.as_str().into(),
        session_lifetime: config.session_lifetime.into(),
    };
    let settler = settler(config, parts.broker.as_ref(), tasks);
    let log = CallLog::start(settler.records.clone(), tasks);
    let call_now = CallNow::new(deliverer.clone(), log);
    let engine = Arc::new(Engine::new(engine::Parts {
        deliverer,
        settler,
        memory: parts.memory,
        in_flight_max: config.in_flight_max,
        delivery_shards: parts.broker.topology().delivery_shards,
    }));
    tasks.spawn("delivery engine", Arc::clone(&engine).drive(tasks.clone()));
    let shards = Shards {
        broker: parts.broker,
        engine,
        messages_in_hand_max: config.messages_in_hand_max,
    };
    let (registry, check) = (parts.registry, parts.health.register("registry"));
    let (membership, worker, own_tasks) = (parts.membership, parts.worker, tasks.clone());
    tasks.spawn("wait for the registry", async move {
        // Without functions and triggers every delivery would look as if its trigger was deleted.
        let mut changes = registry.changes();
        tokio::select! {
            () = own_tasks.stopping() => return Ok(()),
            _filled = changes.wait_for(Option::is_some) => {}
        }
        check.ready();
        shards.start(membership, worker, &own_tasks);
        Ok(())
    });
    Ok(Service {
        intercepts: Intercepts {
            interceptor: Interceptor {
                call_now: call_now.clone(),
            },
            keys_required: parts.keys_required,
            internal_token: parts.internal_token,
        },
        invocations: Invocations {
            invoker: Invoker::new(call_now.clone()),
            keys_required: parts.keys_required,
        },
        deliveries: Deliveries {
            call_now,
            keys_required: parts.keys_required,
        },
        door: None,
    })
}

/// What is told of deliveries that wait is due much later; each message leads to commits, which take
/// something from deliveries that do not wait.
const NOTICE_INTERVAL: Duration = Duration::from_millis(20);

/// Starts the lines that settlements go out by.
fn settler(config: &Config, broker: &dyn Broker, tasks: &Tasks) -> Settler {
    let publisher = broker.publisher();
    Settler {
        records: Batcher::start(
            Arc::clone(&publisher),
            Queue::Records,
            Encoding::of_envelope(),
            BatchLimits::unhurried(),
            tasks,
        ),
        notices: Batcher::start(
            Arc::clone(&publisher),
            Queue::Waiting,
            Encoding::of_envelope(),
            BatchLimits {
                interval_max: NOTICE_INTERVAL,
                ..BatchLimits::unhurried()
            },
            tasks,
        ),
        ends: Batcher::start(
            publisher,
            Queue::Waiting,
            Encoding::of_envelope(),
            BatchLimits::default(),
            tasks,
        ),
        replier: broker.replier(),
        dead_letters: DeadLetters {
            events: OwnEvents::start(broker, tasks),
            is_on: config.dead_letters,
        },
    }
}

impl Service {
    /// What calls functions while somebody waits.
    pub const fn call_now(&self) -> &CallNow {
        &self.deliveries.call_now
    }

    pub fn grpc(&self, routes: Routes) -> Routes {
        let invocations = InvocationServiceServer::new(self.invocations.clone());
        // An answer is never larger than what may be called with.
        let invocations = invocations.max_decoding_message_size(CALL_BYTES_MAX + FRAME_BYTES);
        routes
            .add_service(DeliveryServiceServer::new(self.deliveries.clone()))
            .add_service(self.intercepts.clone().server())
            .add_service(invocations)
    }

    /// Direct calls.
    pub fn http(&self) -> Router {
        let Invocations {
            invoker,
            keys_required,
        } = self.invocations.clone();
        http::router(invoker, self.door.clone(), keys_required)
    }

    /// Hands on to the door what comes in here and belongs there.
    #[must_use]
    pub fn with_door(mut self, door: Door) -> Self {
        self.door = Some(door);
        self
    }
}

/// The document a worker of its own reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub telemetry: telemetry::Config,
    pub broker: broker::Config,
    pub coordination: coordination::Config,
    pub access: access::Config,
    pub registry: registry_feed::Config,
    pub delivery_worker: Config,
}

/// Runs a worker in a process of its own: connects, wires, and serves until the tasks stop.
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
            () = registry_feed::follow(channel, token, Interest::Everything, feed) => {}
        }
        Ok(())
    });
    let coordination = Arc::new(coordination);
    let parts = Parts {
        broker: Arc::new(broker),
        membership: Arc::clone(&coordination) as _,
        memory: coordination,
        registry,
        health: health.clone(),
        keys_required: settings.access.keys_required,
        internal_token: settings.registry.token,
        allow_loopback: false,
        worker: server::instance_name(),
    };
    let config = settings.delivery_worker;
    let door = Door::new(config.door_channel()?);
    let service = build(&config, parts, tasks)?.with_door(door);
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(config.listen, "delivery_worker.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.delivery_worker.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        self.delivery_worker.check(faults);
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
        self.registry.check(faults);
    }
}
