//! Bad input: each with its problem, and nothing stored.

use std::collections::BTreeMap;

use http::{Method, Request};

use crate::harness::{EVENTS, System, open};

const JSON: (&str, &str) = ("content-type", "application/json");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

/// The answer is this status with this code and field, and nothing was stored.
async fn check(
    system: &System,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
    expected: (u16, &str, &str),
) -> [String; 2] {
    let answer = system.post(headers, body).await;
    let [code, field, value, allowed] = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), code, field),
        expected,
        "{answer:?}"
    );
    assert_eq!(system.messages_stored(), 0);
    [value.to_owned(), allowed.to_owned()]
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let system = open().await;
    for body in [
        "{nope",
        "",
        "\"text\"",
        "{\"type\":\"a.b\"} more",
        "{\"type\":\"a\",\"type\":\"b\"}",
    ] {
        check(&system, &[JSON], body, (400, "invalid", "body")).await;
    }
    check(&system, &[STRUCTURED], "[]", (400, "invalid", "body")).await;
    check(&system, &[BATCH], "{}", (400, "invalid", "body")).await;
    let deep = format!(
        "{{\"type\":\"a.b\",\"data\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let [_, allowed] = check(&system, &[JSON], deep, (400, "invalid", "body")).await;
    assert_eq!(allowed, "at most 102 levels");
}

#[tokio::test]
async fn an_event_needs_a_type_that_can_be_one() {
    let system = open().await;
    check(&system, &[JSON], "{}", (400, "invalid", "type")).await;
    check(
        &system,
        &[JSON],
        r#"{"type":null}"#,
        (400, "invalid", "type"),
    )
    .await;
    check(&system, &[JSON], r#"{"type":5}"#, (400, "invalid", "type")).await;
    let [value, allowed] = check(
        &system,
        &[JSON],
        r#"{"type":"2001"}"#,
        (400, "invalid", "type"),
    )
    .await;
    assert_eq!(value, "2001");
    assert!(
        allowed.contains("at least one that is no digit"),
        "{allowed}"
    );
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-source", "/s"),
        ("ce-id", "1"),
    ];
    check(&system, &headers, "", (400, "invalid", "ce-type")).await;
}

