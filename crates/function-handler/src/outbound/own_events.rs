//! Emits the handler's own events, into the queues it takes events from.

use std::sync::Arc;
use std::time::Duration;

use broker::{BatchLimits, Batcher, Broker, Encoding, PublishError, Queue};
use domain::event::Event;
use domain::shard;
use lifecycle::Tasks;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

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
        Self {
            lines: (0..broker.topology().event_shards).map(line).collect(),
        }
    }

    /// Returns when the event is durable, and then true; while the broker is away that is not yet.
    /// One for which there is no room is left out.
    pub async fn emit(&self, event: &Event) -> bool {
        let shards = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        let Some(line) = self.lines.get(usize::from(shard::of_event(event, shards))) else {
            return false;
        };
        let mut refused_since = None;
        let mut back_off = BACK_OFF_MIN;
        while let Err(error) = line.push(event.clone()).await {
            let is_over = match error {
                PublishError::TooLarge(_) => true,
                PublishError::Refused | PublishError::Busy => {
                    let since = refused_since.get_or_insert_with(Instant::now);
                    since.elapsed() >= REFUSED_FOR_MAX
                }
                PublishError::Unavailable | PublishError::TimedOut => false,
            };
            if is_over {
                error!(event.type = %event.event_type, subject = event.subject, %error, "an event of the system's own is left out");
                return false;
            }
            debug!(event.type = %event.event_type, %error, "an event of the system's own waits");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        true
    }
}
