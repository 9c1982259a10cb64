//! Every metric of the function-handler and its meaning.

use std::time::Duration;

use domain::delivery::WaitReason;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const EVENTS: &str = "tripline_handler_events_matched_total";
const UNMATCHED: &str = "tripline_handler_events_unmatched_total";
const DELIVERIES: &str = "tripline_handler_deliveries_total";
const BATCHES: &str = "tripline_handler_batches_total";
const UNREADABLE: &str = "tripline_handler_messages_unreadable_total";
const REVISION: &str = "tripline_registry_revision";
const TRIGGERS: &str = "tripline_registry_triggers";
const WAITING: &str = "tripline_waiting_deliveries";
const OVERDUE: &str = "tripline_waiting_overdue_seconds";
const STORED: &str = "tripline_waiting_stored_total";
const RELEASED: &str = "tripline_waiting_released_total";
const ASIDE: &str = "tripline_waiting_set_aside_total";
const DISABLED: &str = "tripline_handler_functions_disabled_total";
const STRUCK: &str = "tripline_handler_schedules_struck_total";
const CANCELLED: &str = "tripline_waiting_cancelled_total";

/// Says what each metric means; once per process.
pub(crate) fn describe() {
    describe_counter!(
        EVENTS,
        "Events matched, those that matched nothing included."
    );
    describe_counter!(UNMATCHED, "Events that no trigger asked for.");
    describe_counter!(DELIVERIES, "Deliveries owed for matched events.");
    describe_counter!(BATCHES, "Times that events were matched, many at once.");
    describe_counter!(
        UNREADABLE,
        "Messages set aside because they could not be read, by queue."
    );
    describe_gauge!(REVISION, "The registry's revision known to this replica.");
    describe_gauge!(TRIGGERS, "Triggers in this replica's index.");
    describe_gauge!(WAITING, "Deliveries in the waiting room, by reason.");
    describe_gauge!(
        OVERDUE,
        Unit::Seconds,
        "How long the waiting room's first delivery is overdue."
    );
    describe_counter!(
        STORED,
        "Deliveries put into the waiting room by this replica."
    );
    describe_counter!(
        RELEASED,
        "Deliveries sent on from the waiting room by this replica."
    );
    describe_counter!(
        DISABLED,
        "Functions that this replica switched off because they only failed or are gone."
    );
    describe_counter!(
        CANCELLED,
        "Waiting deliveries that this replica cancelled or gave up, by remark."
    );
    describe_counter!(STRUCK, "Times that this replica had a schedule strike.");
    describe_counter!(
        ASIDE,
        "Waiting deliveries that this replica could not read and set aside."
    );
}

pub(crate) fn matched(events: usize, unmatched: usize, deliveries: usize) {
    counter!(BATCHES).increment(1);
    counter!(EVENTS).increment(number(events));
    counter!(UNMATCHED).increment(number(unmatched));
    counter!(DELIVERIES).increment(number(deliveries));
}

pub(crate) fn message_unreadable(queue: broker::Queue) {
    counter!(UNREADABLE, "queue" => queue.to_string()).increment(1);
}

pub(crate) fn registry_changed(revision: u64, triggers: usize) {
    gauge!(REVISION).set(as_gauge(revision));
    gauge!(TRIGGERS).set(as_gauge(number(triggers)));
}

/// Every reason, so that one for which nothing waits any more says so.
pub(crate) fn waiting(counts: &[(WaitReason, u64)]) {
    for reason in WaitReason::ALL {
        let count = counts.iter().find(|(found, _)| *found == reason);
        let count = count.map_or(0, |(_, count)| *count);
        gauge!(WAITING, "reason" => reason.as_str()).set(as_gauge(count));
    }
}

pub(crate) fn function_disabled() {
    counter!(DISABLED).increment(1);
}

pub(crate) fn schedule_struck() {
    counter!(STRUCK).increment(1);
}

pub(crate) fn set_aside() {
    counter!(ASIDE).increment(1);
}

pub(crate) fn overdue(by: Duration) {
    gauge!(OVERDUE).set(by.as_secs_f64());
}

pub(crate) fn stored(deliveries: usize) {
    counter!(STORED).increment(number(deliveries));
}

pub(crate) fn released(deliveries: usize) {
    counter!(RELEASED).increment(number(deliveries));
}

pub(crate) fn cancelled(remark: &'static str) {
    counter!(CANCELLED, "remark" => remark).increment(1);
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Gauges hold floating numbers; beyond 2^32 their last digits do not matter.
fn as_gauge(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
