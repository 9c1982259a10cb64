//! Promises about single messages and their queues.

use std::time::Duration;

use broker::{Config, MESSAGE_BYTES_MAX, PublishError, Queue, SetAside, take_waiting};
use tokio::time::timeout;

use crate::ground::{
    Ground, SOON, incompressible, message, next, nothing_comes, numbers, take_texts, text,
};

pub(crate) async fn a_message_arrives_with_all_that_it_says(ground: Ground) {
    let system = ground.open().await;
    let mut consumer = system.consume(Queue::Records, 10);
    system.publish(Queue::Records, "hello").await.unwrap();
    let received = next(&mut consumer).await;
    let sent = message("hello");
    assert_eq!(received.queue, Queue::Records);
    assert_eq!(received.body, sent.body);
    assert_eq!(received.kind, sent.kind);
    assert_eq!(received.schema_version, sent.schema_version);
    assert_eq!(received.traceparent, sent.traceparent);
    assert_eq!(received.set_aside, None);
    assert!(!received.is_redelivered);
    received.acknowledgement.ack();
    system.stop().await;
}

pub(crate) async fn what_is_confirmed_is_there_after_a_restart(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Events(2), numbers(0..100)).await;
    system.stop().await;
    let system = ground.open().await;
    let mut consumer = system.consume(Queue::Events(2), 200);
    assert_eq!(
        take_texts(&mut consumer, 100).await,
        numbers(0..100).collect::<Vec<_>>()
    );
    system.stop().await;
}

pub(crate) async fn messages_come_in_the_order_in_which_they_were_published(ground: Ground) {
    let system = ground.open().await;
    let mut consumer = system.consume(Queue::Deliveries(1), 50);
    let (_, texts) = tokio::join!(
        system.publish_all(Queue::Deliveries(1), numbers(0..1_000)),
        take_texts(&mut consumer, 1_000),
    );
    assert_eq!(texts, numbers(0..1_000).collect::<Vec<_>>());
    system.stop().await;
}

pub(crate) async fn a_backlog_comes_in_order_while_more_arrives(ground: Ground) {
    let system = ground.open().await;
    system
        .publish_all(Queue::Events(0), numbers(0..5_000))
        .await;
    let mut consumer = system.consume(Queue::Events(0), 200);
    let (_, texts) = tokio::join!(
        system.publish_all(Queue::Events(0), numbers(5_000..8_000)),
        take_texts(&mut consumer, 8_000),
    );
    assert_eq!(texts, numbers(0..8_000).collect::<Vec<_>>());
    assert!(nothing_comes(&mut consumer).await);
    system.stop().await;
}

pub(crate) async fn a_message_that_is_dropped_comes_again_first(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Events(0), numbers(0..3)).await;
    let mut consumer = system.consume(Queue::Events(0), 1);
    let first = next(&mut consumer).await;
    assert!(!first.is_redelivered);
    let id = first.id.clone();
    drop(first);
    let again = next(&mut consumer).await;
    assert!(again.is_redelivered);
    assert_eq!(text(&again), "00000");
    assert_eq!(again.id, id, "it is the same message");
    again.acknowledgement.ack();
    let other = next(&mut consumer).await;
    assert_ne!(other.id, id);
    assert_eq!(text(&other), "00001");
    other.acknowledgement.ack();
    assert_eq!(take_texts(&mut consumer, 1).await, ["00002"]);
    system.stop().await;
}

pub(crate) async fn a_message_given_in_vain_too_often_is_set_aside(ground: Ground) {
    let system = ground.open().await;
    system.publish(Queue::Records, "deadly").await.unwrap();
    let mut consumer = system.consume(Queue::Records, 1);
    let given_max = Queue::Records.delivery_limit() + 1;
    for _ in 0..given_max {
        drop(next(&mut consumer).await);
    }
    let mut unreadable = system.consume(Queue::Unreadable, 1);
    let aside = next(&mut unreadable).await;
    assert_eq!(text(&aside), "deadly");
    assert_eq!(aside.set_aside.as_ref().unwrap().queue, "records.v1");
    aside.acknowledgement.ack();
    assert!(nothing_comes(&mut consumer).await);
    system.stop().await;
}

