//! What follows from a page of an order: which deliveries, in which generation, due when.

use std::collections::HashMap;
use std::time::Duration;

use domain::Timestamp;
use domain::delivery::{Status, Target, WaitReason, Waiting};
use domain::id::{DeliveryId, RedriveId};
use domain::name::{FunctionName, ProjectName};
use domain::record::{Record, Settled};
use domain::redrive::direct_delivery;
use domain::registry::Registry;
use storage::log_store::DeliveryState;
use storage::redrives::{Candidate, Plan, Planned, Progress, Redrive, RedriveKind};

/// A page is so much at most; an event may carry 256 KiB.
const PAGE_MAX: u32 = 100;

/// How much is planned at a time: about a second's worth, so that a stop is felt soon.
pub(crate) fn page_size(redrive: &Redrive) -> u32 {
    let Some(rate) = redrive.order.per_second else {
        return PAGE_MAX;
    };
    (1..PAGE_MAX)
        .find(|count| f64::from(*count) >= rate)
        .unwrap_or(PAGE_MAX)
}

/// The deliveries that no trigger makes, which these candidates would lead to.
pub(crate) fn direct_deliveries(redrive: &Redrive, candidates: &[Candidate]) -> Vec<DeliveryId> {
    let Some(function) = &redrive.order.to_function else {
        return Vec::new();
    };
    candidates
        .iter()
        .filter(|candidate| is_direct(candidate, function))
        .map(|candidate| direct_delivery(candidate.event.eid, function))
        .collect()
}

/// A delivery that goes to its own function again stays what it is.
fn is_direct(candidate: &Candidate, to_function: &FunctionName) -> bool {
    candidate
        .delivery
        .as_ref()
        .is_none_or(|delivery| delivery.function != *to_function)
}

/// Plans one page. `known` are those of the [`direct_deliveries`] that were made before.
pub(crate) fn plan(
    redrive: &Redrive,
    candidates: Vec<Candidate>,
    known: &HashMap<DeliveryId, DeliveryState>,
    registry: &Registry,
    now: Timestamp,
) -> Plan {
    let mut progress = Progress {
        batch: redrive.progress.batch + 1,
        ..redrive.progress
    };
    let mut planned = Vec::with_capacity(candidates.len());
    let mut skipped = 0;
    let mut pace = Pace {
        next: redrive.progress.next_due_at.max(now),
        interval: redrive
            .order
            .per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
    };
    for candidate in candidates {
        progress.done_to = Some(match (&candidate.delivery, redrive.order.kind) {
            (Some(delivery), RedriveKind::Redrive) => delivery.id.uuid(),
            _ => candidate.event.eid.uuid(),
        });
        match plan_one(redrive, candidate, known, registry) {
            Some(one) => planned.push(Planned {
                due_at: pace.take(),
                ..one
            }),
            None => skipped += 1,
        }
    }
    progress.next_due_at = pace.next;
    Plan {
        planned,
        skipped,
        progress,
    }
}

/// When each is due.
struct Pace {
    next: Timestamp,
    interval: Duration,
}

impl Pace {
    fn take(&mut self) -> Timestamp {
        let due_at = self.next;
        self.next = due_at.saturating_add(self.interval).unwrap_or(due_at);
        due_at
    }
}

/// `None` where there is nothing to be done: the function is gone, it is under way already, or it
/// was a call whose caller has had an answer.
fn plan_one(
    redrive: &Redrive,
    candidate: Candidate,
    known: &HashMap<DeliveryId, DeliveryState>,
    registry: &Registry,
) -> Option<Planned> {
    let Candidate { event, delivery } = candidate;
    if event.event_type.is_of_a_call() {
        return None;
    }
    let project = &redrive.project;
    let due_at = Timestamp::UNIX_EPOCH;
    let to_function = redrive.order.to_function.as_ref();
    if let Some(delivery) = delivery
        && to_function.is_none_or(|function| delivery.function == *function)
    {
        registry.function(project, &delivery.function)?;
        return Some(Planned {
            event,
            delivery: delivery.id,
            generation: delivery.generation + 1,
            trigger: delivery.trigger,
            function: delivery.function,
            due_at,
        });
    }
    let function = registry.function(project, to_function?)?;
    let delivery = direct_delivery(event.eid, &function.name);
    let generation = match known.get(&delivery) {
        Some(state) if !state.status.is_final() => return None,
        Some(state) => state.generation + 1,
        None => 1,
    };
    let trigger = registry
        .first_trigger_of(project, &function.name)
        .map_or_else(|| function.name.name.clone(), |first| first.name.clone());
    Some(Planned {
        event,
        delivery,
        generation,
        trigger,
        function: function.name.clone(),
        due_at,
    })
}

/// What the waiting room is told of it.
pub(crate) fn waiting(
    planned: Planned,
    project: &ProjectName,
    registry: &Registry,
    now: Timestamp,
) -> Waiting {
    let captures = registry
        .trigger(project, &planned.trigger)
        .map(|trigger| trigger.captures_of(&planned.event))
        .unwrap_or_default();
    let target = Target {
        delivery: planned.delivery,
        trigger: planned.trigger,
        function: planned.function,
        captures,
        next_attempt: 1,
        generation: planned.generation,
        revision: registry.revision,
        is_held: false,
    };
    Waiting {
        event: planned.event,
        target,
        reason: WaitReason::Scheduled,
        since: now,
        due_at: planned.due_at,
    }
}

/// What the log is told of it: it is to be delivered once more, by this order.
pub(crate) fn record(
    planned: &Planned,
    project: &ProjectName,
    kind: RedriveKind,
    id: RedriveId,
    now: Timestamp,
) -> Record {
    Record::Settled(Settled {
        project: project.clone(),
        event: planned.event.eid,
        delivery: planned.delivery,
        trigger: planned.trigger.clone(),
        function: planned.function.clone(),
        generation: planned.generation,
        status: Status::Staged,
        remark: format!("{} {id}", kind.as_str()),
        at: now,
    })
}
