//! A function emits with its session: for its user, because of its event, and no further.

use std::sync::Arc;
use std::time::Duration;

use coordination::EmbeddedCoordination;
use domain::Timestamp;
use domain::event::Actor;
use domain::id::{DeliveryId, EventId};
use domain::lineage::{DEPTH_HEADER, Lineage};
use domain::registry::{Change, Update};
use domain::session::{LIFETIME_DEFAULT, RevocationSubject, Session, SessionRevocation};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventRequest, NewEvent};
use protocol::fault::{Fault, FaultKind};
use tonic::Request;

use crate::harness::{Answer, System, embedded, system_keys};

const ACME: &str = "/v1/projects/acme/events";

async fn with_keys() -> System {
    embedded(true, Arc::new(EmbeddedCoordination::default())).await
}

/// The session of a call that was made this long ago, for an event with two behind it.
fn session(ago: Duration) -> Session {
    let issued_at = Timestamp::from_second((Timestamp::now() - ago).as_second()).unwrap();
    let event = EventId::new(issued_at, [3; 10]);
    Session {
        id: "s1".to_owned(),
        project: "acme".parse().unwrap(),
        actor: Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        },
        function: "shop/welcome".parse().unwrap(),
        delivery: DeliveryId::derive(event, "welcome"),
        event,
        lineage: Lineage {
            depth: 2,
            ancestry: vec!["audit".to_owned(), "shop/welcome".to_owned()],
        },
        issued_at,
        expires_at: issued_at + LIFETIME_DEFAULT,
    }
}

fn bearer(session: &Session) -> String {
    format!("Bearer {}", session.sign(&system_keys().keys[0]).unwrap())
}

async fn emit(system: &System, path: &str, session: &Session, body: &str) -> Answer {
    let bearer = bearer(session);
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    system.post_to(path, &headers, body.to_owned()).await
}

#[tokio::test]
async fn s1_11_a_session_is_accepted_in_place_of_a_key_and_acts_as_the_user_of_its_event() {
    let system = with_keys().await;
    let session = session(Duration::from_secs(9 * 60 + 59));
    let answer = emit(&system, ACME, &session, r#"{"type":"a.b"}"#).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let body = r#"{"type":"a.b","actor":{"id":"u_17"},"causation_id":"x","depth":1}"#;
    assert_eq!(emit(&system, ACME, &session, body).await.status, 202);
    for event in system.take(2).await {
        assert_eq!(event.actor.as_ref(), Some(&session.actor));
        assert_eq!(event.causation_id, Some(session.event.to_string()));
        assert_eq!(event.depth, 3, "calls made with it count further");
        assert_eq!(event.ancestry, session.lineage.ancestry);
    }
}

#[tokio::test]
async fn what_a_function_passes_on_beside_its_session_counts_where_it_tells_of_more() {
    let system = with_keys().await;
    let bearer = bearer(&session(Duration::ZERO));
    for (depth, expected) in [("0", 3), ("7", 8)] {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            (DEPTH_HEADER, depth),
        ];
        let answer = system.post_to(ACME, &headers, r#"{"type":"a.b"}"#).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(system.take(1).await[0].depth, expected);
    }
}

#[tokio::test]
async fn s1_15_who_says_that_another_user_acted_is_refused() {
    let system = with_keys().await;
    for actor in [r#"{"id":"u_18"}"#, r#"{"id":"u_17","kind":"admin"}"#] {
        let body = format!(r#"{{"type":"a.b","actor":{actor}}}"#);
        let answer = emit(&system, ACME, &session(Duration::ZERO), &body).await;
        let [code, field, _, allowed] = answer.problem();
        assert_eq!(answer.status, 403);
        assert_eq!((code, field), ("function_session_scope", "actor.id"));
        assert_eq!(allowed, "user u_17, or nobody");
    }
    let other = "/v1/projects/default/events";
    let answer = emit(
        &system,
        other,
        &session(Duration::ZERO),
        r#"{"type":"a.b"}"#,
    )
    .await;
    assert_eq!(answer.status, 404, "another project is none");
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn a_session_that_is_too_old_forged_or_revoked_lets_nothing_in() {
    let system = with_keys().await;
    let late = session(Duration::from_secs(20 * 60 + 1));
    let forged = format!("{}x", bearer(&session(Duration::ZERO)));
    let of_tomorrow = session(Duration::ZERO);
    let of_tomorrow = Session {
        issued_at: of_tomorrow.issued_at + Duration::from_secs(3600),
        expires_at: of_tomorrow.expires_at + Duration::from_secs(3600),
        ..of_tomorrow
    };
    let revoked = Session {
        actor: Actor {
            id: "u_99".to_owned(),
            kind: "user".to_owned(),
        },
        ..session(Duration::from_secs(5))
    };
    let revocation = SessionRevocation {
        project: "acme".parse().unwrap(),
        subject: RevocationSubject::Actor("u_99".to_owned()),
        at: Timestamp::now(),
        revision: 2,
    };
    system.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![Change::SessionsRevoked(revocation)],
    });
    for (authorization, code) in [
        (bearer(&late), "function_session_expired"),
        (bearer(&revoked), "function_session_revoked"),
        (forged, "unauthenticated"),
        (bearer(&of_tomorrow), "unauthenticated"),
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", authorization.as_str()),
        ];
        let answer = system.post_to(ACME, &headers, r#"{"type":"a.b"}"#).await;
        assert_eq!(answer.problem()[0], code);
        assert_eq!(answer.status, 401);
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn grpc_says_the_same_of_sessions() {
    let system = with_keys().await;
    let mut client = EventServiceClient::new(system.channel().await);
    let request = |session: &Session, actor_id: &str| {
        let event = NewEvent {
            r#type: "a.b".to_owned(),
            actor_id: actor_id.to_owned(),
            ..NewEvent::default()
        };
        let mut request = Request::new(EmitEventRequest {
            event: Some(event),
            idempotency_key: String::new(),
        });
        let authorization = bearer(session).parse().unwrap();
        let metadata = request.metadata_mut();
        metadata.insert("authorization", authorization);
        request
    };
    let valid = session(Duration::ZERO);
    client.emit_event(request(&valid, "")).await.unwrap();
    assert_eq!(system.take(1).await[0].actor.as_ref(), Some(&valid.actor));
    let late = session(Duration::from_secs(20 * 60 + 1));
    for (session, actor, kind) in [
        (&valid, "u_18", FaultKind::SessionScope),
        (&late, "", FaultKind::SessionExpired),
    ] {
        let status = client.emit_event(request(session, actor)).await;
        assert_eq!(Fault::from_status(&status.unwrap_err()).kind, kind);
    }
}
