//! Every metric of the gateway and its meaning.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const CALLS: &str = "tripline_gateway_calls_total";
const REFUSED: &str = "tripline_gateway_calls_refused_total";
const SERVED: &str = "tripline_gateway_service_duration_seconds";
const UNQUEUED: &str = "tripline_gateway_events_left_out_total";

/// Says what each metric means; once per process.
pub(crate) fn describe() {
    describe_counter!(
        CALLS,
        "Calls that were passed on or answered by scripts, by whether scripts were bound to them."
    );
    describe_counter!(REFUSED, "Calls that the gateway answered itself, by why.");
    describe_histogram!(
        SERVED,
        Unit::Seconds,
        "From passing a call on to the head of the service's answer."
    );
    describe_counter!(
        UNQUEUED,
        "Calls that were answered although their event was not durable: their queued scripts do not run."
    );
}

pub(crate) fn called(has_scripts: bool) {
    let scripts = if has_scripts { "yes" } else { "no" };
    counter!(CALLS, "scripts" => scripts).increment(1);
}

pub(crate) fn refused(why: &'static str) {
    counter!(REFUSED, "why" => why).increment(1);
}

pub(crate) fn served(duration: Duration) {
    histogram!(SERVED).record(duration.as_secs_f64());
}

pub(crate) fn event_left_out() {
    counter!(UNQUEUED).increment(1);
}
