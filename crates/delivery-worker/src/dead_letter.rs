//! Tells, as events, which deliveries have failed for good; before the delivery is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use broker::{BatchLimits, Batcher, Broker, Encoding, PublishError, Queue};
use domain::event::Event;
use domain::shard;
use lifecycle::Tasks;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

use crate::metrics;

/// A queue of events that is full is given this long to have room again. For ever would be too
/// long: it drains into the queue of deliveries, which this worker drains.
const REFUSED_FOR_MAX: Duration = Duration::from_secs(30);

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// Where events about deliveries go: one line for each event shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    lines: Arc<[Batcher<Event>]>,
}

impl DeadLetters {
    pub fn start(broker: &dyn Broker, tasks: &Tasks) -> Self {
        let publisher = broker.publisher();
        let shards = broker.topology().event_shards;
        let line = |shard| {
            Batcher::start(
                Arc::clone(&publisher),
                Queue::Events(shard),
                Encoding::of_envelope(),
                BatchLimits::unhurried(),
                tasks,
            )
        };
        Self {
            lines: (0..shards).map(line).collect(),
        }
    }

    /// Tells nothing.
    pub fn off() -> Self {
        Self {
            lines: Arc::new([]),
        }
    }

    pub fn is_on(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Returns when the events are durable; while the broker is away that is not yet.
    pub async fn tell(&self, events: Vec<Event>) {
        let told = events.into_iter().map(|event| self.tell_one(event));
        futures::future::join_all(told).await;
    }

    async fn tell_one(&self, event: Event) {
        let shards = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        let Some(line) = self.lines.get(usize::from(shard::of_event(&event, shards))) else {
            return;
        };
        let mut refused_since = None;
        let mut back_off = BACK_OFF_MIN;
        loop {
            let error = match line.push(event.clone()).await {
                Ok(()) => return metrics::dead_letter_told(),
                Err(error) => error,
            };
            let is_over = match error {
                PublishError::TooLarge(_) => true,
                PublishError::Refused | PublishError::Busy => {
                    let since = refused_since.get_or_insert_with(Instant::now);
                    since.elapsed() >= REFUSED_FOR_MAX
                }
                PublishError::Unavailable | PublishError::TimedOut => false,
            };
            if is_over {
                error!(event.type = %event.event_type, subject = event.subject, %error, "an event about a failed delivery is left out");
                return metrics::dead_letter_left_out();
            }
            debug!(event.type = %event.event_type, %error, "an event about a failed delivery waits");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }
}
