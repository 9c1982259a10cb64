//! What a session says, how long, and what ends it before.

use super::*;
use crate::event::sample;
use crate::function::TokenAlgorithm;
use crate::token::{self, TokenKeys};

const MINUTE: i64 = 60;
const BASE: i64 = 1_795_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BASE + second).unwrap()
}

fn key(kid: &str, seed: u8) -> TokenKey {
    TokenKey {
        kid: kid.to_owned(),
        secret: ed25519::encode_private_key(&[seed; 32]).unwrap(),
        signs_from: Timestamp::UNIX_EPOCH,
    }
}

fn public(keys: &[TokenKey]) -> SessionKeys {
    SessionKeys::of(&TokenKeys {
        project: None,
        keys: keys.to_vec(),
        revision: 1,
    })
}

fn event() -> Event {
    Event {
        actor: Some(Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        }),
        ..sample::event(1)
    }
}

fn session_at(event: &Event, now: Timestamp, lifetime: Duration) -> Session {
    let attempt = Attempt {
        event,
        function: &"shop/welcome".parse().unwrap(),
        delivery: DeliveryId::derive(event.eid, "welcome"),
        now,
        lifetime,
    };
    Session::of(&attempt, "s1".to_owned()).unwrap()
}

fn minted(now: Timestamp, lifetime: Duration) -> String {
    session_at(&event(), now, lifetime)
        .sign(&key("k1", 1))
        .unwrap()
}

fn read(token: &str, now: Timestamp) -> Result<Session, SessionError> {
    Session::read(token, &public(&[key("k1", 1)]), now)
}

#[test]
fn a_session_says_who_may_act_for_whom_and_reads_back() {
    let event = event();
    let session = session_at(&event, at(0), LIFETIME_DEFAULT);
    let token = session.sign(&key("k1", 1)).unwrap();
    assert_eq!(read(&token, at(1)).unwrap(), session);
    assert_eq!(session.event, event.eid);
    assert_eq!(session.lineage.ancestry, ["shop/welcome"]);
    assert!(is_like_session(&token) && !is_like_session("tlk_ab12cd34_x.y.z"));
    let head = URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    let head: serde_json::Value = serde_json::from_slice(&head).unwrap();
    assert_eq!(
        head,
        serde_json::json!({"alg": "EdDSA", "typ": "fs", "kid": "k1"})
    );
}

#[test]
fn s1_12_a_session_is_accepted_9_min_59_s_after_the_request_however_it_is_set() {
    for lifetime in [LIFETIME_MIN, LIFETIME_DEFAULT, LIFETIME_MAX, Duration::ZERO] {
        let token = minted(at(0), lifetime);
        assert!(read(&token, at(9 * MINUTE + 59)).is_ok(), "{lifetime:?}");
    }
    assert!(read(&minted(at(0), LIFETIME_DEFAULT), at(15 * MINUTE)).is_ok());
}

#[test]
fn s1_13_a_session_is_refused_20_min_1_s_after_the_request_however_it_is_set() {
    for lifetime in [LIFETIME_MIN, LIFETIME_DEFAULT, LIFETIME_MAX, Duration::MAX] {
        let token = minted(at(0), lifetime);
        assert_eq!(
            read(&token, at(20 * MINUTE + 1)),
            Err(SessionError::Expired),
            "{lifetime:?}"
        );
    }
    let token = minted(at(0), LIFETIME_DEFAULT);
    assert_eq!(
        read(&token, at(15 * MINUTE + 1)),
        Err(SessionError::Expired)
    );
    // A token of ours that promises more than any may.
    let mut long = session_at(&event(), at(0), LIFETIME_MAX);
    long.expires_at = at(3600);
    let token = long.sign(&key("k1", 1)).unwrap();
    assert_eq!(
        read(&token, at(20 * MINUTE + 1)),
        Err(SessionError::Expired)
    );
}

#[test]
fn s1_14_a_retry_half_an_hour_later_carries_a_session_of_its_own_time() {
    let first = minted(at(0), LIFETIME_DEFAULT);
    let retry = minted(at(30 * MINUTE), LIFETIME_DEFAULT);
    let then = at(39 * MINUTE + 59);
    assert_eq!(read(&first, then), Err(SessionError::Expired));
    assert!(read(&retry, then).is_ok());
}

#[test]
fn s1_17_without_an_acting_user_there_is_no_session() {
    let event = sample::event(1);
    let attempt = Attempt {
        event: &event,
        function: &"welcome".parse().unwrap(),
        delivery: DeliveryId::derive(event.eid, "welcome"),
        now: at(0),
        lifetime: LIFETIME_DEFAULT,
    };
    assert_eq!(Session::of(&attempt, String::new()), None);
}

