//! Every queue there is: the one place that names them and sets their limits.

use std::fmt;

/// How many shards events and deliveries are spread over; fixed when a system is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    pub event_shards: u16,
    pub delivery_shards: u16,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            event_shards: 4,
            delivery_shards: 8,
        }
    }
}

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Accepted events on their way to function-handler; one consumer at a time.
    Events(u16),
    /// Deliveries on their way to delivery-worker; one consumer at a time.
    Deliveries(u16),
    /// Deliveries that must wait, on their way to the waiting room.
    Waiting,
    /// Facts on their way to log-service.
    Records,
    /// Messages nobody could read, kept for a person.
    Unreadable,
}

impl Queue {
    /// How often a message is given before the broker sets it aside as unreadable. It counts every
    /// crash with the message merely fetched, so it is well above what bad luck brings about; and
    /// what was set aside waits for a person, however often somebody looks at it.
    pub const fn delivery_limit(self) -> u32 {
        match self {
            Self::Unreadable => 1_000_000,
            _ => 20,
        }
    }

    /// Whether only one consumer is served at a time, the others standing by.
    pub const fn has_single_consumer(self) -> bool {
        matches!(self, Self::Events(_) | Self::Deliveries(_))
    }
}

/// The queue's name at the broker. The version is part of it: a live queue is never redeclared.
impl fmt::Display for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(shard) => write!(formatter, "events.v1.{shard}"),
            Self::Deliveries(shard) => write!(formatter, "deliveries.v1.{shard}"),
            Self::Waiting => formatter.write_str("waiting.v1"),
            Self::Records => formatter.write_str("records.v1"),
            Self::Unreadable => formatter.write_str("unreadable.v1"),
        }
    }
}

impl Topology {
    /// Every queue that must exist.
    pub fn queues(&self) -> impl Iterator<Item = Queue> + use<> {
        (0..self.event_shards)
            .map(Queue::Events)
            .chain((0..self.delivery_shards).map(Queue::Deliveries))
            .chain([Queue::Waiting, Queue::Records, Queue::Unreadable])
    }
}
