//! What templates write, what they are refused for, and that none can be made to take long.

use super::*;
use crate::event_type::EventType;
use crate::id::EventId;

fn event(data: &str) -> Event {
    let time = "2026-11-22T01:15:31Z".parse().unwrap();
    Event {
        eid: EventId::new(time, [7; 10]),
        project: "acme".parse().unwrap(),
        id: "order-1".to_owned(),
        source: "/projects/acme/storage".to_owned(),
        event_type: EventType::parse("storage.row.update").unwrap(),
        subject: Some("orders/42".to_owned()),
        time,
        accepted_at: time,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::copy_from_slice(data.as_bytes()),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: [("tenant".to_owned(), "t1".to_owned())].into(),
    }
}

const ORDER: &str = r#"{"row_id":42,"name":"Bob \"the\" </b>","items":["a","b"],"new":{"x":1.5}}"#;

fn rendered(text: &str, content_type: &str, data: &str) -> Result<String, TemplateError> {
    let event = event(data);
    let captures = [("id".to_owned(), "42".to_owned())].into_iter().collect();
    let body = Template::parse(text, content_type)?.render(&TemplateInput {
        event: &event,
        captures: &captures,
        attempt: 3,
    })?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_json_body_is_made_of_event_data_params_and_attempt() {
    let text = r#"{"text": {{ data.name }}, "id": {{ params.id }}, "row": {{ data.row_id }},
        "type": {{ event.type }}, "tenant": {{ event.tenant }}, "attempt": {{ attempt }},
        "new": {{ data.new }}, "items": [{% for item in data.items %}
        {{ item|upper }}{% if not loop.last %},{% endif %}{% endfor %}],
        "rest": {{ data.rest|default("none") }}, "actor": {{ event.actor }},
        "some": {% if data.rest is defined and data.new.x > 1 %}1{% else %}0{% endif %}}"#;
    let body: Json = serde_json::from_str(&rendered(text, "", ORDER).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"text": "Bob \"the\" </b>", "id": "42", "row": 42,
            "type": "storage.row.update", "tenant": "t1", "attempt": 3,
            "new": {"x": 1.5}, "items": ["A", "B"], "rest": "none", "actor": null,
            "some": 0})
    );
}

#[test]
fn data_cannot_break_out_of_its_place_in_json() {
    let evil = r#"{"name":"x\",\"admin\":true,\"y\":\""}"#;
    let body = rendered(r#"{"name": {{ data.name }}}"#, "", evil).unwrap();
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
}

#[test]
fn another_media_type_takes_texts_as_they_are() {
    let text = "Order {{ params.id }} of {{ data.name }}: {{ data.items|tojson }}";
    assert_eq!(
        rendered(text, "text/plain; charset=utf-8", ORDER).unwrap(),
        r#"Order 42 of Bob "the" </b>: ["a","b"]"#
    );
}

#[test]
fn a_bad_template_is_refused_with_its_line() {
    let line = |text: &str| Template::parse(text, "").unwrap_err().line;
    assert_eq!(line("{\n{{ data. }}}"), Some(2));
    assert_eq!(line("a\nb\n{% if %}"), Some(3));
    assert_eq!(line("a\n{{ data|nothing }}"), Some(2));
    for text in [
        "\n{% set x = 1 %}",
        "\n{%- set x = 1 %}",
        "\n{% with x = 1 %}{% endwith %}",
        "\n{% include 'a' %}",
        "\n{% import 'a' as b %}",
        "\n{% extends 'a' %}",
        "\n{% macro a() %}{% endmacro %}",
        "\n{{ data ~ data }}",
        "\n{{ 'a' * 1000000 }}",
        "\n{% for x in data + data %}{% endfor %}",
    ] {
        assert_eq!(line(text), Some(2), "{text}");
    }
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    assert!(
        Template::parse(&long, "")
            .unwrap_err()
            .reason
            .contains("bytes")
    );
    for media_type in ["json", "text/plain\r\nx-evil: 1", "ü/x"] {
        assert!(Template::parse("", media_type).is_err(), "{media_type:?}");
    }
}

#[test]
fn what_cannot_be_written_says_why() {
    let reason = |text: &str| rendered(text, "", ORDER).unwrap_err().reason;
    let error = rendered("{\n\"x\": {{ data.nothing }}}", "", ORDER).unwrap_err();
    assert_eq!(error.line, Some(2), "{error}");
    assert!(reason("{{ data.row_id }} {{ data.row_id }}").contains("not JSON"));
    assert!(reason("").contains("not JSON"));
}

#[test]
fn a_template_that_goes_on_and_on_is_stopped() {
    let list = vec!["1"; 1000].join(",");
    let data = format!(r#"{{"list":[{list}],"text":"{}"}}"#, "x".repeat(100_000));
    let around = |inner: &str| {
        format!(
            "{{% for a in data.list %}}{{% for b in data.list %}}{inner}{{% endfor %}}{{% endfor \
             %}}"
        )
    };
    let render = |text: &str| rendered(text, "text/plain", &data).unwrap_err().reason;
    let reason = render(&around("{% if a == b %}{% endif %}"));
    assert!(reason.contains("fuel"), "{reason}");
    assert!(!render(&around("{{ data.text }}")).is_empty());
    let nested = format!("{{{{ data.text{} }}}}", "|tojson".repeat(40));
    rendered(&nested, "text/plain", r#"{"text":"\"\"\""}"#).unwrap_err();
}
