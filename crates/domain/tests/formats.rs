//! One event in every format, byte for byte as receivers have come to know it.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::fmt::Write;

use bytes::Bytes;
use domain::Timestamp;
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::format::{Format, RenderError, RenderInput, Rendered, render};
use domain::id::{DeliveryId, EventId};
use domain::pattern::Captures;
use serde_json::Value;

fn event(type_name: &str, content_type: Option<&str>, data: &[u8]) -> Event {
    let accepted_at: Timestamp = "2026-11-22T01:15:31.5Z".parse().unwrap();
    Event {
        eid: EventId::new(accepted_at, [7; 10]),
        project: "acme".parse().unwrap(),
        id: "01JD8Q0C6T0W9K3N5Z2V7H4XAB".to_owned(),
        source: "/projects/acme/storage".to_owned(),
        event_type: EventType::parse(type_name).unwrap(),
        subject: None,
        time: "2026-11-22T01:15:31.123456Z".parse().unwrap(),
        accepted_at,
        data_content_type: content_type.map(str::to_owned),
        data: Bytes::copy_from_slice(data),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: std::collections::BTreeMap::new(),
    }
}

fn json_event(type_name: &str, data: &str) -> Event {
    event(type_name, Some("application/json"), data.as_bytes())
}

/// An inserted row with everything an event can carry.
fn full_event() -> Event {
    let data = r#"{"row_id": "42", "container":"orders","bucket":7,"dataset":"main","new":{"total":12.50},"old":null}"#;
    let extensions = [
        ("sequence", "Euro € 😀"),
        ("eventnumber", "1"),
        ("Not-A-Name", "x"),
    ];
    Event {
        subject: Some("datasets/main/buckets/7/containers/orders/rows/42".to_owned()),
        actor: Some(Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        }),
        partition_key: Some("orders \"7\" 100%".to_owned()),
        correlation_id: Some("cor-1".to_owned()),
        causation_id: Some("cau-1".to_owned()),
        depth: 2,
        traceparent: Some("00-0000000000000000dd52ace79c62892f-00f067aa0ba902b7-01".to_owned()),
        extensions: extensions
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..json_event("storage.row.insert", data)
    }
}

fn render_with(format: Format, event: &Event, session: Option<&str>) -> Rendered {
    let mut captures = Captures::default();
    if event.subject.is_some() {
        captures.insert("dataset", "main");
        captures.insert("row", "42");
    }
    let input = RenderInput {
        event,
        captures: &captures,
        secret: "s3cr\"et",
        function_session: session,
        function: &"shop/on-row".parse().unwrap(),
        endpoint: None,
        delivery: DeliveryId::derive(event.eid, "on-row"),
        node: "worker-1",
        call_headers: &[],
    };
    let first = render(format, &input).unwrap();
    assert_eq!(first, render(format, &input).unwrap(), "rendering is pure");
    first
}

