//! What happened: events, deliveries and attempts, kept by day and dropped by day.

pub(crate) mod days;
pub(crate) mod implement;
pub(crate) mod owed;
pub(crate) mod read;
pub(crate) mod rows;

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::{ErrorClass, Status};
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::record::{Attempted, Record};
use jiff::Timestamp;

use crate::Error;

/// What to list; conditions left out always hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryFilter {
    pub event: Option<EventReference>,
    pub event_type: Option<EventType>,
    pub function: Option<FunctionName>,
    pub trigger: Option<TriggerName>,
    /// Any of them; empty means every state, and events that matched nothing too.
    pub statuses: Vec<Status>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// How people name an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventReference {
    Internal(EventId),
    Delivery(DeliveryId),
    /// The `CloudEvents` id.
    Client(String),
}

/// One line of a listing: a delivery, or an event that matched nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryLine {
    pub eid: EventId,
    pub event_id: String,
    pub event_type: EventType,
    pub subject: Option<String>,
    pub accepted_at: Timestamp,
    pub delivery: Option<DeliveryState>,
}

/// How far a delivery has come.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryState {
    pub id: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub status: Status,
    pub remark: Option<String>,
    pub generation: u32,
    /// Attempts made so far.
    pub attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    /// Of the last attempt.
    pub last_attempt_at: Option<Timestamp>,
    pub duration: Option<Duration>,
    pub response_status: Option<u16>,
    pub error_class: Option<ErrorClass>,
    pub error: Option<String>,
}

/// Where a listing goes on: just before this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub event: EventId,
    /// `None` for the line of an event that matched nothing.
    pub delivery: Option<DeliveryId>,
}

/// One event with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHistory {
    pub event: Event,
    pub deliveries: Vec<(DeliveryState, Vec<Attempted>)>,
}

/// The log.
#[async_trait]
pub trait LogStore: Send + Sync + std::fmt::Debug {
    /// Stores records in one transaction, in any order and any number of times: what is known
    /// already stays, and a delivery's state never goes back to an older attempt's. A record that
    /// can never be stored (too old to be kept, or refused by the database) is left out with a
    /// warning, so that it does not hold up the others.
    ///
    /// Where much is matched at once, what is owed is told with its event alone. A delivery of which
    /// nothing else is known then has no row, until [`make_owed`](Self::make_owed) gives it one: who
    /// asks for its event is told of it, who asks for deliveries by function or status is not.
    async fn record(&self, records: &[Record]) -> Result<(), Error>;

    /// Gives those deliveries rows that were told with their event before this time and of which
    /// nothing else became known; one batch, as it was stored. Whether there was one.
    async fn make_owed(&self, told_before: Timestamp) -> Result<bool, Error>;

    /// Newest first; at most 1,000 lines.
    async fn deliveries(
        &self,
        project: &ProjectName,
        filter: &DeliveryFilter,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<DeliveryLine>, Error>;

    /// The line of each of these deliveries, as it stands, in no order; for following. One whose
    /// event is not known yet is left out.
    async fn lines(
        &self,
        project: &ProjectName,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<DeliveryLine>, Error>;

    /// One event with all its deliveries and attempts.
    async fn event(
        &self,
        project: &ProjectName,
        event: &EventReference,
    ) -> Result<Option<EventHistory>, Error>;

    /// Makes the partitions for the days around `now` (yesterday to three days ahead) and drops
    /// those that are older than `retention`, whole. Answers with the names of those dropped.
    async fn keep_partitions(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<String>, Error>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), Error>;
}
