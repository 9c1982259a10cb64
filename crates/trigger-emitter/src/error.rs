//! What can go wrong on the way to the broker, and what a client is told of it.

use broker::PublishError;
use protocol::fault::{Fault, FaultKind};

/// What a client is told when its event was not made durable.
pub(crate) fn of_publish(error: &PublishError) -> Fault {
    let kind = match error {
        PublishError::Unavailable | PublishError::TimedOut => FaultKind::Unavailable,
        PublishError::Refused | PublishError::Busy => FaultKind::Exhausted,
        PublishError::TooLarge(_) => FaultKind::TooLarge,
    };
    Fault::new(
        kind,
        format!("the event could not be made durable: {error}"),
    )
}

pub(crate) fn too_large(field: &str, message: &str, allowed: String) -> Fault {
    Fault {
        kind: FaultKind::TooLarge,
        ..Fault::invalid(field, "", message, allowed)
    }
}
