//! What waits outside the broker, each row saying why, since when and until when.
//!
//! Rows of one function are its lane: lanes take turns, and each lets go as much as is allowed.
//! Rows with an order key stand in line: only the first of a line can be taken, and it stays until
//! it has ended.

pub(crate) mod lanes;

use std::cmp::Reverse;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::delivery::{Allowance, Ended, WaitReason};
use domain::id::DeliveryId;
use domain::name::{FunctionName, ProjectName, TriggerName};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::columns::{count, duration_micros, from_micros, micros, parse, unsigned};

/// Stands in `free_at_us` of a row that waits behind another of its key.
pub(crate) const BEHIND: i64 = i64::MAX - 1;

/// Stands in `free_at_us` of a row that was set aside.
pub(crate) const ASIDE: i64 = i64::MAX;

/// Rows of a line that are looked at behind its first, at a time.
pub(crate) const LINE_MAX: u32 = 500;

/// A delivery that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    pub project: ProjectName,
    pub delivery: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub generation: u32,
    /// The number the next attempt will have: a row never replaces one of a higher number.
    pub next_attempt: u32,
    pub reason: WaitReason,
    pub since: Timestamp,
    pub due_at: Timestamp,
    /// What it stands in line by; the trigger's other deliveries with it wait for each other.
    pub order_key: Option<String>,
    /// The delivery with its event, as the handler encoded it.
    pub payload: Bytes,
}

/// What deliveries wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    Trigger(TriggerName),
    Function(FunctionName),
    /// Only what this trigger's policy is to try again.
    RetriesOf(TriggerName),
}

/// Whoever takes out what is due looks at least this often: of what is put and due later nobody
/// needs to be told.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Says whether a function, or its project, is paused.
pub type IsPaused = dyn Fn(&ProjectName, &FunctionName) -> bool + Send + Sync;

/// What was taken in one go. Nobody else gets it before the claim runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What is due and may go, earliest first.
    pub due: Vec<WaitingRow>,
    /// What was called, due or not: to be judged, and not to be sent on.
    pub called: Vec<WaitingRow>,
    /// What cannot be read, and why.
    pub unreadable: Vec<(DeliveryId, String)>,
    /// How many lanes had their turn; none when nothing was to be had.
    pub lanes: usize,
    pub claim: Claim,
}

/// Proves that a row is still in one's own hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(pub(crate) i64);

/// Which rows an operator asks for; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingFilter {
    pub function: Option<FunctionName>,
    pub trigger: Option<TriggerName>,
    pub reason: Option<WaitReason>,
}

/// A delivery that waits, as an operator sees it: the row without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub row: WaitingRow,
    pub state: State,
}

/// What holds a row up right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its time, or the room its lane has.
    Waiting,
    /// An earlier delivery of its key.
    Behind,
    /// It is on its way, and stays until it has ended or the claim has run out.
    UnderWay,
    /// It could not be read.
    Aside(String),
}

/// How much waits for one function for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BacklogLine {
    pub function: FunctionName,
    pub reason: WaitReason,
    pub count: u64,
    /// Since when the first of them waits.
    pub oldest: Timestamp,
    pub next_due_at: Timestamp,
}

/// What became of an operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<T> {
    Done(T),
    /// It does not wait.
    NotThere,
    /// It is on its way just now.
    UnderWay,
}

/// The waiting room.
#[async_trait]
pub trait WaitingRoom: Send + Sync + std::fmt::Debug {
    /// Stores rows. One of the same delivery is replaced unless it is of a higher (generation,
    /// attempt), or the very same row: of the same attempt, for the same reason, since the same
    /// time. It keeps its place in line. A row that comes late, after a newer one was removed, is
    /// stored again: its delivery is then tried once more than needed, which at-least-once allows.
    async fn put(&self, rows: &[WaitingRow]) -> Result<(), Error>;

    /// Stores rows with an order key, each behind those of its key that are here, in this order.
    /// What stands in line already keeps its place.
    async fn line_up(&self, rows: &[WaitingRow]) -> Result<(), Error>;

    /// Notes how fast functions may be called. The newest counts.
    async fn allow(&self, allowances: &[Allowance]) -> Result<(), Error>;

    /// Removes what has ended, whoever holds it, and lets the next in line go.
    async fn end(&self, ended: &[Ended]) -> Result<(), Error>;

