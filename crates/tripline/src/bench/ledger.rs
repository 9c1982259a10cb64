//! The ledger of ids: what was sent, what was accepted, what arrived where, and how long it took.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// What the door answered to an event.
const UNANSWERED: u8 = 0;
const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;

/// One phase of a run. Events are numbered from 0; an event's id is the tag and its number.
#[derive(Debug)]
pub(crate) struct Ledger {
    tag: String,
    started: Instant,
    functions: usize,
    /// Microseconds since `started`, for each event.
    begun_us: Box<[AtomicU64]>,
    answers: Box<[AtomicU8]>,
    /// For each function all events.
    arrivals: Box<[AtomicBool]>,
    latency_us: Mutex<Histogram<u64>>,
    counts: Counts,
    first_refusal: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    delivered: AtomicUsize,
    duplicates: AtomicUsize,
    early: AtomicUsize,
    last_accepted_us: AtomicU64,
    last_arrival_us: AtomicU64,
}

/// What the ledger says in the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
    pub(crate) delivered: usize,
    pub(crate) lost: usize,
    pub(crate) duplicates: usize,
    /// Calls that arrived before the event's own time.
    pub(crate) early: usize,
    /// From the first event begun to the last one accepted.
    pub(crate) accepting_us: u64,
    /// From the first event begun to the last call.
    pub(crate) delivering_us: u64,
    pub(crate) latency: Latency,
}

