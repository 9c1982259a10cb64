//! Queues between the services: `RabbitMQ`, and an embedded twin on `SQLite`.
//!
//! A publisher's message is durable when its confirm says so; a consumer's message is given again,
//! to somebody, until it is acknowledged. Both survive the loss of the connection: a consumer goes
//! on where the broker is, a publisher answers [`PublishError::Unavailable`] meanwhile.
//!
//! **Invariant:** nothing confirmed is lost; nothing acknowledged comes again from this queue.

pub mod topology;

pub mod config;
pub mod publish;

pub mod consume;

pub mod reply;

pub mod batch;

pub mod own_events;

mod envelope;

pub mod rabbitmq;

pub mod embedded;

pub mod metrics;

mod back_off;
mod inbox;
mod packing;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use batch::{BatchLimits, Batcher, Encoding, Pushed, StreamRate};
pub use config::{Config, ConfigError};
pub use consume::{Acknowledgement, Consumer, Received, SetAside, take_waiting};
pub use embedded::Embedded;
pub use own_events::OwnEvents;
pub use publish::{Confirm, MESSAGE_BYTES_MAX, Message, PublishError, Publisher};
pub use rabbitmq::RabbitMq;
pub use reply::{Replier, ReplyInbox};
pub use topology::{Queue, Topology};

/// Both kinds of broker.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    fn publisher(&self) -> Arc<dyn Publisher>;

    /// Begins to consume a queue; at most `in_flight_max` messages are unacknowledged at a time.
    /// The consumer ends with `cancel`, and when it is dropped.
    fn consume(&self, queue: Queue, in_flight_max: u16) -> Box<dyn Consumer>;

    fn topology(&self) -> &Topology;

    /// Begins to listen for replies, under an address of its own. They are lost while the
    /// connection is away, and when they are not taken.
    fn reply_inbox(&self) -> ReplyInbox;

    /// What sends replies; one for each process is enough.
    fn replier(&self) -> Replier;
}
