//! Puts accepted events into the event shards, many to a message.

use std::sync::Arc;

use broker::{BatchLimits, Batcher, Broker, Encoding, PublishError, Pushed, Queue};
use domain::event::Event;
use domain::shard;
use lifecycle::Tasks;

/// One line for each event shard.
#[derive(Debug)]
pub(crate) struct Events {
    shards: u16,
    lines: Vec<Batcher<Event>>,
}

impl Events {
    pub(crate) fn start(broker: &Arc<dyn Broker>, limits: &BatchLimits, tasks: &Tasks) -> Self {
        let shards = broker.topology().event_shards;
        let publisher = broker.publisher();
        let lines = (0..shards).map(|shard| {
            let queue = Queue::Events(shard);
            let encoding = Encoding::of_envelope();
            Batcher::start(
                Arc::clone(&publisher),
                queue,
                encoding,
                limits.clone(),
                tasks,
            )
        });
        Self {
            shards,
            lines: lines.collect(),
        }
    }

    pub(crate) fn shard_of(&self, event: &Event) -> u16 {
        shard::of_event(event, self.shards)
    }

    /// Puts events of one shard in line, in their order.
    ///
    /// # Errors
    /// When there is no room in time.
    pub(crate) async fn put(&self, shard: u16, events: Vec<Event>) -> Result<Pushed, PublishError> {
        match self.lines.get(usize::from(shard)) {
            Some(line) => line.put(events).await,
            None => Err(PublishError::Unavailable),
        }
    }
}
