//! Messages of Yandex Cloud's triggers become events, all or none.

use serde_json::json;

use crate::harness::open;

const MESSAGES: &str = "/v1/projects/default/messages";

/// As they stand in extremum's documents.
const STORAGE: &str = r#"{"event_metadata":{"event_id":"bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0",
    "event_type":"yandex.cloud.events.storage.ObjectDelete","created_at":"2019-12-19T14:17:47.847365Z",
    "tracing_context":{"trace_id":"dd52ace79c62892f"}},
    "details":{"bucket_id":"s3-for-trigger","object_id":"dev/0_15a775_972dbde4_orig12.jpg"}}"#;
const SIGNAL: &str = r#"{"event_metadata":{"event_id":"cce76685-5828-4304-a83d-95643c0507a0",
    "event_type":"yandex.cloud.events.messagequeue.QueueMessage","created_at":"2019-09-24T00:54:28.980441Z"},
    "details":{"queue_id":"yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue","message":
    {"message_id":"cce76685-5828-4304-a83d-95643c0507a0","md5_of_body":"d29343907090dff4cec4a9a0efb80d20",
    "body":"message body","attributes":{"SentTimestamp":"1569285804456"}}}}"#;

fn body(messages: &[&str]) -> String {
    format!(r#"{{"messages":[{}]}}"#, messages.join(","))
}

#[tokio::test]
async fn s4_18_s4_24_messages_of_both_kinds_are_durable_events_with_their_ids_and_traces() {
    let system = open().await;
    let answer = system
        .post_to(MESSAGES, &[], body(&[STORAGE, SIGNAL]))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["ignored"], 0);
    assert_eq!(answer.body["events"][1]["duplicate"], false);
    let mut events = system.take(2).await;
    // Their ids sort as they came.
    events.sort_by_key(|event| event.eid);
    assert_eq!(events[1].extensions["sequence"], "0001");
    let (storage, signal) = (&events[0], &events[1]);
    assert_eq!(storage.event_type.as_str(), "file.object.delete");
    assert_eq!(storage.id, "bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0");
    assert_eq!(storage.time.to_string(), "2019-12-19T14:17:47.847365Z");
    assert!(
        storage
            .traceparent
            .as_deref()
            .unwrap()
            .starts_with("00-0000000000000000dd52ace79c62892f-")
    );
    assert_eq!(storage.data, STORAGE);
    assert_eq!(signal.event_type.as_str(), "queue.message.receive");
    assert_eq!(signal.subject.as_deref(), Some("queues/event-queue"));
    // They came in one request.
    assert_eq!(storage.extensions["batchid"], signal.extensions["batchid"]);
}

#[tokio::test]
async fn a_request_that_is_sent_again_brings_nothing_new() {
    let system = open().await;
    system.post_to(MESSAGES, &[], body(&[STORAGE])).await;
    let answer = system
        .post_to(MESSAGES, &[], body(&[STORAGE, SIGNAL]))
        .await;
    let duplicates = [&answer.body["events"][0], &answer.body["events"][1]];
    assert_eq!(duplicates.map(|event| &event["duplicate"]), [true, false]);
    assert_eq!(system.take(2).await.len(), 2);
}

#[tokio::test]
async fn s4_19_what_is_wrong_is_refused_by_name_and_nothing_is_stored() {
    let system = open().await;
    let empty = system.post_to(MESSAGES, &[], body(&[])).await;
    assert_eq!(empty.status, 400);
    assert_eq!(empty.problem()[1], "messages");
    let bad = STORAGE.replace("bucket_id", "bucket");
    let answer = system.post_to(MESSAGES, &[], body(&[SIGNAL, &bad])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.problem()[1], "messages[1].details.bucket_id");
    let long = STORAGE.replace("dev/", &"d".repeat(3_000));
    let answer = system.post_to(MESSAGES, &[], body(&[SIGNAL, &long])).await;
    assert_eq!(answer.problem()[1], "messages[1].subject");
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn s4_23_signals_without_an_exchange_are_passed_over_where_that_is_wished() {
    let system = open().await;
    let path = format!("{MESSAGES}?require_exchange=true");
    let answer = system.post_to(&path, &[], body(&[SIGNAL])).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body, json!({"events": [], "ignored": 1}));
    assert_eq!(system.messages_stored(), 0);
    let answer = system.post_to(MESSAGES, &[], body(&[SIGNAL])).await;
    assert_eq!(answer.body["ignored"], 0);
}
