//! Wires the function-handler together, inside one process with others or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use broker::{Broker, RabbitMq};
use coordination::{Membership, RedisCoordination, Share};
use domain::api_event::description::DOCUMENT_BYTES_MAX;
use lifecycle::{Health, Tasks};
use process::server::{self, Surface};
use protocol::access;
use protocol::functions::v1::function_service_server::FunctionServiceServer;
use protocol::functions::v1::trigger_service_server::TriggerServiceServer;
use protocol::gateway::v1::gateway_service_server::GatewayServiceServer;
use protocol::gateway::v1::script_service_server::ScriptServiceServer;
use protocol::imports::v1::import_service_server::ImportServiceServer;
use protocol::packages::v1::package_service_server::PackageServiceServer;
use protocol::projects::v1::key_service_server::KeyServiceServer;
use protocol::projects::v1::project_service_server::ProjectServiceServer;
use protocol::registry::v1::registry_service_server::RegistryServiceServer;
use protocol::registry_feed::{self, RegistryView};
use protocol::schedules::v1::schedule_service_server::ScheduleServiceServer;
use protocol::sessions::v1::session_service_server::SessionServiceServer;
use protocol::types::v1::type_service_server::TypeServiceServer;
use protocol::waiting::v1::waiting_service_server::WaitingServiceServer;
use serde::{Deserialize, Serialize};
use settings::SecretString;
use storage::{RegistryStore, WaitingRoom};
use tonic::service::Routes;

use crate::call_off::CallOff;
use crate::config::Config;
use crate::disable::SwitchOff;
use crate::inbound::Desk;
use crate::inbound::events::EventShard;
use crate::inbound::follow_registry::Follower;
use crate::inbound::functions::Functions;
use crate::inbound::gate::Gate;
use crate::inbound::gateway::{Gateway, Scripts};
use crate::inbound::imports::Imports;
use crate::inbound::keys::Keys;
use crate::inbound::line_up::LineUp;
use crate::inbound::operate::Operate;
use crate::inbound::packages::Packages;
use crate::inbound::projects::Projects;
use crate::inbound::registry::RegistryFeed;
use crate::inbound::schedules::Schedules;
use crate::inbound::scripts_http;
use crate::inbound::sessions::{self, Sessions};
use crate::inbound::triggers::Triggers;
use crate::inbound::types::Types;
use crate::inbound::waiting::WaitingIntake;
use crate::index::Index;
use crate::metrics;
use crate::outbound::deliveries::Outbound;
use crate::outbound::own_events::OwnEvents;
use crate::release::Release;
use crate::strike::Clock;
use crate::token_keys;

/// Full names of the gRPC services.
pub const SERVED: &[&str] = &[
    "tripline.functions.v1.FunctionService",
    "tripline.functions.v1.TriggerService",
    "tripline.gateway.v1.GatewayService",
    "tripline.gateway.v1.ScriptService",
    "tripline.projects.v1.ProjectService",
    "tripline.projects.v1.KeyService",
    "tripline.registry.v1.RegistryService",
    "tripline.sessions.v1.SessionService",
    "tripline.types.v1.TypeService",
    "tripline.waiting.v1.WaitingService",
    "tripline.packages.v1.PackageService",
    "tripline.schedules.v1.ScheduleService",
    "tripline.imports.v1.ImportService",
];

/// What the handler needs of the world.
#[derive(Debug)]
pub struct Parts {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn RegistryStore>,
    pub waiting_room: Arc<dyn WaitingRoom>,
    pub membership: Arc<dyn Membership>,
    /// This replica's name; no two may share it.
    pub replica: String,
    /// Filled by the handler; in one process with others, read by them.
    pub registry: RegistryView,
    pub health: Health,
    pub access: access::Config,
    /// What the other services send to be shown the registry. Nobody is while it is unset.
    pub internal_token: Option<SecretString>,
}

/// A handler whose loops run.
#[derive(Debug)]
pub struct Service {
    desk: Desk,
    operate: Operate,
    schedules: Schedules,
    scripts: Scripts,
}

