//! Notes down how far messages have come, so that whoever is given them next repeats little.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::debug;

use super::{Engine, Job};
use crate::progress::{Mark, Progress, Repeatable};
use crate::settle::InHand;

/// How long the first mark waits for others. A worker that dies repeats what was settled within
/// this time, at most.
pub(super) const NOTE_INTERVAL: Duration = Duration::from_millis(20);

/// Longer than it takes to notice that a worker has died: the broker misses its heartbeats.
const NOTED_FOR: Duration = Duration::from_secs(60);

/// What was settled and is not noted down.
#[derive(Debug, Default)]
pub(super) struct Unnoted {
    messages: Vec<Arc<InHand>>,
    /// Of messages that were acknowledged instead. The broker has heard of it when the next note
    /// is written.
    acknowledged: Vec<Repeatable>,
}

impl Engine {
    /// Whether anybody could find what is noted down.
    pub fn is_noting(&self) -> bool {
        self.memory.is_shared()
    }

    /// What another worker noted down of a message that was given before, and `progress` goes on
    /// from; `None` too where nobody can be asked.
    pub async fn noted(&self, progress: &Progress) -> Option<String> {
        let name = [progress.name().to_owned()];
        match self.memory.recall(&name).await {
            Ok(notes) => {
                let note = notes.into_iter().next().flatten()?;
                progress.resume(&note);
                Some(note)
            }
            Err(error) => {
                debug!(%error, "how far a message has come is not to be had");
                None
            }
        }
    }

    /// Answers for an attempt that is settled.
    pub(super) fn settled(&self, job: &Job, mark: Mark, repeatable: Option<Repeatable>) {
        if job.in_hand.progress().is_none() {
            job.in_hand.settled();
            if self.is_noting() {
                self.unnoted().acknowledged.extend(repeatable);
            }
        } else if job.in_hand.settled_at(job.position, mark, repeatable) {
            self.unnoted().messages.push(Arc::clone(&job.in_hand));
        }
        self.wake.notify_one();
    }

    /// Answers for what a row of the waiting room stands for from now on.
    pub(super) fn moved_on(&self, job: &Job, repeatable: Option<Repeatable>) {
        if !job.has_left {
            self.settled(job, Mark::Waits, repeatable);
        }
    }

    /// Notes down what is about to be handed back. If this worker dies before its message is
    /// acknowledged, it would else come twice: by its row, and by the message.
    pub(super) async fn announce(self: &Arc<Self>, jobs: impl Iterator<Item = &Job>) {
        if !self.is_noting() {
            return;
        }
        for job in jobs.filter(|job| !job.has_left) {
            if job.in_hand.leaves_at(job.position) {
                self.unnoted().messages.push(Arc::clone(&job.in_hand));
            }
        }
        // Never broken off, since others' marks are among what is written.
        Arc::clone(self).note().await;
    }

    /// How many more requests may be started, so that no more would be repeated than may be under
    /// way.
    pub(super) fn room(&self) -> usize {
        let repeatable = self.repeatable.load(Ordering::Acquire);
        self.in_flight_max.saturating_sub(repeatable)
    }

    pub(super) fn has_unnoted(&self) -> bool {
        let unnoted = self.unnoted();
        !unnoted.messages.is_empty() || !unnoted.acknowledged.is_empty()
    }

    /// Whether somebody is at it just now.
    pub(super) fn is_writing_notes(&self) -> bool {
        self.noting.try_lock().is_err()
    }

    /// Returns when what was listed until now is noted down, or cannot be.
    pub(super) async fn note(self: Arc<Self>) {
        // One after the other, so that no note is replaced by an older one.
        let turn = self.noting.lock().await;
        let Unnoted {
            messages,
            acknowledged,
        } = std::mem::take(&mut *self.unnoted());
        let open = messages.iter().filter_map(|in_hand| in_hand.progress());
        let (notes, repeatable): (Vec<_>, Vec<_>) = open.map(Progress::take_note).unzip();
        if let Err(error) = self.memory.keep(&notes, NOTED_FOR).await {
            debug!(%error, "how far messages have come is not noted down");
        }
        drop((repeatable, acknowledged));
        // Whoever is woken may write the next.
        drop(turn);
        self.wake.notify_one();
    }

    fn unnoted(&self) -> MutexGuard<'_, Unnoted> {
        self.unnoted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
