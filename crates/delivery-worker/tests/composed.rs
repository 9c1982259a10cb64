//! The request that an attempt sends, as the function wants it, and what may be shown of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken set-up should stop the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery_worker::compose::session::mint;
use delivery_worker::compose::{Call, compose, shown_headers};
use delivery_worker::outbound::endpoint_client::EndpointRequest;
use domain::Timestamp;
use domain::delivery::{Outcome, Target};
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::format::Format;
use domain::function::{
    Authorization, ClientCertificate, Credentials, FreshSecrets, Function, FunctionSettings,
    Signing, TokenAlgorithm, parse_url,
};
use domain::id::{DeliveryId, EventId};
use domain::pattern::Captures;
use domain::retry::RetryPolicy;
use domain::session::{LIFETIME_DEFAULT, Session, SessionError, SessionKeys};
use domain::signature::{self, ed25519};
use domain::token::{TokenKey, TokenKeys};
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};

const SECRETS: [&str; 7] = [
    "s3cret",
    "bearer-token-of-the-function",
    "cGFzc3dvcmQ=",
    "client-s3cret",
    "header-s3cret",
    "key-of-the-certificate",
    "key-of-the-tokens",
];

fn secrets(number: u8) -> FreshSecrets {
    FreshSecrets {
        secret: format!("s3cret-{number}"),
        signing_secret: signature::encode_secret(&[number; 32]),
        signing_key: ed25519::encode_private_key(&[number; 32]).unwrap(),
    }
}

fn function() -> Function {
    let fresh = secrets(1);
    Function {
        project: "acme".parse().unwrap(),
        name: "hook".parse().unwrap(),
        url: parse_url("https://hook.example:8443/in").unwrap(),
        format: Format::Schmuckli,
        secret: fresh.secret,
        signing_secret: fresh.signing_secret,
        settings: FunctionSettings::default(),
        credentials: Credentials {
            signing_key: fresh.signing_key,
            ..Credentials::default()
        },
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
}

fn event() -> Event {
    let now = Timestamp::from_second(1_795_000_000).unwrap();
    let eid = EventId::new(now, [1; 10]);
    Event {
        eid,
        project: "acme".parse().unwrap(),
        id: eid.to_string(),
        source: "/projects/acme".to_owned(),
        event_type: EventType::parse("AUTH_LOGIN").unwrap(),
        subject: None,
        time: now,
        accepted_at: now,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::from_static(br#"{"user_id":"u1"}"#),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: BTreeMap::new(),
    }
}

fn token_keys() -> TokenKeys {
    TokenKeys {
        project: Some("acme".parse().unwrap()),
        keys: vec![TokenKey {
            kid: "k1".to_owned(),
            secret: "key-of-the-tokens".to_owned(),
            signs_from: Timestamp::UNIX_EPOCH,
        }],
        revision: 1,
    }
}

fn composed(
    function: &Function,
    event: &Event,
    keys: Option<&TokenKeys>,
) -> Result<EndpointRequest, Outcome> {
    composed_for(function, event, keys, None)
}

fn composed_for(
    function: &Function,
    event: &Event,
    keys: Option<&TokenKeys>,
    session: Option<&str>,
) -> Result<EndpointRequest, Outcome> {
    let target = Target {
        delivery: DeliveryId::derive(event.eid, "hook"),
        trigger: "hook".parse().unwrap(),
        function: function.name.clone(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: 1,
        is_held: false,
    };
    let trigger = Trigger {
        project: function.project.clone(),
        name: "hook".parse().unwrap(),
        function: function.name.clone(),
        is_enabled: true,
        on: Vec::new(),
        subject: None,
        prefix: None,
        suffix: None,
        options: BTreeMap::new(),
        filter: None,
        format: None,
        template: None,
        retry: RetryPolicy::default(),
        ordering: Ordering::default(),
        backlog: Backlog::default(),
        depth_max: DEPTH_MAX,
        script: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    };
    compose(&Call {
        event,
        target: &target,
        function,
        trigger: &trigger,
        traceparent: None,
        now: event.time,
        session,
        token_keys: keys,
        worker: "worker-1",
    })
}

fn header(request: &EndpointRequest, name: &str) -> String {
    let found = request.headers.iter().find(|(known, _)| known == name);
    let (_, value) = found.unwrap_or_else(|| panic!("no {name} in {:?}", request.headers));
    value.to_str().unwrap().to_owned()
}

#[test]
fn r9_each_kind_of_signature_that_is_asked_for_is_sent_with_each_valid_secret() {
    let now = event().time;
    for (signing, hmac, by_key) in [
        (Signing::Hmac, true, false),
        (Signing::Ed25519, false, true),
        (Signing::Both, true, true),
    ] {
        let mut function = function();
        function.settings.signing = signing;
        let hour = Duration::from_secs(3600);
        for is_rotated in [false, true] {
            if is_rotated {
                function.rotate(secrets(2), hour, now).unwrap();
            }
            let request = composed(&function, &event(), None).unwrap();
            let signatures = header(&request, "webhook-signature");
            let id = header(&request, "webhook-id");
            let seconds = now.as_second();
            for (number, is_valid) in [(1, true), (2, is_rotated), (3, false)] {
                let fresh = secrets(number);
                let public = ed25519::public_key(&fresh.signing_key).unwrap();
                let verified = signature::verify(
                    &fresh.signing_secret,
                    &id,
                    seconds,
                    &request.body,
                    &signatures,
                );
                assert_eq!(verified.is_ok(), hmac && is_valid, "{signing:?} {number}");
                let verified = ed25519::verify(&public, &id, seconds, &request.body, &signatures);
                assert_eq!(verified.is_ok(), by_key && is_valid, "{signing:?} {number}");
            }
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            assert!(body.contains("s3cret-1"), "the old one until then: {body}");
        }
    }
}

#[test]
fn s1_08_s1_17_every_schmuckli_body_has_a_session_which_is_null_when_nobody_acted() {
    for (session, expected) in [
        (Some("s.e.s"), serde_json::json!("s.e.s")),
        (None, ().into()),
    ] {
        let request = composed_for(&function(), &event(), None, session).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["_function_session"], expected);
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| *name == "x-function-session"));
    }
}