pub(crate) async fn no_more_are_given_than_may_be_in_flight(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Records, numbers(0..10)).await;
    let mut consumer = system.consume(Queue::Records, 3);
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    let third = next(&mut consumer).await;
    assert!(nothing_comes(&mut consumer).await);
    second.acknowledgement.ack();
    let fourth = next(&mut consumer).await;
    assert_eq!(text(&fourth), "00003");
    assert!(nothing_comes(&mut consumer).await);
    drop((first, third, fourth));
    system.stop().await;
}

pub(crate) async fn what_is_acknowledged_never_comes_again(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Events(1), numbers(0..50)).await;
    let mut consumer = system.consume(Queue::Events(1), 50);
    let mut in_hand = Vec::new();
    for _ in 0..50 {
        in_hand.push(next(&mut consumer).await);
    }
    // Out of order, and every fifth not at all.
    for (number, received) in in_hand.into_iter().enumerate().rev() {
        if number % 5 != 0 {
            received.acknowledgement.ack();
        }
    }
    consumer.cancel().await;
    drop(consumer);
    system.stop().await;
    let system = ground.open().await;
    let mut consumer = system.consume(Queue::Events(1), 50);
    let expected: Vec<String> = (0..50)
        .step_by(5)
        .map(|number| format!("{number:05}"))
        .collect();
    let mut left = take_texts(&mut consumer, 10).await;
    left.sort();
    assert_eq!(left, expected);
    assert!(nothing_comes(&mut consumer).await);
    system.stop().await;
}

pub(crate) async fn what_cannot_be_read_is_set_aside_with_its_reason(ground: Ground) {
    let system = ground.open().await;
    system
        .publish_all(Queue::Deliveries(3), numbers(0..2))
        .await;
    let mut consumer = system.consume(Queue::Deliveries(3), 10);
    let received = next(&mut consumer).await;
    received
        .acknowledgement
        .reject("schema version 9 is not known here");
    assert_eq!(take_texts(&mut consumer, 1).await, ["00001"]);
    let mut unreadable = system.consume(Queue::Unreadable, 10);
    let aside = next(&mut unreadable).await;
    assert_eq!(text(&aside), "00000");
    assert_eq!(aside.kind, "test.v1.Text");
    let reason = "schema version 9 is not known here".to_owned();
    assert_eq!(
        aside.set_aside,
        Some(SetAside {
            queue: "deliveries.v1.3".to_owned(),
            reason
        })
    );
    aside.acknowledgement.ack();
    assert!(nothing_comes(&mut consumer).await);
    system.stop().await;
}

pub(crate) async fn only_one_consumer_is_served_until_it_cancels(ground: Ground) {
    let system = ground.open().await;
    let mut active = system.consume(Queue::Deliveries(0), 10);
    system.publish(Queue::Deliveries(0), "first").await.unwrap();
    assert_eq!(take_texts(&mut active, 1).await, ["first"]);
    let mut standing_by = system.consume(Queue::Deliveries(0), 10);
    system
        .publish_all(Queue::Deliveries(0), numbers(0..5))
        .await;
    assert!(nothing_comes(&mut standing_by).await);
    assert_eq!(take_texts(&mut active, 2).await, ["00000", "00001"]);
    active.cancel().await;
    assert!(timeout(SOON, active.next()).await.unwrap().is_none());
    assert_eq!(
        take_texts(&mut standing_by, 3).await,
        ["00002", "00003", "00004"]
    );
    let mut back = system.consume(Queue::Deliveries(0), 10);
    system.publish(Queue::Deliveries(0), "last").await.unwrap();
    assert!(nothing_comes(&mut back).await);
    drop(standing_by);
    assert_eq!(take_texts(&mut back, 1).await.len(), 1);
    system.stop().await;
}

pub(crate) async fn a_hand_over_keeps_the_order_of_what_was_fetched_and_not_taken(ground: Ground) {
    const ALL: u32 = 300;
    let system = ground.open().await;
    let queue = Queue::Events(0);
    system.publish_all(queue, numbers(0..ALL / 2)).await;
    let mut active = system.consume(queue, 20);
    let mut texts = take_texts(&mut active, 3).await;
    let mut standing_by = system.consume(queue, 20);
    // More than the first one fetches, some of it before and some after it cancels.
    let (_, ()) = tokio::join!(
        system.publish_all(queue, numbers(ALL / 2..ALL)),
        active.cancel()
    );
    texts.extend(take_texts(&mut standing_by, numbers(3..ALL).count()).await);
    assert_eq!(texts, numbers(0..ALL).collect::<Vec<_>>());
    system.stop().await;
}

