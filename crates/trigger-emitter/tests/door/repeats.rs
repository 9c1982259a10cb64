//! What was accepted once is not accepted again, and losing coordination loses nothing.

use std::sync::Arc;

use coordination::{EmbeddedCoordination, IdempotencyKeys, Reservation, Unavailable};
use domain::id::EventId;
use futures::future::join_all;
use serde_json::json;

use crate::harness::{Away, embedded, open};

const ORDER: &str = r#"{"type":"order.placed","id":"order-1","source":"/shop"}"#;

#[tokio::test]
async fn the_same_id_of_the_same_source_is_a_duplicate() {
    let system = open().await;
    assert_eq!(
        system.post_json(ORDER).await.body,
        json!({"id": "order-1", "duplicate": false})
    );
    assert_eq!(
        system.post_json(ORDER).await.body,
        json!({"id": "order-1", "duplicate": true})
    );
    let elsewhere = ORDER.replace("/shop", "/other");
    assert_eq!(system.post_json(elsewhere).await.body["duplicate"], false);
    assert_eq!(system.messages_stored(), 2);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_first_id_again() {
    let system = open().await;
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k1"),
    ];
    let first = system.post(&headers, r#"{"type":"a.b"}"#).await.body;
    let again = system.post(&headers, r#"{"type":"a.b"}"#).await.body;
    assert_eq!(again, json!({"id": first["id"], "duplicate": true}));
    let array = r#"[{"type":"a.b"},{"type":"a.b"}]"#;
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k2"),
    ];
    let first = system.post(&headers, array).await.body;
    assert_ne!(first["events"][0]["id"], first["events"][1]["id"]);
    let again = system.post(&headers, array).await.body;
    assert_eq!(
        again["events"][1],
        json!({"id": first["events"][1]["id"], "duplicate": true})
    );
}

#[tokio::test]
async fn events_without_an_id_are_never_duplicates() {
    let system = open().await;
    for _ in 0..2 {
        assert_eq!(
            system.post_json(r#"{"type":"a.b"}"#).await.body["duplicate"],
            false
        );
    }
    assert_eq!(system.messages_stored(), 2);
}

#[tokio::test]
async fn the_same_event_twice_in_one_request_is_stored_once() {
    let system = open().await;
    let answer = system.post_json(format!("[{ORDER},{ORDER}]")).await;
    assert_eq!(
        answer.body,
        json!({"events": [
            {"id": "order-1", "duplicate": false}, {"id": "order-1", "duplicate": true}
        ]})
    );
    assert_eq!(system.take(1).await.len(), 1);
}

#[tokio::test]
async fn of_many_at_the_same_moment_one_is_the_first() {
    let system = open().await;
    let answers = join_all((0..20).map(|_| system.post_json(ORDER))).await;
    let firsts = answers
        .iter()
        .filter(|answer| answer.body["duplicate"] == false)
        .count();
    assert_eq!(firsts, 1);
    assert_eq!(system.take(1).await.len(), 1);
}

/// Coordination in which somebody reserved every key and died.
#[derive(Debug)]
struct Abandoned(EventId, EmbeddedCoordination);

#[async_trait::async_trait]
impl IdempotencyKeys for Abandoned {
    async fn reserve(&self, keys: &[(String, EventId)]) -> Result<Vec<Reservation>, Unavailable> {
        Ok(vec![Reservation::Pending(self.0); keys.len()])
    }

    async fn confirm(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        self.1.confirm(keys).await
    }

    async fn release(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        self.1.release(keys).await
    }
}

#[tokio::test]
async fn when_the_first_is_never_heard_of_the_event_goes_out_under_the_first_id() {
    let first = EventId::new("2026-11-22T00:00:00Z".parse().unwrap(), [9; 10]);
    let keys = Abandoned(first, EmbeddedCoordination::default());
    let system = embedded(false, Arc::new(keys)).await;
    let answer = system.post_json(ORDER).await;
    assert_eq!(answer.body, json!({"id": "order-1", "duplicate": false}));
    let event = system.take(1).await.remove(0);
    assert_eq!((event.eid, event.accepted_at), (first, first.accepted_at()));
}

#[tokio::test]
async fn without_coordination_events_are_accepted_repeats_included() {
    let system = embedded(false, Arc::new(Away)).await;
    for _ in 0..2 {
        let answer = system.post_json(ORDER).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["duplicate"]),
            (202, &json!(false))
        );
    }
    assert_eq!(system.messages_stored(), 2);
}
