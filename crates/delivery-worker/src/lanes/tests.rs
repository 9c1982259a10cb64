//! Lines, slots and what is handed back, with time in our hands.

mod gathering;

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::delivery::Allowance;
use domain::format::Format;
use domain::function::{Credentials, FunctionSettings, RateLimit, parse_url};
use domain::pace::{Exchange, Learned, Reaction};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SHARDS: u16 = 4;

#[derive(Debug)]
struct Job(Instant);

impl Load for Job {
    fn read_at(&self) -> Instant {
        self.0
    }

    fn bytes(&self) -> usize {
        100
    }
}

/// Lanes with a clock of their own.
struct World {
    lanes: Lanes<Job>,
    now: Instant,
    functions: BTreeMap<&'static str, Function>,
    under_way: Vec<(Instant, Started<Job>)>,
}

impl World {
    fn new(in_flight_max: u16) -> Self {
        let now = Instant::now();
        Self {
            lanes: Lanes::new(Slots::new(in_flight_max), SHARDS, now),
            now,
            functions: BTreeMap::new(),
            under_way: Vec::new(),
        }
    }

    fn offer(&mut self, name: &'static str, count: usize) {
        for _ in 0..count {
            let function = self.functions.entry(name).or_insert_with(|| function(name));
            let shard = shard::of_endpoint(&function.project, &origin(&function.url), SHARDS);
            self.lanes.offer(function, shard, Job(self.now), self.now);
        }
    }

    fn set(&mut self, name: &'static str, settings: FunctionSettings) {
        let mut function = function(name);
        function.settings = settings;
        function.revision = 2;
        self.functions.insert(name, function);
    }

    /// Starts what may start.
    fn start(&mut self) -> usize {
        let now = self.now;
        for (id, _) in self.lanes.take_unrecalled() {
            self.lanes.resume(id, None, now, Timestamp::UNIX_EPOCH);
        }
        let started = self.lanes.start(usize::MAX, now);
        let count = started.len();
        self.under_way
            .extend(started.into_iter().map(|started| (now, started)));
        count
    }

    fn under_way_of(&self, name: &str) -> usize {
        let is_of =
            |started: &Started<Job>| self.lanes.lines[&started.line].function.to_string() == name;
        let of = self.under_way.iter().filter(|(_, started)| is_of(started));
        of.count()
    }

    /// Ends everything under way to a function.
    fn end(&mut self, name: &str, reaction: Reaction) -> Vec<Turn> {
        let all = std::mem::take(&mut self.under_way);
        let mut turns = Vec::new();
        for (at, started) in all {
            if self.lanes.lines[&started.line].function.to_string() != name {
                self.under_way.push((at, started));
                continue;
            }
            let exchange = Exchange {
                reaction,
                took: self.now - at,
                rest: None,
                is_probe: started.is_probe,
            };
            turns.extend(self.lanes.ended(started.line, &exchange, false, self.now));
        }
        turns
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.lanes.tick(self.now);
    }

    /// How many were handed back for each reason.
    fn handed_back(&mut self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (_, reason) in self.lanes.take_handed_back() {
            *counts.entry(reason.as_str()).or_default() += 1;
        }
        counts
    }

    fn allowances(&mut self) -> Vec<Allowance> {
        self.lanes.allowances(self.now, Timestamp::UNIX_EPOCH)
    }

    /// Makes an endpoint known as one that answers in a millisecond.
    fn prove(&mut self, name: &'static str) {
        self.offer(name, 1);
        assert_eq!(self.start(), 1);
        self.now += MS;
        self.end(name, Reaction::Answered);
    }
}

