//! Readiness is what this process itself needs; the rest is reported, not required.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use lifecycle::{Health, Tasks};
use serde_json::{Value, json};
use tower::ServiceExt as _;

async fn check(health: &Health, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = health.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_required_check_decides_and_gives_its_reason() {
    let health = Health::default();
    let broker = health.register("broker");
    let (status, body) = check(&health, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"]["broker"]["reason"], "starting");

    broker.ready();
    let (status, body) = check(&health, "/readyz").await;
    assert_eq!(status, StatusCode::OK);
    let broker_ready = json!({ "ready": true, "required": true });
    assert_eq!(
        body,
        json!({ "ready": true, "stopping": false, "checks": { "broker": broker_ready } })
    );

    broker.not_ready("connection refused");
    let (status, body) = check(&health, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"]["broker"]["reason"], "connection refused");
}

#[tokio::test]
async fn an_optional_check_is_reported_only() {
    let health = Health::default();
    health.register_optional("redis").not_ready("timed out");
    let (status, body) = check(&health, "/readyz").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body["checks"]["redis"],
        json!({ "ready": false, "required": false, "reason": "timed out" })
    );
}

#[tokio::test]
async fn the_process_is_alive_whatever_it_lacks() {
    let health = Health::default();
    health.set_ready("broker", false, "down");
    assert_eq!(check(&health, "/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn watchers_wake_when_something_is_different() {
    let health = Health::default();
    let mut watch = health.watch();
    assert!(watch.is_ready());
    let broker = health.register("broker");
    assert!(watch.changed().await);
    assert!(!watch.is_ready());
    broker.ready();
    assert!(watch.changed().await);
    assert!(watch.report().checks["broker"].ready);
}

#[tokio::test]
async fn a_stopping_system_is_not_ready() {
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let mut watch = health.watch();
    assert!(watch.is_ready());
    tasks.stop();
    assert!(watch.changed().await);
    assert!(watch.report().stopping);
    assert!(!health.is_ready());
}
