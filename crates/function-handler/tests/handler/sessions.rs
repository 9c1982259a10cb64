//! Function sessions: who is told that one is in force, and what ends them before their time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, StatusCode};
use domain::Timestamp;
use domain::event::{Actor, Event};
use domain::id::DeliveryId;
use domain::session::{Attempt, LIFETIME_DEFAULT, Session, SessionError};
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{CreateFunctionRequest, DeleteFunctionRequest};
use protocol::projects::v1::{CreateKeyRequest, ListKeysRequest, ListProjectsRequest};
use protocol::sessions::v1::{IntrospectSessionRequest, RevokeSessionsRequest};
use testkit::eventually;
use tonic::Status;
use tower::ServiceExt as _;

use crate::support::{Handler, SOON, World, event, with_token};

const INTROSPECT: &str = "/v1/projects/default/sessions/introspect";

fn kind_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> FaultKind {
    Fault::from_status(&answer.unwrap_err()).kind
}

/// An event of a user.
fn acted(event_type: &str, actor: &str) -> Event {
    Event {
        actor: Some(Actor {
            id: actor.to_owned(),
            kind: "user".to_owned(),
        }),
        ..event(event_type, None)
    }
}

/// The session of a call that was made this long ago, as a worker makes it.
fn session(handler: &Handler, function: &str, actor: &str, ago: Duration) -> String {
    let event = acted("order.placed", actor);
    let now = Timestamp::now() - ago;
    let attempt = Attempt {
        event: &event,
        function: &function.parse().unwrap(),
        delivery: DeliveryId::derive(event.eid, "welcome"),
        now,
        lifetime: LIFETIME_DEFAULT,
    };
    let keys = handler.view.read().token_keys(None).cloned().unwrap();
    let session = Session::of(&attempt, "s1".to_owned()).unwrap();
    session
        .sign(keys.signing(Timestamp::now()).unwrap())
        .unwrap()
}

async fn is_active(handler: &Handler, token: &str) -> bool {
    let request = IntrospectSessionRequest {
        token: token.to_owned(),
    };
    let answer = handler
        .sessions()
        .introspect_session(handler.with_key(request))
        .await;
    answer.unwrap().into_inner().active
}