#[test]
fn s1_21_a_session_that_is_in_no_body_is_in_a_header_and_is_not_shown() {
    let mut function = function();
    for format in [Format::CloudEventsStructured, Format::CloudEventsBinary] {
        function.format = format;
        let request = composed_for(&function, &event(), None, Some("s.e.s")).unwrap();
        assert_eq!(header(&request, "x-function-session"), "s.e.s");
        let shown = shown_headers(&request);
        assert!(shown.as_str().contains("x-function-session: ***"));
        assert!(!shown.as_str().contains("s.e.s"));
        assert!(!format!("{:?}", request.headers).contains("s.e.s"));
        let request = composed_for(&function, &event(), None, None).unwrap();
        assert!(
            !shown_headers(&request)
                .as_str()
                .contains("x-function-session")
        );
    }
}

#[test]
fn s1_12_s1_14_each_attempt_has_a_session_of_its_own_that_begins_with_it() {
    let mut event = event();
    let target = Target {
        delivery: DeliveryId::derive(event.eid, "hook"),
        trigger: "hook".parse().unwrap(),
        function: "hook".parse().unwrap(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: 1,
        is_held: false,
    };
    let keys = Arc::new(TokenKeys {
        project: None,
        keys: vec![TokenKey {
            kid: "k1".to_owned(),
            secret: secrets(1).signing_key,
            signs_from: Timestamp::UNIX_EPOCH,
        }],
        revision: 1,
    });
    let public = SessionKeys::of(&keys);
    let minted = |event: &Event, keys, now| mint(event, &target, keys, now, LIFETIME_DEFAULT);
    assert_eq!(minted(&event, None, event.time), Ok(None), "nobody acted");
    event.actor = Some(Actor {
        id: "u1".to_owned(),
        kind: "user".to_owned(),
    });
    let outcome = minted(&event, None, event.time).unwrap_err();
    assert!(
        matches!(outcome, Outcome::Unreachable { .. }),
        "{outcome:?}"
    );
    let half_an_hour = Duration::from_secs(1800);
    let (first, second) = (event.time, event.time + half_an_hour);
    let in_force = Duration::from_secs(9 * 60 + 59);
    let mut tokens = Vec::new();
    for now in [first, second] {
        let token = minted(&event, Some(&keys), now).unwrap().unwrap();
        let session = Session::read(&token, &public, now + in_force).unwrap();
        assert_eq!(session.issued_at, now);
        assert_eq!(session.delivery, target.delivery);
        tokens.push(token);
    }
    let expired = Session::read(&tokens[0], &public, second);
    assert_eq!(expired, Err(SessionError::Expired));
}

#[test]
fn a_function_without_a_key_cannot_be_signed_with_one() {
    let mut function = function();
    function.credentials.signing_key.clear();
    function.settings.signing = Signing::Both;
    assert!(composed(&function, &event(), None).is_ok(), "v1 is there");
    function.settings.signing = Signing::Ed25519;
    let outcome = composed(&function, &event(), None).unwrap_err();
    assert!(matches!(outcome, Outcome::Impossible { .. }), "{outcome:?}");
}

#[test]
fn what_a_function_asks_for_is_sent_and_not_shown() {
    let mut function = function();
    function.settings.headers = vec![
        ("x-tenant".to_owned(), "acme".to_owned()),
        ("x-api-key".to_owned(), "header-s3cret".to_owned()),
    ];
    function.settings.token = Some(TokenAlgorithm::Hs256);
    function.settings.proxy = Some("http://proxy.example:3128/".parse().unwrap());
    function.settings.authorities = Some("authorities".to_owned());
    function.credentials.client_certificate = Some(ClientCertificate {
        chain_pem: "chain".to_owned(),
        key_pem: "key-of-the-certificate".to_owned(),
    });
    let keys = token_keys();
    let authorizations = [
        (
            Authorization::Basic {
                user: "me".to_owned(),
                password: "password".to_owned(),
            },
            Some("Basic bWU6cGFzc3dvcmQ="),
        ),
        (
            Authorization::Bearer {
                token: "bearer-token-of-the-function".to_owned(),
            },
            Some("Bearer bearer-token-of-the-function"),
        ),
        (
            Authorization::OAuth2 {
                token_url: "https://tokens.example/token".parse().unwrap(),
                client_id: "me".to_owned(),
                client_secret: "client-s3cret".to_owned(),
                scope: String::new(),
            },
            None,
        ),
    ];
    for (authorization, sent) in authorizations {
        function.credentials.authorization = authorization;
        let request = composed(&function, &event(), Some(&keys)).unwrap();
        match sent {
            Some(sent) => assert_eq!(header(&request, "authorization"), sent),
            None => assert!(request.special.as_ref().unwrap().grant.is_some()),
        }
        assert_eq!(header(&request, "x-tenant"), "acme");
        assert_eq!(header(&request, "x-api-key"), "header-s3cret");
        assert!(header(&request, "x-sc-token").starts_with("Bearer ey"));
        let route = &request.special.as_ref().unwrap().route;
        assert!(route.proxy.is_some() && route.certificate.is_some());

        let token = header(&request, "x-sc-token");
        let shown = shown_headers(&request);
        let value = |name: &str| {
            let found = shown.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_owned())
        };
        assert_eq!(value("x-tenant").as_deref(), Some("acme"));
        for name in ["authorization", "x-sc-token", "x-api-key"] {
            assert_eq!(value(name).as_deref(), Some("***"), "{name}");
        }
        let kept = format!("{shown:?}");
        let mut logged = request.clone();
        logged.body = Bytes::new();
        let logged = format!("{logged:?}");
        for secret in SECRETS.iter().copied().chain([token.as_str()]) {
            assert!(!kept.contains(secret), "{secret} is kept");
            assert!(!logged.contains(secret), "{secret} is in {logged}");
        }
    }
}

