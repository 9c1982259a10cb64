//! `RabbitMQ` is killed under load: nothing that was confirmed is lost, and work goes on.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken set-up should stop the test"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use broker::{Broker as _, Config, Message, PublishError, Publisher, Queue, RabbitMq};
use lifecycle::{Health, Tasks, run_until_stopped};
use testkit::eventually;
use testkit::servers::{self, Options};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A killed broker needs a while to come back.
const SOON: Duration = Duration::from_secs(90);

const PUBLISHERS: u64 = 8;

fn message(number: u64) -> Message {
    Message {
        body: number.to_string().into(),
        kind: "test.v1.Number",
        schema_version: 1,
        items: 1,
        traceparent: None,
    }
}

/// Publishes numbers until told to stop; gives those that were confirmed.
async fn publish_numbers(
    publisher: Arc<dyn Publisher>,
    first: u64,
    stop: Arc<AtomicBool>,
    confirmed_count: Arc<AtomicU64>,
) -> BTreeSet<u64> {
    let mut confirmed = BTreeSet::new();
    let mut number = first;
    // Without a broker every publish fails at once.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while !stop.load(Ordering::Relaxed) {
        let outcome = match publisher.publish(Queue::Records, message(number)).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                confirmed.insert(number);
                confirmed_count.fetch_add(1, Ordering::Relaxed);
            }
            Err(PublishError::Unavailable | PublishError::TimedOut) => {
                pace.tick().await;
            }
            Err(error) => panic!("{error}"),
        }
        number += PUBLISHERS;
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_the_broker_under_load_loses_nothing_confirmed() {
    let options = Options {
        durable: true,
        ..Options::default()
    };
    let mut server = servers::RabbitMq::start_with(options).await.unwrap();
    let vhost = server.vhost().await.unwrap();
    let config = Config {
        url: vhost.url().parse().unwrap(),
        ..Config::default()
    };
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let mut consumer = broker.consume(Queue::Records, 100);

    let stop = Arc::new(AtomicBool::new(false));
    let confirmed_count = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for first in 0..PUBLISHERS {
        let stop = Arc::clone(&stop);
        let count = Arc::clone(&confirmed_count);
        publishers.spawn(publish_numbers(broker.publisher(), first, stop, count));
    }
    let received = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&received);
    let mut consuming = JoinSet::new();
    consuming.spawn(async move {
        while let Some(message) = consumer.next().await {
            let number: u64 = String::from_utf8(message.body.to_vec())
                .unwrap()
                .parse()
                .unwrap();
            seen.lock().unwrap().insert(number);
            message.acknowledgement.ack();
        }
    });

    for _ in 0..2 {
        let before = confirmed_count.load(Ordering::Relaxed);
        eventually(SOON, "confirms", async || {
            (confirmed_count.load(Ordering::Relaxed) > before + 500).then_some(())
        })
        .await;
        server.kill().unwrap();
        eventually(SOON, "a broker that is missed", async || {
            (!health.is_ready()).then_some(())
        })
        .await;
        server.restart().await.unwrap();
        eventually(SOON, "a broker that is back", async || {
            health.is_ready().then_some(())
        })
        .await;
    }
    let before = confirmed_count.load(Ordering::Relaxed);
    eventually(SOON, "confirms after the last restart", async || {
        (confirmed_count.load(Ordering::Relaxed) > before + 500).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut confirmed = BTreeSet::new();
    while let Some(numbers) = timeout(SOON, publishers.join_next()).await.unwrap() {
        confirmed.extend(numbers.unwrap());
    }
    eventually(SOON, "every confirmed message", async || {
        confirmed.is_subset(&received.lock().unwrap()).then_some(())
    })
    .await;
    consuming.shutdown().await;
    run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_is_opened_again_and_what_was_in_hand_comes_again() {
    let vhost = testkit::rabbitmq_vhost().await;
    let config = Config {
        url: vhost.url().parse().unwrap(),
        ..Config::default()
    };
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let mut consumer = broker.consume(Queue::Events(0), 10);
    let publisher = broker.publisher();
    publisher
        .publish(Queue::Events(0), message(1))
        .await
        .unwrap()
        .await
        .unwrap();
    let in_hand = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    eventually(SOON, "two connections to close", async || {
        (vhost.close_connections().await.unwrap() >= 2).then_some(())
    })
    .await;
    let again = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert!(again.is_redelivered);
    // An answer to the lost giving settles nothing.
    in_hand.acknowledgement.ack();
    drop(again);
    let last = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    last.acknowledgement.ack();
    eventually(SOON, "publishing again", async || {
        publisher
            .publish(Queue::Events(0), message(2))
            .await
            .ok()?
            .await
            .ok()
    })
    .await;
    run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn without_a_broker_publishing_says_so_and_the_process_is_not_ready() {
    for scheme in ["amqp", "amqps"] {
        without_a_broker(scheme).await;
    }
}

async fn without_a_broker(scheme: &str) {
    let url = format!(
        "{scheme}://guest:guest@127.0.0.1:{}/test",
        testkit::free_port()
    );
    let config = Config {
        url: url.parse().unwrap(),
        ..Config::default()
    };
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let publisher = broker.publisher();
    let publishing = async { publisher.publish(Queue::Records, message(1)).await?.await };
    let outcome = timeout(Duration::from_secs(8), publishing).await.unwrap();
    assert_eq!(outcome, Err(PublishError::Unavailable));
    let report = health.report();
    assert!(!report.ready);
    let reason = report.checks.get("broker").unwrap().reason.clone().unwrap();
    assert!(
        reason.starts_with("publishing: connect to RabbitMQ: "),
        "{reason}"
    );
    run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_named_and_left_alone() {
    let vhost = testkit::rabbitmq_vhost().await;
    let config = Config {
        url: vhost.url().parse().unwrap(),
        ..Config::default()
    };
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let publisher = broker.publisher();
    publisher
        .publish(Queue::Records, message(7))
        .await
        .unwrap()
        .await
        .unwrap();

    let other_tasks = Tasks::default();
    let other_health = Health::following(&other_tasks);
    let other_config = Config {
        queue_bytes_max: 1024 * 1024,
        ..config
    };
    let _other = RabbitMq::start(&other_config, &other_tasks, &other_health).unwrap();
    let reason = eventually(SOON, "a reason", async || {
        let report = other_health.report();
        let reason = report
            .checks
            .get("broker")
            .and_then(|check| check.reason.clone());
        reason.filter(|reason| reason.contains("other arguments"))
    })
    .await;
    assert!(
        reason.contains("queue events.v1.0 exists with other arguments"),
        "{reason}"
    );
    let mut consumer = broker.consume(Queue::Records, 1);
    let kept = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert_eq!(kept.body, "7");
    kept.acknowledgement.ack();
    run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
    run_until_stopped(other_tasks, async {}, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_a_deleted_queue_is_never_confirmed_and_the_queue_comes_back() {
    let vhost = testkit::rabbitmq_vhost().await;
    let config = Config {
        url: vhost.url().parse().unwrap(),
        ..Config::default()
    };
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let publisher = broker.publisher();
    publisher
        .publish(Queue::Waiting, message(1))
        .await
        .unwrap()
        .await
        .unwrap();
    delete_queue(&vhost.url(), Queue::Waiting).await;
    let mut confirms = Vec::new();
    for number in 2..200 {
        // Those for another queue share its acknowledgements.
        let queue = if number % 2 == 0 {
            Queue::Waiting
        } else {
            Queue::Records
        };
        confirms.push((
            queue,
            publisher.publish(queue, message(number)).await.unwrap(),
        ));
    }
    for (queue, confirm) in confirms {
        let outcome = confirm.await;
        assert!(
            queue == Queue::Records || outcome.is_err(),
            "confirmed without a queue"
        );
    }
    eventually(SOON, "the queue to come back", async || {
        publisher
            .publish(Queue::Waiting, message(300))
            .await
            .ok()?
            .await
            .ok()
    })
    .await;
    run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
}

async fn delete_queue(url: &str, queue: Queue) {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = lapin::options::QueueDeleteOptions::default();
    channel
        .queue_delete(queue.to_string().into(), options)
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