    /// Calls everything that waits for `owner`, due or not, and wakes those who take; answers with
    /// how many rows that were. Rows in somebody's hands are left there. Many statements if need
    /// be, each for so many rows at most that nobody else waits long.
    async fn make_due(
        &self,
        project: &ProjectName,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// Takes about `limit` rows for the time `claim_for`, fairly shared out among projects, then
    /// among functions, earliest first, and of each function no more than is allowed. Lanes and
    /// rows that another replica holds are skipped, not waited for.
    async fn claim_due(
        &self,
        now: Timestamp,
        claim_for: Duration,
        limit: u32,
        is_paused: &IsPaused,
    ) -> Result<Claimed, Error>;

    /// Removes rows that are still in these hands or behind one that is, and lets the next in line
    /// go.
    async fn remove(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error>;

    /// Gives rows back: they wait on until their `due_at`.
    async fn put_back(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error>;

    /// Keeps rows that were sent on, until they end or it is `until`.
    async fn hold(&self, rows: &[WaitingRow], claim: Claim, until: Timestamp) -> Result<(), Error>;

    /// Sets rows aside, each with the reason; they hold up nobody.
    async fn set_aside(&self, rows: &[(DeliveryId, String)], claim: Claim) -> Result<(), Error>;

    /// What stands behind these, line by line in order, some hundreds of each line at most.
    async fn behind(&self, rows: &[WaitingRow]) -> Result<Vec<WaitingRow>, Error>;

    /// Has the lane of this function, or every lane of the project, looked at from `now` on.
    async fn wake(
        &self,
        project: &ProjectName,
        function: Option<&FunctionName>,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Mends what an older release or a lost statement left: lanes that are missing or would be
    /// looked at too late, and those nobody needs any more.
    async fn mend(&self, now: Timestamp) -> Result<(), Error>;

    /// When a lane is to be looked at next.
    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error>;

    /// Returns when a row may have been put or made due, by any replica, since the last call; after
    /// `poll` at the latest. Of what is due later than [`LOOK_INTERVAL`] from now it may not tell.
    /// For one loop: of two that wait, only one may be woken.
    async fn changed(&self, poll: Duration);

    /// How many rows wait, by reason.
    async fn counts(&self) -> Result<Vec<(WaitReason, u64)>, Error>;

    /// What waits in a project, in the order of its ids, after the one named.
    async fn list(
        &self,
        project: &ProjectName,
        filter: &WaitingFilter,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Shown>, Error>;

    /// How much waits in a project, by function and reason.
    async fn backlog(&self, project: &ProjectName) -> Result<Vec<BacklogLine>, Error>;

    /// Has a delivery wait until `due_at` instead.
    async fn reschedule(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        due_at: Timestamp,
    ) -> Result<Taken<WaitingRow>, Error>;

    /// Takes one delivery, due or not.
    async fn claim(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        now: Timestamp,
        claim_for: Duration,
    ) -> Result<Taken<(WaitingRow, Claim)>, Error>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), Error>;
}

/// Rows that one statement makes due.
pub(crate) const MADE_DUE_MAX: u32 = 1_000;

/// A lane in which nothing waits is kept so long for what is allowed of it.
pub(crate) const IDLE_LANE: Duration = Duration::from_hours(1);

impl Owner {
    /// The column that names it, and a further condition.
    pub(crate) const fn condition(&self) -> (&'static str, &'static str) {
        match self {
            // What is under way ends by what comes of it.
            Self::Trigger(_) => ("trigger_name", "AND reason <> 'in_flight'"),
            Self::Function(_) => ("function_name", "AND reason <> 'in_flight'"),
            Self::RetriesOf(_) => ("trigger_name", "AND reason = 'retry'"),
        }
    }

    /// As that column holds it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Trigger(name) | Self::RetriesOf(name) => name.to_string(),
            Self::Function(name) => name.to_string(),
        }
    }
}

/// A row as both databases hold it: delivery, project, trigger, function, generation, next
/// attempt, reason, since, due at, order key, payload.
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
    Option<String>,
    Vec<u8>,
);

/// Its columns.
pub(crate) const COLUMNS: &str = "delivery_id, project, trigger_name, function_name, generation, \
     next_attempt, reason, since_us, due_at_us, order_key, payload";

/// The same for operators, who do not need the payload.
pub(crate) const SHOWN_COLUMNS: &str = "delivery_id, project, trigger_name, function_name, \
     generation, next_attempt, reason, since_us, due_at_us, order_key";

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
        order_key,
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
        order_key,
        payload: payload.into(),
    })
}

