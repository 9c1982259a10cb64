//! Deliveries that share a request: when it goes, what is in it, and who waits nowhere.

use domain::format::BatchFormat;
use domain::function::Batching;

use super::super::*;
use super::function;

const MS: Duration = Duration::from_millis(1);
const SHARDS: u16 = 4;

#[derive(Debug, Clone)]
struct One {
    read_at: Instant,
    place: u64,
    batch: Option<BatchFormat>,
    order: Option<Order>,
    has_left: bool,
    bytes: usize,
}

impl Load for One {
    fn read_at(&self) -> Instant {
        self.read_at
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn batch(&self) -> Option<BatchFormat> {
        self.batch
    }

    fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    fn has_left(&self) -> bool {
        self.has_left
    }

    fn place(&self) -> u64 {
        self.place
    }
}

struct World {
    lanes: Lanes<One>,
    function: Function,
    now: Instant,
    read: u64,
}

impl World {
    fn new(size_max: u32, cutoff: Duration) -> Self {
        let now = Instant::now();
        let mut function = function("many");
        function.settings.batching = Some(Batching { size_max, cutoff });
        Self {
            lanes: Lanes::new(Slots::new(100), SHARDS, now),
            function,
            now,
            read: 0,
        }
    }

    fn one(&mut self) -> One {
        self.read += 1;
        One {
            read_at: self.now,
            place: self.read,
            batch: Some(BatchFormat::CloudEvents),
            order: None,
            has_left: false,
            bytes: 100,
        }
    }

    fn offer(&mut self, one: One) {
        let function = &self.function;
        let shard = shard::of_endpoint(&function.project, &origin(&function.url), SHARDS);
        self.lanes.offer(function, shard, one, self.now);
        for (id, _) in self.lanes.take_unrecalled() {
            let time = domain::Timestamp::UNIX_EPOCH;
            self.lanes.resume(id, None, self.now, time);
        }
    }

    fn offer_many(&mut self, count: usize) {
        for _ in 0..count {
            let one = self.one();
            self.offer(one);
        }
    }

    /// The requests that start now, as the places of what is in them.
    fn start(&mut self) -> Vec<Vec<u64>> {
        let started = self.lanes.start(usize::MAX, self.now);
        let places = |started: Started<One>| {
            let all = std::iter::once(started.job).chain(started.others);
            all.map(|one| one.place).collect()
        };
        started.into_iter().map(places).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.lanes.tick(self.now);
    }

