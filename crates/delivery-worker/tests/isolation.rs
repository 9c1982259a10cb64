//! One bad endpoint hurts nobody: hanging, failing and refusing endpoints beside healthy ones, and
//! limits that hold, on RabbitMQ.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken set-up should stop the test"
)]

#[path = "isolation/again.rs"]
mod again;
#[path = "isolation/answers.rs"]
mod answers;
#[path = "isolation/batching.rs"]
mod batching;
#[path = "isolation/room.rs"]
mod room;
#[path = "isolation/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coordination::RedisCoordination;
use domain::delivery::WaitReason;
use domain::function::{Function, FunctionSettings, RateLimit};
use domain::registry::{Change, Update};
use domain::retry::RetryPolicy;
use testkit::{Answer, Received, Receiver, eventually, servers};

use crate::room::Room;
use crate::world::{SOON, World};

const MS: Duration = Duration::from_millis(1);

fn patient() -> RetryPolicy {
    RetryPolicy {
        timeout: Duration::from_secs(60),
        ..RetryPolicy::default()
    }
}

/// The most requests that came within any one second.
fn most_in_a_second(requests: &[Received]) -> usize {
    let within = |first: &Received| {
        let until = first.received_instant + Duration::from_secs(1);
        let later = requests.iter().filter(|request| {
            request.received_instant >= first.received_instant && request.received_instant < until
        });
        later.count()
    };
    requests.iter().map(within).max().unwrap_or(0)
}

