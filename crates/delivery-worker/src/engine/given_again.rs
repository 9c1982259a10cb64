//! Deliveries of messages that are given again. Each may come by another message too: by its row of
//! the waiting room, when its last worker died between handing it back and saying so. Whichever is
//! second waits here for what becomes of the first, and is mostly spared then. If the first hangs it
//! goes to the waiting room, as whatever hangs leaves its message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Job;
use crate::lanes::LEAVES_AFTER;
use crate::recent::{Attempt, attempt_of};

/// The attempts of such messages that are in hand, each with those that wait for it.
#[derive(Debug, Default)]
pub(super) struct GivenAgain {
    waiting: HashMap<Attempt, Vec<Job>>,
    over: Over,
}

/// Those that are in hand no more.
type Over = Arc<Mutex<Vec<Attempt>>>;

/// That an attempt is in hand. Others wait for it until this is dropped.
#[derive(Debug)]
pub(super) struct First {
    attempt: Attempt,
    over: Over,
}

impl GivenAgain {
    /// Makes others wait for this one, unless it has to wait itself.
    pub(super) fn expect(&mut self, job: &mut Job) {
        let attempt = attempt_of(&job.target);
        if let Entry::Vacant(entry) = self.waiting.entry(attempt) {
            entry.insert(Vec::new());
            let over = Arc::clone(&self.over);
            job.first = Some(Box::new(First { attempt, over }));
        }
    }

    /// Keeps what has to wait; gives back what may go on.
    pub(super) fn admit(&mut self, job: Job) -> Option<Job> {
        if self.waiting.is_empty() || job.first.is_some() {
            return Some(job);
        }
        match self.waiting.get_mut(&attempt_of(&job.target)) {
            Some(waiting) => {
                waiting.push(job);
                None
            }
            None => Some(job),
        }
    }

    /// Whether anything may have to be freed.
    pub(super) fn holds_any(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What has waited so long that its message should not wait any longer: the first one hangs.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Job> {
        let is_late = |job: &mut Job| now >= job.read_at + LEAVES_AFTER;
        let waiting = self.waiting.values_mut();
        waiting
            .flat_map(|jobs| jobs.extract_if(.., is_late))
            .collect()
    }

    /// What need wait no longer.
    pub(super) fn take_freed(&mut self) -> Vec<Job> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let over = std::mem::take(&mut *self.over.lock().unwrap_or_else(PoisonError::into_inner));
        let freed = over
            .iter()
            .filter_map(|attempt| self.waiting.remove(attempt));
        freed.flatten().collect()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.push(self.attempt);
    }
}