async fn asked_by_http(
    handler: &Handler,
    key: &str,
    content_type: &str,
    body: String,
) -> (StatusCode, serde_json::Value) {
    let request = HttpRequest::post(INTROSPECT)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", content_type)
        .body(Body::from(body))
        .unwrap();
    let answer = handler.http().oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 64 * 1024).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn introspection_says_of_a_session_in_force_what_it_says_and_of_others_nothing() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let token = session(&handler, "shop/welcome", "u_17", Duration::ZERO);
    let late = session(&handler, "shop/welcome", "u_17", Duration::from_secs(1201));
    let key = handler.key().to_owned();
    for (content_type, body) in [
        (
            "application/x-www-form-urlencoded",
            format!("token_type_hint=access_token&token={token}"),
        ),
        ("application/json", format!(r#"{{"token":"{token}"}}"#)),
    ] {
        let (status, answer) = asked_by_http(&handler, &key, content_type, body).await;
        assert_eq!((status.as_u16(), &answer["active"]), (200, &true.into()));
        assert_eq!(answer["sub"], "u_17");
        assert_eq!(answer["project"], "default");
        assert_eq!(answer["function"], "shop/welcome");
        assert!(answer["delivery"].as_str().unwrap().starts_with("dlv_"));
        let [iat, exp] = ["iat", "exp"].map(|name| answer[name].as_i64().unwrap());
        assert_eq!(exp - iat, 15 * 60);
    }
    for other in [late.as_str(), "nonsense", key.as_str()] {
        let form = "application/x-www-form-urlencoded";
        let body = format!("token={other}");
        let (status, answer) = asked_by_http(&handler, &key, form, body).await;
        assert_eq!(status, 200);
        assert_eq!(answer, serde_json::json!({"active": false}));
        assert!(!is_active(&handler, other).await);
    }
    let (status, problem) = asked_by_http(&handler, &key, "text/plain", String::new()).await;
    assert_eq!((status.as_u16(), &problem["field"]), (400, &"token".into()));
    let (status, _) = asked_by_http(&handler, "nobody", "text/plain", token).await;
    assert_eq!(status, 401);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s1_16_a_session_administers_nothing_and_makes_no_other_session() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let token = session(&handler, "welcome", "u_17", Duration::ZERO);
    let create = CreateFunctionRequest {
        name: "evil-one".to_owned(),
        url: "https://example.com/".to_owned(),
        ..CreateFunctionRequest::default()
    };
    let scope = FaultKind::SessionScope;
    let answer = handler
        .functions()
        .create_function(with_token(&token, create))
        .await;
    assert_eq!(kind_of(answer), scope);
    let create = CreateKeyRequest {
        scopes: vec!["emit".to_owned()],
        note: String::new(),
    };
    let answer = handler.keys().create_key(with_token(&token, create)).await;
    assert_eq!(kind_of(answer), scope);
    let answer = handler
        .keys()
        .list_keys(with_token(&token, ListKeysRequest {}))
        .await;
    assert_eq!(kind_of(answer), scope);
    let answer = handler
        .projects()
        .list_projects(with_token(&token, ListProjectsRequest {}))
        .await;
    assert_eq!(kind_of(answer), scope);
    let revoke = RevokeSessionsRequest {
        actor_id: "u_18".to_owned(),
    };
    let answer = handler
        .sessions()
        .revoke_sessions(with_token(&token, revoke))
        .await;
    assert_eq!(kind_of(answer), scope);
    let ask = IntrospectSessionRequest {
        token: token.clone(),
    };
    let answer = handler
        .sessions()
        .introspect_session(with_token(&token, ask))
        .await;
    assert_eq!(kind_of(answer), scope);
    let late = session(&handler, "welcome", "u_17", Duration::from_secs(1201));
    let answer = handler
        .keys()
        .list_keys(with_token(&late, ListKeysRequest {}))
        .await;
    assert_eq!(kind_of(answer), FaultKind::SessionExpired);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn who_may_read_or_emit_may_ask_and_only_who_manages_may_revoke() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let token = session(&handler, "welcome", "u_17", Duration::ZERO);
    for scope in ["read", "emit"] {
        let create = CreateKeyRequest {
            scopes: vec![scope.to_owned()],
            note: String::new(),
        };
        let key = handler.keys().create_key(handler.with_key(create)).await;
        let key = key.unwrap().into_inner().secret;
        let ask = IntrospectSessionRequest {
            token: token.clone(),
        };
        let answer = handler
            .sessions()
            .introspect_session(with_token(&key, ask))
            .await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.session.unwrap().actor_id, "u_17");
        let revoke = RevokeSessionsRequest {
            actor_id: "u_17".to_owned(),
        };
        let answer = handler
            .sessions()
            .revoke_sessions(with_token(&key, revoke))
            .await;
        assert_eq!(kind_of(answer), FaultKind::Forbidden);
    }
    for actor in ["", "a\nb"] {
        let revoke = RevokeSessionsRequest {
            actor_id: actor.to_owned(),
        };
        let answer = handler
            .sessions()
            .revoke_sessions(handler.with_key(revoke))
            .await;
        let fault = Fault::from_status(&answer.unwrap_err());
        assert_eq!(fault.field.as_deref(), Some("actor_id"));
    }
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn sessions_end_with_their_user_or_their_function_and_later_ones_begin_anew() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "https://example.com/", &["a.b"])
        .await;
    let ago = Duration::from_secs(2);
    let of_disabled = session(&handler, "audit", "u_1", ago);
    let of_deleted = session(&handler, "audit", "u_2", ago);
    let of_removed = session(&handler, "welcome", "u_3", ago);
    let of_nobody = session(&handler, "audit", "u_4", ago);
    for token in [&of_disabled, &of_deleted, &of_removed, &of_nobody] {
        assert!(is_active(&handler, token).await);
    }
    let revoke = RevokeSessionsRequest {
        actor_id: "u_1".to_owned(),
    };
    handler
        .sessions()
        .revoke_sessions(handler.with_key(revoke))
        .await
        .unwrap();
    assert!(!is_active(&handler, &of_disabled).await);
    assert_eq!(
        handler.view.read_session(&of_disabled),
        Err(SessionError::Revoked)
    );

    let deleted = Event {
        subject: Some("users/u_2".to_owned()),
        ..acted("USER_DELETED", "admin")
    };
    world.publish(&[deleted]).await;
    eventually(SOON, "the session of the deleted user ends", async || {
        (!is_active(&handler, &of_deleted).await).then_some(())
    })
    .await;

    handler.delete("welcome").await;
    assert!(!is_active(&handler, &of_removed).await);
    assert!(is_active(&handler, &of_nobody).await);
    let unknown = DeleteFunctionRequest {
        name: "welcome".to_owned(),
    };
    let answer = handler
        .functions()
        .delete_function(handler.with_key(unknown))
        .await;
    assert_eq!(kind_of(answer), FaultKind::NotFound);

    // A replica that starts now knows of all of it.
    let other = Handler::start(&world).await;
    for token in [&of_disabled, &of_deleted, &of_removed] {
        assert!(!is_active(&other, token).await);
    }
    eventually(SOON, "a session of a later second", async || {
        let later = session(&other, "audit", "u_1", Duration::ZERO);
        is_active(&other, &later).await.then_some(())
    })
    .await;
    other.stop().await;
    handler.stop().await;
    world.stop().await;
}
