//! Wires the api-gateway together, inside one process with others or in one of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use broker::{Broker, RabbitMq};
use domain::gateway::script_token::ScriptTokenKey;
use egress::forward::{ForwardClient, ForwardConfig};
use lifecycle::{Health, Tasks};
use process::server::{self, Surface};
use protocol::access;
use protocol::registry_feed::{self, Interest, RegistryView};
use serde::{Deserialize, Serialize};
use settings::SecretString;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::config::Config;
use crate::inbound::http;
use crate::metrics;
use crate::outbound::done::DoneEvents;
use crate::outbound::scripts::Scripts;
use crate::serve::{Gateway, Inner, Limits};

/// The gateway has no gRPC services of its own.
pub const SERVED: &[&str] = &[];

/// What the gateway needs of the world.
#[derive(Debug)]
pub struct Parts {
    pub broker: Arc<dyn Broker>,
    /// Projects, keys, services and scripts.
    pub registry: RegistryView,
    pub health: Health,
    pub keys_required: bool,
    /// Whether services on this machine may be called.
    pub allow_loopback: bool,
    /// What runs scripts.
    pub scripts: Scripts,
    /// Signs what scripts call back with; the same for all replicas.
    pub token_secret: SecretString,
}

/// A gateway whose loops run.
#[derive(Debug)]
pub struct Service {
    gateway: Gateway,
}

/// Wires the gateway and starts its loops.
///
/// # Errors
/// When a setting cannot be used.
pub fn build(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Service> {
    let mut faults = settings::Faults::new("api-gateway");
    config.check(&mut faults);
    faults.or_ok(())?;
    metrics::describe();
    let egress = config
        .egress
        .policy("api_gateway", parts.allow_loopback)
        .map_err(anyhow::Error::msg)?;
    let client = ForwardClient::new(ForwardConfig {
        egress,
        connect_timeout: config.connect_timeout.into(),
        ..ForwardConfig::default()
    })
    .context("set up the client for services")?;
    let check = parts.health.register("registry");
    let (registry, stopping) = (parts.registry.clone(), tasks.stopping());
    tasks.spawn("wait for the registry", async move {
        // Without services and keys nobody can be told apart.
        let mut changes = registry.changes();
        tokio::select! {
            () = stopping => {}
            _filled = changes.wait_for(Option::is_some) => check.ready(),
        }
        Ok(())
    });
    let gateway = Gateway(Arc::new(Inner {
        registry: parts.registry,
        keys_required: parts.keys_required,
        client,
        scripts: parts.scripts,
        done: DoneEvents::start(parts.broker.as_ref(), tasks),
        tokens: ScriptTokenKey::new(parts.token_secret.expose().as_bytes()),
        room: Semaphore::new(config.intercepted_max.into()),
        limits: Limits {
            body_bytes_max: config.body_bytes_max,
            body_timeout: config.body_timeout.into(),
            response_timeout: config.response_timeout.into(),
            queue_timeout: config.queue_timeout.into(),
        },
    }));
    Ok(Service { gateway })
}

impl Service {
    #[expect(clippy::unused_self, reason = "every service is asked in the same way")]
    pub fn grpc(&self, routes: Routes) -> Routes {
        routes
    }

    pub fn http(&self) -> Router {
        http::router(self.gateway.clone())
    }
}

/// The document a gateway of its own reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub telemetry: telemetry::Config,
    pub broker: broker::Config,
    pub access: access::Config,
    pub registry: registry_feed::Config,
    pub api_gateway: Config,
}

/// Runs a gateway in a process of its own: connects, wires, and serves until the tasks stop.
///
/// # Errors
/// When a setting cannot be used or the address cannot be listened on. What is away is waited for.
pub async fn start(settings: Settings, tasks: &Tasks) -> anyhow::Result<()> {
    let health = Health::following(tasks);
    let broker = RabbitMq::start(&settings.broker, tasks, &health).context("set up the broker")?;
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
    let config = settings.api_gateway;
    let token = settings.registry.token.context("read registry.token")?;
    let parts = Parts {
        broker: Arc::new(broker),
        registry,
        health: health.clone(),
        keys_required: settings.access.keys_required,
        allow_loopback: false,
        scripts: Scripts::at(&config.scripts, Some(&token)).context("read api_gateway.scripts")?,
        token_secret: token,
    };
    let service = build(&config, parts, tasks)?;
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = server::router(surface, &health, tasks)?;
    let listener = server::listen(config.listen, "api_gateway.listen").await?;
    lifecycle::server::serve(listener, router, tasks);
    Ok(())
}

impl process::Settings for Settings {
    fn telemetry(&self) -> &telemetry::Config {
        &self.telemetry
    }

    fn grace_period(&self) -> Duration {
        self.api_gateway.grace_period.into()
    }

    fn check(&self, faults: &mut settings::Faults) {
        self.api_gateway.check(faults);
        self.registry.check(faults);
        if let Err(error) = self.broker.check() {
            faults.add(format!("broker.{error}"));
        }
    }
}