#[test]
fn s3_17_a_hooks_function_is_told_the_endpoint_that_the_hook_named() {
    let event = json_event("user.account.create", r#"{"user_id":"u9"}"#);
    let captures = Captures::default();
    let told = |endpoint| {
        let input = RenderInput {
            event: &event,
            captures: &captures,
            secret: "",
            function_session: None,
            function: &"shop/main-func".parse().unwrap(),
            endpoint,
            delivery: DeliveryId::derive(event.eid, "hook"),
            node: "worker-1",
            call_headers: &[],
        };
        let body = render(Format::Kii, &input).unwrap().body;
        let body: Value = serde_json::from_slice(&body).unwrap();
        body["context"]["endpoint"].as_str().unwrap().to_owned()
    };
    assert_eq!(told(Some("onUserCreated")), "onUserCreated");
    assert_eq!(told(None), "main-func");
}

fn body(format: Format, event: &Event) -> String {
    String::from_utf8(render_with(format, event, None).body.to_vec()).unwrap()
}

/// Content type, headers, an empty line and the body, as on the wire.
fn written(rendered: &Rendered) -> String {
    let mut text = String::new();
    if let Some(content_type) = &rendered.content_type {
        writeln!(text, "content-type: {content_type}").unwrap();
    }
    for (name, value) in &rendered.headers {
        writeln!(text, "{name}: {value}").unwrap();
    }
    writeln!(text, "\n{}", std::str::from_utf8(&rendered.body).unwrap()).unwrap();
    text
}

#[test]
fn a_full_event_looks_as_its_sample_in_every_format() {
    for (format, sample) in [
        (Format::Schmuckli, include_str!("samples/schmuckli.txt")),
        (
            Format::CloudEventsStructured,
            include_str!("samples/cloudevents-structured.txt"),
        ),
        (
            Format::CloudEventsBinary,
            include_str!("samples/cloudevents-binary.txt"),
        ),
    ] {
        let rendered = render_with(format, &full_event(), Some("fs_1"));
        assert_eq!(written(&rendered), sample, "{}", format.as_str());
    }
}

#[test]
fn storage_events_carry_exactly_the_four_fields() {
    for (number, name) in [
        (1000, "STORAGE_INSERT"),
        (1001, "STORAGE_UPDATE"),
        (1002, "STORAGE_DELETE"),
    ] {
        let event_type = EventType::from_number(number).unwrap();
        let data = r#"{"dataset":"main","bucket":"7b","row_id":"007","new":{"a":1}}"#;
        assert_eq!(
            body(Format::Schmuckli, &json_event(event_type.as_str(), data)),
            format!(
                "{{\"_event_id\":{number},\"_event_name\":\"{name}\",\"row_id\":\"007\",\
                 \"container\":null,\"bucket\":\"7b\",\"dataset\":\"main\",\
                 \"_secret\":\"s3cr\\\"et\",\"_function_session\":null}}"
            )
        );
    }
}

#[test]
fn only_a_registration_carries_a_language() {
    let data = r#"{"user_id":"17","email":"a@example.com","lang":"de"}"#;
    let fields = |type_name| -> Value {
        serde_json::from_str(&body(Format::Schmuckli, &json_event(type_name, data))).unwrap()
    };
    let login = fields("auth.session.login");
    assert_eq!(login["_event_id"], 2000);
    assert_eq!(login["_event_name"], "AUTH_LOGIN");
    assert_eq!(login["user_id"], "17");
    assert!(login.get("lang").is_none());
    let registration = fields("auth.user.register");
    assert_eq!(registration["_event_id"], 2001);
    assert_eq!(registration["email"], "a@example.com");
    assert_eq!(registration["lang"], "de");
}

#[test]
fn s1_23_numbers_keep_every_digit() {
    for (sent, received) in [
        ("\"42\"", "42"),
        ("\"-1\"", "-1"),
        ("\"9007199254740993\"", "9007199254740993"),
        ("\"18446744073709551615\"", "18446744073709551615"),
        ("\"18446744073709551616\"", "\"18446744073709551616\""),
        ("\"007\"", "\"007\""),
        ("\"1.0\"", "\"1.0\""),
        ("\"+1\"", "\"+1\""),
        ("\"-0\"", "\"-0\""),
        ("\"\"", "\"\""),
        (
            "123456789012345678901234567890.10",
            "123456789012345678901234567890.10",
        ),
        ("null", "null"),
    ] {
        let event = json_event("storage.row.delete", &format!("{{\"row_id\":{sent}}}"));
        let body = body(Format::Schmuckli, &event);
        assert!(
            body.contains(&format!("\"row_id\":{received},")),
            "{sent}: {body}"
        );
    }
    let event = json_event(
        "order.placed",
        r#"{"total":1.10e2,"big":18446744073709551616}"#,
    );
    for format in [Format::Schmuckli, Format::CloudEventsStructured] {
        let body = body(format, &event);
        assert!(
            body.contains(r#""total":1.10e2,"big":18446744073709551616"#),
            "{body}"
        );
    }
}

#[test]
fn other_types_carry_their_data_as_it_is_beside_ours() {
    let check = |event: &Event, fields: &str| {
        let expected = format!(
            r#"{{"_event_id":null,"_event_name":"order.placed",{fields}"_secret":"s3cr\"et","_function_session":null}}"#
        );
        assert_eq!(body(Format::Schmuckli, event), expected);
    };
    let json = |data| json_event("order.placed", data);
    check(
        &json(r#"{"z":1, "a":{"b" : [2]},"_secret_note":3}"#),
        r#""z":1,"a":{"b" : [2]},"_secret_note":3,"#,
    );
    check(
        &json(
            r#"{"_secret":"stolen","\u005fevent_id":1,"_event_name":"x","_function_session":"y"}"#,
        ),
        "",
    );
    check(&json("[1, 2]"), r#""data":[1, 2],"#);
    check(&json("\"text\""), r#""data":"text","#);
    check(&json("null"), r#""data":null,"#);
    check(
        &json(r#"{"broken":"#),
        r#""data_base64":"eyJicm9rZW4iOg==","#,
    );
    check(&json(""), "");
    let of = |content_type, data: &[u8]| event("order.placed", content_type, data);
    check(
        &of(Some("text/plain; charset=utf-8"), "é\n".as_bytes()),
        r#""data":"é\n","#,
    );
    check(
        &of(Some("text/plain; charset=latin1"), b"\xe9"),
        r#""data_base64":"6Q==","#,
    );
    check(
        &of(Some("application/octet-stream"), b"\x00\x01"),
        r#""data_base64":"AAE=","#,
    );
    check(&of(None, b""), "");
}

#[test]
fn a_seed_type_without_an_object_still_has_every_key() {
    for data in ["[]", "7", "{", ""] {
        let body = body(Format::Schmuckli, &json_event("auth.session.login", data));
        assert!(
            body.contains(r#""user_id":null,"email":null,"_secret""#),
            "{body}"
        );
    }
}

#[test]
fn x_02_structured_mode_keeps_the_rules_of_cloudevents() {
    let body: Value =
        serde_json::from_str(&body(Format::CloudEventsStructured, &full_event())).unwrap();
    for required in ["specversion", "id", "source", "type"] {
        assert!(
            body[required]
                .as_str()
                .is_some_and(|value| !value.is_empty()),
            "{required}"
        );
    }
    for (name, value) in body.as_object().unwrap() {
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        assert!(is_name && name.len() <= 20, "{name}");
        assert!(
            name == "data" || value.is_string() || value.as_i64().is_some(),
            "{name}: {value}"
        );
        assert!(
            value
                .as_i64()
                .is_none_or(|number| i32::try_from(number).is_ok()),
            "{name}"
        );
    }
    let deep = Event {
        depth: u32::MAX,
        ..json_event("order.placed", "1")
    };
    let body: Value =
        serde_json::from_str(&self::body(Format::CloudEventsStructured, &deep)).unwrap();
    assert_eq!(body["depth"], i32::MAX);
    assert!(
        body.get("eventnumber").is_none(),
        "a custom type has no number"
    );
    assert!(body.get("params").is_none(), "nothing was captured");
}

#[test]
fn structured_mode_carries_any_kind_of_data() {
    let check = |content_type, data: &[u8], expected: &str| {
        let body = body(
            Format::CloudEventsStructured,
            &event("order.placed", content_type, data),
        );
        assert!(body.ends_with(expected), "{body}");
    };
    check(
        Some("application/json"),
        b" [1] ",
        r#""datacontenttype":"application/json","data":[1]}"#,
    );
    check(
        Some("application/vnd.x+json"),
        b"1",
        r#""datacontenttype":"application/vnd.x+json","data":1}"#,
    );
    check(
        Some("application/json"),
        b"{]",
        r#""datacontenttype":"application/json","data_base64":"e10="}"#,
    );
    check(
        Some("TEXT/csv"),
        b"a,\"b\"",
        r#""datacontenttype":"TEXT/csv","data":"a,\"b\""}"#,
    );
    check(
        Some("image/png"),
        b"\x89PNG",
        r#""datacontenttype":"image/png","data_base64":"iVBORw=="}"#,
    );
    check(None, b"", r#""depth":0}"#);
}

#[test]
fn binary_mode_sends_the_data_alone() {
    let rendered = render_with(
        Format::CloudEventsBinary,
        &event("order.placed", Some("image/png"), b"\x89PNG"),
        None,
    );
    assert_eq!(rendered.content_type.as_deref(), Some("image/png"));
    assert_eq!(&rendered.body[..], b"\x89PNG");
    assert!(
        rendered
            .headers
            .iter()
            .all(|(name, _)| name != "ce-datacontenttype")
    );
    let bare = render_with(
        Format::CloudEventsBinary,
        &event("order.placed", None, b""),
        None,
    );
    assert_eq!((bare.content_type, bare.body.len()), (None, 0));
}

#[test]
fn a_media_type_that_would_split_the_request_is_never_sent() {
    let event = event("order.placed", Some("text/plain\r\nx-evil: 1"), b"x");
    let captures = Captures::default();
    let input = RenderInput {
        event: &event,
        captures: &captures,
        secret: "",
        function_session: None,
        function: &"shop/on-row".parse().unwrap(),
        endpoint: None,
        delivery: DeliveryId::derive(event.eid, "on-row"),
        node: "worker-1",
        call_headers: &[],
    };
    let error = render(Format::CloudEventsBinary, &input).unwrap_err();
    assert!(matches!(error, RenderError::ContentType(_)), "{error}");
}

#[test]
fn every_format_sends_the_same_id_and_no_other_sends_the_secret() {
    for format in [Format::CloudEventsStructured, Format::CloudEventsBinary] {
        let text = written(&render_with(format, &full_event(), Some("fs_1")));
        assert!(text.contains("01JD8Q0C6T0W9K3N5Z2V7H4XAB"), "{text}");
        assert!(!text.contains("s3cr") && !text.contains("fs_1"), "{text}");
    }
}
