//! Deliveries for later, paused functions and projects, and what operators do about what waits.

use std::slice::from_ref;
use std::time::Duration;

use broker::{Message, Queue};
use domain::delivery::{Allowance, Notice, Status, WaitReason};
use domain::event::Event;
use domain::record::Record;
use jiff::Timestamp;
use protocol::functions::v1::{RetryPolicy, Trigger, UpdateTriggerRequest};
use protocol::projects::v1::{PauseProjectRequest, ResumeProjectRequest};
use protocol::to_duration;
use protocol::waiting::v1 as wire;
use protocol::well_known::FieldMask;
use testkit::eventually;
use tonic::Code;

use crate::support::{Handler, Outgoing, SOON, World, event, now};
use crate::waiting::{MUCH_LATER, one_that_waits, send_to_wait, waiting};

fn deliver_in(span: Duration) -> Event {
    Event {
        deliver_at: Some(now() + span),
        ..event("STORAGE_INSERT", None)
    }
}

async fn wait_until_there_are(world: &World, count: usize) {
    eventually(SOON, "they wait", async || {
        (world.list().await.len() == count).then_some(())
    })
    .await;
}

fn settled(outgoing: &Outgoing) -> Vec<(Status, String)> {
    let settled = outgoing.recorded.iter().filter_map(|record| match record {
        Record::Settled(settled) => Some((settled.status, settled.remark.clone())),
        Record::Matched(_) | Record::Attempted(_) => None,
    });
    settled.collect()
}

