//! Every metric of the door and its meaning.

use std::sync::OnceLock;

use ::metrics::{Counter, counter, describe_counter};

const ACCEPTED: &str = "tripline_events_accepted_total";
const REPEATED: &str = "tripline_events_repeated_total";
const NOT_DURABLE: &str = "tripline_events_not_durable_total";
const REFUSED: &str = "tripline_emit_calls_refused_total";
const NOT_DEDUPLICATED: &str = "tripline_events_not_deduplicated_total";
const NOT_CONFIRMED: &str = "tripline_event_keys_not_confirmed_total";

/// Says what each metric means; once per process.
pub(crate) fn describe() {
    describe_counter!(ACCEPTED, "Events that are durable and new.");
    describe_counter!(REPEATED, "Events that had been accepted before.");
    describe_counter!(
        NOT_DURABLE,
        "Events in order that could not be made durable."
    );
    describe_counter!(REFUSED, "Calls that were refused, by code.");
    describe_counter!(
        NOT_DEDUPLICATED,
        "Events accepted while coordination was away."
    );
    describe_counter!(
        NOT_CONFIRMED,
        "Durable events whose key could not be confirmed."
    );
}

/// The counters of every single event, looked up once: at the first event, since what takes metrics
/// in may be set up after the door.
#[derive(Default)]
pub(crate) struct Metrics {
    accepted: OnceLock<Counter>,
    repeated: OnceLock<Counter>,
    not_durable: OnceLock<Counter>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn accepted(&self) {
        self.accepted
            .get_or_init(|| counter!(ACCEPTED))
            .increment(1);
    }

    pub(crate) fn repeated(&self) {
        self.repeated
            .get_or_init(|| counter!(REPEATED))
            .increment(1);
    }

    pub(crate) fn not_durable(&self) {
        self.not_durable
            .get_or_init(|| counter!(NOT_DURABLE))
            .increment(1);
    }
}

pub(crate) fn refused(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

pub(crate) fn not_deduplicated(events: usize) {
    counter!(NOT_DEDUPLICATED).increment(u64::try_from(events).unwrap_or(u64::MAX));
}

pub(crate) fn key_not_confirmed(keys: usize) {
    counter!(NOT_CONFIRMED).increment(u64::try_from(keys).unwrap_or(u64::MAX));
}
