//! What becomes of a delivery that comes out of the waiting room.

use std::sync::Arc;

use domain::delivery::{Consignment, GiveUpReason, Status, Target, WaitReason, Waiting};
use domain::event::Event;
use domain::function::Function;
use domain::record::{Record, Settled};
use domain::registry::Registry;
use domain::trigger::{Backlog, Trigger};
use jiff::Timestamp;
use protocol::envelope::{Envelope as _, ReadError};
use storage::waiting_room::WaitingRow;

use crate::call_off::wanted;
use crate::error::with_causes;
use crate::match_events::{order_key, shard_of};

/// What becomes of one row.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes to the worker that serves this shard.
    SendTo(u16, Box<Consignment>),
    /// It ends here.
    End(Box<Ending>),
    /// It waits on, until its own time or a sooner one.
    PutBack(Timestamp),
    /// Only now does it stand in line, by this key.
    LineUp(String),
    /// It goes only if nothing newer stands behind it.
    IfNewest(Box<Waiting>, u16),
    /// It stays: a newer release has to read it, or more has to be known of it first.
    Stay,
}

/// Why a delivery ends, and the record that says so.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) remark: &'static str,
    pub(crate) record: Record,
}

/// The remark of a delivery that a newer one of its key has overtaken.
pub(super) const SUPERSEDED: &str = "superseded";

impl Ending {
    pub(crate) fn of(
        event: &Event,
        target: &Target,
        status: Status,
        remark: &'static str,
        at: Timestamp,
    ) -> Self {
        let settled = Settled {
            project: event.project.clone(),
            event: event.eid,
            delivery: target.delivery,
            trigger: target.trigger.clone(),
            function: target.function.clone(),
            generation: target.generation,
            status,
            remark: remark.to_owned(),
            at,
        };
        let record = Record::Settled(settled);
        Self { remark, record }
    }
}

/// Judges what is due.
pub(super) fn of_due(registry: &Registry, row: &WaitingRow, waiting: Waiting, shards: u16) -> Fate {
    let (function, trigger) = match known(registry, &waiting) {
        Ok(known) => known,
        Err(fate) => return fate,
    };
    if let Some(ending) = used_up(&trigger, row, &waiting) {
        return Fate::End(Box::new(ending));
    }
    let is_first_time = row.reason == WaitReason::Scheduled && row.next_attempt == 1;
    if row.order_key.is_none()
        && is_first_time
        && !waiting.target.is_ordered()
        && let Some(key) = order_key(&waiting.event, &trigger)
    {
        return Fate::LineUp(key.to_owned());
    }
    let shard = shard_of(function, shards);
    match (&row.order_key, trigger.backlog) {
        (Some(_), Backlog::Latest) => Fate::IfNewest(Box::new(waiting), shard),
        (Some(_), Backlog::All) | (None, _) => {
            let consignment = consignment(waiting, row.order_key.is_some());
            Fate::SendTo(shard, Box::new(consignment))
        }
    }
}

/// Judges what was called: because it is no longer wanted, or its policy has changed.
pub(super) fn of_called(registry: &Registry, row: &WaitingRow, waiting: &Waiting) -> Fate {
    let (_, trigger) = match known(registry, waiting) {
        Ok(known) => known,
        Err(fate) => return fate,
    };
    if let Some(ending) = used_up(&trigger, row, waiting) {
        return Fate::End(Box::new(ending));
    }
    Fate::PutBack(retimed(&trigger, row).unwrap_or(row.due_at))
}

/// One event for one target; what is held stays in the waiting room until it has ended.
pub(super) fn consignment(waiting: Waiting, is_held: bool) -> Consignment {
    let Waiting {
        event, mut target, ..
    } = waiting;
    target.is_held = is_held;
    Consignment {
        event,
        targets: vec![target],
    }
}

fn known<'registry>(
    registry: &'registry Registry,
    waiting: &Waiting,
) -> Result<(&'registry Function, Arc<Trigger>), Fate> {
    let Waiting { event, target, .. } = waiting;
    let ending = |remark| {
        let ending = Ending::of(event, target, Status::Cancel, remark, Timestamp::now());
        Err(Fate::End(Box::new(ending)))
    };
    let function = match wanted(registry, &event.project, target) {
        // What this replica has not heard of yet only looks as if it was deleted.
        Err(_) if registry.revision < target.revision => return Err(Fate::Stay),
        Err(unwanted) => return ending(unwanted.remark()),
        Ok(function) => function,
    };
    // What an operator ordered goes by a rule even if its trigger is gone.
    match registry.rule_of(&event.project, target) {
        Some(trigger) => Ok((function, trigger)),
        // Just asked, and found.
        None => Err(Fate::Stay),
    }
}

/// The policy in force decides, not the one of when the delivery came to wait.
fn used_up(trigger: &Trigger, row: &WaitingRow, waiting: &Waiting) -> Option<Ending> {
    let tried = row.next_attempt.saturating_sub(1);
    let is_retry = row.reason == WaitReason::Retry && tried > 0;
    let is_used_up = is_retry && trigger.retry.wait_after(tried, MIDDLE).is_none();
    is_used_up.then(|| {
        let remark = GiveUpReason::AttemptsUsedUp.remark();
        let (event, target) = (&waiting.event, &waiting.target);
        Ending::of(event, target, Status::Failed, remark, Timestamp::now())
    })
}

/// No jitter.
const MIDDLE: f64 = 0.5;

/// When it would be due by the policy in force, if that is sooner.
fn retimed(trigger: &Trigger, row: &WaitingRow) -> Option<Timestamp> {
    if row.reason != WaitReason::Retry {
        return None;
    }
    let tried = row.next_attempt.checked_sub(1).filter(|tried| *tried > 0)?;
    let wait = trigger.retry.wait_after(tried, MIDDLE)?;
    let due_at = row.since.saturating_add(wait).ok()?;
    (due_at < row.due_at).then_some(due_at)
}

/// Why a row is not read now.
#[derive(Debug)]
pub(super) enum Unread {
    /// A newer release wrote it, and will read it.
    Newer(String),
    /// Nobody will.
    Never(String),
}

pub(super) fn read(row: &WaitingRow) -> Result<Waiting, Unread> {
    let waiting = Waiting::read(row.payload.clone()).map_err(|error| match error {
        ReadError::Version { .. } => Unread::Newer(with_causes(&error)),
        ReadError::NotProtobuf { .. } | ReadError::Content { .. } => {
            Unread::Never(with_causes(&error))
        }
    })?;
    waiting
        .into_iter()
        .next()
        .ok_or_else(|| Unread::Never("the envelope is empty".to_owned()))
}
