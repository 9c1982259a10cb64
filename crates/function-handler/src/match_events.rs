//! Matches events: which triggers they call, and what is owed to whom, shard by shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::delivery::{Consignment, Status, Target, WaitReason, Waiting};
use domain::event::Event;
use domain::function::{Function, origin};
use domain::id::DeliveryId;
use domain::lineage::LOOP_REMARK;
use domain::matching::Matcher;
use domain::record::{Matched, Record, Settled};
use domain::registry::Registry;
use domain::reply::{Reply, ReplyAddress, Said};
use domain::shard::of_endpoint;
use domain::trigger::{Ordering, Trigger};
use jiff::Timestamp;
use tracing::debug;

use crate::metrics;

/// One message carries about so many deliveries, and one consignment at most.
pub const TARGETS_MAX: usize = 100;

/// An event with more targets than this is recorded in several records, all about as long: the log
/// tells few with their event alone, and of several records only the first could.
const RECORD_TARGETS_MAX: usize = 1_000;

/// What follows from a batch of events, in their order.
#[derive(Debug, Default)]
pub struct Fanout {
    pub consignments: BTreeMap<u16, Vec<Consignment>>,
    /// Deliveries that go through the waiting room: for a later time, or to a paused function.
    pub waiting: Vec<Waiting>,
    /// Deliveries that stand in line by their event's ordering key, in order.
    pub in_line: Vec<Waiting>,
    pub records: Vec<Record>,
    /// What is told to those who wait for an answer.
    pub replies: Vec<(ReplyAddress, Reply)>,
    pub unmatched: usize,
    pub deliveries: usize,
}

/// Which shard deliveries to a function belong to.
pub fn shard_of(function: &Function, delivery_shards: u16) -> u16 {
    of_endpoint(&function.project, &origin(&function.url), delivery_shards)
}

/// Matches a batch. The same events give the same deliveries, however often they are matched.
pub fn match_events(
    matcher: &Matcher,
    registry: &Registry,
    events: Vec<Event>,
    delivery_shards: u16,
    now: Timestamp,
) -> Fanout {
    let mut fanout = Fanout::default();
    let mut ways = WaysToFunctions {
        delivery_shards,
        registry,
        known: HashMap::new(),
    };
    for event in events {
        let mut targets = Vec::new();
        let mut by_shard: BTreeMap<u16, Vec<Target>> = BTreeMap::new();
        let mut loops = 0;
        let matches = matcher.decide(&event);
        let failed = matches.failed.iter();
        let failed: Vec<Record> = failed
            .map(|(trigger, reason)| filter_failed(&event, trigger, reason))
            .collect();
        for (trigger, captures) in matches.called {
            let Some(function) = registry.function(&event.project, &trigger.function) else {
                debug!(trigger = %trigger.name, function = %trigger.function, "a trigger's function is gone");
                continue;
            };
            let target = Target {
                delivery: DeliveryId::derive(event.eid, trigger.name.as_str()),
                trigger: trigger.name.clone(),
                function: trigger.function.clone(),
                captures,
                next_attempt: 1,
                generation: 0,
                revision: registry.revision,
                is_held: false,
            };
            targets.push(target.clone());
            if trigger.takes_for_loop(&event) {
                fanout.break_loop(&event, &target);
                loops += 1;
                continue;
            }
            let way = ways.to(function);
            match line_of(&event, &trigger, way, now) {
                Line::None => by_shard.entry(way.shard).or_default().push(target),
                Line::Room(reason, due_at) => {
                    let waiting = waiting(&event, target, reason, due_at);
                    fanout.waiting.push(waiting);
                }
                Line::Ordered(reason) => {
                    let waiting = waiting(&event, target, reason, event.accepted_at);
                    fanout.in_line.push(waiting);
                }
            }
        }
        debug!(eid = %event.eid, event.type = %event.event_type, deliveries = targets.len(), "event matched");
        fanout.tell(&event, targets.len() - loops);
        fanout.add(event, targets, by_shard);
        fanout.records.extend(failed);
    }
    fanout
}

/// A trigger whose filter cannot be answered calls nobody, and whoever looks is told why.
fn filter_failed(event: &Event, trigger: &Trigger, reason: &str) -> Record {
    debug!(eid = %event.eid, trigger = %trigger.name, reason, "a filter failed");
    Record::Settled(Settled {
        project: event.project.clone(),
        event: event.eid,
        delivery: DeliveryId::derive(event.eid, trigger.name.as_str()),
        trigger: trigger.name.clone(),
        function: trigger.function.clone(),
        generation: 0,
        status: Status::Cancel,
        remark: format!("filter failed: {reason}"),
        at: event.accepted_at,
    })
}