#[tokio::test]
async fn what_is_emitted_for_later_is_sent_on_then_and_not_before() {
    let world = World::full().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let later = deliver_in(Duration::from_millis(1_500));
    let due_at = later.deliver_at.unwrap();
    world.publish(&[later]).await;
    wait_until_there_are(&world, 1).await;
    let shown = world.list().await;
    assert_eq!(shown[0].row.reason, WaitReason::Scheduled);
    assert_eq!(shown[0].row.due_at, due_at);
    outgoing.wait_for(1, 1).await;
    assert!(Timestamp::now() >= due_at);
    let passed = deliver_in(Duration::ZERO);
    world.publish(&[passed]).await;
    outgoing.wait_for(2, 2).await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_paused_function_loses_nothing_embedded() {
    a_paused_function_loses_nothing(World::embedded().await).await;
}

#[tokio::test]
async fn a_paused_function_loses_nothing_on_rabbitmq_and_postgres() {
    a_paused_function_loses_nothing(World::full().await).await;
}

async fn a_paused_function_loses_nothing(world: World) {
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    handler
        .create("other", "http://localhost:9001/", &["1000"])
        .await;
    let before = waiting(&handler, Duration::from_millis(300));
    send_to_wait(&world, &before).await;
    handler.pause("welcome", true).await;
    let events: Vec<_> = (0..20).map(|_| event("STORAGE_INSERT", None)).collect();
    world.publish(&events).await;
    outgoing.wait_for(20, 20).await;
    let functions: Vec<_> = outgoing
        .targets()
        .iter()
        .map(|t| t.function.to_string())
        .collect();
    assert_eq!(functions, vec!["other"; 20], "the others go on");
    wait_until_there_are(&world, 21).await;
    let request = handler.with_key(wire::GetBacklogRequest {});
    let backlog = handler.waiting().get_backlog(request).await.unwrap();
    let lines: Vec<_> = backlog
        .into_inner()
        .backlog
        .into_iter()
        .map(|line| (line.function, line.reason, line.deliveries))
        .collect();
    assert_eq!(
        lines,
        [
            ("welcome".to_owned(), "paused".to_owned(), 20),
            ("welcome".to_owned(), "retry".to_owned(), 1),
        ]
    );
    handler.pause("welcome", false).await;
    outgoing.wait_for(41, 20).await;
    wait_until_there_are(&world, 0).await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_paused_project_loses_nothing() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let pause = PauseProjectRequest::default();
    let paused = handler
        .projects()
        .pause_project(handler.with_key(pause))
        .await;
    assert!(paused.unwrap().into_inner().paused);
    world.publish(&[event("STORAGE_INSERT", None)]).await;
    wait_until_there_are(&world, 1).await;
    outgoing.take();
    assert!(outgoing.consignments.is_empty());
    let foreign = PauseProjectRequest {
        name: "another".to_owned(),
    };
    let refused = handler
        .projects()
        .pause_project(handler.with_key(foreign))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    let resume = ResumeProjectRequest::default();
    let resumed = handler
        .projects()
        .resume_project(handler.with_key(resume))
        .await;
    assert!(!resumed.unwrap().into_inner().paused);
    outgoing.wait_for(1, 1).await;
    handler.stop().await;
    world.stop().await;
}

async fn two_are_listed_in_pages(handler: &Handler) {
    let list = wire::ListWaitingRequest {
        function: "welcome".to_owned(),
        reason: "retry".to_owned(),
        page_size: 1,
        ..wire::ListWaitingRequest::default()
    };
    let page = handler
        .waiting()
        .list_waiting(handler.with_key(list.clone()))
        .await;
    let page = page.unwrap().into_inner();
    assert_eq!(
        (page.deliveries.len(), page.deliveries[0].state.as_str()),
        (1, "waiting")
    );
    let rest = wire::ListWaitingRequest {
        page_token: page.next_page_token,
        ..list
    };
    let rest = handler.waiting().list_waiting(handler.with_key(rest)).await;
    let rest = rest.unwrap().into_inner();
    assert_eq!(
        (rest.deliveries.len(), rest.next_page_token.as_str()),
        (1, "")
    );
}

#[tokio::test]
async fn operators_list_put_off_hasten_and_cancel() {
    let world = World::embedded().await;
    let (handler, mut outgoing, first) = one_that_waits(&world).await;
    let second = waiting(&handler, MUCH_LATER);
    send_to_wait(&world, &second).await;
    wait_until_there_are(&world, 2).await;
    let ids = [&first, &second].map(|waiting| waiting.target.delivery.to_string());
    two_are_listed_in_pages(&handler).await;
    let cancel = wire::CancelDeliveryRequest { id: ids[0].clone() };
    handler
        .waiting()
        .cancel_delivery(handler.with_key(cancel.clone()))
        .await
        .unwrap();
    outgoing.wait_for(0, 1).await;
    assert_eq!(
        settled(&outgoing),
        [(Status::Cancel, "cancelled by operator".to_owned())]
    );
    let again = handler
        .waiting()
        .cancel_delivery(handler.with_key(cancel))
        .await;
    assert_eq!(again.unwrap_err().code(), Code::NotFound);

    let put_off = wire::RescheduleDeliveryRequest {
        id: ids[1].clone(),
        due_at: Some(protocol::to_timestamp(now() + MUCH_LATER * 2)),
    };
    handler
        .waiting()
        .reschedule_delivery(handler.with_key(put_off))
        .await
        .unwrap();
    assert!(world.list().await[0].row.due_at > second.due_at);
    let too_far = wire::RescheduleDeliveryRequest {
        id: ids[1].clone(),
        due_at: Some(protocol::to_timestamp(now() + Duration::from_hours(24 * 7))),
    };
    let refused = handler
        .waiting()
        .reschedule_delivery(handler.with_key(too_far))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);

    let retry = wire::RetryDeliveryRequest { id: ids[1].clone() };
    handler
        .waiting()
        .retry_delivery(handler.with_key(retry))
        .await
        .unwrap();
    outgoing.wait_for(1, 1).await;
    assert_eq!(outgoing.targets()[0].delivery, second.target.delivery);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_waits_to_be_tried_again_follows_a_changed_policy() {
    let world = World::embedded().await;
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    let change = |retry: RetryPolicy, path: &str| UpdateTriggerRequest {
        trigger: Some(Trigger {
            name: "welcome".to_owned(),
            retry: Some(retry),
            ..Trigger::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
    };
    let shorter = RetryPolicy {
        interval: Some(to_duration(Duration::from_secs(60))),
        interval_max: Some(to_duration(Duration::from_secs(60))),
        ..RetryPolicy::default()
    };
    let request = handler.with_key(change(shorter, "retry"));
    handler.triggers().update_trigger(request).await.unwrap();
    eventually(SOON, "it is due sooner", async || {
        let due_at = world.list().await[0].row.due_at;
        (due_at == waiting.since + Duration::from_secs(60)).then_some(())
    })
    .await;
    let none = RetryPolicy {
        retries: Some(0),
        ..RetryPolicy::default()
    };
    let request = handler.with_key(change(none, "retry"));
    handler.triggers().update_trigger(request).await.unwrap();
    outgoing.wait_for(0, 1).await;
    assert_eq!(
        settled(&outgoing),
        [(Status::Failed, "attempts used up".to_owned())]
    );
    assert!(outgoing.consignments.is_empty());
    wait_until_there_are(&world, 0).await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_waits_goes_as_fast_as_the_worker_says() {
    let world = World::full().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let allowance = Notice::Allow(Allowance {
        project: "default".parse().unwrap(),
        function: "welcome".parse().unwrap(),
        per_second: Some(20.0),
        burst: 2,
        closed_until: None,
        at: now(),
    });
    world
        .publish_message(Queue::Waiting, Message::of(&[allowance]))
        .await;
    let mut all: Vec<_> = (0..30).map(|_| waiting(&handler, Duration::ZERO)).collect();
    all.iter_mut()
        .for_each(|each| each.reason = WaitReason::Rate);
    let began = std::time::Instant::now();
    world
        .publish_message(Queue::Waiting, Message::of(&all))
        .await;
    outgoing.wait_for(30, 0).await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1_200),
        "30 at 20 a second, in {took:?}"
    );
    handler.stop().await;
    world.stop().await;
}

/// Written by something that is no handler.
#[tokio::test]
async fn a_delivery_that_cannot_be_read_is_set_aside_and_holds_up_nobody() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut poisoned = world.row_of(&waiting(&handler, Duration::ZERO));
    poisoned.payload = bytes::Bytes::from_static(b"\xff\xff");
    world.room.put(from_ref(&poisoned)).await.unwrap();
    send_to_wait(&world, &waiting(&handler, Duration::ZERO)).await;
    outgoing.wait_for(1, 0).await;
    // The row of what was sent on goes after its confirm.
    wait_until_there_are(&world, 1).await;
    let shown = world.list().await;
    assert_eq!(shown[0].row.delivery, poisoned.delivery);
    assert!(matches!(&shown[0].state, storage::waiting_room::State::Aside(why) if !why.is_empty()));
    let id = poisoned.delivery.to_string();
    let cancel = handler.with_key(wire::CancelDeliveryRequest { id });
    handler.waiting().cancel_delivery(cancel).await.unwrap();
    wait_until_there_are(&world, 0).await;
    handler.stop().await;
    world.stop().await;
}

/// So many, spread over so long; by hand with 100,000 over a minute.
const FOR_LATER: usize = 2_000;
const SPREAD_OVER: Duration = Duration::from_secs(3);

#[tokio::test]
async fn s2_25_of_many_for_later_each_goes_within_a_second_of_its_time_and_none_early() {
    let world = World::full().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    // Time enough to store them all before the first is due.
    let first = now() + Duration::from_secs(2) + Duration::from_micros(200) * count(FOR_LATER);
    let step = SPREAD_OVER / count(FOR_LATER);
    let events: Vec<_> = (0..FOR_LATER)
        .map(|place| Event {
            deliver_at: Some(first + step * count(place)),
            ..event("STORAGE_INSERT", None)
        })
        .collect();
    for batch in events.chunks(250) {
        world.publish(batch).await;
    }
    let mut late = Vec::new();
    let mut seen = 0;
    eventually(SOON + SPREAD_OVER * 2, "all are sent on", async || {
        outgoing.take();
        let now = Timestamp::now();
        for (_, consignment) in outgoing.consignments.iter().skip(seen) {
            let due_at = consignment.event.deliver_at.unwrap();
            assert!(due_at <= now, "due at {due_at}, sent on at {now}");
            late.push(now.duration_since(due_at).as_millis());
        }
        seen = outgoing.consignments.len();
        (seen >= FOR_LATER).then_some(())
    })
    .await;
    late.sort_unstable();
    let (middle, most) = (late[late.len() / 2], late[late.len() - 1]);
    assert_eq!(late.len(), FOR_LATER, "each once");
    assert!(
        most < 1_000,
        "{middle} ms late in the middle, {most} at most"
    );
    handler.stop().await;
    world.stop().await;
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap()
}
