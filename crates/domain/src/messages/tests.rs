//! Messages become events, each by itself, and nothing in them is lost.

use super::*;
use crate::event::{Event, sample};
use crate::pattern::check_subject;
use crate::trigger::Trigger;

/// As they stand in extremum's documents.
const STORAGE: &str = r#"{
"event_metadata": {
"event_id": "bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0",
"event_type": "yandex.cloud.events.storage.ObjectDelete",
"created_at": "2019-12-19T14:17:47.847365Z",
"tracing_context": {
"trace_id": "dd52ace79c62892f"
}
},
"details": {
"bucket_id": "s3-for-trigger",
"object_id": "dev/0_15a775_972dbde4_orig12.jpg"
}
}"#;
const SIGNAL: &str = r#"{
"event_metadata": {
"event_id": "cce76685-5828-4304-a83d-95643c0507a0",
"event_type": "yandex.cloud.events.messagequeue.QueueMessage",
"created_at": "2019-09-24T00:54:28.980441Z"
},
"details": {
"queue_id": "yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue",
"message": {
"message_id": "cce76685-5828-4304-a83d-95643c0507a0",
"md5_of_body": "d29343907090dff4cec4a9a0efb80d20",
"body": "message body",
"attributes": {
"SentTimestamp": "1569285804456"
}
}
}
}"#;
const DEVICE: &str = r#"{"event_metadata":{"event_id":"d1","event_type":"yandex.cloud.events.iot.IoTMessage",
    "created_at":"2019-09-24T00:54:28Z"},"details":{"registry_id":"reg","device_id":"dev",
    "mqtt_topic":"$devices/dev/events","payload":"VGVzdA=="}}"#;
const TIMER: &str = r#"{"event_metadata":{"event_id":"t1",
    "event_type":"yandex.cloud.events.serverless.triggers.TimerMessage",
    "created_at":"2019-09-24T00:54:28Z"},"details":{"trigger_id":"a1s5msktij","payload":"x"}}"#;

