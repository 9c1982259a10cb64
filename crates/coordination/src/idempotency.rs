//! Idempotency keys: who sends the same event twice is told so.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use domain::id::EventId;

use crate::Unavailable;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// Nobody had it: it is now pending for the caller, for [`PENDING_FOR`].
    Reserved,
    /// Somebody else is making this event durable at this moment.
    Pending(EventId),
    /// The event was accepted before.
    Confirmed(EventId),
}

/// A caller that dies between reserving and confirming blocks the key for this long.
pub const PENDING_FOR: Duration = Duration::from_secs(30);

/// A confirmed key is remembered for this long.
pub const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// Idempotency keys, in two phases: reserve, make durable, confirm.
#[async_trait]
pub trait IdempotencyKeys: Send + Sync + fmt::Debug {
    /// Reserves many keys at once, each for its event; the answers are in the same order.
    async fn reserve(&self, keys: &[(String, EventId)]) -> Result<Vec<Reservation>, Unavailable>;
    /// After the event became durable.
    async fn confirm(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable>;
    /// After the event could not be made durable: another try may have the key.
    async fn release(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable>;
}
