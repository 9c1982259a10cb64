//! That a delivery is owed is written together with what came of it, where that comes soon.
//!
//! Such a row is mostly replaced within a second, and costs the database as much as the one that
//! replaces it. So while much happens it waits a moment for what came of the delivery, and its
//! message with it: whatever becomes of this process, nothing of it is lost. The event itself is
//! written at once.
//!
//! **Invariant:** no I/O; time is an argument.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use broker::Acknowledgement;
use domain::delivery::{Status, Target};
use domain::event::Event;
use domain::id::DeliveryId;
use domain::record::{Matched, Record, Settled};
use tokio::time::Instant;

/// What is owed is written after this time, whatever came of it.
const WAITS_FOR: Duration = Duration::from_secs(1);

/// What was stored is known for this time at least, and twice as long at most.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// What waits, and the messages that wait with it.
#[derive(Debug)]
pub(crate) struct PutOff<A = Acknowledgement> {
    owed: HashMap<DeliveryId, Owed>,
    due: VecDeque<(Instant, DeliveryId)>,
    /// By their number.
    messages: HashMap<u64, Waiting<A>>,
    messages_max: usize,
    /// Deliveries of which more is stored than that they are owed.
    told: HashSet<DeliveryId>,
    told_before: HashSet<DeliveryId>,
    turned_at: Instant,
}

#[derive(Debug)]
struct Owed {
    record: Settled,
    message: u64,
}

#[derive(Debug)]
struct Waiting<A> {
    open: usize,
    acknowledgement: A,
}

impl<A> PutOff<A> {
    /// So many messages may wait at a time.
    pub(crate) fn new(messages_max: usize, now: Instant) -> Self {
        Self {
            owed: HashMap::new(),
            due: VecDeque::new(),
            messages: HashMap::new(),
            messages_max,
            told: HashSet::new(),
            told_before: HashSet::new(),
            turned_at: now,
        }
    }

    /// How many more messages may wait.
    pub(crate) fn room(&self) -> usize {
        self.messages_max.saturating_sub(self.messages.len())
    }

    /// Takes out of a message's record what may be written later, or need not be; how much of it
    /// waits.
    pub(crate) fn take(&mut self, matched: &mut Matched, message: u64, now: Instant) -> usize {
        if matched.event.deliver_at.is_some() {
            // It is for later, and says until when.
            return 0;
        }
        let before = self.owed.len();
        let Matched { event, targets } = matched;
        targets.retain(|target| {
            if self.told.contains(&target.delivery) || self.told_before.contains(&target.delivery) {
                return false;
            }
            match self.owed.entry(target.delivery) {
                // By a message that was given again: one of them is enough.
                Entry::Occupied(_) => true,
                Entry::Vacant(entry) => {
                    let record = owed(event, target);
                    entry.insert(Owed { record, message });
                    self.due.push_back((now + WAITS_FOR, target.delivery));
                    false
                }
            }
        });
        self.owed.len() - before
    }

    /// A message is stored but for so much that waits.
    pub(crate) fn hold(&mut self, message: u64, open: usize, acknowledgement: A) {
        let waiting = Waiting {
            open,
            acknowledgement,
        };
        self.messages.insert(message, waiting);
    }

    /// Learns what was stored; what is to be acknowledged now.
    pub(crate) fn stored<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        now: Instant,
    ) -> Vec<A> {
        if now.saturating_duration_since(self.turned_at) >= KNOWN_FOR {
            self.told_before = std::mem::take(&mut self.told);
            self.turned_at = now;
        }
        let mut done = Vec::new();
        for record in records {
            let delivery = match record {
                Record::Attempted(attempted) => attempted.delivery,
                Record::Settled(settled) => settled.delivery,
                Record::Matched(_) => continue,
            };
            self.told.insert(delivery);
            if let Some(Owed { message, .. }) = self.owed.remove(&delivery) {
                done.extend(self.one_less(message));
            }
        }
        done
    }

    /// What has waited long enough; stays known until it is [`stored`](Self::stored).
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Record> {
        let mut due = Vec::new();
        while let Some((at, delivery)) = self.due.front()
            && *at <= now
        {
            let owed = self.owed.get(delivery);
            due.extend(owed.map(|owed| Record::Settled(owed.record.clone())));
            self.due.pop_front();
        }
        due
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    fn one_less(&mut self, message: u64) -> Option<A> {
        let Entry::Occupied(mut entry) = self.messages.entry(message) else {
            // It was set aside.
            return None;
        };
        let waiting = entry.get_mut();
        waiting.open = waiting.open.saturating_sub(1);
        let is_done = waiting.open == 0;
        is_done.then(|| entry.remove().acknowledgement)
    }
}

