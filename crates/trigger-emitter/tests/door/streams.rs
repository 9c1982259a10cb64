//! gRPC: one event, many, and a stream whose events are acknowledged one by one.

use std::collections::BTreeMap;

use futures::stream;
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::stream_events_response::Result as Outcome;
use protocol::events::v1::{EmitEventRequest, EmitEventsRequest, NewEvent, StreamEventsRequest};
use protocol::fault::Fault;
use tokio::time::timeout;

use crate::harness::{GENEROUS, open};

fn event(event_type: &str, id: &str) -> NewEvent {
    NewEvent {
        r#type: event_type.to_owned(),
        id: id.to_owned(),
        partition_key: "k".to_owned(),
        data: "{}".into(),
        ..NewEvent::default()
    }
}

#[tokio::test]
async fn one_event_and_many_are_answered_when_they_are_durable() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let request = EmitEventRequest {
        event: Some(event("a.b", "")),
        idempotency_key: "k".into(),
    };
    let first = client
        .emit_event(request.clone())
        .await
        .unwrap()
        .into_inner()
        .accepted
        .unwrap();
    assert!(!first.duplicate);
    assert_eq!(first.id, first.eid);
    let again = client
        .emit_event(request)
        .await
        .unwrap()
        .into_inner()
        .accepted
        .unwrap();
    assert_eq!((again.duplicate, again.eid), (true, first.eid));

    let events = vec![event("a.b", "1"), event("a.b", "2")];
    let accepted = client
        .emit_events(EmitEventsRequest { events })
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = accepted
        .accepted
        .iter()
        .map(|accepted| accepted.id.as_str())
        .collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(system.take(3).await.len(), 3);
}

#[tokio::test]
async fn a_fault_names_the_field_and_keeps_everything_out() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let request = EmitEventRequest {
        event: Some(event("", "")),
        idempotency_key: String::new(),
    };
    let fault = Fault::from_status(&client.emit_event(request).await.unwrap_err());
    assert_eq!(fault.field.as_deref(), Some("event.type"));
    let events = vec![event("a.b", "1"), event("17", "2")];
    let status = client
        .emit_events(EmitEventsRequest { events })
        .await
        .unwrap_err();
    let fault = Fault::from_status(&status);
    assert_eq!(fault.field.as_deref(), Some("events[1].type"));
    assert_eq!(fault.value.as_deref(), Some("17"));
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn every_event_of_a_stream_is_answered_and_a_bad_one_does_not_end_it() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let requests = (0..3_000_u64).map(|sequence| StreamEventsRequest {
        sequence,
        event: Some(event(
            if sequence == 7 { "no good" } else { "a.b" },
            &sequence.to_string(),
        )),
        idempotency_key: String::new(),
    });
    let mut answers = client
        .stream_events(stream::iter(requests.collect::<Vec<_>>()))
        .await
        .unwrap()
        .into_inner();
    let mut outcomes = BTreeMap::new();
    while let Some(answer) = timeout(GENEROUS, answers.message()).await.unwrap().unwrap() {
        assert!(
            outcomes
                .insert(answer.sequence, answer.result.unwrap())
                .is_none()
        );
    }
    assert_eq!(outcomes.len(), 3_000);
    let Some(Outcome::Refused(refused)) = outcomes.remove(&7) else {
        panic!("event 7 was taken")
    };
    assert_eq!((refused.code, refused.field.as_str()), (3, "event.type"));
    assert!(
        outcomes
            .values()
            .all(|outcome| matches!(outcome, Outcome::Accepted(_)))
    );

    let taken: Vec<u64> = system
        .take(2_999)
        .await
        .iter()
        .map(|event| event.id.parse().unwrap())
        .collect();
    assert!(
        taken.is_sorted(),
        "events of one key are in the order of the stream"
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_last_answer_when_the_door_stops() {
    let system = open().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = stream::unfold(requests, async |mut requests| {
        let request = requests.recv().await?;
        Some((request, requests))
    });
    let mut answers = client.stream_events(requests).await.unwrap().into_inner();
    let request = StreamEventsRequest {
        sequence: 1,
        event: Some(event("a.b", "")),
        idempotency_key: String::new(),
    };
    sender.send(request).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 1);
    system.tasks.stop();
    let end = timeout(GENEROUS, answers.message()).await.unwrap();
    assert!(matches!(end, Ok(None)), "{end:?}");
}
