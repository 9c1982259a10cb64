//! What a batcher does when publishes fail, against a publisher that fails as it is told.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use broker::{BatchLimits, Batcher, Confirm, Encoding, Message, PublishError, Publisher, Queue};
use lifecycle::Tasks;
use testkit::eventually;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(10);

type Settle = oneshot::Sender<Result<(), PublishError>>;

/// Keeps what is published until the test decides on it.
#[derive(Debug, Default)]
struct Scripted {
    open: Mutex<VecDeque<(String, Settle)>>,
}

#[async_trait]
impl Publisher for Scripted {
    async fn publish(&self, _queue: Queue, message: Message) -> Result<Confirm, PublishError> {
        let (settle, confirm) = Confirm::new();
        let text = String::from_utf8(message.body.to_vec()).unwrap();
        self.open.lock().unwrap().push_back((text, settle));
        Ok(confirm)
    }
}

impl Scripted {
    /// Waits for the next message.
    async fn next(&self) -> (String, Settle) {
        eventually(SOON, "a message", async || {
            self.open.lock().unwrap().pop_front()
        })
        .await
    }

    async fn confirm_next(&self, expected: &str) {
        let (text, settle) = self.next().await;
        assert_eq!(text, expected);
        settle.send(Ok(())).unwrap();
    }

    fn is_quiet(&self) -> bool {
        self.open.lock().unwrap().is_empty()
    }
}

fn start(limits: BatchLimits) -> (Arc<Scripted>, Batcher<String>, Tasks) {
    let publisher = Arc::new(Scripted::default());
    let tasks = Tasks::default();
    let encode = |items: &[String]| Message {
        body: items.concat().into(),
        kind: "test.v1.Text",
        schema_version: 1,
        items: u32::try_from(items.len()).unwrap(),
        traceparent: None,
    };
    let encoding = Encoding {
        bytes_of: String::len,
        encode,
    };
    let line = Arc::clone(&publisher) as Arc<dyn Publisher>;
    let batcher = Batcher::start(line, Queue::Records, encoding, limits, &tasks);
    (publisher, batcher, tasks)
}

fn items(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

#[tokio::test]
async fn what_arrives_while_two_are_on_their_way_goes_together() {
    let (publisher, batcher, _tasks) = start(BatchLimits::default());
    let mut pushed = vec![batcher.put(items("a")).await.unwrap()];
    let (first, settle_first) = publisher.next().await;
    pushed.push(batcher.put(items("b")).await.unwrap());
    let (second, settle_second) = publisher.next().await;
    for text in ["c", "de", "f"] {
        pushed.push(batcher.put(items(text)).await.unwrap());
    }
    assert_eq!((first.as_str(), second.as_str()), ("a", "b"));
    assert!(publisher.is_quiet());
    settle_first.send(Ok(())).unwrap();
    publisher.confirm_next("cdef").await;
    settle_second.send(Ok(())).unwrap();
    for durable in pushed {
        durable.await.unwrap();
    }
}

#[tokio::test]
async fn a_group_over_several_messages_is_told_of_the_first_failure() {
    let limits = BatchLimits {
        items_max: 2,
        ..BatchLimits::default()
    };
    let (publisher, batcher, _tasks) = start(limits);
    let pushed = batcher.put(items("abcde")).await.unwrap();
    let alone = batcher.put(items("f")).await.unwrap();
    publisher.confirm_next("ab").await;
    let (text, settle) = publisher.next().await;
    assert_eq!(text, "cd");
    settle.send(Err(PublishError::TimedOut)).unwrap();
    publisher.confirm_next("ef").await;
    assert_eq!(pushed.await, Err(PublishError::TimedOut));
    alone.await.unwrap();
}

#[tokio::test]
async fn what_must_not_be_lost_is_published_again_before_anything_else() {
    let limits = BatchLimits {
        items_max: 2,
        ..BatchLimits::default()
    };
    let (publisher, batcher, _tasks) = start(limits);
    let pushed = batcher.put_until_durable(items("abcdef")).await.unwrap();
    let (first, settle_first) = publisher.next().await;
    let (second, settle_second) = publisher.next().await;
    assert_eq!((first.as_str(), second.as_str()), ("ab", "cd"));
    settle_second.send(Err(PublishError::Unavailable)).unwrap();
    // Dropping is a failure too.
    drop(settle_first);
    publisher.confirm_next("ab").await;
    publisher.confirm_next("cd").await;
    publisher.confirm_next("ef").await;
    pushed.await.unwrap();
}

#[tokio::test]
async fn what_can_never_be_published_is_not_tried_for_ever() {
    let (publisher, batcher, _tasks) = start(BatchLimits::default());
    let pushed = batcher.put_until_durable(items("a")).await.unwrap();
    let (_, settle) = publisher.next().await;
    settle.send(Err(PublishError::TooLarge(9))).unwrap();
    assert_eq!(pushed.await, Err(PublishError::TooLarge(9)));
}

#[tokio::test]
async fn a_caller_without_room_is_told_in_time() {
    let room_timeout = Duration::from_millis(50);
    let limits = BatchLimits {
        waiting_items_max: 3,
        room_timeout,
        ..BatchLimits::default()
    };
    let (publisher, batcher, _tasks) = start(limits);
    let pushed = batcher.put(items("abc")).await.unwrap();
    assert_eq!(batcher.push("d".to_owned()).await, Err(PublishError::Busy));
    publisher.confirm_next("abc").await;
    pushed.await.unwrap();
    let pushed = batcher.put(items("d")).await.unwrap();
    publisher.confirm_next("d").await;
    pushed.await.unwrap();
}

#[tokio::test]
async fn nothing_to_push_is_durable_at_once() {
    let (publisher, batcher, _tasks) = start(BatchLimits::default());
    batcher.push_all(Vec::new()).await.unwrap();
    assert!(publisher.is_quiet());
}