impl Fanout {
    /// It is owed, and ends without being sent: that is all there will ever be of it.
    fn break_loop(&mut self, event: &Event, target: &Target) {
        debug!(eid = %event.eid, depth = event.depth, function = %target.function, "taken for a loop");
        metrics::cancelled(LOOP_REMARK);
        self.records.push(Record::Settled(Settled {
            project: event.project.clone(),
            event: event.eid,
            delivery: target.delivery,
            trigger: target.trigger.clone(),
            function: target.function.clone(),
            generation: target.generation,
            status: Status::Cancel,
            remark: LOOP_REMARK.to_owned(),
            at: event.accepted_at,
        }));
    }

    /// Whoever waits for an answer is told how many deliveries there are.
    fn tell(&mut self, event: &Event, deliveries: usize) {
        if let Some(to) = &event.reply_to {
            let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
            let said = Said::Matched { deliveries };
            let event = event.eid;
            self.replies.push((to.clone(), Reply { event, said }));
        }
    }

    fn add(&mut self, event: Event, targets: Vec<Target>, by_shard: BTreeMap<u16, Vec<Target>>) {
        self.deliveries += targets.len();
        for (shard, targets) in by_shard {
            let consignments = self.consignments.entry(shard).or_default();
            consignments.extend(targets.chunks(TARGETS_MAX).map(|targets| Consignment {
                event: event.clone(),
                targets: targets.to_vec(),
            }));
        }
        if targets.len() <= RECORD_TARGETS_MAX {
            self.unmatched += usize::from(targets.is_empty());
            self.records
                .push(Record::Matched(Matched { event, targets }));
            return;
        }
        let length = part_length(targets.len(), RECORD_TARGETS_MAX);
        self.records.extend(targets.chunks(length).map(|targets| {
            Record::Matched(Matched {
                event: event.clone(),
                targets: targets.to_vec(),
            })
        }));
    }
}

/// The length of parts that are all about as long, and none longer than `max`.
const fn part_length(all: usize, max: usize) -> usize {
    all.div_ceil(all.div_ceil(max))
}

/// Where a delivery goes first.
enum Line {
    /// Nowhere but to its worker.
    None,
    Room(WaitReason, Timestamp),
    /// Behind those of its key; its turn is what it waits for, or that its function goes on.
    Ordered(WaitReason),
}

/// What is for later joins a line only when it is due, so that it holds up nobody until then.
fn line_of(event: &Event, trigger: &Trigger, way: Way, now: Timestamp) -> Line {
    if let Some(due_at) = event.deliver_at.filter(|due_at| *due_at > now) {
        return Line::Room(WaitReason::Scheduled, due_at);
    }
    match (order_key(event, trigger).is_some(), way.is_paused) {
        (true, true) => Line::Ordered(WaitReason::Paused),
        (true, false) => Line::Ordered(WaitReason::Order),
        (false, true) => Line::Room(WaitReason::Paused, event.accepted_at),
        (false, false) => Line::None,
    }
}

/// What a delivery of this trigger stands in line by, if it asks for order and the event has a key.
pub(crate) fn order_key<'event>(event: &'event Event, trigger: &Trigger) -> Option<&'event str> {
    match trigger.ordering {
        Ordering::None => None,
        Ordering::Key => event.ordering_key(),
    }
}

/// The same event gives the same rows, however often it is matched.
fn waiting(event: &Event, target: Target, reason: WaitReason, due_at: Timestamp) -> Waiting {
    Waiting {
        event: event.clone(),
        target,
        reason,
        since: event.accepted_at,
        due_at,
    }
}

/// A function is mostly called by many events of a batch: its shard is worked out once, and so is
/// whether it is paused.
struct WaysToFunctions<'registry> {
    delivery_shards: u16,
    registry: &'registry Registry,
    known: HashMap<*const Function, Way>,
}

#[derive(Clone, Copy)]
struct Way {
    shard: u16,
    is_paused: bool,
}

impl WaysToFunctions<'_> {
    fn to(&mut self, function: &Arc<Function>) -> Way {
        let (shards, registry) = (self.delivery_shards, self.registry);
        *self
            .known
            .entry(Arc::as_ptr(function))
            .or_insert_with(|| Way {
                shard: shard_of(function, shards),
                is_paused: registry.is_paused(&function.project, &function.name),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_very_many_targets_has_no_short_record() {
        for all in RECORD_TARGETS_MAX + 1..=5 * RECORD_TARGETS_MAX {
            let length = part_length(all, RECORD_TARGETS_MAX);
            let last = all - (all.div_ceil(length) - 1) * length;
            assert!(length <= RECORD_TARGETS_MAX && last > 400, "{all}: {last}");
        }
    }
}
