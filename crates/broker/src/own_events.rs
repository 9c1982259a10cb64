//! A service's own events, into the queues that function-handler takes events from.

use std::sync::Arc;
use std::time::Duration;

use domain::event::Event;
use domain::shard;
use lifecycle::Tasks;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::{BatchLimits, Batcher, Broker, Encoding, PublishError, Queue};

/// A queue of events that is full is given this long to have room again. For ever would be too
/// long: it drains into queues that lead back to who waits here.
const REFUSED_FOR_MAX: Duration = Duration::from_secs(30);

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// One line for each event shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnEvents {
    lines: Arc<[Batcher<Event>]>,
}

impl OwnEvents {
    pub fn start(broker: &dyn Broker, tasks: &Tasks) -> Self {
        let publisher = broker.publisher();
        let line = |shard| {
            Batcher::start(
                Arc::clone(&publisher),
                Queue::Events(shard),
                Encoding::of_envelope(),
                BatchLimits::unhurried(),
                tasks,
            )
        };
        let shards = broker.topology().event_shards;
        Self {
            lines: (0..shards).map(line).collect(),
        }
    }

    /// Returns when the event is durable; while the broker is away that is not yet.
    ///
    /// # Errors
    /// When the queue had no room for long, or the event is larger than a message may be.
    pub async fn emit(&self, event: &Event) -> Result<(), PublishError> {
        let shards = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        let line = self.lines.get(usize::from(shard::of_event(event, shards)));
        let line = line.ok_or(PublishError::Unavailable)?;
        let mut refused_since = None;
        let mut back_off = BACK_OFF_MIN;
        loop {
            let error = match line.push(event.clone()).await {
                Ok(()) => return Ok(()),
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
                return Err(error);
            }
            debug!(event.type = %event.event_type, %error, "an event of the system's own waits");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }
}
