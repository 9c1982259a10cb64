//! The embedded queue: what was confirmed survives, in its order, until it is acknowledged.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lifecycle::{Ended, Tasks, run_until_stopped};
use storage::queue::{Depth, EmbeddedQueue, Limits, Position, SetAside, UNREADABLE};
use storage::{Error, sqlite};
use tokio::runtime::{Builder, Runtime};

const EVENTS: &str = "events.v1.0";
const RECORDS: &str = "records.v1";
const DEADLINE: Duration = Duration::from_secs(20);

async fn open(folder: &Path, limits: Limits) -> (EmbeddedQueue, Tasks) {
    let tasks = Tasks::default();
    let queue = sqlite::open(folder)
        .await
        .unwrap()
        .queue(limits, &tasks)
        .await
        .unwrap();
    (queue, tasks)
}

async fn stop(tasks: Tasks) {
    let ended = run_until_stopped(tasks, std::future::ready(()), DEADLINE).await;
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
}

/// A process that dies with its runtime: nothing is flushed or noted any more.
fn process() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn enqueue(queue: &EmbeddedQueue, name: &str, body: impl Into<Bytes>) -> Position {
    let headers = Bytes::from_static(b"headers");
    queue
        .enqueue(name, headers, body.into())
        .await
        .unwrap()
        .await
        .unwrap()
}

async fn bodies(queue: &EmbeddedQueue, name: &str) -> Vec<Bytes> {
    let messages = queue.load(name, None, 10_000).await.unwrap();
    messages.into_iter().map(|message| message.body).collect()
}

#[tokio::test]
async fn messages_keep_their_order_and_their_queue() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _tasks) = open(folder.path(), Limits::default()).await;
    let mut durables = Vec::new();
    for number in 0..300_u32 {
        let name = if number % 3 == 0 { RECORDS } else { EVENTS };
        let body = Bytes::copy_from_slice(&number.to_be_bytes());
        durables.push(queue.enqueue(name, Bytes::new(), body).await.unwrap());
    }
    let mut positions = Vec::new();
    for durable in durables {
        positions.push(durable.await.unwrap());
    }
    let all = queue.load(EVENTS, None, 1000).await.unwrap();
    let expected: Vec<u32> = (0..300).filter(|number| number % 3 != 0).collect();
    let found: Vec<u32> = all
        .iter()
        .map(|message| u32::from_be_bytes((&*message.body).try_into().unwrap()))
        .collect();
    assert_eq!(found, expected);
    let some = queue.load(EVENTS, Some(all[9].position), 5).await.unwrap();
    assert_eq!(some, all[10..15]);
    assert_eq!(queue.load("nothing.v1", None, 5).await.unwrap(), []);
    assert_eq!(
        queue.depth(RECORDS),
        Depth {
            messages: 100,
            bytes: 400
        }
    );
}

#[tokio::test]
async fn what_is_acknowledged_is_removed_and_the_rest_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, tasks) = open(folder.path(), Limits::default()).await;
    let first = enqueue(&queue, EVENTS, "first").await;
    enqueue(&queue, EVENTS, "second").await;
    queue.handed(first);
    queue.ack(first);
    queue.ack(first);
    testkit::eventually(DEADLINE, "the removal", async || {
        (bodies(&queue, EVENTS).await == ["second"]).then_some(())
    })
    .await;
    assert_eq!(
        queue.depth(EVENTS),
        Depth {
            messages: 1,
            bytes: 13
        }
    );
    stop(tasks).await;
    assert!(matches!(
        queue.enqueue(EVENTS, Bytes::new(), Bytes::new()).await,
        Err(Error::Closed)
    ));
    let (queue, _tasks) = open(folder.path(), Limits::default()).await;
    let messages = queue.load(EVENTS, None, 10).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (&*messages[0].headers, &*messages[0].body),
        (&b"headers"[..], &b"second"[..])
    );
    assert_eq!(messages[0].crashes, 0, "it was stopped in good order");
    assert_eq!(
        queue.depth(EVENTS),
        Depth {
            messages: 1,
            bytes: 13
        }
    );
    let third = enqueue(&queue, EVENTS, "third").await;
    assert!(third > messages[0].position);
}

#[tokio::test]
async fn an_acknowledgement_just_before_the_stop_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, tasks) = open(folder.path(), Limits::default()).await;
    let position = enqueue(&queue, EVENTS, "only").await;
    queue.ack(position);
    stop(tasks).await;
    let (queue, _tasks) = open(folder.path(), Limits::default()).await;
    assert!(bodies(&queue, EVENTS).await.is_empty());
}