fn function(name: &str) -> Function {
    Function {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        url: parse_url(&format!("http://{name}.example/")).unwrap(),
        format: Format::default(),
        secret: String::new(),
        signing_secret: String::new(),
        settings: FunctionSettings::default(),
        credentials: Credentials::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
}

#[test]
fn a_healthy_endpoint_starts_at_once_beside_one_that_hangs() {
    let mut world = World::new(1_000);
    world.prove("healthy");
    world.offer("hanging", 500);
    world.offer("healthy", 10);
    world.start();
    assert_eq!(world.under_way_of("hanging"), 10);
    assert_eq!(world.under_way_of("healthy"), 10);
    world.end("healthy", Reaction::Answered);
    let handed_back = world.handed_back()["concurrency"];
    assert!((350..=400).contains(&handed_back), "{handed_back}");
    world.pass(MS * 500);
    assert_eq!(world.lanes.queued(), 0, "nobody waits behind what hangs");
    world.offer("hanging", 100);
    world.offer("healthy", 1);
    assert_eq!(world.start(), 1);
    assert_eq!(
        world.lanes.take_handed_back().len(),
        100 + 490 - handed_back
    );
}

#[test]
fn endpoints_take_turns_when_slots_are_short() {
    let mut world = World::new(60);
    for name in ["one", "two", "three"] {
        for _ in 0..10 {
            world.offer(name, 30);
            while world.lanes.queued() > 0 {
                world.start();
                world.now += MS;
                world.end(name, Reaction::Answered);
            }
        }
    }
    for name in ["one", "two", "three"] {
        world.offer(name, 60);
    }
    assert_eq!(world.start(), 60, "as many as there are slots");
    for name in ["one", "two", "three"] {
        let share = world.under_way_of(name);
        assert!((16..=24).contains(&share), "{name} has {share}");
    }
}

#[test]
fn endpoints_nobody_knows_leave_half_of_the_slots_to_the_others() {
    let mut world = World::new(100);
    world.prove("healthy");
    const NAMES: [&str; 12] = [
        "h-aa", "h-bb", "h-cc", "h-dd", "h-ee", "h-ff", "h-gg", "h-hh", "h-ii", "h-jj", "h-kk",
        "h-ll",
    ];
    for name in NAMES {
        world.offer(name, 20);
    }
    world.start();
    assert_eq!(world.lanes.in_flight(), 50);
    world.offer("healthy", 5);
    assert_eq!(world.start(), 5);
}

#[test]
fn where_more_are_slow_than_there_are_slots_all_together_are_sent_what_the_slots_bear() {
    let mut world = World::new(8);
    let names = [
        "h-aa", "h-bb", "h-cc", "h-dd", "h-ee", "h-ff", "h-gg", "h-hh",
    ];
    for name in names {
        world.offer(name, 5);
    }
    assert_eq!(world.start(), 4, "half of the slots");
    world.pass(LEAVES_AFTER + MS);
    let told = world.allowances();
    assert_eq!(told.len(), names.len());
    let together: f64 = told.iter().filter_map(|each| each.per_second).sum();
    // As long as nobody knows, an answer takes a tenth of a second.
    assert!(together < 4.0 / 0.1 + 1e-6, "{together} a second");
}

#[test]
fn slow_endpoints_get_more_as_they_keep_up_and_stay_within_their_half() {
    let mut world = World::new(100);
    for _ in 0..20 {
        world.offer("slow", 100);
        world.start();
        world.pass(MS * 10_000);
        world.end("slow", Reaction::Answered);
    }
    world.offer("slow", 100);
    world.start();
    assert_eq!(world.under_way_of("slow"), 30, "an endpoint's own share");
    for name in ["slow-b", "slow-c"] {
        world.offer(name, 100);
    }
    world.start();
    assert_eq!(world.lanes.in_flight(), 50);
}

#[test]
fn a_functions_own_limits_are_kept_and_its_neighbour_at_the_endpoint_goes_on() {
    let mut world = World::new(1_000);
    world.set(
        "few",
        FunctionSettings {
            concurrency_max: Some(3),
            ..FunctionSettings::default()
        },
    );
    let mut beside = function("beside");
    beside.url = parse_url("http://few.example/other").unwrap();
    world.functions.insert("beside", beside);
    world.offer("few", 20);
    world.offer("beside", 4);
    world.start();
    assert_eq!(world.under_way_of("few"), 3);
    assert_eq!(world.under_way_of("beside"), 4);
    assert_eq!(world.lanes.endpoints(), 1);
}

#[test]
fn a_rate_is_never_exceeded_and_what_is_over_it_is_handed_back() {
    let mut world = World::new(1_000);
    let rate = RateLimit {
        per_second: 20.0,
        burst: 5,
    };
    world.set(
        "paced",
        FunctionSettings {
            rate: Some(rate),
            ..FunctionSettings::default()
        },
    );
    let mut started = 0;
    let mut handed_back = BTreeMap::new();
    for _ in 0..300 {
        world.offer("paced", 10);
        started += world.start();
        world.pass(MS * 10);
        world.end("paced", Reaction::Answered);
        for (reason, count) in world.handed_back() {
            *handed_back.entry(reason).or_insert(0) += count;
        }
    }
    assert!((62..=66).contains(&started), "{started} in 3 s");
    assert!(handed_back["rate"] > 2_800, "{handed_back:?}");
    let told = world.allowances();
    assert_eq!(told[0].per_second, Some(18.0), "enough lies here");
    assert!(told[0].burst <= 5);
    while world.lanes.queued() > 0 {
        world.pass(MS * 10);
        world.start();
        world.end("paced", Reaction::Answered);
    }
    world.pass(MS * 250);
    let told = world.allowances();
    assert_eq!(told[0].per_second, Some(22.0), "there is nothing to send");
}

#[test]
fn a_breaker_that_opens_hands_back_and_one_probe_closes_it() {
    let mut world = World::new(1_000);
    world.offer("broken", 30);
    world.start();
    world.pass(MS * 10);
    assert_eq!(world.end("broken", Reaction::Failed), [Turn::Opened]);
    assert_eq!(world.handed_back(), BTreeMap::from([("breaker", 20)]));
    let told = world.allowances();
    let one_second = Timestamp::UNIX_EPOCH + Duration::from_secs(1);
    assert_eq!(told[0].closed_until, Some(one_second));
    world.offer("broken", 5);
    assert_eq!(world.handed_back(), BTreeMap::from([("breaker", 5)]));

    world.pass(MS * 1_001);
    world.offer("broken", 5);
    assert_eq!(world.start(), 1, "one probe");
    assert_eq!(world.handed_back(), BTreeMap::from([("breaker", 4)]));
    world.pass(MS);
    assert_eq!(world.end("broken", Reaction::Answered), [Turn::Closed]);
    let told = world.allowances();
    assert_eq!(told[0].closed_until, None, "told at once");
    world.offer("broken", 2);
    assert_eq!(world.start(), 2);
}

#[test]
fn what_has_not_started_in_two_seconds_is_handed_back() {
    let mut world = World::new(1_000);
    for number in 0..100 {
        world.offer("slow", 1);
        world.start();
        world.pass(MS * 300);
        if number % 2 == 1 {
            world.end("slow", Reaction::Answered);
        }
    }
    world.set(
        "seldom",
        FunctionSettings {
            concurrency_max: Some(1),
            ..FunctionSettings::default()
        },
    );
    world.offer("seldom", 3);
    world.start();
    let queued = world.lanes.queued();
    world.now += MS * 1_900;
    world.lanes.take_handed_back();
    world.pass(MS * 101);
    assert!(queued > 0);
    assert_eq!(world.lanes.queued(), 0);
    assert_eq!(
        world.handed_back(),
        BTreeMap::from([("concurrency", queued)])
    );
}

#[test]
fn an_allowance_is_told_again_only_when_it_changed() {
    let mut world = World::new(1_000);
    world.prove("hook");
    assert!(world.allowances().is_empty(), "nothing waits");
    world.offer("hook", 3_000);
    assert_eq!(world.allowances().len(), 1);
    world.pass(MS * 10);
    world.offer("hook", 10);
    world.pass(MS * 250);
    assert!(world.allowances().is_empty(), "nothing has changed");
    for _ in 0..20 {
        world.start();
        world.now += MS;
        world.end("hook", Reaction::Answered);
    }
    world.pass(MS * 250);
    let told = world.allowances();
    assert_eq!(told.len(), 1, "it bears more now");
    assert!(told[0].per_second.unwrap() > 5_000.0, "{told:?}");
}

#[test]
fn a_delivery_of_an_endpoint_that_moved_goes_back_to_find_its_owner() {
    let mut world = World::new(1_000);
    let moved = function("moved");
    let shard = shard::of_endpoint(&moved.project, &origin(&moved.url), SHARDS);
    let (other, job) = ((shard + 1) % SHARDS, Job(world.now));
    world.lanes.offer(&moved, other, job, world.now);
    assert_eq!(world.handed_back(), BTreeMap::from([("concurrency", 1)]));
}

#[test]
fn a_paused_function_starts_nothing() {
    let mut world = World::new(1_000);
    world.set(
        "paused",
        FunctionSettings {
            is_paused: true,
            ..FunctionSettings::default()
        },
    );
    world.offer("paused", 3);
    assert_eq!(world.start(), 0);
    assert_eq!(world.handed_back(), BTreeMap::from([("paused", 3)]));
}

#[test]
fn what_was_learned_is_kept_once_and_goes_on_elsewhere() {
    let mut world = World::new(1_000);
    for _ in 0..10 {
        world.offer("hook", 100);
        world.start();
        world.now += MS;
        world.end("hook", Reaction::Answered);
    }
    let (now, time) = (world.now, Timestamp::UNIX_EPOCH);
    let kept = world.lanes.take_learned(None, now, time);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, "default http://hook.example");
    assert!(world.lanes.take_learned(None, now, time).is_empty());

    let mut next = World::new(1_000);
    next.offer("hook", 100);
    assert!(next.lanes.start(100, next.now).is_empty(), "first it asks");
    let unrecalled = next.lanes.take_unrecalled();
    let learned: Learned = kept[0].1.parse().unwrap();
    let (id, now) = (unrecalled[0].0, next.now);
    next.lanes.resume(id, Some(&learned), now, time);
    assert!(next.start() > 50, "it need not find out again");
}

