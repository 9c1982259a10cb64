//! Every metric of the log and its meaning.

use ::metrics::{counter, describe_counter, describe_gauge, gauge};

const STORED: &str = "tripline_log_records_stored_total";
const SET_ASIDE: &str = "tripline_log_messages_set_aside_total";
const STORES_FAILED: &str = "tripline_log_stores_failed_total";
const DAYS_DROPPED: &str = "tripline_log_days_dropped_total";
const REDRIVEN: &str = "tripline_log_redriven_total";
const FOLLOWERS: &str = "tripline_log_followers";

/// Says what each metric means; once per process.
pub(crate) fn describe() {
    describe_counter!(STORED, "Records that were stored, repeats included.");
    describe_counter!(
        SET_ASIDE,
        "Messages set aside, unreadable or with a record never storable."
    );
    describe_counter!(
        STORES_FAILED,
        "Transactions that failed and were tried again."
    );
    describe_counter!(DAYS_DROPPED, "Partitions dropped because of their age.");
    describe_counter!(
        REDRIVEN,
        "Deliveries given to the waiting room by redrives and replays."
    );
    describe_gauge!(FOLLOWERS, "Clients that follow at this moment.");
}

fn count(name: &'static str, by: usize) {
    counter!(name).increment(u64::try_from(by).unwrap_or(u64::MAX));
}

pub(crate) fn records_stored(records: usize) {
    count(STORED, records);
}

pub(crate) fn message_set_aside() {
    count(SET_ASIDE, 1);
}

pub(crate) fn stores_failed() {
    count(STORES_FAILED, 1);
}

pub(crate) fn days_dropped(days: usize) {
    count(DAYS_DROPPED, days);
}

pub(crate) fn redriven(deliveries: usize) {
    count(REDRIVEN, deliveries);
}

pub(crate) fn follower_came() {
    gauge!(FOLLOWERS).increment(1);
}

pub(crate) fn follower_went() {
    gauge!(FOLLOWERS).decrement(1);
}
