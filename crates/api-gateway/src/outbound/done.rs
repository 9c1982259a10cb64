//! Tells that a call was made, as an event, for the scripts that are queued for it.

use std::sync::Arc;
use std::time::Duration;

use broker::{BatchLimits, Batcher, Broker, Encoding, PublishError, Queue};
use domain::event::Event;
use domain::shard;
use lifecycle::Tasks;
use tokio::time::{sleep, timeout};
use tracing::debug;

const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// One line for each event shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DoneEvents {
    lines: Arc<[Batcher<Event>]>,
}

impl DoneEvents {
    pub fn start(broker: &dyn Broker, tasks: &Tasks) -> Self {
        let publisher = broker.publisher();
        let line = |shard| {
            Batcher::start(
                Arc::clone(&publisher),
                Queue::Events(shard),
                Encoding::of_envelope(),
                BatchLimits::default(),
                tasks,
            )
        };
        Self {
            lines: (0..broker.topology().event_shards).map(line).collect(),
        }
    }

    /// Returns when the event is durable; tried again within `time_max`.
    ///
    /// # Errors
    /// Why it is not durable by then.
    pub async fn emit(&self, event: &Event, time_max: Duration) -> Result<(), PublishError> {
        let shards = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        let Some(line) = self.lines.get(usize::from(shard::of_event(event, shards))) else {
            return Err(PublishError::Unavailable);
        };
        let mut last = PublishError::TimedOut;
        let trying = async {
            let mut back_off = BACK_OFF_MIN;
            loop {
                match line.push(event.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(error @ PublishError::TooLarge(_)) => return Err(error),
                    Err(error) => {
                        debug!(%error, "a call's event waits");
                        last = error;
                    }
                }
                sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
        };
        match timeout(time_max, trying).await {
            Ok(ended) => ended,
            Err(_elapsed) => Err(last),
        }
    }
}
