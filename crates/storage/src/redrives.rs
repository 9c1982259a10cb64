//! Orders to deliver again, and what was planned of each: the memory of log-service's redrives.

pub(crate) mod conditions;
pub(crate) mod implement;

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::Status;
use domain::event::Event;
use domain::id::{DeliveryId, RedriveId};
use domain::name::{FunctionName, ProjectName, TriggerName};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::columns::micros;
use crate::log_store::DeliveryFilter;

/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveKind {
    /// Deliveries that have ended are made again.
    Redrive,
    /// Events are brought to a function, whether or not they were owed to it.
    Replay,
}

impl RedriveKind {
    pub const ALL: [Self; 2] = [Self::Redrive, Self::Replay];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Replay => "replay",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveState {
    Running,
    /// Everything was sent to the waiting room.
    Done,
    /// An operator stopped it; what was sent stays sent.
    Stopped,
    /// It cannot go on; the reason says why.
    Failed,
}

impl RedriveState {
    pub const ALL: [Self; 4] = [Self::Running, Self::Done, Self::Stopped, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Which deliveries, or which events, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct RedriveOrder {
    pub kind: RedriveKind,
    /// Of a replay only the event, its type and the times count.
    pub filter: DeliveryFilter,
    /// `None` means the function each delivery was for.
    pub to_function: Option<FunctionName>,
    /// No faster than this.
    pub per_second: Option<f64>,
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Redrive {
    pub id: RedriveId,
    pub project: ProjectName,
    pub order: RedriveOrder,
    pub state: RedriveState,
    /// As counted when it was ordered.
    pub total: u64,
    pub sent: u64,
    /// Left out because another order had them already, or their function is gone.
    pub skipped: u64,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub progress: Progress,
}

/// Where an order goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many batches were planned; the last may not have been published.
    pub batch: u64,
    /// Everything up to here is planned: a delivery of a redrive, an event of a replay.
    pub done_to: Option<Uuid>,
    pub next_due_at: Timestamp,
}

/// Something an order is about: an event, and its delivery in a redrive.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub event: Event,
    pub delivery: Option<EndedDelivery>,
}

/// A delivery that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedDelivery {
    pub id: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub generation: u32,
    pub status: Status,
}

/// One delivery that is ordered anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub event: Event,
    pub delivery: DeliveryId,
    pub generation: u32,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub due_at: Timestamp,
}

/// What one batch of an order plans, and where the order goes on after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub planned: Vec<Planned>,
    /// Candidates nothing is planned for.
    pub skipped: u64,
    pub progress: Progress,
}

/// Whether a replica may go on with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Held,
    /// It was stopped, or another replica has taken it over.
    Lost,
}

/// The orders of all projects.
#[async_trait]
pub trait Redrives: Send + Sync + std::fmt::Debug {
    /// How many deliveries or events the order is about, counted no further than `limit`.
    async fn count(
        &self,
        project: &ProjectName,
        order: &RedriveOrder,
        limit: u64,
    ) -> Result<u64, Error>;

    /// What the order is about, oldest first, from just behind `after`.
    async fn candidates(
        &self,
        project: &ProjectName,
        order: &RedriveOrder,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error>;

    /// Begins an order, unless `running_max` of the project run already: then `false`.
    async fn start(&self, redrive: &Redrive, running_max: u32) -> Result<bool, Error>;

    async fn get(&self, project: &ProjectName, id: RedriveId) -> Result<Option<Redrive>, Error>;

    /// Newest first.
    async fn list(&self, project: &ProjectName, limit: u32) -> Result<Vec<Redrive>, Error>;

    /// Stops an order that runs, and answers with it as it then stands.
    async fn stop(
        &self,
        project: &ProjectName,
        id: RedriveId,
        now: Timestamp,
    ) -> Result<Option<Redrive>, Error>;

    /// Takes a running order that nobody works on, for `lease`.
    async fn claim(
        &self,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Redrive>, Error>;

    /// Keeps an order for another `lease`.
    async fn renew(
        &self,
        id: RedriveId,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Hold, Error>;

    /// Writes down a batch before it is published. What another order has planned already is left
    /// out, and counted as skipped; the answer is what is to be published.
    async fn plan(
        &self,
        redrive: &Redrive,
        holder: &str,
        plan: Plan,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Vec<Planned>>, Error>;

    /// A batch as it was planned, to be published again.
    async fn planned(&self, redrive: &Redrive, batch: u64) -> Result<Vec<Planned>, Error>;

    /// Ends an order that this replica holds.
    async fn end(
        &self,
        id: RedriveId,
        holder: &str,
        state: RedriveState,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Lets go of everything this replica holds, so that another can go on at once.
    async fn release(&self, holder: &str) -> Result<(), Error>;

    /// What was ordered of these deliveries, oldest first.
    async fn of_deliveries(
        &self,
        project: &ProjectName,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<Redriven>, Error>;

    /// Forgets orders that ended, and what was planned, before `before`.
    async fn forget(&self, before: Timestamp) -> Result<(), Error>;
}

/// That a delivery owes a generation to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    pub delivery: DeliveryId,
    pub generation: u32,
    pub redrive: RedriveId,
    pub kind: RedriveKind,
    pub ordered_at: Timestamp,
}

/// When a lease ends, as its column keeps it.
pub(crate) fn lease_end(now: Timestamp, lease: Duration) -> i64 {
    micros(now.saturating_add(lease).unwrap_or(Timestamp::MAX))
}
