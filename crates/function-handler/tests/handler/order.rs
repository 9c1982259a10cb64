//! Deliveries of one key go one after the other, whatever fails or dies in between.

use std::collections::HashMap;
use std::slice::from_ref;
use std::time::{Duration, Instant};

use broker::{Consumer, Message, Queue};
use domain::delivery::{Consignment, Ended, Notice, Status, Target, WaitReason, Waiting};
use domain::event::Event;
use domain::record::Record;
use function_handler::Config;
use protocol::envelope::Envelope as _;
use protocol::functions::v1::{Trigger, UpdateTriggerRequest};
use protocol::well_known::FieldMask;

use crate::support::{Handler, SOON, World, event, now};

/// A handler that leaves what it took out to others soon.
fn quick() -> Config {
    Config {
        claim_for: settings::Duration::from_secs(1),
        ..Config::default()
    }
}

/// A function and trigger `welcome` that keeps order.
async fn ordered(handler: &Handler, backlog: &str) {
    handler
        .create("welcome", "http://localhost:9000/", &["order.test"])
        .await;
    let request = UpdateTriggerRequest {
        trigger: Some(Trigger {
            name: "welcome".to_owned(),
            ordering: "key".to_owned(),
            backlog: backlog.to_owned(),
            ..Trigger::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["ordering".to_owned(), "backlog".to_owned()],
        }),
    };
    handler
        .triggers()
        .update_trigger(handler.with_key(request))
        .await
        .unwrap();
}

/// Event `number` of a key.
fn of_key(key: usize, number: usize) -> Event {
    Event {
        partition_key: Some(format!("key-{key}")),
        data: format!("{number}").into(),
        ..event("order.test", None)
    }
}

/// A worker that knows what it has settled, and fails now and then.
struct Worker<'world> {
    world: &'world World,
    consumers: Vec<Box<dyn Consumer>>,
    /// It looks for work this often when there is none.
    pace: tokio::time::Interval,
    settled: HashMap<String, usize>,
    seen: usize,
    failed: usize,
}

impl<'world> Worker<'world> {
    fn new(world: &'world World) -> Self {
        let mut worker = Self {
            world,
            consumers: Vec::new(),
            pace: tokio::time::interval(Duration::from_millis(2)),
            settled: HashMap::new(),
            seen: 0,
            failed: 0,
        };
        worker.consume();
        worker
    }

    /// As if it had died: what it had in hand goes back to its queues.
    fn consume(&mut self) {
        let shards = 0..self.world.broker.topology().delivery_shards;
        self.consumers = shards
            .map(|shard| self.world.broker.consume(Queue::Deliveries(shard), 20))
            .collect();
    }

    fn total(&self) -> usize {
        self.settled.values().sum()
    }

    async fn work(&mut self) {
        let mut notices = Vec::new();
        let mut acknowledgements = Vec::new();
        for consumer in &mut self.consumers {
            while let Some(received) = consumer.try_next() {
                for consignment in Consignment::read(received.body).unwrap() {
                    let Consignment { event, targets } = consignment;
                    for target in targets {
                        self.seen += 1;
                        let key = event.partition_key.clone().unwrap();
                        let number: usize =
                            std::str::from_utf8(&event.data).unwrap().parse().unwrap();
                        let next = self.settled.entry(key.clone()).or_default();
                        assert!(
                            number <= *next,
                            "{key}: {number} came while {next} was not settled"
                        );
                        assert!(target.is_held);
                        let fails = self.seen.is_multiple_of(20) && target.next_attempt == 1;
                        if fails && number == *next {
                            self.failed += 1;
                            notices.push(retry(event.clone(), target));
                        } else {
                            *next = (*next).max(number + 1);
                            notices.push(end(&event, &target));
                        }
                    }
                }
                acknowledgements.push(received.acknowledgement);
            }
        }
        if notices.is_empty() {
            self.pace.tick().await;
            return;
        }
        self.world
            .publish_message(Queue::Waiting, Message::of(&notices))
            .await;
        for acknowledgement in acknowledgements {
            acknowledgement.ack();
        }
    }
}

fn retry(event: Event, mut target: Target) -> Notice {
    target.next_attempt += 1;
    let now = now();
    Notice::Wait(Box::new(Waiting {
        event,
        target,
        reason: WaitReason::Retry,
        since: now,
        due_at: now + Duration::from_millis(100),
    }))
}

