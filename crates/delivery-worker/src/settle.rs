//! Makes what came of an attempt durable: first the next try, then the record, then the ack.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use broker::{Acknowledgement, Batcher, PublishError, Replier};
use domain::dead_letter::events_about;
use domain::delivery::{Disable, Ended, Notice, Status, Target};
use domain::event::Event;
use domain::name::ProjectName;
use domain::record::Record;
use domain::reply::{Answered, Reply, Said};
use futures::future::try_join_all;
use protocol::reply;

use crate::dead_letter::DeadLetters;
use crate::deliver::Settlement;
use crate::metrics;
use crate::progress::{Mark, Progress, Repeatable};

/// Where settlements go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Settler {
    pub records: Batcher<Record>,
    /// What the waiting room is told: some of it is gathered first, since nobody waits for it.
    pub notices: Batcher<Notice>,
    /// What the waiting room is told at once: what has ended, since the next in line waits for it.
    pub ends: Batcher<Notice>,
    pub dead_letters: DeadLetters,
    /// Tells whoever waits for an answer.
    pub replier: Replier,
}

impl Settler {
    /// Returns when everything that follows from the attempt is durable. `has_row` says that a row
    /// in the waiting room stands for the delivery until it hears that it has ended.
    ///
    /// # Errors
    /// When the process ends first, or when there is no room for the events that the answer asked for:
    /// then nothing may be acknowledged.
    pub async fn settle(
        &self,
        event: &Event,
        settlement: Box<Settlement>,
        target: &Target,
        has_row: bool,
    ) -> Result<(), PublishError> {
        self.tell_who_waits(event, &settlement);
        let is_final = settlement.waiting.is_none();
        let about = if self.dead_letters.is_on {
            events_about(event, &settlement.record)
        } else {
            Vec::new()
        };
        // First: once they are durable a crash repeats the attempt, and with it the same events.
        self.emit(&settlement.chained).await?;
        // Both are put in line before either is awaited. A crash in between repeats the attempt.
        let waiting = match settlement.waiting {
            Some(waiting) => {
                let notice = vec![Notice::Wait(waiting)];
                Some(self.notices.put_until_durable(notice).await?)
            }
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
        if !about.is_empty() {
            self.dead_letters.tell(about).await;
        }
        // Last, since the row is all that is left to repeat the delivery by.
        if has_row && is_final {
            self.end(event.project.clone(), target).await?;
        }
        Ok(())
    }

    /// Not before it is durable, but at once: somebody waits, and a repeat does no harm.
    fn tell_who_waits(&self, event: &Event, settlement: &Settlement) {
        let Some(to) = &event.reply_to else { return };
        let said = match &settlement.record {
            Record::Attempted(attempted) => match attempted.status {
                Status::Processed => Said::Answered(Answered {
                    function: attempted.function.clone(),
                    status: attempted.response_status.unwrap_or_default(),
                    content_type: attempted
                        .response_headers
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
                        .map(|(_, value)| value.to_owned()),
                    body: attempted.response_body.clone(),
                    is_truncated: attempted.is_response_truncated,
                }),
                Status::Failed | Status::Cancel => Said::Failed,
                Status::Intent | Status::Staged => return,
            },
            Record::Settled(_) => Said::Failed,
            Record::Matched(_) => return,
        };
        let event = event.eid;
        self.replier.reply(to, reply::write(&Reply { event, said }));
    }

    /// Emits what an answer asked for.
    async fn emit(&self, chained: &[Event]) -> Result<(), PublishError> {
        let events = &self.dead_letters.events;
        try_join_all(chained.iter().map(|event| events.emit(event))).await?;
        metrics::chained(chained.len());
        Ok(())
    }

    /// Orders that a function is switched off.
    ///
    /// # Errors
    /// Only when the process ends first.
    pub async fn disable(&self, disable: Disable) -> Result<(), PublishError> {
        self.notices
            .push_until_durable(vec![Notice::Disable(disable)])
            .await
    }

    /// Tells the waiting room that a delivery it holds a row for is settled for good.
    ///
    /// # Errors
    /// Only when the process ends first.
    pub async fn end(&self, project: ProjectName, target: &Target) -> Result<(), PublishError> {
        let ended = Ended {
            project,
            delivery: target.delivery,
            generation: target.generation,
        };
        self.ends.push_until_durable(vec![Notice::End(ended)]).await
    }
}

/// One message in hand: acknowledged when the last of its deliveries is settled. When it is
/// dropped before that, the message goes back to the queue.
#[derive(Debug)]
pub struct InHand {
    open: AtomicUsize,
    /// `None` where nobody else could be told of it.
    progress: Option<Progress>,
    acknowledgement: Mutex<Option<Acknowledgement>>,
}

impl InHand {
    /// `deliveries` is how many have to be settled; at least one.
    pub fn new(
        deliveries: usize,
        progress: Option<Progress>,
        acknowledgement: Acknowledgement,
    ) -> Self {
        Self {
            open: AtomicUsize::new(deliveries),
            progress,
            acknowledgement: Mutex::new(Some(acknowledgement)),
        }
    }

    /// How far it has come. That it is done with counts too: the broker may not have heard of it
    /// when this worker dies.
    pub const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// The attempt at this place of the message is settled, durably. Whether the message has to be
    /// listed for noting down how far it has come.
    pub fn settled_at(&self, place: usize, mark: Mark, repeatable: Option<Repeatable>) -> bool {
        let is_new = match &self.progress {
            Some(progress) => progress.mark(place, mark, repeatable),
            None => false,
        };
        self.settled();
        is_new
    }

    /// The delivery at this place is about to be handed back. Whether the message has to be listed
    /// for noting down how far it has come.
    pub fn leaves_at(&self, place: usize) -> bool {
        let progress = self.progress.as_ref();
        progress.is_some_and(|progress| progress.mark(place, Mark::Leaves, None))
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
