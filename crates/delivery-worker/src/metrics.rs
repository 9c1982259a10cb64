//! Every metric of the delivery-worker and its meaning.

use domain::delivery::{ErrorClass, Outcome, Status, WaitReason};
use std::sync::LazyLock;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::outbound::endpoint_client::EndpointResponse;

const ATTEMPTS: &str = "tripline_delivery_attempts_total";
const ATTEMPT_DURATION: &str = "tripline_delivery_attempt_duration_seconds";
const SETTLED: &str = "tripline_deliveries_settled_total";
const IN_FLIGHT: &str = "tripline_delivery_requests_in_flight";
const REPEATS_SPARED: &str = "tripline_delivery_repeats_spared_total";
const UNREADABLE: &str = "tripline_delivery_messages_unreadable_total";
const HANDED_BACK: &str = "tripline_delivery_handed_back_total";
const LEFT: &str = "tripline_delivery_requests_left_total";
const BREAKERS_OPENED: &str = "tripline_delivery_breakers_opened_total";
const BREAKERS_CLOSED: &str = "tripline_delivery_breakers_closed_total";
const SLOTS_USED: &str = "tripline_delivery_slots_used";
const QUEUED: &str = "tripline_delivery_queued";
const ENDPOINTS: &str = "tripline_delivery_endpoints_known";
const DEAD_LETTERS: &str = "tripline_delivery_dead_letters_total";
const CALLS_UNTOLD: &str = "tripline_delivery_calls_untold_total";
const SCRIPTS_FAILED: &str = "tripline_delivery_scripts_failed_total";
const CHAINED: &str = "tripline_delivery_events_chained_total";
const SHARDS: &str = "tripline_delivery_shards_served";

/// What every delivery counts, looked up once: finding a metric by its name costs more than to
/// count.
struct EveryTime {
    accepted: Counter,
    duration: Histogram,
    processed: Counter,
    in_flight: Gauge,
}

static EVERY_TIME: LazyLock<EveryTime> = LazyLock::new(|| EveryTime {
    accepted: counter!(ATTEMPTS, "outcome" => ACCEPTED),
    duration: histogram!(ATTEMPT_DURATION),
    processed: counter!(SETTLED, "status" => Status::Processed.as_str()),
    in_flight: gauge!(IN_FLIGHT),
});

const ACCEPTED: &str = "accepted";

/// Says what each metric means; once per process.
pub(crate) fn describe() {
    describe_counter!(ATTEMPTS, "Requests sent to endpoints, by outcome.");
    describe_histogram!(
        ATTEMPT_DURATION,
        Unit::Seconds,
        "From connecting to the answer's last byte."
    );
    describe_counter!(
        SETTLED,
        "What deliveries came to after an attempt, by status."
    );
    describe_gauge!(IN_FLIGHT, "Requests under way at this moment.");
    describe_counter!(
        REPEATS_SPARED,
        "Deliveries given again that had been finished just before."
    );
    describe_counter!(
        UNREADABLE,
        "Messages set aside because they could not be read."
    );
    describe_counter!(
        HANDED_BACK,
        "Deliveries handed back to the waiting room instead of being started, by reason."
    );
    describe_counter!(
        LEFT,
        "Requests that were unanswered for so long that they left their message."
    );
    describe_counter!(
        BREAKERS_OPENED,
        "How often an endpoint failed so much that it is only probed."
    );
    describe_counter!(BREAKERS_CLOSED, "How often a probed endpoint was back.");
    describe_counter!(CHAINED, "Events that answers asked for, and were emitted.");
    describe_counter!(
        DEAD_LETTERS,
        "Events about deliveries that failed for good: told, or left out because their queue was full."
    );
    describe_counter!(
        CALLS_UNTOLD,
        "Records of calls at once that were left out of the log because too many were waiting."
    );
    describe_counter!(
        SCRIPTS_FAILED,
        "Scripts of API calls that did not answer as they should."
    );
    describe_gauge!(
        SLOTS_USED,
        "Slots for requests that are taken, of in_flight_max."
    );
    describe_gauge!(
        QUEUED,
        "Deliveries in hand whose request has not begun, over all endpoints."
    );
    describe_gauge!(ENDPOINTS, "Endpoints whose limits this worker keeps.");
    describe_gauge!(SHARDS, "Delivery shards this worker consumes from.");
}

pub(crate) fn attempted(response: &EndpointResponse) {
    let outcome = match &response.outcome {
        Outcome::Answered { status: 200..=299 } => ACCEPTED,
        Outcome::Answered { .. } => ErrorClass::Status.as_str(),
        Outcome::Unreachable { class, .. } | Outcome::Impossible { class, .. } => class.as_str(),
    };
    match outcome {
        ACCEPTED => EVERY_TIME.accepted.increment(1),
        other => counter!(ATTEMPTS, "outcome" => other).increment(1),
    }
    EVERY_TIME.duration.record(response.duration);
}

pub(crate) fn settled(status: Status) {
    if status == Status::Processed {
        EVERY_TIME.processed.increment(1);
    } else {
        counter!(SETTLED, "status" => status.as_str()).increment(1);
    }
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay;

impl UnderWay {
    pub(crate) fn begin() -> Self {
        EVERY_TIME.in_flight.increment(1);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        EVERY_TIME.in_flight.decrement(1);
    }
}

pub(crate) fn repeat_spared() {
    counter!(REPEATS_SPARED).increment(1);
}

pub(crate) fn message_unreadable() {
    counter!(UNREADABLE).increment(1);
}

pub(crate) fn dead_letter_told() {
    counter!(DEAD_LETTERS, "outcome" => "told").increment(1);
}

pub(crate) fn dead_letter_left_out() {
    counter!(DEAD_LETTERS, "outcome" => "left_out").increment(1);
}

pub(crate) fn call_untold() {
    counter!(CALLS_UNTOLD).increment(1);
}

pub(crate) fn chained(events: usize) {
    if events == 0 {
        return;
    }
    counter!(CHAINED).increment(u64::try_from(events).unwrap_or(0));
}

pub(crate) fn shard_taken() {
    gauge!(SHARDS).increment(1);
}

pub(crate) fn shard_left() {
    gauge!(SHARDS).decrement(1);
}

pub(crate) fn handed_back(reason: WaitReason) {
    counter!(HANDED_BACK, "reason" => reason.as_str()).increment(1);
}

pub(crate) fn left() {
    counter!(LEFT).increment(1);
}

pub(crate) fn breaker_opened() {
    counter!(BREAKERS_OPENED).increment(1);
}

pub(crate) fn breaker_closed() {
    counter!(BREAKERS_CLOSED).increment(1);
}

pub(crate) fn lanes(slots_used: u32, queued: usize, endpoints: usize) {
    let whole = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(SLOTS_USED).set(f64::from(slots_used));
    gauge!(QUEUED).set(whole(queued));
    gauge!(ENDPOINTS).set(whole(endpoints));
}

/// A script of an API call did not answer as it should.
pub(crate) fn script_failed() {
    counter!(SCRIPTS_FAILED).increment(1);
}
