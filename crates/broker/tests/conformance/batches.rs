//! Promises about items that share messages.

use std::time::{Duration, Instant};

use broker::{BatchLimits, Batcher, Config, Encoding, Message, PublishError, Queue};
use tokio::time::timeout;

use crate::ground::{Ground, SOON, System, incompressible, next, numbers, text};

fn batcher(system: &System, queue: Queue, limits: BatchLimits) -> Batcher<String> {
    let encoding = Encoding {
        bytes_of: String::len,
        encode,
    };
    Batcher::start(
        system.broker.publisher(),
        queue,
        encoding,
        limits,
        &system.tasks,
    )
}

fn encode(items: &[String]) -> Message {
    Message {
        body: items.join(",").into(),
        kind: "test.v1.Texts",
        schema_version: 1,
        items: u32::try_from(items.len()).unwrap(),
        traceparent: None,
    }
}

/// Takes messages until as many items have come; gives the items of each message.
async fn take_batches(system: &System, queue: Queue, items: usize) -> Vec<Vec<String>> {
    let mut consumer = system.consume(queue, 100);
    let mut batches: Vec<Vec<String>> = Vec::new();
    while batches.iter().map(Vec::len).sum::<usize>() < items {
        let received = next(&mut consumer).await;
        batches.push(text(&received).split(',').map(str::to_owned).collect());
        received.acknowledgement.ack();
    }
    batches
}

pub(crate) async fn items_travel_together_and_in_order(ground: Ground) {
    let system = ground.open().await;
    let batcher = batcher(&system, Queue::Events(0), BatchLimits::default());
    let all: Vec<String> = numbers(0..5_000).collect();
    let mut pushed = Vec::new();
    for some in all.chunks(7) {
        pushed.push(batcher.put(some.to_vec()).await.unwrap());
    }
    for durable in pushed {
        durable.await.unwrap();
    }
    let batches = take_batches(&system, Queue::Events(0), all.len()).await;
    assert!(
        batches.len() <= 200,
        "{} messages for 5,000 items",
        batches.len()
    );
    assert!(batches.iter().all(|batch| batch.len() <= 256));
    assert_eq!(batches.concat(), all);
    system.stop().await;
}

pub(crate) async fn the_first_item_after_idle_leaves_at_once(ground: Ground) {
    let system = ground.open().await;
    let batcher = batcher(&system, Queue::Events(1), BatchLimits::default());
    let mut fastest = Duration::MAX;
    for item in numbers(0..20) {
        let began = Instant::now();
        batcher.push(item).await.unwrap();
        fastest = fastest.min(began.elapsed());
    }
    // The fastest of many, because the machine may be busy; an interval would show in each.
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    system.stop().await;
}

/// The embedded queue takes nothing more once all else has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_line_at_the_end_is_still_published_to_rabbitmq() {
    let ground = Ground::rabbitmq().await;
    let system = ground.open().await;
    let batcher = batcher(&system, Queue::Records, BatchLimits::default());
    let pushed = batcher.put(numbers(0..2_000).collect()).await.unwrap();
    system.stop().await;
    pushed.await.unwrap();
    let system = ground.open().await;
    let batches = take_batches(&system, Queue::Records, 2_000).await;
    assert_eq!(batches.concat(), numbers(0..2_000).collect::<Vec<_>>());
    system.stop().await;
}

pub(crate) async fn a_full_queue_is_told_and_waited_for(ground: Ground) {
    let config = Config {
        queue_bytes_max: 64 * 1024,
        ..Config::default()
    };
    let system = ground.open_with(config).await;
    let limits = BatchLimits {
        bytes_max: 10_000,
        ..BatchLimits::default()
    };
    let batcher = batcher(&system, Queue::Waiting, limits);
    let noise = incompressible(9_000);
    let item = |number: u32| format!("{number:09}{noise}");
    let mut confirmed = 0;
    let refused = loop {
        match batcher.push(item(confirmed)).await {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 100, "nothing is refused");
    };
    assert_eq!(refused, PublishError::Refused);
    let patient: Vec<String> = (1_000..1_010).map(item).collect();
    let pushing = batcher.push_until_durable(patient.clone());
    tokio::pin!(pushing);
    let early = timeout(Duration::from_millis(300), &mut pushing).await;
    assert!(early.is_err(), "a full queue cannot take it: {early:?}");
    let confirmed = usize::try_from(confirmed).unwrap();
    let (pushed, batches) = tokio::join!(
        timeout(SOON, pushing),
        take_batches(&system, Queue::Waiting, confirmed + 10)
    );
    pushed.unwrap().unwrap();
    let items = batches.concat();
    let tail = items.get(confirmed..).unwrap();
    assert_eq!(tail.len(), patient.len());
    assert!(tail.iter().eq(patient.iter()), "out of order");
    system.stop().await;
}
