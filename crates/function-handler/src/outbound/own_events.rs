//! Emits the handler's own events, into the queues it takes events from.

use broker::Broker;
use domain::event::Event;
use lifecycle::Tasks;
use tracing::error;

/// One line for each event shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnEvents(broker::OwnEvents);

impl OwnEvents {
    pub fn start(broker: &dyn Broker, tasks: &Tasks) -> Self {
        Self(broker::OwnEvents::start(broker, tasks))
    }

    /// Returns when the event is durable, and then true; while the broker is away that is not yet.
    /// One for which there is no room is left out.
    pub async fn emit(&self, event: &Event) -> bool {
        match self.0.emit(event).await {
            Ok(()) => true,
            Err(error) => {
                error!(event.type = %event.event_type, subject = event.subject, %error, "an event of the system's own is left out");
                false
            }
        }
    }
}
