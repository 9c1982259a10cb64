//! Takes from its queue what the waiting room is told: what must wait, how fast it may go, what ended,
//! and which functions are to be switched off.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::{Acknowledgement, Broker, Queue, take_waiting};
use domain::delivery::{Allowance, Disable, Ended, Notice, Waiting};
use protocol::envelope::Envelope as _;
use storage::WaitingRoom;
use storage::waiting_room::WaitingRow;
use tokio::time::sleep;
use tracing::warn;

use super::read_or_set_aside;
use crate::call_off::{CallOff, wanted};
use crate::disable::SwitchOff;
use crate::error::with_causes;
use crate::index::Index;
use crate::metrics;

/// What is stored in one go.
const MESSAGES_MAX: usize = 64;
const BYTES_MAX: usize = 1024 * 1024;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Fills the waiting room; every replica does.
#[derive(Debug)]
pub struct WaitingIntake {
    pub broker: Arc<dyn Broker>,
    pub room: Arc<dyn WaitingRoom>,
    pub index: Arc<Index>,
    pub call_off: CallOff,
    pub switch_off: SwitchOff,
    pub messages_in_hand_max: u16,
}

impl WaitingIntake {
    /// Runs until `stopping`. What is not stored by then goes back to the queue.
    pub async fn run(self, mut stopping: impl Future<Output = ()> + Unpin) -> anyhow::Result<()> {
        let mut consumer = self
            .broker
            .consume(Queue::Waiting, self.messages_in_hand_max);
        loop {
            let received = tokio::select! {
                biased;
                () = &mut stopping => break,
                received = consumer.next() => received,
            };
            let Some(first) = received else { break };
            let mut told = Told::default();
            let mut acknowledgements = Vec::new();
            for received in take_waiting(consumer.as_mut(), first, MESSAGES_MAX, BYTES_MAX) {
                if let Some((notices, acknowledgement)) = read_or_set_aside(received, Notice::read)
                {
                    notices.into_iter().for_each(|notice| told.add(notice));
                    acknowledgements.push(acknowledgement);
                }
            }
            tokio::select! {
                () = &mut stopping => break,
                () = self.store(&told) => {}
            }
            tokio::select! {
                () = &mut stopping => break,
                () = self.switch_off(&told.disabled) => {}
            }
            metrics::stored(told.waiting.len());
            self.call_off_unwanted(&told.waiting);
            acknowledgements.into_iter().for_each(Acknowledgement::ack);
        }
        consumer.cancel().await;
        Ok(())
    }

    /// One after the other: there are few.
    async fn switch_off(&self, orders: &[Disable]) {
        for order in orders {
            self.switch_off.follow(order).await;
        }
    }

    /// What was under way while its trigger or function was deleted comes too late to have been
    /// called off with the rest. To be asked when the rows are stored: a deletion that is not known
    /// here by then finds them.
    fn call_off_unwanted(&self, stored: &[Waiting]) {
        let registry = self.index.view().read();
        let owners: HashSet<_> = stored
            .iter()
            // What is newer than this replica's knowledge only looks as if it was deleted.
            .filter(|waiting| waiting.target.revision <= registry.revision)
            .filter_map(|Waiting { event, target, .. }| {
                let unwanted = wanted(&registry, &event.project, target).err()?;
                Some((&event.project, unwanted.owner(target)))
            })
            .collect();
        for (project, owner) in owners {
            self.call_off.waiting_for(project, owner);
        }
    }

    /// Tries until it is done. A lasting refusal may be a missing migration, so it is no reason
    /// to set a delivery aside.
    async fn store(&self, told: &Told) {
        let rows: Vec<_> = told.waiting.iter().map(row_of).collect();
        let mut back_off = BACK_OFF_MIN;
        while let Err(error) = self.store_once(&rows, told).await {
            warn!(error = %with_causes(&error), rows = rows.len(), "the waiting room cannot be told");
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// What is allowed comes first, so that nothing goes faster than was said with it; what has
    /// ended last, since it may have come to wait in the same breath.
    async fn store_once(&self, rows: &[WaitingRow], told: &Told) -> Result<(), storage::Error> {
        self.room.allow(&told.allowed).await?;
        self.room.put(rows).await?;
        self.room.end(&told.ended).await
    }
}

/// What several messages say, by kind.
#[derive(Debug, Default)]
struct Told {
    waiting: Vec<Waiting>,
    allowed: Vec<Allowance>,
    ended: Vec<Ended>,
    disabled: Vec<Disable>,
}

impl Told {
    fn add(&mut self, notice: Notice) {
        match notice {
            Notice::Wait(waiting) => self.waiting.push(*waiting),
            Notice::Allow(allowance) => self.allowed.push(allowance),
            Notice::End(ended) => self.ended.push(ended),
            Notice::Disable(disable) => self.disabled.push(disable),
        }
    }
}

/// The payload is an envelope of its own, so that a later release can still read it.
pub(crate) fn row_of(waiting: &Waiting) -> WaitingRow {
    let target = &waiting.target;
    WaitingRow {
        project: waiting.event.project.clone(),
        delivery: target.delivery,
        trigger: target.trigger.clone(),
        function: target.function.clone(),
        generation: target.generation,
        next_attempt: target.next_attempt,
        reason: waiting.reason,
        since: waiting.since,
        due_at: waiting.due_at,
        order_key: None,
        payload: Waiting::write(std::slice::from_ref(waiting)),
    }
}