#[tokio::test]
async fn a_bad_subject_is_refused() {
    let system = open().await;
    for subject in ["a//b", "", "/"] {
        let body = format!(r#"{{"type":"a.b","subject":"{subject}"}}"#);
        let [value, _] = check(&system, &[JSON], body, (400, "invalid", "subject")).await;
        assert_eq!(value, subject);
    }
}

#[tokio::test]
async fn more_than_256_kib_of_data_or_4_mib_of_request_is_too_large() {
    let system = open().await;
    let event = |bytes: usize| format!(r#"{{"type":"a.b","data":"{}"}}"#, "x".repeat(bytes - 2));
    let [value, allowed] = check(
        &system,
        &[JSON],
        event(256 * 1024 + 1),
        (413, "too_large", "data"),
    )
    .await;
    assert_eq!(
        [value.as_str(), allowed.as_str()],
        ["262145 bytes", "at most 262144 bytes"]
    );
    let headers = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
    ];
    check(
        &system,
        &headers,
        vec![b'x'; 256 * 1024 + 1],
        (413, "too_large", "body"),
    )
    .await;
    let headers = [JSON, ("content-length", "4194305")];
    check(
        &system,
        &headers,
        vec![b' '; 4 * 1024 * 1024 + 1],
        (413, "too_large", "body"),
    )
    .await;
    check(
        &system,
        &[JSON],
        vec![b' '; 4 * 1024 * 1024 + 1],
        (413, "too_large", "body"),
    )
    .await;
    let many = format!("[{}]", vec![r#"{"type":"a.b"}"#; 1_001].join(","));
    check(&system, &[JSON], many, (413, "too_large", "events")).await;
    check(&system, &[JSON], "[]", (400, "invalid", "events")).await;
    assert_eq!(system.post(&[JSON], event(256 * 1024)).await.status, 202);
}

#[tokio::test]
async fn one_bad_event_keeps_all_of_a_request_out() {
    let system = open().await;
    let body = r#"[{"type":"a.b"},{"type":"a.b"},{"type":"a.b"},{"type":"7"}]"#;
    check(&system, &[JSON], body, (400, "invalid", "events[3].type")).await;
    let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;
    let body = format!("[{good},{}]", good.replace("a.b", "7"));
    check(&system, &[BATCH], body, (400, "invalid", "events[1].type")).await;
}

#[tokio::test]
async fn a_cloud_event_needs_its_id_source_and_type() {
    let system = open().await;
    let required = [("id", "1"), ("source", "/s"), ("type", "a.b")];
    for (at_fault, _) in required {
        for instead in [None, Some("")] {
            let written = required.map(|(name, value)| {
                let value = if name == at_fault {
                    instead
                } else {
                    Some(value)
                };
                (name, value)
            });
            let members = written
                .iter()
                .filter_map(|(name, value)| Some((*name, (*value)?)))
                .chain([("specversion", "1.0")]);
            let document = serde_json::to_string(&members.clone().collect::<BTreeMap<_, _>>());
            let document = document.unwrap();
            for headers in [STRUCTURED, JSON] {
                let expected = (400, "invalid", at_fault);
                check(&system, &[headers], document.clone(), expected).await;
            }
            let good = r#"{"specversion":"1.0","id":"0","source":"/s","type":"a.b"}"#;
            let batch = format!("[{good},{document}]");
            let field = format!("events[1].{at_fault}");
            check(&system, &[BATCH], batch, (400, "invalid", &field)).await;

            let named: Vec<_> = members
                .map(|(name, value)| (format!("ce-{name}"), value))
                .collect();
            let mut headers = vec![("content-type", "text/plain")];
            headers.extend(named.iter().map(|(name, value)| (name.as_str(), *value)));
            let field = format!("ce-{at_fault}");
            let [value, allowed] = check(&system, &headers, "x", (400, "invalid", &field)).await;
            assert_eq!(value, "");
            assert!(!allowed.is_empty());
        }
    }
    let null = r#"{"specversion":"1.0","id":null,"source":"/s","type":"a.b"}"#;
    check(&system, &[STRUCTURED], null, (400, "invalid", "id")).await;
    let plain = r#"{"type":"a.b"}"#;
    assert_eq!(system.post(&[JSON], plain).await.status, 202);
}

#[tokio::test]
async fn each_field_is_checked_under_the_name_it_was_written_with() {
    let system = open().await;
    for (member, field) in [
        (r#""sujet":"x""#, "sujet"),
        (r#""actor":5"#, "actor"),
        (r#""actor":{"kind":"user"}"#, "actor.id"),
        (r#""actor":"""#, "actor.id"),
        (r#""time":"yesterday""#, "time"),
        (r#""depth":-1"#, "depth"),
        (r#""source":"a b""#, "source"),
        (r#""partition_key":"""#, "partition_key"),
        (r#""traceparent":"00-1""#, "traceparent"),
        (r#""extensions":{"No":"x"}"#, "extensions.No"),
        (r#""extensions":{"a":1}"#, "extensions"),
        (r#""data_base64":"*""#, "data_base64"),
        (r#""data":1,"data_base64":"AA==""#, "data_base64"),
    ] {
        let body = format!(r#"{{"type":"a.b",{member}}}"#);
        check(&system, &[JSON], body, (400, "invalid", field)).await;
    }
    for (member, field) in [
        (r#""partitionkey":5"#, "partitionkey"),
        (r#""tenant":{}"#, "tenant"),
        (r#""ten_ant":"x""#, "ten_ant"),
        (r#""specversion":"0.3""#, "specversion"),
    ] {
        // Of two versions the fault would be that there are two.
        let is_version = member.contains("specversion");
        let version = if is_version {
            ""
        } else {
            r#""specversion":"1.0","#
        };
        let body = format!(r#"{{{version}"id":"1","source":"/s","type":"a.b",{member}}}"#);
        check(&system, &[STRUCTURED], body, (400, "invalid", field)).await;
    }
}

#[tokio::test]
async fn each_header_is_checked_under_its_own_name() {
    let system = open().await;
    let with = |header: (&'static str, &'static str)| {
        [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "a.b"),
            header,
        ]
    };
    check(
        &system,
        &with(("ce-subject", "%FF")),
        "1",
        (400, "invalid", "ce-subject"),
    )
    .await;
    check(
        &system,
        &with(("ce-time", "soon")),
        "1",
        (400, "invalid", "ce-time"),
    )
    .await;
    check(
        &system,
        &with(("idempotency-key", "")),
        "1",
        (400, "invalid", "idempotency-key"),
    )
    .await;
    check(
        &system,
        &with(("ce-tenant", "t")),
        "{nope",
        (400, "invalid", "body"),
    )
    .await;
}

#[tokio::test]
async fn another_media_type_method_or_path_is_a_problem_too() {
    let system = open().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let [value, _] = check(
        &system,
        &form,
        "type=a.b",
        (415, "unsupported_media_type", "content-type"),
    )
    .await;
    assert_eq!(value, "application/x-www-form-urlencoded");

    let get = Request::builder()
        .method(Method::GET)
        .uri(EVENTS)
        .body("".into())
        .unwrap();
    let answer = system.send(get).await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem()[0]),
        (405, "method_not_allowed")
    );
    assert_eq!(answer.headers["allow"], "POST");

    let answer = system
        .post_to("/v1/nowhere", &[JSON], r#"{"type":"a.b"}"#)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem()[0]),
        (404, "not_found")
    );
}

#[tokio::test]
async fn a_time_to_be_called_at_must_be_one_and_not_too_far_ahead() {
    let system = open().await;
    for (member, field) in [
        (r#""deliver_at":"tomorrow""#, "deliver_at"),
        (r#""deliver_at":"2999-01-01T00:00:00Z""#, "deliver_at"),
        (r#""delay":"soon""#, "delay"),
        (r#""delay":-1"#, "delay"),
        (r#""delay":"7days""#, "delay"),
        (r#""delay":"1s","deliver_at":0"#, "delay"),
    ] {
        let body = format!(r#"{{"type":"a.b",{member}}}"#);
        check(&system, &[JSON], body, (400, "invalid", field)).await;
    }
}