pub(crate) async fn records_are_shared_by_all_consumers(ground: Ground) {
    let system = ground.open().await;
    let mut one = system.consume(Queue::Records, 2);
    let mut other = system.consume(Queue::Records, 2);
    system.publish_all(Queue::Records, numbers(0..4)).await;
    let mut in_hand = Vec::new();
    for _ in 0..2 {
        in_hand.push(next(&mut one).await);
        in_hand.push(next(&mut other).await);
    }
    let mut texts: Vec<String> = in_hand.iter().map(text).collect();
    texts.sort();
    assert_eq!(texts, numbers(0..4).collect::<Vec<_>>());
    in_hand
        .into_iter()
        .for_each(|received| received.acknowledgement.ack());
    system.stop().await;
}

pub(crate) async fn what_is_in_hand_can_be_acknowledged_after_a_cancel(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Waiting, numbers(0..5)).await;
    let mut consumer = system.consume(Queue::Waiting, 5);
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    consumer.cancel().await;
    drop(consumer);
    first.acknowledgement.ack();
    second.acknowledgement.ack();
    let mut other = system.consume(Queue::Waiting, 5);
    let mut left = take_texts(&mut other, 3).await;
    left.sort();
    assert_eq!(left, ["00002", "00003", "00004"]);
    assert!(nothing_comes(&mut other).await);
    system.stop().await;
}

pub(crate) async fn a_dropped_consumer_gives_back_what_it_did_not_take(ground: Ground) {
    let system = ground.open().await;
    system.publish_all(Queue::Events(0), numbers(0..20)).await;
    let mut consumer = system.consume(Queue::Events(0), 20);
    drop(next(&mut consumer).await);
    drop(consumer);
    let mut other = system.consume(Queue::Events(0), 20);
    let mut texts = take_texts(&mut other, 20).await;
    texts.sort();
    assert_eq!(texts, numbers(0..20).collect::<Vec<_>>());
    system.stop().await;
}

pub(crate) async fn a_full_queue_refuses_and_loses_nothing(ground: Ground) {
    let config = Config {
        queue_bytes_max: 64 * 1024,
        ..Config::default()
    };
    let system = ground.open_with(config).await;
    let large = incompressible(10_000);
    let mut confirmed = 0;
    // The broker notices a little late that a queue is full.
    let refused = loop {
        match system.publish(Queue::Records, &large).await {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 100, "nothing is refused");
    };
    assert_eq!(refused, PublishError::Refused);
    assert!(confirmed >= 5);
    let mut consumer = system.consume(Queue::Records, 100);
    let texts = take_texts(&mut consumer, confirmed).await;
    assert!(texts.iter().all(|text| *text == large));
    assert!(nothing_comes(&mut consumer).await);
    testkit::eventually(SOON, "room again", async || {
        system.publish(Queue::Records, "small").await.ok()
    })
    .await;
    system.stop().await;
}

pub(crate) async fn a_message_that_is_too_large_is_refused(ground: Ground) {
    let system = ground.open().await;
    let large = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let refused = system.publish(Queue::Records, &large).await;
    assert_eq!(refused, Err(PublishError::TooLarge(MESSAGE_BYTES_MAX + 1)));
    system.stop().await;
}

pub(crate) async fn a_busy_consumer_takes_many_at_once(ground: Ground) {
    let system = ground.open().await;
    let publisher = system.broker.publisher();
    let confirm = publisher
        .publish(Queue::Events(3), message("first"))
        .await
        .unwrap();
    system.publish_all(Queue::Events(3), numbers(0..30)).await;
    confirm.await.unwrap();
    let mut consumer = system.consume(Queue::Events(3), 100);
    let mut taken = 0;
    let mut rounds = 0;
    // Between two rounds there is time for more to become ready.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while taken < 31 {
        let first = next(&mut consumer).await;
        let many = take_waiting(&mut *consumer, first, 10, 1024 * 1024);
        assert!(many.len() <= 10);
        taken += many.len();
        rounds += 1;
        many.into_iter()
            .for_each(|received| received.acknowledgement.ack());
        pace.tick().await;
    }
    assert!(rounds < 10, "{rounds} rounds for 31 messages");
    system.stop().await;
}
