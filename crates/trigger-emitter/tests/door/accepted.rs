//! Every way of writing an event leads to the same event.

use serde_json::json;

use crate::harness::open;

#[tokio::test]
async fn a_plain_event_is_durable_when_it_is_answered() {
    let system = open().await;
    let answer = system
        .post_json(
            r#"{"type":"AUTH_REGISTER","data":{"n":1.0},"subject":"users/u1","actor":"u1",
                "partition_key":"p","correlation_id":"c","causation_id":"d","depth":2,
                "time":"2026-11-22T01:15:31.5Z","extensions":{"tenant":"t1"}}"#,
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(system.messages_stored(), 1);
    let event = system.take(1).await.remove(0);
    assert_eq!(
        answer.body,
        json!({"id": event.eid.to_string(), "duplicate": false})
    );
    assert_eq!(event.event_type.as_str(), "auth.user.register");
    assert_eq!(event.data, r#"{"n":1.0}"#, "numbers keep their digits");
    assert_eq!(event.source, "/projects/default");
    assert_eq!(event.subject.as_deref(), Some("users/u1"));
    let actor = event.actor.unwrap();
    assert_eq!((actor.id.as_str(), actor.kind.as_str()), ("u1", "user"));
    assert_eq!(event.partition_key.as_deref(), Some("p"));
    assert_eq!(event.depth, 2);
    assert_eq!(event.time.to_string(), "2026-11-22T01:15:31.5Z");
    assert_eq!(event.extensions["tenant"], "t1");
}

#[tokio::test]
async fn a_cloud_event_is_the_same_in_each_mode() {
    let system = open().await;
    let document = r#"{"specversion":"1.0","id":"1","source":"/s","type":"order.placed",
        "subject":"orders/1","actorid":"ä€","tenant":7,"data":{"a":[1]}}"#;
    let structured = system
        .post(
            &[(
                "content-type",
                "application/cloudevents+json; charset=utf-8",
            )],
            document,
        )
        .await;
    let binary = system
        .post(
            &[
                ("content-type", "application/json"),
                ("ce-specversion", "1.0"),
                ("ce-id", "2"),
                ("ce-source", "/s"),
                ("ce-type", "order.placed"),
                ("ce-subject", "orders/1"),
                ("ce-actorid", "%C3%A4%E2%82%AC"),
                ("ce-tenant", "7"),
            ],
            r#"{"a":[1]}"#,
        )
        .await;
    let batch = system
        .post(
            &[("content-type", "application/cloudevents-batch+json")],
            format!("[{}]", document.replace(r#""id":"1""#, r#""id":"3""#)),
        )
        .await;
    assert_eq!(structured.body, json!({"id": "1", "duplicate": false}));
    assert_eq!(binary.body, json!({"id": "2", "duplicate": false}));
    assert_eq!(
        batch.body,
        json!({"events": [{"id": "3", "duplicate": false}]})
    );
    for event in system.take(3).await {
        assert_eq!(event.data, r#"{"a":[1]}"#);
        assert_eq!(event.data_content_type.as_deref(), Some("application/json"));
        assert_eq!(event.actor.unwrap().id, "ä€");
        assert_eq!(event.extensions["tenant"], "7");
        assert_eq!(event.source, "/s");
    }
}

#[tokio::test]
async fn data_that_is_not_json_arrives_byte_for_byte() {
    let system = open().await;
    let headers = [
        ("content-type", "image/png"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
    ];
    assert_eq!(system.post(&headers, &b"\x89PNG\xff"[..]).await.status, 202);
    let text = r#"{"specversion":"1.0","id":"2","source":"/s","type":"a.b",
        "datacontenttype":"text/plain","data":"hé"}"#;
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(system.post(&headers, text).await.status, 202);
    assert_eq!(
        system
            .post_json(r#"{"type":"a.b","data_base64":"AP8="}"#)
            .await
            .status,
        202
    );
    let mut data: Vec<_> = system
        .take(3)
        .await
        .into_iter()
        .map(|event| event.data)
        .collect();
    data.sort();
    assert_eq!(data, [&b"\x00\xff"[..], "hé".as_bytes(), b"\x89PNG\xff"]);
}

#[tokio::test]
async fn an_array_is_answered_in_its_order_and_keeps_the_order_of_a_key() {
    let system = open().await;
    let events: Vec<_> = (0..300)
        .map(|number| json!({"type": "n", "id": format!("{number}"), "partition_key": "k"}))
        .collect();
    let answer = system.post_json(serde_json::to_vec(&events).unwrap()).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    let ids: Vec<_> = answer.body["events"].as_array().unwrap().iter().collect();
    assert_eq!(ids[299]["id"], "299");
    let taken: Vec<_> = system
        .take(300)
        .await
        .into_iter()
        .map(|event| event.id)
        .collect();
    let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(taken, expected);
}

#[tokio::test]
async fn the_trace_of_the_call_goes_on_in_the_event() {
    let system = open().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    system.post(&headers, r#"{"type":"a.b"}"#).await;
    let event = system.take(1).await.remove(0);
    let kept = event.traceparent.unwrap();
    assert!(
        kept.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{kept}"
    );
    system.post_json(r#"{"type":"a.b"}"#).await;
    assert!(system.take(1).await.remove(0).traceparent.is_some());
}

#[tokio::test]
async fn when_functions_are_called_can_be_said_in_every_way_of_writing() {
    let system = open().await;
    let at = soon_ms();
    let time = domain::Timestamp::from_millisecond(at).unwrap();
    let plain = [
        format!(r#"{{"type":"a.b","deliver_at":{at}}}"#),
        format!(r#"{{"type":"a.b","deliver_at":"{time}"}}"#),
    ];
    for body in plain {
        assert_eq!(system.post_json(body).await.status, 202);
    }
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
        ("ce-deliverat", &time.to_string()),
    ];
    assert_eq!(system.post(&headers, "1").await.status, 202);
    for event in system.take(3).await {
        assert_eq!(event.deliver_at, Some(time));
        assert!(event.extensions.is_empty());
    }
    for delay in [r#""1h""#, "3600000"] {
        let body = format!(r#"{{"type":"a.b","delay":{delay}}}"#);
        assert_eq!(system.post_json(body).await.status, 202);
    }
    let document = r#"{"specversion":"1.0","id":"2","source":"/s","type":"a.b","delay":3600000}"#;
    let structured = [("content-type", "application/cloudevents+json")];
    assert_eq!(system.post(&structured, document).await.status, 202);
    for event in system.take(3).await {
        let delay = event.deliver_at.unwrap().duration_since(event.accepted_at);
        assert_eq!(delay.as_secs(), 3600);
    }
}

/// A day from now.
fn soon_ms() -> i64 {
    domain::Timestamp::now().as_millisecond() + 86_400_000
}
