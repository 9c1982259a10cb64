//! All services in one process: how they are wired together, whatever they stand on.

use std::sync::Arc;

use api_gateway::outbound::scripts::Scripts;
use broker::Broker;
use coordination::{EndpointMemory, IdempotencyKeys, Membership};
use delivery_worker::Door;
use lifecycle::{Health, Tasks};
use process::server::{Surface, instance_name};
use protocol::access;
use protocol::registry_feed::RegistryView;
use storage::{LogStore, Redrives, RegistryStore, WaitingRoom};
use tonic::service::Routes;
use uuid::Uuid;

/// What the services stand on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: Arc<dyn RegistryStore>,
    pub(crate) waiting_room: Arc<dyn WaitingRoom>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) redrives: Arc<dyn Redrives>,
    pub(crate) keys: Arc<dyn IdempotencyKeys>,
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) memory: Arc<dyn EndpointMemory>,
    pub(crate) access: access::Config,
    /// Whether functions on this machine may be called.
    pub(crate) allow_loopback: bool,
}

/// Each service's own settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configs {
    pub(crate) trigger_emitter: trigger_emitter::Config,
    pub(crate) function_handler: function_handler::Config,
    pub(crate) delivery_worker: delivery_worker::Config,
    pub(crate) log_service: log_service::Config,
    pub(crate) api_gateway: api_gateway::Config,
}

/// Wires the services and starts their loops. They share one view of what is configured,
/// which function-handler fills.
///
/// # Errors
/// When a setting cannot be used.
#[expect(clippy::too_many_lines, reason = "the services, one after the other")]
pub(crate) fn build(
    configs: &Configs,
    ground: Ground,
    health: &Health,
    tasks: &Tasks,
) -> anyhow::Result<Surface> {
    let view = RegistryView::default();
    let keys_required = ground.access.keys_required;
    let handler = function_handler::build(
        &configs.function_handler,
        function_handler::Parts {
            broker: Arc::clone(&ground.broker),
            store: ground.registry,
            waiting_room: ground.waiting_room,
            membership: Arc::clone(&ground.membership),
            replica: instance_name(),
            registry: view.clone(),
            health: health.of("function-handler"),
            access: ground.access,
            internal_token: None,
        },
        tasks,
    )?;
    let emitter = trigger_emitter::build(
        &configs.trigger_emitter,
        trigger_emitter::Parts {
            broker: Arc::clone(&ground.broker),
            keys: ground.keys,
            registry: view.clone(),
            health: health.of("trigger-emitter"),
            keys_required,
        },
        tasks,
    )?;
    let logs = log_service::build(
        &configs.log_service,
        log_service::Parts {
            broker: Arc::clone(&ground.broker),
            store: ground.logs,
            redrives: ground.redrives,
            registry: view.clone(),
            health: health.of("log-service"),
            keys_required,
            replica: instance_name(),
        },
        tasks,
    )?;
    // Nobody outside this process learns it.
    let between_us = settings::Secret::from(format!("{}{}", Uuid::new_v4(), Uuid::new_v4()));
    let worker = delivery_worker::build(
        &configs.delivery_worker,
        delivery_worker::Parts {
            broker: Arc::clone(&ground.broker),
            membership: ground.membership,
            memory: ground.memory,
            registry: view.clone(),
            health: health.of("delivery-worker"),
            keys_required,
            internal_token: Some(between_us.clone()),
            allow_loopback: ground.allow_loopback,
            worker: instance_name(),
        },
        tasks,
    )?
    .with_door(Door::new(emitter.events()));
    let scripts = Scripts::within(worker.grpc(Routes::default()), Some(&between_us))?;
    let gateway = api_gateway::build(
        &configs.api_gateway,
        api_gateway::Parts {
            broker: ground.broker,
            registry: view,
            health: health.of("api-gateway"),
            keys_required,
            allow_loopback: ground.allow_loopback,
            scripts,
            token_secret: between_us,
        },
        tasks,
    )?;
    let routes = worker.grpc(logs.grpc(handler.grpc(emitter.grpc(Routes::default()))));
    let served = [
        trigger_emitter::SERVED,
        function_handler::SERVED,
        delivery_worker::SERVED,
        log_service::SERVED,
    ];
    let http = emitter
        .http()
        .merge(handler.http())
        .merge(logs.http())
        .merge(worker.http())
        .merge(gateway.http());
    Ok(Surface {
        routes,
        served: served.concat(),
        http,
    })
}
