//! Somebody waits for what a function answers: what is heard, and what when nothing is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::reply::{Answered, Reply, Said};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventRequest, EmitEventsRequest, NewEvent};
use protocol::reply;
use serde_json::json;
use tonic::Code;

use crate::harness::{Answer, EVENTS, System, open};

/// Emits an event that is waited for, and says to it what those behind the door would say.
async fn told(system: &System, path: &str, body: &str, said: &[Said]) -> Answer {
    let telling = async {
        let event = system.take(1).await.remove(0);
        let to = event.reply_to.clone().unwrap();
        let replier = system.broker.replier();
        for said in said {
            let reply = Reply {
                event: event.eid,
                said: said.clone(),
            };
            replier.reply(&to, reply::write(&reply));
        }
    };
    let headers = [("content-type", "application/json")];
    let (answer, ()) = tokio::join!(system.post_to(path, &headers, body.to_owned()), telling);
    answer
}

fn answered(body: &'static str) -> Said {
    Said::Answered(Answered {
        function: "shop/price".parse().unwrap(),
        status: 201,
        content_type: Some("application/json".to_owned()),
        body: Bytes::from_static(body.as_bytes()),
        is_truncated: false,
    })
}

fn sync() -> String {
    format!("{EVENTS}?sync=true")
}

const EVENT: &str = r#"{"type":"price.asked","id":"1","source":"/shop"}"#;

#[tokio::test]
async fn s2_39_the_first_answer_of_a_function_is_the_answer() {
    let system = open().await;
    let said = [
        Said::Matched { deliveries: 2 },
        answered(r#"{"response":{"price":9}}"#),
        answered("too late"),
    ];
    let answer = told(&system, &sync(), EVENT, &said).await;
    assert_eq!(answer.status, 200);
    let expected = json!({"id": "1", "duplicate": false, "function": "shop/price", "status": 201,
        "content_type": "application/json", "result": {"response": {"price": 9}}, "truncated": false});
    assert_eq!(answer.body, expected);

    let queue = "/v1/api/default/eventing/queue";
    let body = r#"{"type":"price-asked","isSynchronous":true}"#;
    let answer = told(&system, queue, body, &said).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"result": {"price": 9}}));
    let answer = told(&system, queue, body, &[answered("just text")]).await;
    assert_eq!(answer.body, json!({"result": "just text"}));
    let answer = told(&system, queue, body, &[answered("")]).await;
    assert_eq!(answer.body, json!({"result": null}));
}

#[tokio::test]
async fn s2_40_without_a_matching_trigger_the_answer_is_404_and_not_after_ten_seconds() {
    let system = open().await;
    let began = Instant::now();
    let said = [Said::Matched { deliveries: 0 }];
    let answer = told(&system, &sync(), EVENT, &said).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["code"], "no_matching_trigger");
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn s2_41_at_the_deadline_the_answer_is_504_and_the_event_stays() {
    let system = open().await;
    let path = format!("{EVENTS}?sync=true&wait=50ms");
    let answer = system.post_to(&path, &[], EVENT).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.body["code"], "no_answer_in_time");
    assert_eq!(system.take(1).await[0].id, "1");
}

#[tokio::test]
async fn when_every_function_has_failed_nothing_is_waited_for() {
    let system = open().await;
    let said = [Said::Matched { deliveries: 1 }, Said::Failed];
    let answer = told(&system, &sync(), EVENT, &said).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body["code"], "function_failed");
}

#[tokio::test]
async fn a_duplicate_is_told_as_such_and_not_waited_for() {
    let system = open().await;
    system.post_json(EVENT).await;
    let answer = system.post_to(&sync(), &[], EVENT).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body, json!({"id": "1", "duplicate": true}));
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused() {
    let system = open().await;
    for (path, body, field) in [
        (sync(), format!("[{EVENT}]"), "sync"),
        (
            sync(),
            r#"{"type":"a","delay":"1m"}"#.to_owned(),
            "deliver_at",
        ),
        (
            format!("{EVENTS}?sync=true&wait=2m"),
            EVENT.to_owned(),
            "wait",
        ),
        (format!("{EVENTS}?sync=maybe"), EVENT.to_owned(), "query"),
    ] {
        let answer = system.post_to(&path, &[], body).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.problem()[1], field, "{path}");
    }
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_grpc_it_is_the_same() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let event = NewEvent {
        r#type: "price.asked".to_owned(),
        is_synchronous: true,
        wait: Some(protocol::to_duration(Duration::from_millis(50))),
        ..NewEvent::default()
    };
    let request = EmitEventRequest {
        event: Some(event.clone()),
        idempotency_key: String::new(),
    };
    let status = client.emit_event(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let request = EmitEventsRequest {
        events: vec![event],
    };
    let status = client.emit_events(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
