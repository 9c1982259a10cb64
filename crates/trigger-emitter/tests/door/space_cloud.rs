//! Space Cloud's addresses for queueing events.

use std::time::Duration;

use serde_json::json;

use crate::harness::{System, embedded, open};

const QUEUE: &str = "/v1/api/default/eventing/queue";

async fn queue(system: &System, body: &str) -> crate::harness::Answer {
    system.post_to(QUEUE, &[], body.to_owned()).await
}

#[tokio::test]
async fn s2_05_queueing_answers_an_empty_object_once_the_event_is_durable() {
    let system = open().await;
    let body = r#"{"type":"order-placed","payload":{"orderId":7},"delay":0,"options":{"db":"pg"},"isSynchronous":false}"#;
    for path in [QUEUE, "/v1/api/default/event-triggers/queue"] {
        let answer = system.post_to(path, &[], body).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
    }
    let event = system.take(2).await.remove(0);
    assert_eq!(event.event_type.as_str(), "order-placed");
    assert_eq!(event.data, r#"{"orderId":7}"#);
    assert_eq!(event.extensions["db"], "pg");
    assert_eq!(event.deliver_at, None);
}

#[tokio::test]
async fn s2_26_an_event_is_put_off_by_its_delay() {
    let system = open().await;
    let answer = queue(
        &system,
        r#"{"type":"a","data":1,"delay":3600,"delay_unit":"s"}"#,
    )
    .await;
    assert_eq!(answer.status, 200);
    let path = format!("{QUEUE}?delay_unit=s");
    let answer = system
        .post_to(&path, &[], r#"{"type":"a","delay":3600}"#)
        .await;
    assert_eq!(answer.status, 200);
    for event in system.take(2).await {
        let ahead = event.deliver_at.unwrap().duration_since(event.accepted_at);
        let ahead = Duration::try_from(ahead).unwrap();
        let hour = Duration::from_secs(3_598)..=Duration::from_secs(3_600);
        assert!(hour.contains(&ahead), "{ahead:?}");
    }
}

#[tokio::test]
async fn s2_28_s2_29_bad_values_and_internal_types_are_refused_and_nothing_is_stored() {
    let system = open().await;
    for (body, field) in [
        (r#"{"type":"a","timestamp":"tomorrow"}"#, "timestamp"),
        (r#"{"type":"a","delay":"1 minute"}"#, "delay"),
        (r#"{"type":"DB_INSERT","payload":{}}"#, "type"),
        (r#"{"type":"FILE_DELETE"}"#, "type"),
        (r#"{"payload":{}}"#, "type"),
        (r#"{"type":"a","options":{"Db":"x"}}"#, "options.Db"),
        ("{nope", "body"),
    ] {
        let answer = queue(&system, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.problem()[1], field, "{body}");
    }
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn only_who_manages_queues_internal_events() {
    let keys = std::sync::Arc::new(coordination::EmbeddedCoordination::default());
    let system = embedded(true, keys).await;
    let path = "/v1/api/acme/eventing/admin-queue";
    let body =
        r#"{"events":[{"type":"DB_INSERT","payload":{"db":"pg","col":"users"}},{"type":"a"}]}"#;
    let emits = [("authorization", "Bearer emits")];
    assert_eq!(system.post_to(path, &emits, body).await.status, 403);
    let manages = [("authorization", "Bearer manages")];
    let answer = system.post_to(path, &manages, body).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
    let types: Vec<_> = system
        .take(2)
        .await
        .into_iter()
        .map(|event| event.event_type.to_string())
        .collect();
    assert!(
        types.contains(&"storage.row.insert".to_owned()),
        "{types:?}"
    );
}
