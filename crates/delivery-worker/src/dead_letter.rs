//! Tells, as events, which deliveries have failed for good; before the delivery is acknowledged.

use broker::OwnEvents;
use domain::event::Event;
use tracing::error;

use crate::metrics;

/// Where events about deliveries go, if anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pub events: OwnEvents,
    pub is_on: bool,
}

impl DeadLetters {
    /// Returns when the events are durable; while the broker is away that is not yet.
    pub async fn tell(&self, events: Vec<Event>) {
        let told = events.iter().map(|event| self.tell_one(event));
        futures::future::join_all(told).await;
    }

    async fn tell_one(&self, event: &Event) {
        match self.events.emit(event).await {
            Ok(()) => metrics::dead_letter_told(),
            Err(error) => {
                error!(event.type = %event.event_type, subject = event.subject, %error, "an event about a failed delivery is left out");
                metrics::dead_letter_left_out();
            }
        }
    }
}
