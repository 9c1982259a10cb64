//! Makes what came of an attempt durable: first the next try, then the record, then the ack.

use broker::{Acknowledgement, Batcher, PublishError};
use domain::dead_letter::events_about;
use domain::delivery::Waiting;
use domain::event::Event;
use domain::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::dead_letter::DeadLetters;
use crate::deliver::Settlement;

/// Where settlements go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Settler {
    pub records: Batcher<Record>,
    pub waiting: Batcher<Waiting>,
    pub dead_letters: DeadLetters,
}

impl Settler {
    /// Returns when everything that follows from the attempt is durable.
    ///
    /// # Errors
    /// Only when the process ends first: then nothing may be acknowledged.
    pub async fn settle(&self, event: &Event, settlement: Settlement) -> Result<(), PublishError> {
        let about = if self.dead_letters.is_on() {
            events_about(event, &settlement.record)
        } else {
            Vec::new()
        };
        // Both are put in line before either is awaited. A crash in between repeats the attempt.
        let waiting = match settlement.waiting {
            Some(waiting) => Some(self.waiting.put_until_durable(vec![waiting]).await?),
            None => None,
        };
        let record = self
            .records
            .put_until_durable(vec![settlement.record])
            .await?;
        if let Some(waiting) = waiting {
            waiting.await?;
        }
        record.await?;
        self.dead_letters.tell(about).await;
        Ok(())
    }
}

/// One message in hand: acknowledged when the last of its deliveries is settled. When it is
/// dropped before that, the message goes back to the queue.
#[derive(Debug)]
pub struct InHand {
    open: AtomicUsize,
    acknowledgement: Mutex<Option<Acknowledgement>>,
}

impl InHand {
    /// `deliveries` is how many have to be settled; at least one.
    pub fn new(deliveries: usize, acknowledgement: Acknowledgement) -> Self {
        Self {
            open: AtomicUsize::new(deliveries),
            acknowledgement: Mutex::new(Some(acknowledgement)),
        }
    }

    /// One more delivery of the message is settled, durably.
    pub fn settled(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut slot = self
                .acknowledgement
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(acknowledgement) = slot.take() {
                acknowledgement.ack();
            }
        }
    }
}
