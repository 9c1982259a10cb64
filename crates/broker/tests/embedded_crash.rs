//! The process dies with the embedded queue open: nothing confirmed is lost, and what was in hand
//! comes again.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::path::Path;
use std::time::Duration;

use broker::{Broker as _, Config, Embedded, Message, Queue};
use lifecycle::{Health, Tasks};
use storage::queue::Limits;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn open(folder: &Path) -> (Embedded, Tasks) {
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let files = storage::sqlite::open(folder).await.unwrap();
    let queue = files.queue(Limits::default(), &tasks).await.unwrap();
    (
        Embedded::start(queue, Config::default().topology(), &tasks, &health),
        tasks,
    )
}

fn message(number: u32) -> Message {
    Message {
        body: number.to_string().into(),
        kind: "test.v1.Number",
        schema_version: 1,
        items: 1,
        traceparent: None,
    }
}

/// What is going on when the runtime is dropped stops where it stands.
fn run_and_die(work: impl Future<Output = ()>) {
    Runtime::new().unwrap().block_on(work);
}

#[test]
fn what_was_confirmed_is_there_and_what_was_in_hand_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    run_and_die(async {
        let (broker, _tasks) = open(folder.path()).await;
        let publisher = broker.publisher();
        for number in 0..10 {
            publisher
                .publish(Queue::Events(0), message(number))
                .await
                .unwrap()
                .await
                .unwrap();
        }
        let mut consumer = broker.consume(Queue::Events(0), 3);
        for _ in 0..3 {
            let received = timeout(SOON, consumer.next()).await.unwrap().unwrap();
            std::mem::forget(received.acknowledgement);
        }
        // The next confirm comes behind the note of what is in hand.
        publisher
            .publish(Queue::Events(0), message(10))
            .await
            .unwrap()
            .await
            .unwrap();
    });
    run_and_die(async {
        let (broker, _tasks) = open(folder.path()).await;
        let mut consumer = broker.consume(Queue::Events(0), 20);
        for number in 0..=10_u32 {
            let received = timeout(SOON, consumer.next())
                .await
                .unwrap()
                .expect("no end");
            assert_eq!(received.body, number.to_string());
            assert_eq!(received.is_redelivered, number < 3, "message {number}");
            std::mem::forget(received.acknowledgement);
        }
    });
}