#[test]
fn who_cannot_ask_what_others_learned_begins_a_moment_later() {
    let mut world = World::new(1_000);
    world.offer("hook", 1);
    assert!(world.lanes.start(1, world.now).is_empty());
    world.pass(MS * 201);
    assert_eq!(world.lanes.start(1, world.now).len(), 1);
}

#[test]
fn what_the_last_owner_still_has_under_way_counts_until_it_must_have_ended() {
    let mut world = World::new(1_000);
    let few = FunctionSettings {
        concurrency_max: Some(4),
        ..FunctionSettings::default()
    };
    world.set("few", few.clone());
    world.offer("few", 4);
    assert_eq!(world.start(), 4);
    for number in 0..3 {
        let line = world.under_way[number].1.line;
        let until = world.now + MS * 5_000;
        world.lanes.is_overdue(line, until);
    }
    let (_, last) = world.under_way.pop().unwrap();
    let ended = Exchange {
        reaction: Reaction::Answered,
        took: MS,
        rest: None,
        is_probe: false,
    };
    world.lanes.ended(last.line, &ended, false, world.now);
    let few_function = function("few");
    let shard = shard::of_endpoint(&few_function.project, &origin(&few_function.url), SHARDS);
    let (now, time) = (world.now, Timestamp::UNIX_EPOCH);
    let kept = world.lanes.take_learned(Some(shard), now, time);
    world.lanes.forget_shard(shard);
    assert_eq!(world.lanes.endpoints(), 1, "what is under way ends here");
    assert!(world.lanes.take_learned(None, now, time).is_empty());

    let mut next = World::new(1_000);
    next.set("few", few);
    next.offer("few", 4);
    let id = next.lanes.take_unrecalled()[0].0;
    let learned: Learned = kept[0].1.parse().unwrap();
    let now = next.now;
    next.lanes.resume(id, Some(&learned), now, time);
    assert_eq!(next.start(), 1, "three are the last owner's");
    next.pass(MS * 5_000);
    next.offer("few", 4);
    assert_eq!(next.start(), 3);
}

#[test]
fn endpoints_nobody_calls_are_forgotten() {
    let mut world = World::new(1_000);
    world.prove("once");
    world.offer("hanging", 1);
    world.start();
    world.pass(FORGOTTEN_AFTER + MS);
    assert_eq!(world.lanes.endpoints(), 1, "what is under way stays");
    world.end("hanging", Reaction::Answered);
    world.pass(FORGOTTEN_AFTER + MS);
    assert_eq!(world.lanes.endpoints(), 0);
    assert_eq!(world.lanes.lines.len(), 0);
    world.prove("once");
}