#[test]
fn what_another_key_signed_or_was_changed_is_no_session() {
    let token = minted(at(0), LIFETIME_DEFAULT);
    let unknown = Err(SessionError::Unknown);
    for keys in [vec![], vec![key("k2", 1)], vec![key("k1", 2)]] {
        assert_eq!(Session::read(&token, &public(&keys), at(1)), unknown);
    }
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let of_other = minted(at(5), LIFETIME_DEFAULT);
    let other_claims = of_other.split('.').nth(1).unwrap();
    for forged in [
        format!("{head}.{other_claims}.{signature}"),
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
        String::new(),
        "..".to_owned(),
        "x".repeat(TOKEN_BYTES_MAX + 1),
    ] {
        assert_eq!(read(&forged, at(1)), unknown, "{forged}");
    }
    for (algorithm, kind) in [("none", "fs"), ("HS256", "fs"), ("EdDSA", "JWT")] {
        let head = Head {
            alg: algorithm.to_owned(),
            typ: kind.to_owned(),
            kid: "k1".to_owned(),
        };
        let signed = format!("{}.{claims}", encode(&head).unwrap());
        let signature = ed25519::sign_bytes(&key("k1", 1).secret, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(read(&token, at(1)), unknown, "{algorithm} {kind}");
    }
}

#[test]
fn a_token_for_receivers_is_no_session_although_the_same_key_signs_it() {
    let project = "default".parse().unwrap();
    let claims = token::Claims {
        node: "worker-1",
        audience: "https://example.com",
        project: &project,
        delivery: "dlv_1",
        body: b"{}",
        id: "t1",
        now: at(0),
    };
    let token = token::sign(&key("k1", 1), TokenAlgorithm::EdDsa, &claims).unwrap();
    assert_eq!(read(&token, at(1)), Err(SessionError::Unknown));
}

#[test]
fn keys_that_are_rotated_go_on_reading_what_they_signed() {
    let token = minted(at(0), LIFETIME_DEFAULT);
    let keys = public(&[key("k1", 1), key("k2", 2)]);
    assert!(Session::read(&token, &keys, at(1)).is_ok());
}

#[test]
fn the_latest_functions_are_named_and_the_depth_counts_on() {
    let mut event = event();
    event.depth = 40;
    event.ancestry = (0..30).map(|number| format!("step-{number}")).collect();
    let session = session_at(&event, at(0), LIFETIME_DEFAULT);
    assert_eq!(session.lineage.depth, 40);
    assert_eq!(session.lineage.ancestry.len(), ANCESTRY_MAX);
    assert_eq!(session.lineage.ancestry.last().unwrap(), "shop/welcome");
}

#[test]
fn x_15_a_session_from_more_than_a_minute_ahead_is_refused() {
    let token = minted(at(0), LIFETIME_DEFAULT);
    assert!(read(&token, at(-60)).is_ok(), "clocks differ");
    assert_eq!(read(&token, at(-61)), Err(SessionError::NotYet));
    assert_eq!(read(&token, at(-3600)), Err(SessionError::NotYet));
}

#[test]
fn x_15_a_clock_that_is_set_back_an_hour_gives_no_session_a_second_life() {
    let hour = 60 * MINUTE;
    let token = minted(at(0), LIFETIME_DEFAULT);
    let mut watch = ClockWatch::default();
    // As its time is lived through again, a minute at a time.
    watch.observe(at(5 * MINUTE));
    let mut accepted_after = Vec::new();
    for minute in 0..=90 {
        let now = at(5 * MINUTE - hour + minute * MINUTE);
        watch.observe(now);
        let is_accepted = read(&token, now).is_ok_and(|session| !watch.doubts(session.issued_at));
        if is_accepted {
            accepted_after.push(minute + 5);
        }
    }
    assert_eq!(accepted_after, Vec::<i64>::new());
    // What is made long before or after that time is believed all along.
    let mut watch = ClockWatch::default();
    watch.observe(at(0));
    watch.observe(at(-hour));
    assert!(!watch.doubts(at(-hour)) && watch.doubts(at(-MINUTE)) && !watch.doubts(at(1)));
    watch.observe(at(20 * MINUTE + 1));
    assert!(!watch.doubts(at(-MINUTE)), "that is over for good");
}

#[test]
fn a_small_step_back_is_no_jump() {
    let mut watch = ClockWatch::default();
    watch.observe(at(0));
    watch.observe(at(-59));
    assert!(!watch.doubts(at(-30)));
}

#[test]
fn an_event_says_whose_account_is_gone() {
    let deleted = |subject: Option<&str>, data: &'static str| {
        deleted_user(&Event {
            event_type: "USER_DELETED".parse().unwrap(),
            subject: subject.map(ToOwned::to_owned),
            data: data.into(),
            ..sample::event(1)
        })
    };
    assert_eq!(deleted(Some("users/u%2F1"), "").as_deref(), Some("u/1"));
    assert_eq!(deleted(Some("/users/u1/"), "{}").as_deref(), Some("u1"));
    assert_eq!(
        deleted(Some("users/u1/buckets/b"), r#"{"user_id":"u2"}"#).as_deref(),
        Some("u2")
    );
    assert_eq!(deleted(None, r#"{"userID":7}"#).as_deref(), Some("7"));
    assert_eq!(deleted(None, r#"{"id":""}"#), None);
    assert_eq!(deleted(None, "no json"), None);
    let other = Event {
        subject: Some("users/u1".to_owned()),
        ..sample::event(1)
    };
    assert_eq!(deleted_user(&other), None);
}

#[test]
fn what_is_made_after_a_revocation_is_not_revoked() {
    let revocation = SessionRevocation {
        project: "default".parse().unwrap(),
        subject: RevocationSubject::Actor("u_17".to_owned()),
        at: at(10),
        revision: 1,
    };
    let ends = |second| revocation.ends(&session_at(&event(), at(second), LIFETIME_DEFAULT));
    assert!(ends(9) && ends(10) && !ends(11));
    for subject in [
        RevocationSubject::Actor("a/b".to_owned()),
        RevocationSubject::Function("shop/welcome".parse().unwrap()),
    ] {
        let read = RevocationSubject::parse(subject.kind(), &subject.name());
        assert_eq!(read, Some(subject));
    }
    assert_eq!(RevocationSubject::parse("planet", "x"), None);
}
