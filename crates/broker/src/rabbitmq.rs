//! The broker for many processes: `RabbitMQ`, with a supervision of its connections of our own.
//!
//! One connection publishes and another consumes, because a broker that blocks publishers stops
//! reading from their connection, acknowledgements included. On any error a role drops everything
//! it holds and begins anew: connect, declare the topology, confirms or consumers.

mod connector;
mod declare;
mod readiness;

mod properties;
mod publishing;

mod consuming;
mod link;
mod open_deliveries;

mod replying;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lifecycle::{Health, Tasks};

use crate::config::{Config, ConfigError};
use crate::consume::Consumer;
use crate::reply::{Replier, ReplyInbox};
use crate::{Broker, Publisher, Queue, Topology};
use connector::Connector;
use consuming::RabbitConsumer;
use link::Link;
use publishing::RabbitPublisher;
use readiness::{Readiness, Role};

/// `RabbitMQ`. Connects in the background and for ever again; health says whether it is there.
#[derive(Debug)]
pub struct RabbitMq {
    topology: Topology,
    connector: Connector,
    readiness: Arc<Readiness>,
    publisher: Arc<RabbitPublisher>,
    /// Opened when something is first consumed: who only publishes needs no second connection.
    link: OnceLock<Link>,
    /// Opened when somebody may have to reply.
    replier: OnceLock<Replier>,
    tasks: Tasks,
}

impl RabbitMq {
    /// Starts to connect, and registers the check "broker".
    ///
    /// # Errors
    /// When the settings cannot be used at all; a broker that is not there is waited for.
    pub fn start(config: &Config, tasks: &Tasks, health: &Health) -> Result<Self, ConfigError> {
        config.check()?;
        let connector = Connector::new(config)?;
        let readiness = Arc::new(Readiness::new(health.register("broker")));
        let publisher = publishing::start(config, connector.clone(), Arc::clone(&readiness), tasks);
        Ok(Self {
            topology: config.topology(),
            connector,
            readiness,
            publisher: Arc::new(publisher),
            link: OnceLock::new(),
            replier: OnceLock::new(),
            tasks: tasks.clone(),
        })
    }

    fn link(&self) -> &Link {
        self.link.get_or_init(|| {
            self.readiness.lost(Role::Consuming, "starting");
            Link::start(
                self.connector.clone(),
                Arc::clone(&self.readiness),
                &self.tasks,
            )
        })
    }
}

#[async_trait]
impl Broker for RabbitMq {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as Arc<dyn Publisher>
    }

    fn consume(&self, queue: Queue, in_flight_max: u16) -> Box<dyn Consumer> {
        Box::new(RabbitConsumer::start(
            queue,
            in_flight_max,
            self.link().clone(),
            Arc::clone(&self.publisher),
            &self.tasks,
        ))
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn reply_inbox(&self) -> ReplyInbox {
        replying::listen(self.connector.clone(), &self.tasks)
    }

    fn replier(&self) -> Replier {
        let replier = self
            .replier
            .get_or_init(|| replying::send(self.connector.clone(), &self.tasks));
        replier.clone()
    }
}