/// Milliseconds from the beginning of a request to the arrival of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Ledger {
    pub(crate) fn new(tag: String, events: usize, functions: usize) -> Result<Self, Failure> {
        // Three digits: one part in a thousand is finer than two runs ever agree.
        let latency_us = Histogram::new(3)
            .map_err(|error| Failure::local(format!("cannot make a histogram: {error}")))?;
        let deliveries = events.saturating_mul(functions);
        Ok(Self {
            tag,
            started: Instant::now(),
            functions,
            begun_us: (0..events).map(|_| AtomicU64::new(u64::MAX)).collect(),
            answers: (0..events).map(|_| AtomicU8::new(UNANSWERED)).collect(),
            arrivals: (0..deliveries).map(|_| AtomicBool::new(false)).collect(),
            latency_us: Mutex::new(latency_us),
            counts: Counts::default(),
            first_refusal: OnceLock::new(),
        })
    }

    pub(crate) fn events(&self) -> usize {
        self.begun_us.len()
    }

    pub(crate) const fn functions(&self) -> usize {
        self.functions
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// The moment as the ledger counts it.
    pub(crate) fn at_us(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// An event is about to be sent, or was due, at this moment.
    pub(crate) fn begin(&self, event: usize, at_us: u64) {
        if let Some(begun) = self.begun_us.get(event) {
            begun.store(at_us, Ordering::Relaxed);
        }
    }

    pub(crate) fn accept(&self, event: usize) {
        if self.answer(event, ACCEPTED) {
            self.counts.accepted.fetch_add(1, Ordering::Relaxed);
            let now_us = self.at_us(Instant::now());
            self.counts
                .last_accepted_us
                .fetch_max(now_us, Ordering::Relaxed);
        }
    }

    pub(crate) fn refuse(&self, event: usize, reason: impl FnOnce() -> String) {
        self.answer(event, REFUSED);
        self.first_refusal.get_or_init(reason);
    }

    /// No answer came: the event may have been accepted or not.
    pub(crate) fn give_up(&self, reason: impl FnOnce() -> String) {
        self.first_refusal.get_or_init(reason);
    }

    /// Whether this answer is the event's first.
    fn answer(&self, event: usize, answer: u8) -> bool {
        let slot = self.answers.get(event);
        slot.is_some_and(|slot| slot.swap(answer, Ordering::Relaxed) == UNANSWERED)
    }

    /// A call arrived. Ids of other phases and runs are not ours to count.
    pub(crate) fn arrive(&self, function: usize, id: &str, at_us: u64) {
        let Some(event) = self.event_of(id) else {
            return;
        };
        let slot = function.saturating_mul(self.events()).saturating_add(event);
        let (Some(slot), Some(begun)) = (self.arrivals.get(slot), self.begun_us.get(event)) else {
            return;
        };
        if slot.swap(true, Ordering::Relaxed) {
            self.counts.duplicates.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let begun_us = begun.load(Ordering::Relaxed);
        if at_us < begun_us {
            self.counts.early.fetch_add(1, Ordering::Relaxed);
        }
        let took_us = at_us.saturating_sub(begun_us);
        let mut latency = self.latency();
        if latency.record(took_us).is_err() {
            // Beyond what the histogram can grow to: the largest it knows.
            latency.saturating_record(took_us);
        }
        drop(latency);
        self.counts
            .last_arrival_us
            .fetch_max(at_us, Ordering::Relaxed);
        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
    }

    fn event_of(&self, id: &str) -> Option<usize> {
        id.strip_prefix(self.tag.as_str())?
            .strip_prefix('-')?
            .parse()
            .ok()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> usize {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn first_refusal(&self) -> Option<&str> {
        self.first_refusal.get().map(String::as_str)
    }

    /// Whether everything that is owed has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.delivered() >= self.accepted() * self.functions && self.lost() == 0
    }

    /// Whether every function was called at least once.
    pub(crate) fn has_reached_all(&self) -> bool {
        let mut functions = self.arrivals.chunks(self.events().max(1));
        functions.all(|events| events.iter().any(|arrived| arrived.load(Ordering::Relaxed)))
    }

    fn lost(&self) -> usize {
        let functions = self.arrivals.chunks(self.events().max(1));
        functions
            .flat_map(|arrivals| arrivals.iter().zip(&self.answers))
            .filter(|(arrived, answer)| {
                answer.load(Ordering::Relaxed) == ACCEPTED && !arrived.load(Ordering::Relaxed)
            })
            .count()
    }

    pub(crate) fn tally(&self) -> Tally {
        let answered = |which: u8| {
            let answers = self
                .answers
                .iter()
                .map(|answer| answer.load(Ordering::Relaxed));
            answers.filter(|answer| *answer == which).count()
        };
        let begun = self
            .begun_us
            .iter()
            .map(|begun| begun.load(Ordering::Relaxed));
        let first_us = begun.min().unwrap_or(0);
        let since_first =
            |moment: &AtomicU64| moment.load(Ordering::Relaxed).saturating_sub(first_us);
        Tally {
            accepted: answered(ACCEPTED),
            refused: answered(REFUSED),
            unanswered: answered(UNANSWERED),
            delivered: self.delivered(),
            lost: self.lost(),
            duplicates: self.counts.duplicates.load(Ordering::Relaxed),
            early: self.counts.early.load(Ordering::Relaxed),
            accepting_us: since_first(&self.counts.last_accepted_us),
            delivering_us: since_first(&self.counts.last_arrival_us),
            latency: Latency::of(&self.latency()),
        }
    }

    fn latency(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latency_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.50)),
            p95_ms: ms(histogram.value_at_quantile(0.95)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

/// The ledger that is open at the moment.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Option<Arc<Ledger>>>);

impl Desk {
    pub(crate) fn open(&self, ledger: &Arc<Ledger>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(ledger));
    }

    pub(crate) fn ledger(&self) -> Option<Arc<Ledger>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of two functions; every event was begun at 1,000 µs and accepted.
    fn accepted(events: usize) -> Ledger {
        let ledger = Ledger::new("run".to_owned(), events, 2).unwrap();
        for event in 0..events {
            ledger.begin(event, 1_000);
            ledger.accept(event);
        }
        ledger
    }

    #[test]
    fn what_is_owed_and_did_not_arrive_is_lost() {
        let ledger = accepted(3);
        for (function, id) in [(0, "run-0"), (0, "run-1"), (1, "run-0"), (1, "run-2")] {
            ledger.arrive(function, id, 2_000);
        }
        let tally = ledger.tally();
        assert_eq!((tally.accepted, tally.delivered, tally.lost), (3, 4, 2));
        assert!(!ledger.is_complete());
        ledger.arrive(0, "run-2", 2_000);
        ledger.arrive(1, "run-1", 2_000);
        assert!(ledger.is_complete());
        assert_eq!(ledger.tally().lost, 0);
    }

    #[test]
    fn a_call_that_comes_again_is_a_duplicate_and_no_delivery() {
        let ledger = accepted(1);
        for function in [0, 0, 0, 1] {
            ledger.arrive(function, "run-0", 2_000);
        }
        let tally = ledger.tally();
        assert_eq!((tally.delivered, tally.duplicates, tally.lost), (2, 2, 0));
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        let ledger = accepted(2);
        for id in ["run-0", "run-0"] {
            ledger.arrive(0, id, 2_000);
            ledger.arrive(1, id, 2_000);
        }
        assert!(!ledger.is_complete());
        assert_eq!(ledger.tally().lost, 2);
    }

    #[test]
    fn what_was_not_accepted_is_owed_to_nobody() {
        let ledger = accepted(1);
        let ledger_of_two = Ledger::new("run".to_owned(), 3, 1).unwrap();
        ledger_of_two.refuse(0, || "too large".to_owned());
        ledger_of_two.refuse(1, || "too large again".to_owned());
        // Nobody knows of the third: it may arrive.
        ledger_of_two.arrive(0, "run-2", 5);
        let tally = ledger_of_two.tally();
        assert_eq!((tally.refused, tally.unanswered, tally.lost), (2, 1, 0));
        assert_eq!(tally.delivered, 1);
        assert_eq!(ledger_of_two.first_refusal(), Some("too large"));
        assert_eq!(ledger.first_refusal(), None);
    }

    #[test]
    fn strangers_are_not_counted() {
        let ledger = accepted(2);
        for id in ["other-0", "run", "run-", "run-2", "run-x", "run--1", "run0"] {
            ledger.arrive(0, id, 2_000);
        }
        ledger.arrive(2, "run-0", 2_000);
        let tally = ledger.tally();
        assert_eq!((tally.delivered, tally.duplicates), (0, 0));
        assert!(!ledger.has_reached_all());
    }

    #[test]
    fn percentiles_are_those_of_the_arrivals() {
        let ledger = accepted(1_000);
        for event in 0..1_000 {
            // 1 ms to 1,000 ms after the beginning.
            let at_us = 1_000 + (u64::try_from(event).unwrap() + 1) * 1_000;
            ledger.arrive(0, &format!("run-{event}"), at_us);
        }
        let tally = ledger.tally();
        let is_near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted / 500.0;
        assert!(is_near(tally.latency.p50_ms, 500.0), "{:?}", tally.latency);
        assert!(is_near(tally.latency.p95_ms, 950.0), "{:?}", tally.latency);
        assert!(is_near(tally.latency.p99_ms, 990.0), "{:?}", tally.latency);
        assert!(
            is_near(tally.latency.max_ms, 1_000.0),
            "{:?}",
            tally.latency
        );
        assert_eq!(tally.delivering_us, 1_000_000);
    }
}
