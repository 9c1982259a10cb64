//! Opens a connection on which everything that is needed exists.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use super::declare::declare_queues;
use super::readiness::Role;
use crate::config::{Config, ConfigError};
use crate::topology::{Queue, Topology};

/// Twice this without a sign of life, and the connection is given up.
const HEARTBEAT_SECONDS: u16 = 10;
/// Unless the URL says another one. lapin holds room for 64 frames of each connection, all of it in
/// use from the beginning: 8 MiB with the broker's own limit of 128 KiB.
const FRAME_BYTES_MAX: u32 = 32 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A queue takes some 12 ms to come into being, and there may be a few hundred.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Connector {
    uri: AMQPUri,
    topology: Topology,
    queue_bytes_max: u64,
}

/// Why there is no connection to work with.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("connect to RabbitMQ")]
    Connect(#[source] lapin::Error),
    #[error("connect to RabbitMQ: no answer in {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimedOut,
    #[error("declare queue {queue}")]
    Declare { queue: Queue, source: lapin::Error },
    #[error("declare queues: no answer in {} s", DECLARE_TIMEOUT.as_secs())]
    DeclareTimedOut,
    #[error(
        "queue {queue} exists with other arguments: take the settings it was installed with ({source})"
    )]
    Mismatch { queue: Queue, source: lapin::Error },
    #[error("open a channel")]
    Channel(#[source] lapin::Error),
    #[error("consume queue {queue}")]
    Consume { queue: Queue, source: lapin::Error },
    #[error("no answer to a request")]
    NoAnswer,
    #[error("connection lost")]
    Lost(#[source] lapin::Error),
    #[error("connection closed")]
    Closed,
    #[error("nothing was confirmed for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("a queue is missing: a message was returned")]
    Returned,
}

impl LinkError {
    /// The whole chain in one line.
    pub(super) fn story(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl Connector {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut uri: AMQPUri = config
            .url
            .expose()
            .as_str()
            .parse()
            .map_err(ConfigError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
        let topology = config.topology();
        Ok(Self {
            uri,
            topology,
            queue_bytes_max: config.queue_bytes_max,
        })
    }

    /// Connects and declares every queue. Nothing of lapin's own recovery is used: it gives up
    /// after some tries and does not know which of our messages were confirmed.
    pub(super) async fn connect(&self, role: Role) -> Result<Connection, LinkError> {
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("tripline {}", role.name()).into());
        let connection = timeout(
            CONNECT_TIMEOUT,
            Connection::connect_uri(self.uri.clone(), properties),
        )
        .await
        .map_err(|_elapsed| LinkError::ConnectTimedOut)?
        .map_err(LinkError::Connect)?;
        timeout(
            DECLARE_TIMEOUT,
            declare_queues(&connection, self.topology, self.queue_bytes_max),
        )
        .await
        .map_err(|_elapsed| LinkError::DeclareTimedOut)??;
        Ok(connection)
    }
}

/// The password is left out.
impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connector")
            .field("host", &self.uri.authority.host)
            .field("port", &self.uri.authority.port)
            .field("vhost", &self.uri.vhost)
            .finish_non_exhaustive()
    }
}
