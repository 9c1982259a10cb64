//! What comes in as Yandex Cloud's messages goes out as the same messages.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use bytes::Bytes;
use domain::Timestamp;
use domain::event::Event;
use domain::format::{Format, RenderInput, render};
use domain::id::{DeliveryId, EventId};
use domain::messages::{self, Message};
use domain::pattern::Captures;
use serde_json::{Value, json};

fn event(message: Message) -> Event {
    let accepted_at: Timestamp = "2026-11-22T01:15:31Z".parse().unwrap();
    Event {
        eid: EventId::new(accepted_at, [7; 10]),
        project: "acme".parse().unwrap(),
        id: message.id,
        source: message.source,
        event_type: message.event_type,
        subject: Some(message.subject),
        time: message.time.unwrap_or(accepted_at),
        accepted_at,
        data_content_type: Some("application/json".to_owned()),
        data: message.data,
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        deliver_at: None,
        traceparent: message.traceparent,
        extensions: message.extensions,
        reply_to: None,
    }
}

fn sent_on(body: &Value) -> Vec<Value> {
    let read = messages::read(&Bytes::from(body.to_string()), false).unwrap();
    let function = "shop/on-message".parse().unwrap();
    let rendered = read.messages.into_iter().map(|message| {
        let event = event(message);
        let input = RenderInput {
            event: &event,
            captures: &Captures::default(),
            secret: "",
            function_session: None,
            function: &function,
            endpoint: None,
            delivery: DeliveryId::derive(event.eid, "on-message"),
            node: "worker-1",
            call_headers: &[],
        };
        let body = render(Format::Yandex, &input).unwrap().body;
        serde_json::from_slice(&body).unwrap()
    });
    rendered.collect()
}

#[test]
fn s4_24_s4_27_s4_35_a_message_goes_out_as_it_came_in() {
    let body = json!({"messages": [
        {
            "event_metadata": {
                "event_id": "bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0",
                "event_type": "yandex.cloud.events.storage.ObjectDelete",
                "created_at": "2019-12-19T14:17:47.847365Z",
                "tracing_context": {"trace_id": "dd52ace79c62892f", "span_id": "1"},
                "cloud_id": "b1g",
                "folder_id": "b1f",
            },
            "details": {
                "bucket_id": "s3-for-trigger",
                "object_id": "dev/0_15a775_972dbde4_orig12.jpg",
            },
        },
        {
            "event_metadata": {
                "event_id": "cce76685-5828-4304-a83d-95643c0507a0",
                "event_type": "yandex.cloud.events.messagequeue.QueueMessage",
                "created_at": "2019-09-24T00:54:28.980441Z",
            },
            "details": {
                "queue_id": "yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue",
                "message": {
                    "message_id": "cce76685-5828-4304-a83d-95643c0507a0",
                    "md5_of_body": "d29343907090dff4cec4a9a0efb80d20",
                    "body": "message body",
                    "attributes": {"SentTimestamp": "1569285804456"},
                    "message_attributes": {"k": {"dataType": "StringValue", "stringValue": "v"}},
                },
            },
        },
        {
            "event_metadata": {
                "event_id": "t1",
                "event_type": "yandex.cloud.events.serverless.triggers.TimerMessage",
                "created_at": "2019-12-04T12:05:14.227761Z",
            },
            "details": {"trigger_id": "a1s92agr8m", "payload": "wake up"},
        },
        {
            "event_metadata": {
                "event_id": "i1",
                "event_type": "yandex.cloud.events.iot.IoTMessage",
                "created_at": "2019-12-04T12:05:14.227761Z",
            },
            "details": {
                "registry_id": "arenou2oj4",
                "device_id": "areqjd6un3",
                "mqtt_topic": "$devices/areqjd6un3/events",
                "payload": "VGVzdCA0",
            },
        },
    ]});
    let sent = sent_on(&body);
    let came = body["messages"].as_array().unwrap();
    assert_eq!(sent.len(), came.len());
    for (sent, came) in sent.iter().zip(came) {
        assert_eq!(sent["messages"][0], *came);
    }
}

#[test]
fn s4_25_when_a_message_was_sent_is_a_text_of_milliseconds_whatever_it_was() {
    let message = |sent_at: Value| {
        let details = json!({
            "queue_id": "yrn:a:orders",
            "message": {"body": "b", "attributes": {"SentTimestamp": sent_at}},
        });
        let kind = "yandex.cloud.events.messagequeue.QueueMessage";
        let metadata = json!({"event_id": "e1", "event_type": kind});
        json!({"messages": [{"event_metadata": metadata, "details": details}]})
    };
    for sent_at in [json!("1569285804456"), json!(1_569_285_804_456_u64)] {
        let sent = sent_on(&message(sent_at));
        let inner = &sent[0]["messages"][0]["details"]["message"];
        assert_eq!(inner["attributes"]["SentTimestamp"], "1569285804456");
    }
}
