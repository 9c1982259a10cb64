//! A function is called at once, and the log tells of it.
use std::time::Duration;

use bytes::Bytes;
use delivery_worker::call_now::{Ask, Content, event_of_call};
use domain::delivery::{ErrorClass, Status};
use domain::event_type::EventType;
use domain::record::Record;
use testkit::Receiver;

use crate::support::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_at_once_answers_with_the_functions_answer_and_is_in_the_log() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/")).await;
    let answer = world.calls.call(&world.ask("hook", r#"{"a":1}"#)).await;
    assert!(answer.is_success(), "{answer:?}");
    let request = receiver.wait_for(1, DEADLINE).await.remove(0);
    assert_eq!(request.body, Bytes::from_static(br#"{"a":1}"#));
    assert_eq!(request.headers["x-attempt"], "1");
    assert_eq!(request.headers["x-max-attempts"], "1");
    assert_eq!(request.headers["webhook-id"], answer.delivery.to_string());
    let records = world.records(2).await;
    let [Record::Matched(matched), Record::Attempted(attempted)] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(matched.event.eid, answer.event);
    assert_eq!(matched.targets.len(), 1);
    assert_eq!(attempted.delivery, answer.delivery);
    assert_eq!(attempted.status, Status::Processed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_at_once_is_not_repeated_and_its_time_is_kept() {
    let receiver = Receiver::start().await;
    receiver.hang();
    let world = World::start(&receiver.url("/")).await;
    let ask = Ask {
        timeout: Duration::from_millis(200),
        ..world.ask("hook", "{}")
    };
    let answer = world.calls.call(&ask).await;
    assert_eq!(answer.failure().unwrap().0, ErrorClass::Timeout);
    let records = world.records(2).await;
    let Record::Attempted(attempted) = &records[1] else {
        panic!("{records:?}");
    };
    assert_eq!(attempted.status, Status::Failed);
    assert_eq!(attempted.next_attempt_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_goes_away_is_told_as_such() {
    let receiver = Receiver::start().await;
    receiver.hang();
    let world = World::start(&receiver.url("/")).await;
    let ask = world.ask("hook", "{}");
    tokio::select! {
        _answer = world.calls.call(&ask) => panic!("it hangs"),
        _requests = receiver.wait_for(1, DEADLINE) => {}
    }
    let records = world.records(2).await;
    let Record::Settled(settled) = &records[1] else {
        panic!("{records:?}");
    };
    assert_eq!(settled.remark, "caller_gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_in_the_functions_own_format() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/")).await;
    let data = Bytes::from_static(br#"{"user_id":"u1"}"#);
    let login = EventType::parse("AUTH_LOGIN").unwrap();
    let ask = Ask {
        content: Content::Event,
        event: event_of_call(&world.project, login, data),
        ..world.ask("hook", "{}")
    };
    assert!(world.calls.call(&ask).await.is_success());
    let request = receiver.wait_for(1, DEADLINE).await.remove(0);
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["type"], "auth.session.login");
    assert_eq!(body["data"]["user_id"], "u1");
}