/// The most requests that were open at once, when each is open for `open_for`.
fn most_at_once(requests: &[Received], open_for: Duration) -> usize {
    let open_at = |moment: Instant| {
        let open = requests.iter().filter(|request| {
            request.received_instant <= moment && moment < request.received_instant + open_for
        });
        open.count()
    };
    requests
        .iter()
        .map(|request| open_at(request.received_instant))
        .max()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_leaves_its_messages_within_seconds_and_the_healthy_one_goes_on() {
    let world = World::start(1).await;
    let (hanging, healthy) = (Receiver::start().await, Receiver::start().await);
    hanging.hang();
    world.function("hanging", &hanging, FunctionSettings::default(), patient());
    world.function("healthy", &healthy, FunctionSettings::default(), patient());
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    world.owe("hanging", 200).await;
    hanging.wait_for(10, SOON).await;
    let begun = Instant::now();
    for round in 1..=30 {
        world.owe("hanging", 10).await;
        world.owe("healthy", 10).await;
        healthy.wait_for(round * 10, SOON).await;
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "300 healthy calls took {took:?}"
    );
    let in_flight = eventually(SOON, "a row for each request that hangs", async || {
        let rows = room.rows_of(WaitReason::InFlight);
        (rows.len() == hanging.count()).then_some(rows)
    })
    .await;
    eventually(SOON, "no message to wait for what hangs", async || {
        (world.messages().await == 0).then_some(())
    })
    .await;
    let lease = in_flight[0].due_at.duration_since(in_flight[0].since);
    assert!((60..=70).contains(&lease.as_secs()), "{lease:?}");
    let waiting = room.rows_of(WaitReason::Concurrency).len();
    assert!(waiting > 0, "the rest waits, and says why");
    let told = room.kept().allowances.len();
    assert!(told > 0, "and the waiting room knows how fast it may go");
    // The endpoint comes back: nothing was lost.
    assert_eq!(room.kept().ended.len(), 0);
    healthy.clear();
    hanging.answer_with(200);
    world.owe("healthy", 1).await;
    healthy.wait_for(1, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_that_ends_well_ends_its_row() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(200).after(Duration::from_secs(4)));
    world.function("slow", &receiver, FunctionSettings::default(), patient());
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    let owed = world.owe("slow", 3).await;
    eventually(SOON, "rows for what is under way", async || {
        (room.rows_of(WaitReason::InFlight).len() == 3).then_some(())
    })
    .await;
    eventually(SOON, "the rows to end", async || {
        (room.kept().ended.len() == 3).then_some(())
    })
    .await;
    let kept = room.kept();
    assert!(kept.rows.is_empty());
    assert!(owed.iter().all(|delivery| kept.ended.contains(delivery)));
    assert_eq!(receiver.count(), 3, "each was sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_endpoint_is_only_probed_and_gets_everything_when_it_is_back() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let retry = RetryPolicy {
        interval: MS * 500,
        retries_max: 50,
        ..RetryPolicy::default()
    };
    world.function("broken", &receiver, FunctionSettings::default(), retry);
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    let owed = world.owe("broken", 60).await;
    eventually(SOON, "the breaker to hand back", async || {
        room.kept().reasons.contains_key("breaker").then_some(())
    })
    .await;
    let closed = |room: &Room| room.kept().allowances.last().unwrap().closed_until;
    eventually(SOON, "three probes to fail", async || {
        let kept = room.kept();
        let closed = kept.allowances.iter().filter_map(|told| told.closed_until);
        let mut closed: Vec<_> = closed.collect();
        closed.dedup();
        (closed.len() >= 3).then_some(())
    })
    .await;
    let before = receiver.count();
    assert!(before < 60, "{before} requests for nothing");
    receiver.answer_with(200);
    let accepted = eventually(SOON, "all to be delivered", async || {
        let requests = receiver.requests();
        (requests.len() >= before + 60).then_some(requests)
    })
    .await;
    for delivery in owed {
        let delivery = delivery.to_string();
        let of = |request: &Received| request.header("webhook-id") == Some(&delivery);
        assert!(accepted.iter().any(of), "{delivery} is missing");
    }
    assert_eq!(closed(&room), None, "the waiting room was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_rate_is_never_exceeded() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let rate = RateLimit {
        per_second: 20.0,
        burst: 5,
    };
    let settings = FunctionSettings {
        rate: Some(rate),
        ..FunctionSettings::default()
    };
    world.function("paced", &receiver, settings, patient());
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    world.owe("paced", 80).await;
    let requests = receiver.wait_for(80, SOON).await;
    let most = most_in_a_second(&requests);
    // The burst, a second's worth, and what the way to the receiver may shift.
    assert!(most <= 27, "{most} in one second");
    let took = requests[79].received_instant - requests[0].received_instant;
    assert!(took < Duration::from_secs(8), "{took:?} for 3.75 s worth");
    assert!(room.kept().reasons["rate"] > 0);
    // A little less while there is enough in hand, else a little more.
    let told = room.kept().allowances[0].per_second.unwrap();
    assert!((18.0..=22.1).contains(&told), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrency_of_ten_holds_while_workers_join_and_leave_and_redis_is_away() {
    let open_for = MS * 50;
    let world = World::start(4).await;
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(200).after(open_for));
    let settings = FunctionSettings {
        concurrency_max: Some(10),
        ..FunctionSettings::default()
    };
    world.function("few", &receiver, settings, patient());
    let mut redis = servers::Redis::start().await.unwrap();
    let membership = || {
        let config = coordination::Config {
            url: redis.url().parse().unwrap(),
            ..coordination::Config::default()
        };
        Arc::new(RedisCoordination::new(&config).unwrap())
    };
    let _room = Room::open(&world.broker, &world.registry);
    let one = world.worker_with("worker-1", membership());
    let two = world.worker_with("worker-2", membership());
    world.owe("few", 200).await;
    receiver.wait_for(50, SOON).await;
    let three = world.worker_with("worker-3", membership());
    let four = world.worker_with("worker-4", membership());
    world.owe("few", 200).await;
    receiver.wait_for(150, SOON).await;
    Box::pin(one.stop()).await;
    Box::pin(two.stop()).await;
    redis.kill().unwrap();
    world.owe("few", 200).await;
    let requests = receiver.wait_for(600, SOON).await;
    let most = most_at_once(&requests, open_for);
    assert!((5..=10).contains(&most), "{most} at once");
    Box::pin(three.stop()).await;
    Box::pin(four.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_is_slowed_to_what_it_takes() {
    const TAKES: usize = 50;
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let begun = Instant::now();
    let window = Mutex::new((0, 0));
    let refused = Arc::<Mutex<Vec<Instant>>>::default();
    let noted = Arc::clone(&refused);
    receiver.answer_by(move |request| {
        let mut window = window.lock().unwrap();
        let now = (request.received_instant - begun).as_secs();
        if window.0 != now {
            *window = (now, 0);
        }
        window.1 += 1;
        if window.1 <= TAKES {
            Answer::status(200)
        } else {
            noted.lock().unwrap().push(request.received_instant);
            Answer::status(429)
        }
    });
    let retry = RetryPolicy {
        interval: MS * 200,
        retries_max: 50,
        ..RetryPolicy::default()
    };
    world.function("strict", &receiver, FunctionSettings::default(), retry);
    let _room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    let owed = 400;
    world.owe("strict", owed).await;
    eventually(Duration::from_secs(60), "all to be taken", async || {
        let refused = refused.lock().unwrap().len();
        (receiver.count() >= owed + refused).then_some(())
    })
    .await;
    let refused = refused.lock().unwrap().clone();
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "{owed} at 50/s took {took:?}"
    );
    let learned_at = begun + Duration::from_secs(3);
    let late = refused.iter().filter(|at| **at > learned_at).count();
    assert!(late * 50 <= owed, "{late} were refused once it was known");
    assert!(
        refused.len() <= 80,
        "{} of {owed} were refused",
        refused.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_46_s3_16_what_a_killed_worker_had_comes_again() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let hangs = Arc::new(AtomicBool::new(true));
    let is_hanging = Arc::clone(&hangs);
    receiver.answer_by(move |_| {
        if is_hanging.load(Ordering::Relaxed) {
            Answer::hang()
        } else {
            Answer::status(200)
        }
    });
    world.function("hook", &receiver, FunctionSettings::default(), patient());
    let room = Room::open(&world.broker, &world.registry);
    let mortal = world.mortal("worker-1");
    let long = world.owe("hook", 4).await;
    eventually(SOON, "what takes long to leave its message", async || {
        (room.rows_of(WaitReason::InFlight).len() == 4).then_some(())
    })
    .await;
    let short = world.owe("hook", 3).await;
    receiver.wait_for(7, SOON).await;
    mortal.kill();
    hangs.store(false, Ordering::Relaxed);
    receiver.clear();
    // The room notices by their time that the long ones are nobody's any more.
    for row in room.kept().rows.values_mut() {
        row.due_at = domain::Timestamp::now();
    }
    let _heir = world.worker("worker-2");
    let requests = receiver.wait_for(7, SOON).await;
    for delivery in long.iter().chain(&short) {
        let delivery = delivery.to_string();
        let again = requests
            .iter()
            .filter(|request| request.header("webhook-id") == Some(&delivery));
        assert_eq!(again.count(), 1, "{delivery}");
    }
}

#[tokio::test]
async fn a_function_that_is_gone_is_called_once_and_what_it_is_owed_waits() {
    let world = World::start(2).await;
    let room = Room::open(&world.broker, &world.registry);
    let receiver = Receiver::start().await;
    receiver.answer_with(410);
    let settings = FunctionSettings {
        disable_on_gone: true,
        concurrency_max: Some(1),
        ..FunctionSettings::default()
    };
    world.function("gone", &receiver, settings, patient());
    let _worker = world.worker("w1");
    world.owe("gone", 20).await;
    eventually(SOON, "the others wait", async || {
        let paused = room.kept().reasons.get("paused").copied();
        (paused >= Some(19)).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 1);
    let orders = room.kept().disables.clone();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(orders[0].function, "gone".parse().unwrap());

    // Whoever changes it, and so knows of it, has it called again.
    receiver.answer_with(200);
    let function = {
        let registry = world.registry.read();
        let order = &orders[0];
        let function = registry.function(&order.project, &order.function).unwrap();
        assert_eq!(order.revision, function.revision);
        Function {
            revision: 2,
            ..function.as_ref().clone()
        }
    };
    world.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![Change::Function(function)],
    });
    receiver.wait_for(20, SOON).await;
}
