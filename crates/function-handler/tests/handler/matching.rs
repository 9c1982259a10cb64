//! Events go in; what leaves is one delivery for each trigger, in its shard, and a record of it.

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::time::Instant;

use broker::{Message, Queue};
use domain::delivery::Status;
use domain::function::origin;
use domain::id::DeliveryId;
use domain::record::Record;
use domain::shard::of_endpoint;
use protocol::functions::v1::{CreateTriggerRequest, Trigger};
use testkit::eventually;

use crate::support::{Handler, Outgoing, SOON, World, event};

#[tokio::test]
async fn an_event_becomes_a_delivery_and_a_record_embedded() {
    an_event_becomes_a_delivery_and_a_record(World::embedded().await).await;
}

#[tokio::test]
async fn an_event_becomes_a_delivery_and_a_record_on_rabbitmq_and_postgres() {
    an_event_becomes_a_delivery_and_a_record(World::full().await).await;
}

async fn an_event_becomes_a_delivery_and_a_record(world: World) {
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/hook", &["AUTH_REGISTER"])
        .await;
    let (wanted, unwanted) = (event("AUTH_REGISTER", None), event("shop.order.paid", None));
    world.publish(from_ref(&wanted)).await;
    world.publish(from_ref(&unwanted)).await;
    outgoing.wait_for(1, 2).await;

    let [(shard, consignment)] = outgoing.consignments.as_slice() else {
        panic!("one is owed")
    };
    assert_eq!(consignment.event, wanted);
    let target = &consignment.targets[0];
    assert_eq!(target.delivery, DeliveryId::derive(wanted.eid, "welcome"));
    assert_eq!((target.next_attempt, target.generation), (1, 0));
    assert_eq!(target.revision, handler.view.read().revision);
    let project = "default".parse().unwrap();
    let url = "http://localhost:9000/hook".parse().unwrap();
    assert_eq!(*shard, of_endpoint(&project, &origin(&url), 4));

    let matched = |eid| {
        outgoing.recorded.iter().find_map(|record| match record {
            Record::Matched(matched) if matched.event.eid == eid => Some(matched.targets.clone()),
            _ => None,
        })
    };
    assert_eq!(matched(wanted.eid), Some(consignment.targets.clone()));
    assert_eq!(
        matched(unwanted.eid),
        Some(Vec::new()),
        "also what matched nothing is recorded"
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_filter_decides_and_one_that_cannot_be_answered_is_recorded() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &[])
        .await;
    for (name, filter) in [
        ("wanted", "data.total > 10"),
        ("unwanted", "data.total > 100"),
        ("unanswered", "data.sum > 10"),
    ] {
        let trigger = Trigger {
            name: name.to_owned(),
            function: "welcome".to_owned(),
            filter: filter.to_owned(),
            ..Trigger::default()
        };
        let trigger = Some(trigger);
        let request = handler.with_key(CreateTriggerRequest { trigger });
        handler.triggers().create_trigger(request).await.unwrap();
    }
    let mut sent = event("shop.order.paid", None);
    sent.data = bytes::Bytes::from_static(br#"{"total":12}"#);
    world.publish(from_ref(&sent)).await;
    outgoing.wait_for(1, 2).await;
    let targets = outgoing.targets();
    let called: Vec<_> = targets
        .iter()
        .map(|target| target.trigger.as_str())
        .collect();
    assert_eq!(called, ["wanted"]);
    let settled = outgoing.recorded.iter().find_map(|record| match record {
        Record::Settled(settled) => Some(settled),
        Record::Matched(_) | Record::Attempted(_) => None,
    });
    let settled = settled.unwrap();
    assert_eq!(settled.trigger.as_str(), "unanswered");
    assert_eq!(settled.status, Status::Cancel);
    assert_eq!(settled.delivery, DeliveryId::derive(sent.eid, "unanswered"));
    assert!(
        settled.remark.starts_with("filter failed: "),
        "{}",
        settled.remark
    );
    assert_eq!(outgoing.recorded.len(), 2);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_event_of_another_project_calls_nobody() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut foreign = event("STORAGE_INSERT", None);
    foreign.project = "acme".parse().unwrap();
    world.publish(&[foreign]).await;
    outgoing.wait_for(0, 1).await;
    assert!(outgoing.consignments.is_empty());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn targets_of_one_event_share_its_payload_in_each_shard() {
    const FUNCTIONS: u16 = 300;
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    for number in 0..FUNCTIONS {
        let url = format!("http://localhost:{}/", 10_000 + number % 20);
        handler
            .create(&format!("function-{number}"), &url, &["1000"])
            .await;
    }
    let sent = event("STORAGE_INSERT", Some("a/b"));
    world.publish(from_ref(&sent)).await;
    outgoing.wait_for(FUNCTIONS.into(), 1).await;
    let shards: BTreeSet<u16> = outgoing
        .consignments
        .iter()
        .map(|(shard, _)| *shard)
        .collect();
    assert_eq!(shards.len(), 4, "20 endpoints are spread over all shards");
    assert!(
        outgoing.consignments.len() <= 8,
        "{}",
        outgoing.consignments.len()
    );
    assert!(
        outgoing
            .consignments
            .iter()
            .all(|(_, consignment)| consignment.targets.len() <= 100)
    );
    let triggers: BTreeSet<_> = outgoing
        .targets()
        .iter()
        .map(|target| target.trigger.clone())
        .collect();
    assert_eq!(triggers.len(), usize::from(FUNCTIONS));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn events_of_one_key_stay_in_order() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["shop.order.*"])
        .await;
    let events: Vec<_> = (0..2_000)
        .map(|_| event("shop.order.paid", Some("orders/7")))
        .collect();
    for batch in events.chunks(7) {
        world.publish(batch).await;
    }
    outgoing.wait_for(events.len(), events.len()).await;
    let delivered: Vec<_> = outgoing
        .consignments
        .iter()
        .map(|(_, each)| each.event.eid)
        .collect();
    let sent: Vec<_> = events.iter().map(|event| event.eid).collect();
    assert!(delivered == sent, "the order of the queue is kept");
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_message_nobody_can_read_is_set_aside_and_the_rest_goes_on() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let sent = event("STORAGE_INSERT", None);
    let message = Message::of(from_ref(&sent));
    let unreadable = Message {
        body: b"\xff\xff\xff".as_slice().into(),
        ..message
    };
    world
        .publish_message(Queue::Events(0), unreadable.clone())
        .await;
    world.publish_message(Queue::Waiting, unreadable).await;
    world.publish(&[sent]).await;
    outgoing.wait_for(1, 1).await;
    let mut set_aside = world.broker.consume(Queue::Unreadable, 10);
    let mut queues = BTreeSet::new();
    for _ in 0..2 {
        let received = tokio::time::timeout(SOON, set_aside.next())
            .await
            .unwrap()
            .unwrap();
        let reason = received.set_aside.unwrap();
        assert!(reason.reason.contains("is not a"), "{reason:?}");
        queues.insert(reason.queue);
        received.acknowledgement.ack();
    }
    assert_eq!(
        queues,
        BTreeSet::from(["events.v1.0".to_owned(), "waiting.v1".to_owned()])
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn events_wait_for_a_handler_and_none_is_lost_when_it_restarts() {
    const EVENTS: usize = 3_000;
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let events: Vec<_> = (0..EVENTS).map(|_| event("STORAGE_INSERT", None)).collect();
    let mut handler = handler;
    for batch in events.chunks(EVENTS / 3) {
        for piece in batch.chunks(25) {
            world.publish(piece).await;
        }
        handler.stop().await;
        handler = Handler::start(&world).await;
    }
    outgoing.wait_for(EVENTS, EVENTS).await;
    assert_eq!(distinct(&outgoing), EVENTS);
    handler.stop().await;
    world.stop().await;
}

fn distinct(outgoing: &Outgoing) -> usize {
    outgoing
        .targets()
        .iter()
        .map(|target| target.delivery)
        .collect::<BTreeSet<_>>()
        .len()
}

#[tokio::test]
async fn while_the_broker_takes_nothing_events_stay_with_it() {
    const EVENTS: usize = 500;
    let mut world = World::embedded().await;
    let broker = world.with_refusing_broker();
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    broker.refuse(true);
    let events: Vec<_> = (0..EVENTS)
        .map(|_| event("STORAGE_INSERT", Some("a")))
        .collect();
    for batch in events.chunks(10) {
        let shard = domain::shard::of_event(&batch[0], 2);
        let queue = Queue::Events(shard);
        broker
            .behind()
            .publish(queue, Message::of(batch))
            .await
            .unwrap()
            .await
            .unwrap();
    }
    eventually(SOON, "deliveries are refused", async || {
        (broker.refused() > 2).then_some(())
    })
    .await;
    // Nothing was acknowledged, so a handler that dies now leaves everything to the next one.
    handler.kill().await;
    broker.refuse(false);
    let handler = Handler::start(&world).await;
    outgoing.wait_for(EVENTS, EVENTS).await;
    assert_eq!(distinct(&outgoing), EVENTS);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn when_the_broker_is_back_the_same_handler_goes_on_in_order() {
    let mut world = World::embedded().await;
    let broker = world.with_refusing_broker();
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    broker.refuse(true);
    let events: Vec<_> = (0..50)
        .map(|_| event("STORAGE_INSERT", Some("a")))
        .collect();
    for one in &events {
        let queue = Queue::Events(domain::shard::of_event(one, 2));
        let message = Message::of(from_ref(one));
        broker
            .behind()
            .publish(queue, message)
            .await
            .unwrap()
            .await
            .unwrap();
    }
    eventually(SOON, "deliveries are refused", async || {
        (broker.refused() > 2).then_some(())
    })
    .await;
    broker.refuse(false);
    outgoing.wait_for(events.len(), events.len()).await;
    let delivered: Vec<_> = outgoing
        .consignments
        .iter()
        .map(|(_, each)| each.event.eid)
        .collect();
    assert_eq!(
        delivered,
        events.iter().map(|event| event.eid).collect::<Vec<_>>()
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_idle_handler_answers_in_milliseconds() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut best = SOON;
    for _ in 0..10 {
        let sent_at = Instant::now();
        world.publish(&[event("STORAGE_INSERT", None)]).await;
        let before = outgoing.targets().len();
        eventually(SOON, "a delivery", async || {
            outgoing.take();
            (outgoing.targets().len() > before).then_some(())
        })
        .await;
        best = best.min(sent_at.elapsed());
    }
    // The question itself is asked every 20 ms.
    assert!(best.as_millis() < 200, "{best:?}");
    handler.stop().await;
    world.stop().await;
}