/// As an order to deliver it: it is as far as one that was just matched.
fn owed(event: &Event, target: &Target) -> Settled {
    Settled {
        project: event.project.clone(),
        event: event.eid,
        delivery: target.delivery,
        trigger: target.trigger.clone(),
        function: target.function.clone(),
        generation: target.generation,
        status: Status::Staged,
        remark: String::new(),
        at: event.accepted_at,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Timestamp;
    use domain::event_type::EventType;
    use domain::id::EventId;
    use domain::pattern::Captures;

    use super::*;

    const ROOM: usize = 4;

    fn event(deliver_at: Option<Timestamp>) -> Event {
        let eid = EventId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        Event {
            eid,
            project: "default".parse().unwrap(),
            id: eid.to_string(),
            source: "/projects/default".to_owned(),
            event_type: EventType::parse("order.placed").unwrap(),
            subject: None,
            time: Timestamp::UNIX_EPOCH,
            accepted_at: Timestamp::UNIX_EPOCH,
            data_content_type: None,
            data: bytes::Bytes::new(),
            actor: None,
            partition_key: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            ancestry: Vec::new(),
            reply_to: None,
            deliver_at,
            traceparent: None,
            extensions: BTreeMap::new(),
        }
    }

    fn matched(triggers: &[&str]) -> Matched {
        let event = event(None);
        let target = |trigger: &&str| Target {
            delivery: DeliveryId::derive(event.eid, trigger),
            trigger: trigger.parse().unwrap(),
            function: "welcome".parse().unwrap(),
            captures: Captures::default(),
            next_attempt: 1,
            generation: 0,
            revision: 1,
            is_held: false,
        };
        let targets = triggers.iter().map(target).collect();
        Matched { event, targets }
    }

    fn came_of(trigger: &str) -> Record {
        let event = event(None);
        let [target] = <[Target; 1]>::try_from(matched(&[trigger]).targets).unwrap();
        Record::Settled(Settled {
            status: Status::Cancel,
            ..owed(&event, &target)
        })
    }

    #[test]
    fn a_message_is_done_when_something_has_come_of_all_that_it_owes() {
        let now = Instant::now();
        let mut put_off = PutOff::new(ROOM, now);
        let mut one = matched(&["first", "second"]);
        assert_eq!(put_off.take(&mut one, 1, now), 2);
        assert_eq!(one.targets, []);
        put_off.hold(1, 2, "one");
        assert_eq!(put_off.room(), ROOM - 1);
        let none: [&str; 0] = [];
        assert_eq!(put_off.stored([came_of("first")].iter(), now), none);
        assert_eq!(
            put_off.stored([came_of("first")].iter(), now),
            none,
            "again"
        );
        assert_eq!(put_off.stored([came_of("second")].iter(), now), ["one"]);
        assert_eq!(put_off.room(), ROOM);
        assert_eq!(put_off.take_due(now + WAITS_FOR), [], "nothing is left");
    }

    #[test]
    fn what_nothing_comes_of_is_written_as_owed_after_a_while() {
        let now = Instant::now();
        let mut put_off = PutOff::new(ROOM, now);
        let open = put_off.take(&mut matched(&["first"]), 1, now);
        put_off.hold(1, open, "one");
        assert_eq!(put_off.take_due(now + WAITS_FOR / 2), []);
        let due_at = put_off.next_due().unwrap();
        let due = put_off.take_due(due_at);
        let [Record::Settled(record)] = due.as_slice() else {
            panic!("{due:?}")
        };
        assert_eq!(
            (record.status, record.remark.as_str()),
            (Status::Staged, "")
        );
        assert_eq!(put_off.stored(due.iter(), due_at), ["one"]);
    }

    #[test]
    fn what_is_known_already_is_owed_no_more() {
        let now = Instant::now();
        let mut put_off = PutOff::<&str>::new(ROOM, now);
        put_off.stored([came_of("first")].iter(), now);
        let mut late = matched(&["first", "second"]);
        assert_eq!(put_off.take(&mut late, 1, now), 1);
        assert_eq!(late.targets, []);
        put_off.stored([].iter(), now + KNOWN_FOR);
        put_off.stored([].iter(), now + KNOWN_FOR * 2);
        let mut later = matched(&["first"]);
        assert_eq!(put_off.take(&mut later, 2, now), 1, "forgotten");
    }

    #[test]
    fn what_is_owed_twice_or_for_later_is_written_at_once() {
        let now = Instant::now();
        let mut put_off = PutOff::<&str>::new(ROOM, now);
        put_off.take(&mut matched(&["first"]), 1, now);
        let mut again = matched(&["first"]);
        assert_eq!(put_off.take(&mut again, 2, now), 0);
        assert_eq!(again.targets.len(), 1);
        let mut later = matched(&["second"]);
        later.event.deliver_at = Some(Timestamp::MAX);
        assert_eq!(put_off.take(&mut later, 3, now), 0);
        assert_eq!(later.targets.len(), 1);
    }
}
