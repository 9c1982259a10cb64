//! Who may send events in, and into which project.

use std::sync::Arc;

use coordination::EmbeddedCoordination;

use crate::harness::{System, embedded, open};

const EVENT: &str = r#"{"type":"a.b","project":"default"}"#;

async fn with_keys() -> System {
    embedded(true, Arc::new(EmbeddedCoordination::default())).await
}

/// Status and code of an event sent with this header to this project.
async fn check(system: &System, authorization: Option<&str>, project: &str) -> (u16, String) {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let answer = system
        .post_to(&format!("/v1/projects/{project}/events"), &headers, EVENT)
        .await;
    let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn only_a_key_that_may_emit_lets_an_event_in() {
    let system = with_keys().await;
    let refused = [
        (None, 401, "unauthenticated"),
        (Some("Basic abc"), 401, "unauthenticated"),
        (Some("Bearer nobody"), 401, "unauthenticated"),
        (Some("Bearer revoked"), 401, "unauthenticated"),
        (Some("Bearer reads"), 403, "forbidden"),
    ];
    for (authorization, status, code) in refused {
        let answer = check(&system, authorization, "acme").await;
        assert_eq!(answer, (status, code.to_owned()), "{authorization:?}");
    }
    assert_eq!(system.messages_stored(), 0);
    assert_eq!(check(&system, Some("Bearer emits"), "acme").await.0, 202);
}

#[tokio::test]
async fn a_path_that_names_another_project_finds_nothing_and_a_body_is_not_asked() {
    let system = with_keys().await;
    for other in ["default", "nobody"] {
        let answer = check(&system, Some("Bearer emits"), other).await;
        assert_eq!(answer, (404, "not_found".to_owned()), "{other}");
    }
    assert_eq!(system.messages_stored(), 0);
    check(&system, Some("Bearer emits"), "acme").await;
    assert_eq!(system.take(1).await[0].project.as_str(), "acme");
}

#[tokio::test]
async fn an_open_door_asks_for_no_key_but_for_a_project_that_exists() {
    let system = open().await;
    assert_eq!(check(&system, None, "acme").await.0, 202);
    assert_eq!(
        check(&system, None, "nobody").await,
        (404, "not_found".to_owned())
    );
    assert_eq!(check(&system, Some("Bearer nobody"), "acme").await.0, 401);
}