    fn is_empty(&mut self) -> bool {
        self.lanes.queued() == 0 && self.lanes.take_handed_back().is_empty()
    }
}

#[test]
fn s4_31_a_batch_goes_at_its_size_or_at_the_cutoff_and_never_carries_more() {
    let mut world = World::new(3, MS * 800);
    world.offer_many(7);
    assert_eq!(world.start(), [vec![1, 2, 3], vec![4, 5, 6]]);
    world.pass(MS * 799);
    assert_eq!(
        world.start(),
        Vec::<Vec<u64>>::new(),
        "one waits for others"
    );
    let wakes_at = world.lanes.wakes_at(world.now);
    assert_eq!(wakes_at, Some(world.now + MS));
    world.pass(MS);
    assert_eq!(world.start(), [vec![7]]);
    assert!(world.is_empty());
}

#[test]
fn a_batch_takes_one_slot() {
    let mut world = World::new(10, MS * 500);
    world.function.settings.concurrency_max = Some(1);
    world.offer_many(25);
    assert_eq!(world.start().len(), 1);
    assert_eq!(world.lanes.in_flight(), 1);
    assert_eq!(world.lanes.queued(), 15);
}

#[test]
fn what_gathers_long_leaves_its_message_and_comes_back_in_its_place() {
    let mut world = World::new(10, MS * 30_000);
    world.offer_many(2);
    world.pass(MS * 499);
    assert!(world.lanes.take_leaving().is_empty());
    world.pass(MS);
    let leaving = world.lanes.take_leaving();
    assert_eq!(leaving.len(), 2);
    assert_eq!(world.lanes.queued(), 0);
    world.offer_many(1);
    for one in leaving.into_iter().rev() {
        let one = One {
            has_left: true,
            ..one
        };
        let function = world.function.clone();
        world.lanes.rejoin(&function, one, world.now);
    }
    world.pass(MS * 500);
    // The third leaves too; here it is lost, as with its worker.
    assert_eq!(world.lanes.take_leaving().len(), 1);
    world.pass(MS * 28_999);
    assert_eq!(world.start(), Vec::<Vec<u64>>::new());
    world.pass(MS);
    assert_eq!(world.start(), [vec![1, 2]], "30 s after the first came");
    assert!(world.is_empty(), "and nothing was handed back meanwhile");
}

#[test]
fn a_short_cutoff_leaves_no_message() {
    let mut world = World::new(10, MS * 1_000);
    world.offer_many(2);
    for _ in 0..10 {
        world.pass(MS * 99);
        assert!(world.lanes.take_leaving().is_empty());
    }
    world.pass(MS * 10);
    assert_eq!(world.start(), [vec![1, 2]]);
}

#[test]
fn what_goes_alone_waits_for_nobody_and_formats_do_not_mix() {
    let mut world = World::new(10, MS * 500);
    world.offer_many(1);
    let other = One {
        batch: Some(BatchFormat::Yandex),
        ..world.one()
    };
    world.offer(other);
    let alone = One {
        batch: None,
        ..world.one()
    };
    world.offer(alone);
    world.offer_many(1);
    assert_eq!(world.start(), [vec![3]]);
    world.pass(MS * 500);
    assert_eq!(world.start(), [vec![1, 4], vec![2]]);
}

#[test]
fn two_deliveries_of_one_key_are_never_in_one_request() {
    let mut world = World::new(10, MS * 500);
    for key in ["a", "b", "a", "b", "c"] {
        let one = One {
            order: Some(("hook".parse().unwrap(), key.to_owned())),
            ..world.one()
        };
        world.offer(one);
    }
    world.pass(MS * 500);
    assert_eq!(world.start(), [vec![1, 2, 5], vec![3, 4]]);
}

#[test]
fn a_rate_counts_deliveries_and_not_requests() {
    let mut world = World::new(10, MS * 500);
    let rate = domain::function::RateLimit {
        per_second: 100.0,
        burst: 4,
    };
    world.function.settings.rate = Some(rate);
    world.offer_many(6);
    world.pass(MS * 500);
    assert_eq!(world.start(), [vec![1, 2, 3, 4]]);
    world.pass(MS * 20);
    assert_eq!(world.start(), [vec![5, 6]]);
}

#[test]
fn a_request_stays_below_what_receivers_take() {
    let mut world = World::new(1_000, MS * 500);
    for _ in 0..5 {
        let one = One {
            bytes: 1_000_000,
            ..world.one()
        };
        world.offer(one);
    }
    assert_eq!(world.start(), [vec![1, 2, 3, 4]]);
}

#[test]
fn nothing_gathers_while_the_worker_stops() {
    let mut world = World::new(10, MS * 60_000);
    world.offer_many(3);
    assert_eq!(world.start(), Vec::<Vec<u64>>::new());
    world.lanes.flush();
    assert_eq!(world.start(), [vec![1, 2, 3]]);
}

#[test]
fn an_endpoint_that_is_only_probed_is_not_probed_with_what_gathers_behind_it() {
    let mut world = World::new(10, MS * 100);
    world.offer_many(1);
    world.pass(MS * 100);
    assert_eq!(world.start(), [vec![1]]);
    world.offer_many(2);
    // It has answered nothing for a while: as many stay as could start.
    world.pass(MS * 2_100);
    let handed_back = world.lanes.take_handed_back();
    assert_eq!(handed_back.len() + world.lanes.queued(), 2);
}
