//! Matches events: which triggers they call, and what is owed to whom, shard by shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::delivery::{Consignment, Status, Target};
use domain::event::Event;
use domain::function::{Function, origin};
use domain::id::DeliveryId;
use domain::lineage::LOOP_REMARK;
use domain::matching::Matcher;
use domain::record::{Matched, Record, Settled};
use domain::registry::Registry;
use domain::shard::of_endpoint;
use domain::trigger::Trigger;
use tracing::debug;

use crate::metrics;

/// One message carries about so many deliveries, and one consignment at most.
pub const TARGETS_MAX: usize = 100;

/// An event with more targets than this is recorded in several records.
const RECORD_TARGETS_MAX: usize = 1_000;

/// What follows from a batch of events, in their order.
#[derive(Debug, Default)]
pub struct Fanout {
    pub consignments: BTreeMap<u16, Vec<Consignment>>,
    pub records: Vec<Record>,
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
) -> Fanout {
    let mut fanout = Fanout::default();
    let mut shards = ShardsOfFunctions {
        delivery_shards,
        known: HashMap::new(),
    };
    for event in events {
        let mut targets = Vec::new();
        let mut by_shard: BTreeMap<u16, Vec<Target>> = BTreeMap::new();
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
            if trigger.takes_for_loop(&event) {
                fanout.break_loop(&event, &target);
                targets.push(target);
                continue;
            }
            by_shard
                .entry(shards.of(function))
                .or_default()
                .push(target.clone());
            targets.push(target);
        }
        debug!(eid = %event.eid, event.type = %event.event_type, deliveries = targets.len(), "event matched");
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
        self.records
            .extend(targets.chunks(RECORD_TARGETS_MAX).map(|targets| {
                Record::Matched(Matched {
                    event: event.clone(),
                    targets: targets.to_vec(),
                })
            }));
    }
}

/// A function is mostly called by many events of a batch: its shard is worked out once.
struct ShardsOfFunctions {
    delivery_shards: u16,
    known: HashMap<*const Function, u16>,
}

impl ShardsOfFunctions {
    fn of(&mut self, function: &Arc<Function>) -> u16 {
        let shards = self.delivery_shards;
        *self
            .known
            .entry(Arc::as_ptr(function))
            .or_insert_with(|| shard_of(function, shards))
    }
}