/// Sorts what was claimed, each with its `free_at_us` of before; one that cannot be read holds up
/// none of the others.
pub(crate) fn sort_claimed(rows: Vec<(i64, StoredRow)>, lanes: usize, claim: Claim) -> Claimed {
    let mut claimed = Claimed {
        due: Vec::new(),
        called: Vec::new(),
        unreadable: Vec::new(),
        lanes,
        claim,
    };
    for (free_at, row) in rows {
        let delivery = DeliveryId::from_uuid(row.0);
        match read_row(row) {
            Ok(row) if free_at < 0 => claimed.called.push(row),
            Ok(row) => claimed.due.push(row),
            Err(error) => claimed.unreadable.push((delivery, with_cause(&error))),
        }
    }
    claimed.due.sort_by_key(|row| row.due_at);
    claimed.called.sort_by_key(|row| row.due_at);
    claimed
}

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What holds up a row with these columns.
pub(crate) fn state(reason: WaitReason, free_at: i64, due_at: i64, fault: Option<String>) -> State {
    match free_at {
        // Its row only stands for the worker that has it.
        _ if reason == WaitReason::InFlight => State::UnderWay,
        ASIDE => State::Aside(fault.unwrap_or_default()),
        BEHIND => State::Behind,
        called if called < 0 => State::Waiting,
        same if same == due_at => State::Waiting,
        _ => State::UnderWay,
    }
}

pub(crate) fn read_reason(text: &str) -> Result<WaitReason, Error> {
    WaitReason::parse(text)
        .ok_or_else(|| Error::corrupt("waiting row", format_args!("reason {text:?}")))
}

/// One row for each delivery, the newest; in one order, so that two batches never wait for each
/// other.
pub(crate) fn newest(rows: &[WaitingRow]) -> Vec<&WaitingRow> {
    let mut rows: Vec<&WaitingRow> = rows.iter().collect();
    rows.sort_by_key(|row| {
        let version = Reverse((row.generation, row.next_attempt, row.since));
        (row.delivery, version)
    });
    rows.dedup_by_key(|row| row.delivery);
    rows
}

/// One allowance for each function, the newest; in one order.
pub(crate) fn newest_allowances(allowances: &[Allowance]) -> Vec<&Allowance> {
    let mut allowances: Vec<&Allowance> = allowances.iter().collect();
    let lane = |allowance: &Allowance| {
        (
            allowance.project.to_string(),
            allowance.function.to_string(),
        )
    };
    allowances.sort_by_cached_key(|allowance| (lane(allowance), Reverse(allowance.at)));
    allowances.dedup_by_key(|allowance| lane(allowance));
    allowances
}

pub(crate) fn claim_end(now: Timestamp, claim_for: Duration) -> Claim {
    Claim(micros(now).saturating_add(duration_micros(claim_for)))
}

/// A row as operators see it: its columns without the payload, when it is free, its fault.
pub(crate) type ShownRow = (
    Uuid,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
    i64,
    Option<String>,
    i64,
    Option<String>,
);

pub(crate) fn read_shown(row: ShownRow) -> Result<Shown, Error> {
    let (
        delivery,
        project,
        trigger,
        function,
        generation,
        attempt,
        reason,
        since,
        due,
        key,
        free_at,
        fault,
    ) = row;
    let row = read_row((
        delivery,
        project,
        trigger,
        function,
        generation,
        attempt,
        reason,
        since,
        due,
        key,
        Vec::new(),
    ))?;
    Ok(Shown {
        state: state(row.reason, free_at, due, fault),
        row,
    })
}

/// Function, reason, count, oldest, next due.
pub(crate) type StoredBacklog = (String, String, i64, i64, i64);

pub(crate) fn read_backlog(line: StoredBacklog) -> Result<BacklogLine, Error> {
    let (function, reason, rows, oldest, due) = line;
    Ok(BacklogLine {
        function: parse("waiting row", &function)?,
        reason: read_reason(&reason)?,
        count: unsigned(rows),
        oldest: from_micros(oldest)?,
        next_due_at: from_micros(due)?,
    })
}