fn body(messages: &[&str]) -> Bytes {
    format!(r#"{{"messages":[{}]}}"#, messages.join(",")).into()
}

fn one(message: &str) -> Message {
    read(&body(&[message]), false).unwrap().messages.remove(0)
}

fn field(body: &str) -> String {
    read(&body.to_owned().into(), false).unwrap_err().field
}

fn event_of(message: Message) -> Event {
    Event {
        event_type: message.event_type,
        subject: Some(message.subject),
        ..sample::event(1)
    }
}

#[test]
fn s4_22_s4_24_a_storage_message_keeps_its_id_time_trace_bucket_and_object() {
    let message = one(STORAGE);
    assert_eq!(message.event_type.as_str(), "file.object.delete");
    assert_eq!(message.id, "bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0");
    assert_eq!(
        message.time.unwrap().to_string(),
        "2019-12-19T14:17:47.847365Z"
    );
    assert_eq!(
        message.subject,
        "object-storage/s3-for-trigger/dev%2F0_15a775_972dbde4_orig12.jpg"
    );
    let traceparent = message.traceparent.unwrap();
    assert!(
        traceparent.starts_with("00-0000000000000000dd52ace79c62892f-"),
        "{traceparent}"
    );
    assert_eq!(message.data, STORAGE.as_bytes());
    assert!(one(SIGNAL).traceparent.is_none(), "no tracing_context");
}

#[test]
fn s4_21_a_signal_is_known_by_what_follows_the_last_colon_of_its_queue() {
    let message = one(SIGNAL);
    assert_eq!(message.event_type.as_str(), "queue.message.receive");
    assert_eq!(message.subject, "queues/event-queue");
}

#[test]
fn s4_20_a_trigger_names_bucket_and_operation() {
    let deletes = Trigger {
        on: vec!["yandex.cloud.events.storage.ObjectDelete".parse().unwrap()],
        subject: Some("object-storage/s3-for-trigger/*".parse().unwrap()),
        ..sample::trigger("thumbnails")
    };
    let creates = Trigger {
        on: vec!["file.object.create".parse().unwrap()],
        ..deletes.clone()
    };
    let elsewhere = Trigger {
        subject: Some("object-storage/another/*".parse().unwrap()),
        ..deletes.clone()
    };
    let event = event_of(one(STORAGE));
    assert!(deletes.matches(&event).is_some());
    assert!(creates.matches(&event).is_none());
    assert!(elsewhere.matches(&event).is_none());
}

#[test]
fn s4_18_each_message_is_understood_by_itself() {
    let read = read(&body(&[SIGNAL, STORAGE, TIMER, DEVICE]), false).unwrap();
    let messages = read.messages.iter();
    let types: Vec<_> = messages
        .map(|message| message.event_type.as_str())
        .collect();
    let expected = [
        "queue.message.receive",
        "file.object.delete",
        "timer.schedule.fire",
        "iot.message.receive",
    ];
    assert_eq!(types, expected);
    assert_eq!(read.messages[2].subject, "schedules/a1s5msktij");
    assert_eq!(read.messages[3].subject, "iot/reg/dev");
}

#[test]
fn s4_19_no_messages_at_all_are_refused() {
    assert_eq!(field(r#"{"messages":[]}"#), "messages");
    assert_eq!(field("{}"), "messages");
    assert_eq!(field(r#"{"messages":7}"#), "messages");
    assert_eq!(field("nope"), "messages");
}

#[test]
fn s4_23_a_plain_text_body_is_taken_in_unless_an_exchange_is_required() {
    let with_exchange = SIGNAL.replace(
        r#""message body""#,
        r#""{\"exchange\":\"orders\",\"n\":1}""#,
    );
    let body = body(&[SIGNAL, &with_exchange, STORAGE]);
    let all = read(&body, false).unwrap();
    assert_eq!((all.messages.len(), all.ignored), (3, 0));
    assert_eq!(all.messages[1].extensions["exchange"], "orders");
    let some = read(&body, true).unwrap();
    assert_eq!((some.messages.len(), some.ignored), (2, 1));
}

#[test]
fn s4_25_when_a_signal_was_sent_is_text_or_a_number() {
    let undated = |sent: &str| {
        let message = SIGNAL.replace(r#""1569285804456""#, sent);
        message.replace(
            r#""created_at": "2019-09-24T00:54:28.980441Z""#,
            r#""x": 1"#,
        )
    };
    for sent in [r#""1569285804456""#, "1569285804456"] {
        let time = one(&undated(sent)).time.unwrap();
        assert_eq!(time.as_millisecond(), 1_569_285_804_456, "{sent}");
    }
    let bad = format!(r#"{{"messages":[{}]}}"#, undated(r#""soon""#));
    assert!(field(&bad).ends_with("attributes.SentTimestamp"));
}

#[test]
fn s4_27_members_that_nobody_knows_are_kept() {
    let message = STORAGE.replace(
        r#""event_id""#,
        r#""cloud_id": "c1", "later": [1], "event_id""#,
    );
    let kept = one(&message);
    assert_eq!(kept.data, message.as_bytes());
}

#[test]
fn s4_35_the_payload_of_a_device_is_base_64() {
    assert_eq!(one(DEVICE).data, DEVICE.as_bytes());
    let bad = DEVICE.replace("VGVzdA==", "not base 64");
    let bad = format!(r#"{{"messages":[{bad}]}}"#);
    assert_eq!(field(&bad), "messages[0].details.payload");
}

#[test]
fn what_is_wrong_is_named_with_its_message() {
    let second = |bad: String| field(&format!(r#"{{"messages":[{SIGNAL},{bad}]}}"#));
    let metadata = "messages[1].event_metadata";
    let without = |member: &str| STORAGE.replace(&format!(r#""{member}""#), r#""other""#);
    assert_eq!(second(without("event_id")), format!("{metadata}.event_id"));
    assert_eq!(
        second(without("event_type")),
        format!("{metadata}.event_type")
    );
    assert_eq!(second(without("event_metadata")), metadata);
    assert_eq!(second(without("details")), "messages[1].details");
    assert_eq!(
        second(without("bucket_id")),
        "messages[1].details.bucket_id"
    );
    assert_eq!(
        second(without("object_id")),
        "messages[1].details.object_id"
    );
    assert_eq!(second("7".to_owned()), "messages[1]");
    let odd_time = STORAGE.replace("2019-12-19T", "yesterday");
    assert_eq!(second(odd_time), format!("{metadata}.created_at"));
    for odd in ["storage.ObjectFold", "unknown.Thing"] {
        let odd = STORAGE.replace("storage.ObjectDelete", odd);
        assert_eq!(second(odd), format!("{metadata}.event_type"));
    }
}

mod anything {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "(event_id|2019-12-19T14:17:47Z|yandex\\.cloud\\.events\\.[a-zA-Z.]{1,30})"
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let name = prop_oneof![
                "(event_metadata|details|event_id|event_type|created_at|tracing_context|trace_id)",
                "(bucket_id|object_id|queue_id|message|body|attributes|SentTimestamp|payload)",
                "[a-z]{1,5}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(name, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(read(&bytes.into(), true));
        }

        #[test]
        fn json_of_any_kind_is_read_or_refused(messages in prop::collection::vec(json(), 0..5)) {
            let body: Bytes = serde_json::json!({ "messages": messages }).to_string().into();
            if let Ok(read) = read(&body, false) {
                prop_assert_eq!(read.messages.len(), messages.len());
                for message in read.messages {
                    prop_assert!(message.data.len() <= body.len());
                }
            }
        }

        #[test]
        fn every_object_has_a_subject_of_three_segments(
            bucket in "\\PC{1,30}", object in "\\PC{1,60}", operation in "(Create|Update|Delete)"
        ) {
            let message = serde_json::json!({
                "event_metadata": {
                    "event_id": "e1",
                    "event_type": format!("yandex.cloud.events.storage.Object{operation}"),
                },
                "details": { "bucket_id": bucket, "object_id": object },
            });
            let message = one(&message.to_string());
            prop_assert_eq!(message.subject.split('/').count(), 3);
            prop_assert_eq!(check_subject(&message.subject), Ok(()));
        }
    }
}
