//! What a function passes on of the call it was made by tells how deep its own events are.

use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventRequest, NewEvent};
use tonic::Request;

use crate::harness::open;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn an_event_emitted_by_a_call_is_one_deeper_than_the_one_that_was_delivered() {
    let system = open().await;
    let passed_on = [
        JSON,
        (DEPTH_HEADER, "2"),
        (ANCESTRY_HEADER, "first,shop/second"),
    ];
    let body = r#"[{"type":"a.b"},{"type":"a.b","depth":7}]"#;
    assert_eq!(system.post(&passed_on, body).await.status, 202);
    let mut events = system.take(2).await;
    events.sort_by_key(|event| event.depth);
    assert_eq!((events[0].depth, events[1].depth), (3, 7));
    for event in events {
        assert_eq!(event.ancestry, ["first", "shop/second"]);
    }
}

#[tokio::test]
async fn grpc_takes_the_same_from_its_metadata() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let event = NewEvent {
        r#type: "a.b".to_owned(),
        ..NewEvent::default()
    };
    let mut request = Request::new(EmitEventRequest {
        event: Some(event),
        idempotency_key: String::new(),
    });
    let metadata = request.metadata_mut();
    metadata.insert(DEPTH_HEADER, "0".parse().unwrap());
    metadata.insert(ANCESTRY_HEADER, "welcome".parse().unwrap());
    client.emit_event(request).await.unwrap();
    let event = system.take(1).await.remove(0);
    assert_eq!((event.depth, event.ancestry.len()), (1, 1));
}

#[tokio::test]
async fn what_was_not_sent_like_this_is_refused() {
    let system = open().await;
    for (header, value) in [
        (DEPTH_HEADER, "-1"),
        (DEPTH_HEADER, "deep"),
        (DEPTH_HEADER, "4294967296"),
        (ANCESTRY_HEADER, ""),
        (ANCESTRY_HEADER, "Not A Function"),
        (ANCESTRY_HEADER, "welcome,,audit"),
        (ANCESTRY_HEADER, "ünï"),
    ] {
        let answer = system
            .post(&[JSON, (header, value)], r#"{"type":"a.b"}"#)
            .await;
        let [code, field, ..] = answer.problem();
        assert_eq!(
            (answer.status.as_u16(), code, field),
            (400, "invalid", header)
        );
    }
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn what_only_the_system_tells_no_client_may_tell() {
    let system = open().await;
    for event_type in ["system.delivery.dead", "system.any.thing", "dlq_welcome"] {
        let answer = system
            .post_json(format!(r#"{{"type":"{event_type}"}}"#))
            .await;
        let [code, field, value, _] = answer.problem();
        assert_eq!(answer.status, 400);
        assert_eq!((code, field, value), ("invalid", "type", event_type));
    }
    assert_eq!(system.messages_stored(), 0);
}
