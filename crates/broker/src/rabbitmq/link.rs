//! The connection that consumes, kept for all consumers of this process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::{Connection, Event};
use lifecycle::Tasks;
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use super::connector::{Connector, LinkError};
use super::readiness::{Readiness, Role};
use crate::back_off::BackOff;
use crate::metrics;

/// An event may be missed between connecting and listening; the state is not.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows the connection; clones follow the same one.
#[derive(Debug, Clone)]
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Connection>>>,
}

impl Link {
    pub(super) fn start(connector: Connector, readiness: Arc<Readiness>, tasks: &Tasks) -> Self {
        let (sender, current) = watch::channel(None);
        let keeper = Keeper {
            connector,
            readiness,
            current: sender,
        };
        tasks.spawn_background("broker consuming", keeper.run(tasks.closing()));
        Self { current }
    }

    /// The connection, once there is one; `None` when there will be none any more.
    pub(super) async fn connection(&mut self) -> Option<Arc<Connection>> {
        loop {
            let connected = self
                .current
                .borrow_and_update()
                .clone()
                .filter(|connection| connection.status().connected());
            if connected.is_some() {
                return connected;
            }
            self.current.changed().await.ok()?;
        }
    }
}

struct Keeper {
    connector: Connector,
    readiness: Arc<Readiness>,
    current: watch::Sender<Option<Arc<Connection>>>,
}

impl Keeper {
    async fn run(self, closing: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        tokio::select! {
            () = closing => {}
            () = self.keep_connected() => {}
        }
        Ok(())
    }

    async fn keep_connected(&self) {
        let mut back_off = BackOff::default();
        loop {
            let error = match self.connector.connect(Role::Consuming).await {
                Ok(connection) => {
                    back_off.reset();
                    self.watch_over(connection).await
                }
                Err(error) => error,
            };
            let story = error.story();
            tracing::warn!(error = %story, "cannot consume from RabbitMQ");
            metrics::connection_failed(Role::Consuming.name());
            self.readiness.lost(Role::Consuming, story);
            sleep(back_off.next_wait()).await;
        }
    }

    /// Offers the connection until it is lost.
    async fn watch_over(&self, connection: Connection) -> LinkError {
        let connection = Arc::new(connection);
        let mut events = Box::pin(connection.events_listener());
        let mut looks = interval(LOOK_EVERY);
        self.current.send_replace(Some(Arc::clone(&connection)));
        self.readiness.restored(Role::Consuming);
        tracing::info!("consuming from RabbitMQ");
        let error = loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Error(error)) => break LinkError::Lost(error),
                    Some(_) => {}
                    None => break LinkError::Closed,
                },
                _ = looks.tick() => if !connection.status().connected() {
                    break LinkError::Closed;
                },
            }
        };
        self.current.send_replace(None);
        error
    }
}
