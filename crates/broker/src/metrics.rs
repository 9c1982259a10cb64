//! Every metric of the broker and its meaning.

use crate::publish::PublishError;
use crate::topology::Queue;

/// Messages put on the wire, by `queue`.
const PUBLISHES: &str = "tripline_broker_publishes_total";
/// Messages the broker answered for or never did, by `queue` and `outcome`.
const CONFIRMS: &str = "tripline_broker_confirms_total";
/// Messages handed to a consumer, by `queue`.
const RECEIVED: &str = "tripline_broker_received_total";
/// Messages handed to a consumer of this process and not acknowledged, by `queue`.
const UNACKED: &str = "tripline_broker_unacked_messages";
/// Messages set aside because nobody can read them, by the `queue` they were in.
const UNREADABLE: &str = "tripline_broker_unreadable_total";
/// Connections that were lost or could not be opened, by `role`.
const CONNECTION_FAILURES: &str = "tripline_broker_connection_failures_total";

/// Replies that were dropped because too many waited.
const REPLIES_DROPPED: &str = "tripline_broker_replies_dropped_total";

pub(crate) fn reply_dropped() {
    metrics::counter!(REPLIES_DROPPED).increment(1);
}

pub(crate) fn published(queue: Queue) {
    metrics::counter!(PUBLISHES, "queue" => queue.to_string()).increment(1);
}

pub(crate) fn settled(queue: Queue, outcome: &Result<(), PublishError>) {
    let outcome = match outcome {
        Ok(()) => "confirmed",
        Err(PublishError::Unavailable) => "unavailable",
        Err(PublishError::TimedOut) => "timed_out",
        Err(PublishError::Refused) => "refused",
        Err(PublishError::Busy) => "busy",
        Err(PublishError::TooLarge(_)) => "too_large",
    };
    metrics::counter!(CONFIRMS, "queue" => queue.to_string(), "outcome" => outcome).increment(1);
}

pub(crate) fn received(queue: Queue) {
    metrics::counter!(RECEIVED, "queue" => queue.to_string()).increment(1);
}

pub(crate) fn unacked(queue: Queue, messages: usize) {
    let messages = u32::try_from(messages).unwrap_or(u32::MAX);
    metrics::gauge!(UNACKED, "queue" => queue.to_string()).set(f64::from(messages));
}

pub(crate) fn set_aside(queue: Queue) {
    metrics::counter!(UNREADABLE, "queue" => queue.to_string()).increment(1);
}

pub(crate) fn connection_failed(role: &'static str) {
    metrics::counter!(CONNECTION_FAILURES, "role" => role).increment(1);
}
