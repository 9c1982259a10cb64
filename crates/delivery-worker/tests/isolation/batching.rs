//! Several deliveries in one request: each keeps its own fate, and none is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Broker, Queue};
use domain::delivery::{ErrorClass, Status, WaitReason, Waiting};
use domain::format::Format;
use domain::function::{Batching, Function, FunctionSettings};
use domain::record::{Attempted, Record};
use domain::registry::{Change, Update};
use domain::retry::RetryPolicy;
use domain::signature;
use protocol::envelope::Envelope as _;
use serde_json::{Value, json};
use testkit::{Answer, Received, Receiver, eventually};

use crate::room::Room;
use crate::world::{SIGNING_SECRET, SOON, World};

const MS: Duration = Duration::from_millis(1);

fn batching(size_max: u32, cutoff: Duration) -> FunctionSettings {
    FunctionSettings {
        batching: Some(Batching { size_max, cutoff }),
        ..FunctionSettings::default()
    }
}

fn once() -> RetryPolicy {
    RetryPolicy {
        retries_max: 0,
        timeout: Duration::from_secs(60),
        ..RetryPolicy::default()
    }
}

/// The ids of the events in a request, in their order.
fn ids(request: &Received) -> Vec<String> {
    let events = request.json();
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The attempts that were recorded, as they come.
pub(crate) async fn attempts(broker: &Arc<dyn Broker>, count: usize) -> Vec<Attempted> {
    let mut consumer = broker.consume(Queue::Records, 100);
    let mut attempts = Vec::new();
    while attempts.len() < count {
        let received = tokio::time::timeout(SOON, consumer.next())
            .await
            .unwrap()
            .unwrap();
        let records = Record::read(received.body).unwrap();
        attempts.extend(records.into_iter().filter_map(|record| match record {
            Record::Attempted(attempted) => Some(*attempted),
            Record::Matched(_) | Record::Settled(_) => None,
        }));
        received.acknowledgement.ack();
    }
    consumer.cancel().await;
    attempts
}

/// Changes the function that a row waits for.
fn changed(world: &World, row: &Waiting, change: impl FnOnce(&mut Function)) {
    let function = {
        let registry = world.registry.read();
        let function = registry.function(&row.event.project, &row.target.function);
        let mut function = Function::clone(function.unwrap());
        change(&mut function);
        function.revision = 2;
        function
    };
    world.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![Change::Function(function)],
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_31_a_request_carries_as_many_as_its_size_and_the_rest_goes_at_the_cutoff() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let settings = batching(10, MS * 700);
    let format = Format::CloudEventsBatch;
    world.function_in(format, "many", &receiver, settings, once());
    let _worker = world.worker("worker-1");
    let owed = world.owe("many", 25).await;
    let requests = receiver.wait_for(3, SOON).await;
    let sizes: Vec<_> = requests.iter().map(|request| ids(request).len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let waited = requests[2].received_instant - requests[1].received_instant;
    assert!(waited > MS * 500, "for others, {waited:?}");
    let sent: Vec<_> = requests.iter().flat_map(ids).collect();
    let distinct: BTreeSet<_> = sent.iter().collect();
    assert_eq!(distinct.len(), 25, "each once");

    for request in &requests {
        let header = |name: &str| request.header(name).unwrap().to_owned();
        assert_eq!(header("content-type"), "application/cloudevents-batch+json");
        assert_eq!(
            header("x-tripline-batch-size"),
            ids(request).len().to_string()
        );
        let id = header("webhook-id");
        assert!(id.starts_with("bat_"), "{id}");
        let at = header("webhook-timestamp").parse().unwrap();
        let signature = header("webhook-signature");
        signature::verify(SIGNING_SECRET, &id, at, &request.body, &signature).unwrap();
        assert_eq!(request.header("x-delivery-id"), None);
    }
    let attempts = attempts(&world.broker, 25).await;
    let recorded: BTreeSet<_> = attempts.iter().map(|attempt| attempt.delivery).collect();
    assert_eq!(recorded, owed.into_iter().collect());
    assert!(attempts.iter().all(|it| it.status == Status::Processed));
    eventually(SOON, "every message to be done with", async || {
        (world.messages().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_the_answer_names_are_tried_again_and_the_others_are_processed() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let failed = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&failed);
    receiver.answer_by(move |request| {
        let mut named = named.lock().unwrap();
        if !named.is_empty() {
            return Answer::status(200);
        }
        named.extend(ids(request).into_iter().take(2));
        let mut list = named.clone();
        list.push("nobody-sent-this".to_owned());
        Answer::status(200).with_body(json!({"failed": list}).to_string())
    });
    let format = Format::CloudEventsBatch;
    world.function_in(
        format,
        "many",
        &receiver,
        batching(5, MS * 500),
        RetryPolicy::default(),
    );
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    world.owe("many", 5).await;
    let first = attempts(&world.broker, 5).await;
    let failed: BTreeSet<_> = failed.lock().unwrap().iter().cloned().collect();
    assert_eq!(failed.len(), 2);
    for attempt in &first {
        let is_failed = failed.contains(&attempt.event.to_string());
        let (status, class) = match is_failed {
            true => (Status::Staged, Some(ErrorClass::Answer)),
            false => (Status::Processed, None),
        };
        assert_eq!((attempt.status, attempt.error_class), (status, class));
        assert_eq!(attempt.response_status, Some(200));
        let remark = attempt.remark.as_deref().unwrap_or_default();
        assert!(remark.contains("nobody-sent-this"), "{remark:?}");
    }
    let waiting = eventually(SOON, "two to wait for their retry", async || {
        let rows = room.rows_of(WaitReason::Retry);
        (rows.len() == 2).then_some(rows)
    })
    .await;
    assert!(waiting.iter().all(|row| row.target.next_attempt == 2));
    // They are tried again, together, and are taken.
    for row in room.kept().rows.values_mut() {
        row.due_at = domain::Timestamp::now();
    }
    let again = receiver.wait_for(2, SOON).await;
    assert_eq!(ids(&again[1]).into_iter().collect::<BTreeSet<_>>(), failed);
    let second = attempts(&world.broker, 2).await;
    assert!(
        second
            .iter()
            .all(|it| it.status == Status::Processed && it.number == 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_answer_fails_all_of_a_batch() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(503).with_body(r#"{"failed":[]}"#));
    let settings = batching(4, MS * 500);
    world.function_in(Format::Yandex, "many", &receiver, settings, once());
    let _worker = world.worker("worker-1");
    world.owe("many", 4).await;
    let attempts = attempts(&world.broker, 4).await;
    for attempt in &attempts {
        assert_eq!(attempt.status, Status::Failed);
        assert_eq!(attempt.response_status, Some(503));
    }
    let body: Value = receiver.requests()[0].json();
    assert_eq!(body["messages"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_worker_is_killed_is_sent_again_as_a_whole() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let hangs = Arc::new(AtomicBool::new(true));
    let is_hanging = Arc::clone(&hangs);
    receiver.answer_by(move |_| match is_hanging.load(Ordering::Relaxed) {
        true => Answer::hang(),
        false => Answer::status(200),
    });
    let format = Format::CloudEventsBatch;
    world.function_in(format, "many", &receiver, batching(5, MS * 500), once());
    let mortal = world.mortal("worker-1");
    let owed = world.owe("many", 5).await;
    let first = receiver.wait_for(1, SOON).await;
    mortal.kill();
    hangs.store(false, Ordering::Relaxed);
    let _heir = world.worker("worker-2");
    let requests = receiver.wait_for(2, SOON).await;
    assert_eq!(ids(&requests[1]), ids(&first[0]));
    let id = |request: &Received| request.header("webhook-id").unwrap().to_owned();
    assert_eq!(id(&requests[1]), id(&first[0]), "a receiver knows it again");
    let attempts = attempts(&world.broker, 5).await;
    let recorded: BTreeSet<_> = attempts.iter().map(|attempt| attempt.delivery).collect();
    assert_eq!(recorded, owed.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_long_holds_no_message_and_survives_its_worker() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let format = Format::CloudEventsBatch;
    // Longer than this test takes to look, on any machine.
    let settings = batching(100, Duration::from_mins(1));
    world.function_in(format, "many", &receiver, settings, once());
    let room = Room::open(&world.broker, &world.registry);
    let mortal = world.mortal("worker-1");
    let owed = world.owe("many", 3).await;
    let rows = eventually(SOON, "a row for each", async || {
        let rows = room.rows_of(WaitReason::InFlight);
        (rows.len() == 3).then_some(rows)
    })
    .await;
    let lease = rows[0].due_at.duration_since(rows[0].since).as_secs();
    assert!(
        (130..=135).contains(&lease),
        "cutoff, request and some: {lease} s"
    );
    eventually(SOON, "no message to wait", async || {
        (world.messages().await == 0).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 0, "they still gather");
    mortal.kill();
    changed(&world, &rows[0], |function| {
        function.settings = batching(100, Duration::from_secs(3));
    });
    for row in room.kept().rows.values_mut() {
        row.due_at = domain::Timestamp::now();
    }
    let _heir = world.worker("worker-2");
    let requests = receiver.wait_for(1, SOON).await;
    assert_eq!(ids(&requests[0]).len(), 3);
    eventually(SOON, "the rows to end", async || {
        (room.kept().ended.len() == 3).then_some(())
    })
    .await;
    let ended: BTreeSet<_> = room.kept().ended.iter().copied().collect();
    assert_eq!(ended, owed.into_iter().collect());
    assert!(room.kept().rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_for_a_function_that_is_paused_meanwhile_waits_elsewhere() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let format = Format::CloudEventsBatch;
    let settings = batching(100, Duration::from_secs(8));
    world.function_in(format, "many", &receiver, settings, once());
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    world.owe("many", 3).await;
    eventually(SOON, "them to gather", async || {
        (room.rows_of(WaitReason::InFlight).len() == 3).then_some(())
    })
    .await;
    let row = room.rows_of(WaitReason::InFlight).remove(0);
    changed(&world, &row, |function| function.settings.is_paused = true);
    eventually(SOON, "them to be handed back", async || {
        let paused = room.kept().reasons.get("paused").copied();
        (paused >= Some(3)).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_sends_what_gathers_and_leaves_nothing_behind() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    let format = Format::CloudEventsBatch;
    let settings = batching(100, Duration::from_secs(60));
    world.function_in(format, "many", &receiver, settings, once());
    let room = Room::open(&world.broker, &world.registry);
    let worker = world.worker("worker-1");
    world.owe("many", 3).await;
    eventually(SOON, "them to gather", async || {
        (room.rows_of(WaitReason::InFlight).len() == 3).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 0);
    Box::pin(worker.stop()).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "long before the cutoff");
    assert_eq!(ids(&requests[0]).len(), 3);
    eventually(SOON, "the rows to end", async || {
        (room.kept().ended.len() == 3).then_some(())
    })
    .await;
    assert!(room.kept().rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_hangs_leaves_its_messages_and_ends_its_rows_when_it_is_answered() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(200).after(Duration::from_secs(4)));
    world.function_in(
        Format::CloudEventsBatch,
        "many",
        &receiver,
        batching(4, MS * 500),
        once(),
    );
    let room = Room::open(&world.broker, &world.registry);
    let _worker = world.worker("worker-1");
    let owed = world.owe("many", 4).await;
    eventually(SOON, "a row for each", async || {
        (room.rows_of(WaitReason::InFlight).len() == 4).then_some(())
    })
    .await;
    eventually(SOON, "no message to wait", async || {
        (world.messages().await == 0).then_some(())
    })
    .await;
    eventually(SOON, "the rows to end", async || {
        (room.kept().ended.len() == 4).then_some(())
    })
    .await;
    let ended: BTreeSet<_> = room.kept().ended.iter().copied().collect();
    assert_eq!(ended, owed.into_iter().collect());
    assert_eq!(receiver.count(), 1);
}
