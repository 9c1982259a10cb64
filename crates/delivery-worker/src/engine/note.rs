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

impl Engine {
    /// Whether anybody could find what is noted down.
    pub fn is_noting(&self) -> bool {
        self.memory.is_shared()
    }

    /// What another worker noted down of a message that was given before; `None` too where nobody
    /// can be asked.
    pub async fn noted(&self, progress: &Progress) -> Option<String> {
        let name = [progress.name().to_owned()];
        match self.memory.recall(&name).await {
            Ok(notes) => notes.into_iter().next().flatten(),
            Err(error) => {
                debug!(%error, "how far a message has come is not to be had");
                None
            }
        }
    }

    /// Answers for an attempt that is settled.
    pub(super) fn settled(&self, job: &Job, mark: Mark, repeatable: Option<Repeatable>) {
        if job.in_hand.settled_at(job.position, mark, repeatable) {
            self.unnoted().push(Arc::clone(&job.in_hand));
        }
        self.wake.notify_one();
    }

    /// Answers for what a row of the waiting room stands for from now on.
    pub(super) fn moved_on(&self, job: &Job) {
        if !job.has_left {
            self.settled(job, Mark::Waits, None);
        }
    }

    /// How many more requests may be started, so that no more would be repeated than may be under
    /// way.
    pub(super) fn room(&self) -> usize {
        let repeatable = self.repeatable.load(Ordering::Acquire);
        self.in_flight_max.saturating_sub(repeatable)
    }

    pub(super) fn has_unnoted(&self) -> bool {
        !self.unnoted().is_empty()
    }

    pub(super) async fn note(self: Arc<Self>) {
        let listed = std::mem::take(&mut *self.unnoted());
        let open = listed.iter().filter_map(|in_hand| in_hand.progress());
        let (notes, repeatable): (Vec<_>, Vec<_>) = open.map(Progress::take_note).unzip();
        if let Err(error) = self.memory.keep(&notes, NOTED_FOR).await {
            debug!(%error, "how far messages have come is not noted down");
        }
        drop(repeatable);
        self.wake.notify_one();
    }

    fn unnoted(&self) -> MutexGuard<'_, Vec<Arc<InHand>>> {
        self.unnoted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