#[test]
fn a_function_that_asks_for_nothing_is_called_in_the_usual_way() {
    let request = composed(&function(), &event(), None).unwrap();
    assert_eq!(request.special, None);
    let names: Vec<_> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(!names.contains(&"authorization") && !names.contains(&"x-sc-token"));
}

#[test]
fn without_a_key_for_its_token_an_attempt_is_made_again_later() {
    let mut function = function();
    function.settings.token = Some(TokenAlgorithm::EdDsa);
    let outcome = composed(&function, &event(), None).unwrap_err();
    assert!(
        matches!(outcome, Outcome::Unreachable { .. }),
        "{outcome:?}"
    );
}

#[test]
fn r12_nothing_in_an_event_begins_another_header() {
    let mut function = function();
    function.format = Format::CloudEventsBinary;
    let mut event = event();
    event.id = "1\r\nx-evil: 1".to_owned();
    event.source = "/a\r\nx-evil: 1".to_owned();
    event.subject = Some("s\nx-evil: 1".to_owned());
    event
        .extensions
        .insert("evil".to_owned(), "e\r\nx-evil: 1".to_owned());
    let request = composed(&function, &event, None).unwrap();
    for (name, value) in &request.headers {
        let value = value.as_bytes();
        assert!(
            !value.contains(&b'\r') && !value.contains(&b'\n'),
            "{name}: {value:?}"
        );
        assert_ne!(name, "x-evil");
    }
    event.data_content_type = Some("text/plain\r\nx-evil: 1".to_owned());
    let outcome = composed(&function, &event, None).unwrap_err();
    assert!(matches!(outcome, Outcome::Impossible { .. }), "{outcome:?}");
}