fn end(event: &Event, target: &Target) -> Notice {
    Notice::End(Ended {
        project: event.project.clone(),
        delivery: target.delivery,
        generation: target.generation,
    })
}

#[tokio::test]
async fn no_key_sees_an_event_before_its_predecessor_was_settled_embedded() {
    no_key_sees_an_event_before_its_predecessor_was_settled(World::embedded().await, 20).await;
}

#[tokio::test]
async fn no_key_sees_an_event_before_its_predecessor_was_settled_on_rabbitmq_and_postgres() {
    no_key_sees_an_event_before_its_predecessor_was_settled(World::full().await, 20).await;
}

async fn no_key_sees_an_event_before_its_predecessor_was_settled(world: World, each: usize) {
    const KEYS: usize = 100;
    let mut handler = Handler::start_with(&world, quick(), true).await;
    ordered(&handler, "all").await;
    for key in 0..KEYS {
        let events: Vec<_> = (0..each).map(|number| of_key(key, number)).collect();
        world.publish(&events).await;
    }
    let mut worker = Worker::new(&world);
    let deadline = Instant::now() + SOON * 3;
    let (mut kills, all) = (0, KEYS * each);
    while worker.total() < all {
        assert!(Instant::now() < deadline, "{} of {all}", worker.total());
        worker.work().await;
        if kills == 0 && worker.total() > all / 4 {
            kills += 1;
            worker.consume();
        }
        if kills == 1 && worker.total() > all / 2 {
            kills += 1;
            handler.kill().await;
            handler = Handler::start_with(&world, quick(), true).await;
        }
    }
    assert_eq!(kills, 2);
    assert!(worker.failed > all / 50, "{} failed", worker.failed);
    testkit::eventually(SOON, "nothing waits any more", async || {
        world.list().await.is_empty().then_some(())
    })
    .await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn of_a_backlog_only_the_latest_is_delivered_where_that_is_asked_for() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    ordered(&handler, "latest").await;
    handler.pause("welcome", true).await;
    let backlog: Vec<_> = (0..50).map(|number| of_key(1, number)).collect();
    world.publish(&backlog).await;
    world.publish(&[of_key(2, 0)]).await;
    testkit::eventually(SOON, "all of it waits", async || {
        (world.list().await.len() == 51).then_some(())
    })
    .await;
    let mut outgoing = world.outgoing();
    handler.pause("welcome", false).await;
    // A record of each event, and one of each that is skipped.
    outgoing.wait_for(2, 51 + 49).await;
    let mut delivered: Vec<_> = outgoing
        .consignments
        .iter()
        .map(|(_, consignment)| consignment.event.eid)
        .collect();
    delivered.sort();
    assert!(delivered.contains(&backlog[49].eid), "the newest");
    assert_eq!(outgoing.targets().len(), 2);
    let skipped = outgoing.recorded.iter().filter(|record| {
        matches!(record, Record::Settled(settled)
            if settled.status == Status::Cancel && settled.remark == "superseded")
    });
    assert_eq!(skipped.count(), 49);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_next_of_a_key_follows_at_once() {
    let world = World::full().await;
    let handler = Handler::start(&world).await;
    ordered(&handler, "all").await;
    let events: Vec<_> = (0..50).map(|number| of_key(1, number)).collect();
    world.publish(&events).await;
    let mut worker = Worker::new(&world);
    let deadline = Instant::now() + SOON;
    let mut steps = Vec::new();
    let mut last = (Instant::now(), 0);
    while worker.total() < events.len() {
        assert!(Instant::now() < deadline, "{}", worker.total());
        worker.work().await;
        if worker.total() > last.1 && worker.failed == 0 {
            steps.push(last.0.elapsed());
            last = (Instant::now(), worker.total());
        }
    }
    steps.sort();
    // From the end of one to the next: two hops of the broker and two visits to the database.
    let middle = steps[steps.len() / 2];
    assert!(middle < Duration::from_millis(500), "{middle:?}");
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn events_without_a_key_are_not_ordered() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    ordered(&handler, "all").await;
    let mut outgoing = world.outgoing();
    let events = [event("order.test", None), event("order.test", None)];
    world.publish(from_ref(&events[0])).await;
    world.publish(from_ref(&events[1])).await;
    outgoing.wait_for(2, 2).await;
    assert!(outgoing.targets().iter().all(|target| !target.is_held));
    assert!(world.list().await.is_empty());
    handler.stop().await;
    world.stop().await;
}