#[tokio::test]
async fn a_full_queue_refuses_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        queue_bytes_max: 100,
        ..Limits::default()
    };
    let (queue, _tasks) = open(folder.path(), limits).await;
    let first = enqueue(&queue, EVENTS, vec![0; 50]).await;
    let refused = queue
        .enqueue(EVENTS, Bytes::new(), vec![0; 50].into())
        .await;
    assert!(matches!(refused, Err(Error::Full { queue, bytes_max: 100 }) if queue == EVENTS));
    enqueue(&queue, RECORDS, vec![0; 50]).await;
    queue.ack(first);
    testkit::eventually(DEADLINE, "room", async || {
        queue
            .enqueue(EVENTS, Bytes::new(), vec![0; 50].into())
            .await
            .ok()
    })
    .await
    .await
    .unwrap();
}

#[tokio::test]
async fn what_nobody_can_read_is_kept_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _tasks) = open(folder.path(), Limits::default()).await;
    let position = enqueue(&queue, EVENTS, "garbled").await;
    enqueue(&queue, EVENTS, "fine").await;
    queue
        .set_aside(position, "cannot be decoded")
        .await
        .unwrap();
    queue.set_aside(position, "twice").await.unwrap();
    queue.ack(position);
    assert_eq!(bodies(&queue, EVENTS).await, ["fine"]);
    let aside = queue.load(UNREADABLE, None, 10).await.unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!(&*aside[0].body, b"garbled");
    let expected = SetAside {
        queue: EVENTS.to_owned(),
        reason: "cannot be decoded".to_owned(),
    };
    assert_eq!(aside[0].set_aside, Some(expected));
    assert_eq!(
        queue.depth(UNREADABLE),
        Depth {
            messages: 1,
            bytes: 14
        }
    );
    assert_eq!(
        queue.depth(EVENTS),
        Depth {
            messages: 1,
            bytes: 11
        }
    );
}

#[test]
fn what_was_in_hand_at_too_many_crashes_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        crashes_max: 2,
        ..Limits::default()
    };
    for crash in 0..4 {
        let process = process();
        let survivor = process.block_on(async {
            let (queue, _tasks) = open(folder.path(), limits).await;
            if crash == 0 {
                enqueue(&queue, EVENTS, "deadly").await;
                enqueue(&queue, EVENTS, "behind it").await;
            }
            let messages = queue.load(EVENTS, None, 10).await.unwrap();
            if crash == 3 {
                assert_eq!(messages.len(), 1);
                assert_eq!(
                    (&*messages[0].body, messages[0].crashes),
                    (&b"behind it"[..], 0)
                );
                let aside = queue.load(UNREADABLE, None, 10).await.unwrap();
                assert_eq!((&*aside[0].body, aside[0].crashes), (&b"deadly"[..], 3));
                return queue;
            }
            assert_eq!(
                (&*messages[0].body, messages[0].crashes),
                (&b"deadly"[..], crash)
            );
            assert_eq!(messages[1].crashes, 0);
            queue.handed(messages[0].position);
            // Whatever is committed next carries the note along; here there is only the note.
            testkit::eventually(DEADLINE, "the note", async || {
                is_noted(folder.path()).await.then_some(())
            })
            .await;
            queue
        });
        process.shutdown_timeout(DEADLINE);
        // Not before: a writer that lost its last handle would end in good order.
        drop(survivor);
    }
}

async fn is_noted(folder: &Path) -> bool {
    let url = format!("sqlite://{}", folder.join("queue.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let noted: i64 = sqlx::query_scalar("SELECT max(handed_up_to) FROM queues")
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    noted > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_share_few_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _tasks) = open(folder.path(), Limits::default()).await;
    enqueue(&queue, EVENTS, "warm").await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..1000_u32 {
        let queue = queue.clone();
        callers.spawn(async move {
            let position = enqueue(&queue, RECORDS, number.to_be_bytes().to_vec()).await;
            queue.ack(position);
        });
    }
    tokio::time::timeout(DEADLINE, callers.join_all())
        .await
        .unwrap();
    testkit::eventually(DEADLINE, "every removal", async || {
        (queue.depth(RECORDS) == Depth::default()).then_some(())
    })
    .await;
    assert!(bodies(&queue, RECORDS).await.is_empty());
}