/// Wires the handler and starts its loops.
///
/// # Errors
/// When a setting cannot be used.
#[expect(clippy::too_many_lines, reason = "the parts, one after the other")]
pub fn build(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Service> {
    metrics::describe();
    let Parts {
        broker,
        store,
        waiting_room,
        membership,
        replica,
        registry,
        health,
        access,
        internal_token,
    } = parts;
    let mut faults = settings::Faults::new("function-handler");
    config.check(&mut faults);
    faults.or_ok(())?;
    let index = Arc::new(Index::new(store, registry.clone()));
    let outbound = Outbound::start(broker.as_ref(), tasks);
    follow(config, &index, &health, tasks);
    token_keys::start(Arc::clone(&index), tasks);
    let event_shards = broker.topology().event_shards;
    let share = Share::keep(membership, "function-handler", replica, event_shards, tasks);
    let line_up = LineUp::start(Arc::clone(&waiting_room), tasks);
    for shard in 0..event_shards {
        let name = format!("event shard {shard}");
        let shard = EventShard {
            shard,
            broker: Arc::clone(&broker),
            index: Arc::clone(&index),
            outbound: outbound.clone(),
            replier: broker.replier(),
            line_up: line_up.clone(),
            tasks: tasks.clone(),
            messages_in_hand_max: config.messages_in_hand_max,
            share: share.clone(),
        };
        tasks.spawn(name, shard.run(tasks.stopping()));
    }
    let call_off = CallOff::start(Arc::clone(&waiting_room), tasks);
    let events = OwnEvents::start(broker.as_ref(), tasks);
    let clock = Clock {
        index: Arc::clone(&index),
        events: events.clone(),
    };
    tasks.spawn("watch the clock", clock.run(tasks.stopping()));
    let switch_off = SwitchOff {
        events: events.clone(),
        index: Arc::clone(&index),
    };
    let intake = WaitingIntake {
        broker,
        room: Arc::clone(&waiting_room),
        index: Arc::clone(&index),
        call_off: call_off.clone(),
        switch_off,
        messages_in_hand_max: config.messages_in_hand_max,
    };
    tasks.spawn("waiting room intake", intake.run(tasks.stopping()));
    let release = Release {
        room: Arc::clone(&waiting_room),
        index: Arc::clone(&index),
        outbound: outbound.clone(),
        release_max: config.release_max,
        claim_for: config.claim_for.get(),
        tasks: tasks.clone(),
    };
    release.start();
    let gate = Gate {
        view: registry,
        access,
        internal_token,
    };
    let desk = Desk::new(gate, index, call_off, tasks);
    let operate = Operate {
        desk: desk.clone(),
        room: waiting_room,
        outbound,
    };
    let schedules = Schedules {
        desk: desk.clone(),
        events,
    };
    let scripts = Scripts {
        desk: desk.clone(),
        is_enabled: config.scripting,
    };
    Ok(Service {
        desk,
        operate,
        schedules,
        scripts,
    })
}

fn follow(config: &Config, index: &Arc<Index>, health: &Health, tasks: &Tasks) {
    let follower = Follower {
        index: Arc::clone(index),
        poll: config.registry_poll.get(),
        registry: health.register("registry"),
        database: health.register_optional("database"),
    };
    tasks.spawn("follow the registry", follower.run(tasks.stopping()));
}

impl Service {
    /// Adds the handler's gRPC services.
    pub fn grpc(&self, routes: Routes) -> Routes {
        let desk = || self.desk.clone();
        routes
            .add_service(FunctionServiceServer::new(Functions { desk: desk() }))
            .add_service(TriggerServiceServer::new(Triggers {
                desk: desk(),
                scripting: self.scripts.is_enabled,
            }))
            .add_service(ProjectServiceServer::new(Projects { desk: desk() }))
            .add_service(KeyServiceServer::new(Keys { desk: desk() }))
            .add_service(RegistryServiceServer::new(RegistryFeed { desk: desk() }))
            .add_service(SessionServiceServer::new(Sessions { desk: desk() }))
            .add_service(
                GatewayServiceServer::new(Gateway { desk: desk() })
                    // A document, and what is around it.
                    .max_decoding_message_size(DOCUMENT_BYTES_MAX + 64 * 1024),
            )
            .add_service(ScriptServiceServer::new(self.scripts.clone()))
            .add_service(TypeServiceServer::new(Types { desk: desk() }))
            .add_service(WaitingServiceServer::new(self.operate.clone()))
            .add_service(PackageServiceServer::new(Packages {
                desk: desk(),
                scripting: self.scripts.is_enabled,
            }))
            .add_service(ScheduleServiceServer::new(self.schedules.clone()))
            .add_service(ImportServiceServer::new(Imports {
                desk: desk(),
                scripting: self.scripts.is_enabled,
            }))
    }

    /// Public keys, and whether a session is in force; all else is managed by gRPC.
    pub fn http(&self) -> Router {
        let desk = self.desk.clone();
        token_keys::router(self.desk.index.view().clone())
            .merge(sessions::router(Sessions { desk }))
            .merge(scripts_http::router(self.scripts.clone()))
    }
}

/// The document a handler of its own reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub telemetry: telemetry::Config,
    pub broker: broker::Config,
    pub storage: storage::Config,
    pub coordination: coordination::Config,
    pub access: access::Config,
    pub registry: registry_feed::Config,
    pub function_handler: Config,
}

/// Runs a handler in a process of its own: connects, wires, and serves until the tasks stop.
///
/// # Errors
/// When a setting cannot be used or the address cannot be listened on. What is away is waited for.
pub async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<()> {
    let health = Health::following(tasks);
    let broker = RabbitMq::start(&settings.broker, tasks, &health).context("set up the broker")?;
    let database = storage::postgres::connect(&settings.storage).context("set up the database")?;
    let cipher = settings
        .storage
        .cipher()
        .context("read storage.encryption_key")?;
    let coordination =
        RedisCoordination::new(&settings.coordination).context("set up coordination")?;
    let parts = Parts {
        broker: Arc::new(broker),
        membership: Arc::new(coordination),
        replica: server::instance_name(),
        store: database.registry(cipher),
        waiting_room: database.waiting_room(),
        registry: RegistryView::default(),
        health: health.clone(),
        access: settings.access,
        internal_token: settings.registry.token,
    };
    let config = settings.function_handler;
    let service = build(&config, parts, tasks)?;
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(config.listen, "function_handler.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.function_handler.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        self.function_handler.check(faults);
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
        self.storage
            .faults()
            .into_iter()
            .for_each(|fault| faults.add(format!("storage.{fault}")));
        if let Err(error) = self.storage.cipher() {
            faults.add(format!("storage.encryption_key: {error}"));
        }
        self.registry.check(faults);
    }
}
