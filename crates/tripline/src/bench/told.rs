//! An endpoint that does as it is told: it is down, or takes only so many requests a second, and it
//! watches over the order of what it takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::StatusCode;

use super::sample::Sample;

/// Requests it takes at once after a rest, as a share of those it takes in a second.
const BURST: f64 = 0.1;

/// What an endpoint is told, and what it saw.
#[derive(Debug)]
pub(crate) struct Told {
    /// It answers 503 to everything.
    is_down: AtomicBool,
    per_second: f64,
    /// Events that are so far apart share a key.
    keys: usize,
    state: Mutex<State>,
    taken: AtomicUsize,
    refused: AtomicUsize,
    out_of_order: AtomicUsize,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    counted_at: Instant,
    /// The last event that was taken of each key.
    last: HashMap<usize, usize>,
}

/// What it saw since it was last told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) taken: usize,
    pub(crate) refused: usize,
    pub(crate) out_of_order: usize,
}

impl Told {
    pub(crate) fn new(per_second: f64, keys: usize) -> Self {
        Self {
            is_down: AtomicBool::new(false),
            per_second,
            keys: keys.max(1),
            state: Mutex::new(State {
                tokens: per_second * BURST,
                counted_at: Instant::now(),
                last: HashMap::new(),
            }),
            taken: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            out_of_order: AtomicUsize::new(0),
        }
    }

    /// Goes down or comes back; what it saw so far is forgotten, but for the order.
    pub(crate) fn be_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            taken: self.taken.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            out_of_order: self.out_of_order.load(Ordering::Relaxed),
        }
    }

    /// Of each key the event that was taken last.
    pub(crate) fn last_of_keys(&self) -> HashMap<usize, usize> {
        self.state().last.clone()
    }

    /// What it answers to the call that brings this event.
    pub(super) fn judge(&self, id: Option<&str>, now: Instant) -> StatusCode {
        if self.is_down.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let mut state = self.state();
        let rested = now.saturating_duration_since(state.counted_at);
        let full = self.per_second * BURST;
        state.tokens = (state.tokens + rested.as_secs_f64() * self.per_second).min(full.max(1.0));
        state.counted_at = now;
        if state.tokens < 1.0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return StatusCode::TOO_MANY_REQUESTS;
        }
        state.tokens -= 1.0;
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(event) = id.and_then(Sample::event_of) {
            let last = state.last.insert(event % self.keys, event);
            // The same one again is no fault of the order.
            if last.is_some_and(|last| event < last) {
                self.out_of_order.fetch_add(1, Ordering::Relaxed);
            }
        }
        StatusCode::NO_CONTENT
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_takes_so_many_a_second_and_refuses_the_rest() {
        let told = Told::new(200.0, 10);
        let begun = Instant::now();
        let statuses: Vec<_> = (0..1_000)
            .map(|number| told.judge(None, begun + Duration::from_millis(number)))
            .collect();
        let taken = statuses
            .iter()
            .filter(|status| **status == StatusCode::NO_CONTENT);
        assert!((199..=221).contains(&taken.count()));
        told.be_down(true);
        assert_eq!(told.judge(None, begun), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((told.seen().taken, told.seen().refused), (0, 1));
    }

    #[test]
    fn an_older_event_of_a_key_after_a_newer_one_is_out_of_order() {
        let told = Told::new(1e6, 10);
        let now = Instant::now();
        for event in [3, 13, 13, 4, 3] {
            told.judge(Some(&Sample::id("run", event)), now);
        }
        assert_eq!(told.seen().out_of_order, 1);
        assert_eq!(told.last_of_keys(), [(3, 3), (4, 4)].into());
    }
}
