//! What waits outside the broker, each row saying why, since when and until when.

use std::cmp::Reverse;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::delivery::WaitReason;
use domain::id::DeliveryId;
use domain::name::{FunctionName, ProjectName, TriggerName};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::columns::{count, duration_micros, from_micros, micros, parse};

/// A delivery that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    pub project: ProjectName,
    pub delivery: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub generation: u32,
    /// The number the next attempt will have: a row only ever replaces one of a lower number.
    pub next_attempt: u32,
    pub reason: WaitReason,
    pub since: Timestamp,
    pub due_at: Timestamp,
    /// The delivery with its event, as the handler encoded it.
    pub payload: Bytes,
}

/// What deliveries wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    Trigger(TriggerName),
    Function(FunctionName),
}

/// The waiting room.
#[async_trait]
pub trait WaitingRoom: Send + Sync + std::fmt::Debug {
    /// Stores rows, each unless one of the same delivery with the same or a higher (generation,
    /// attempt) is here. A row that comes late, after a newer one was removed, is stored again:
    /// its delivery is then tried once more than needed, which at-least-once allows.
    async fn put(&self, rows: &[WaitingRow]) -> Result<(), Error>;

    /// Lets everything that waits for `owner` be taken from `now` on, and wakes those who take;
    /// answers with how many rows that were. Their `due_at` stays, so that whoever takes one sees
    /// that it comes early. Rows in somebody's hands are left there. Many statements if need be,
    /// each for so many rows at most that nobody else waits long.
    async fn make_due(
        &self,
        project: &ProjectName,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// Gives back rows that were taken early: they wait on until they are due.
    async fn put_back(&self, rows: &[WaitingRow]) -> Result<(), Error>;

    /// Takes up to `limit` rows that are due or were made so, earliest first, for the time
    /// `claim_for`: nobody else gets them until then. Rows another replica holds are skipped, not
    /// waited for.
    async fn claim_due(
        &self,
        now: Timestamp,
        claim_for: Duration,
        limit: u32,
    ) -> Result<Vec<WaitingRow>, Error>;

    /// Removes rows that went back to the broker, unless a newer attempt has replaced them.
    async fn remove(&self, rows: &[WaitingRow]) -> Result<(), Error>;

    /// When the next row becomes due or a claim runs out.
    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error>;

    /// Returns when a row may have been put or made due, by any replica, since the last call; after
    /// `poll` at the latest. For one loop: of two that wait, only one may be woken.
    async fn changed(&self, poll: Duration);

    /// How many rows wait, by reason.
    async fn counts(&self) -> Result<Vec<(WaitReason, u64)>, Error>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), Error>;
}

/// Rows that one statement makes due.
pub(crate) const MADE_DUE_MAX: u32 = 1_000;

impl Owner {
    /// The column that names it.
    pub(crate) const fn column(&self) -> &'static str {
        match self {
            Self::Trigger(_) => "trigger_name",
            Self::Function(_) => "function_name",
        }
    }

    /// As that column holds it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Trigger(name) => name.to_string(),
            Self::Function(name) => name.to_string(),
        }
    }
}

/// A row as both databases hold it: delivery, project, trigger, function, generation, next
/// attempt, reason, since, due at, payload.
pub(crate) type StoredRow = (
    Uuid,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
    i64,
    Vec<u8>,
);

pub(crate) fn read_row(row: StoredRow) -> Result<WaitingRow, Error> {
    let (
        delivery,
        project,
        trigger,
        function,
        generation,
        next_attempt,
        reason,
        since,
        due,
        payload,
    ) = row;
    Ok(WaitingRow {
        project: parse("waiting row", &project)?,
        delivery: DeliveryId::from_uuid(delivery),
        trigger: parse("waiting row", &trigger)?,
        function: parse("waiting row", &function)?,
        generation: count(generation),
        next_attempt: count(next_attempt),
        reason: read_reason(&reason)?,
        since: from_micros(since)?,
        due_at: from_micros(due)?,
        payload: payload.into(),
    })
}

pub(crate) fn read_reason(text: &str) -> Result<WaitReason, Error> {
    WaitReason::parse(text)
        .ok_or_else(|| Error::corrupt("waiting row", format_args!("reason {text:?}")))
}

/// One row for each delivery, the newest; in one order, so that two batches never wait for each
/// other.
pub(crate) fn newest(rows: &[WaitingRow]) -> Vec<&WaitingRow> {
    let mut rows: Vec<&WaitingRow> = rows.iter().collect();
    rows.sort_by_key(|row| (row.delivery, Reverse((row.generation, row.next_attempt))));
    rows.dedup_by_key(|row| row.delivery);
    rows
}

pub(crate) fn claim_end(now: Timestamp, claim_for: Duration) -> i64 {
    micros(now).saturating_add(duration_micros(claim_for))
}
