//! What of Space Cloud's triggers is taken, and that it matches what it matched there.

use serde_json::json;

use super::super::sample::{errors, shown, target};
use super::*;
use crate::event::{Event, sample};

fn read_text(text: &str) -> Reading {
    read(text.as_bytes(), &target(&[]))
}

const WELCOME: &str = r#"{"id":"welcome","type":"DB_INSERT","url":"http://svc/hook","retries":3,"timeout":5000,
 "options":{"db":"pg,mongo","col":"users"},
 "filter":{"rule":"match","type":"string","eval":"==","f1":"args.data.doc.status","f2":"delivered"}}"#;

fn event(event_type: &str, options: &[(&str, &str)], data: &serde_json::Value) -> Event {
    Event {
        project: "acme".parse().unwrap(),
        event_type: EventType::parse(event_type).unwrap(),
        extensions: options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        data: data.to_string().into(),
        ..sample::event(1)
    }
}

fn only(reading: &Reading) -> &Trigger {
    assert_eq!(reading.findings, []);
    &reading.plan.triggers[0]
}

fn with_filter(filter: &serde_json::Value) -> String {
    json!({"id": "welcome", "type": "DB_INSERT", "url": "http://svc/hook", "filter": filter})
        .to_string()
}

#[test]
fn a_trigger_is_taken_with_a_function_for_its_url() {
    let reading = read_text(WELCOME);
    let trigger = only(&reading);
    assert_eq!(trigger.name.as_str(), "welcome");
    assert_eq!(trigger.function.to_string(), "shop/welcome");
    assert_eq!(trigger.retry, RetryPolicy::default());
    assert_eq!(reading.plan.functions.len(), 1);
    assert_eq!(reading.plan.functions[0].url.as_str(), "http://svc/hook");
    let list = format!("[{WELCOME}, {}]", WELCOME.replace("welcome", "goodbye"));
    let reading = read_text(&list);
    assert_eq!(reading.plan.triggers.len(), 2);
    assert_eq!(reading.plan.functions.len(), 1, "one URL is one function");
    let by_id = format!(
        r#"{{"one-one": {{"type": "order-placed", "url": "http://a/"}}, "two-two": {WELCOME}}}"#
    );
    let names: Vec<String> = read_text(&by_id)
        .plan
        .triggers
        .iter()
        .map(|trigger| trigger.name.to_string())
        .collect();
    assert_eq!(names, ["one-one", "two-two"]);
}

#[test]
fn s2_04_a_trigger_without_type_or_url_is_refused() {
    assert_eq!(
        errors(&read_text(r#"{"id": "welcome", "url": "http://svc/"}"#).findings),
        ["SC_TYPE"]
    );
    let reading = read_text(r#"[{"id": "welcome", "type": "DB_INSERT"}]"#);
    assert_eq!(shown(&reading.findings), ["1:2 SC_URL /0"]);
    assert_eq!(reading.plan, Plan::default());
    assert_eq!(
        errors(&read_text(r#"{"type": "DB_INSERT", "url": "ftp://svc/"}"#).findings),
        ["SC_URL"]
    );
}

#[test]
fn no_retries_and_fewer_mean_three_as_there() {
    for retries in ["0", "-1", "null"] {
        let text = WELCOME.replace("\"retries\":3", &format!("\"retries\":{retries}"));
        assert_eq!(only(&read_text(&text)).retry.retries_max, 3, "{retries}");
    }
    let text = WELCOME
        .replace("\"retries\":3", "\"retries\":7")
        .replace("5000", "1500");
    let reading = read_text(&text);
    let policy = &only(&reading).retry;
    assert_eq!(
        (policy.retries_max, policy.timeout),
        (7, Duration::from_millis(1500))
    );
    let text = WELCOME.replace("\"retries\":3", "\"retries\":1000");
    assert_eq!(errors(&read_text(&text).findings), ["SC_RETRIES"]);
}

#[test]
fn s2_31_s2_32_options_list_what_is_taken_and_what_is_missing_in_the_event_does_not_match() {
    let text = WELCOME.replace(r#","col":"users""#, "");
    let reading = read_text(&text);
    let trigger = only(&reading);
    let data = json!({"doc": {"status": "delivered"}});
    let matches = |options: &[(&str, &str)]| {
        trigger
            .matches(&event("DB_INSERT", options, &data))
            .is_some()
    };
    assert!(matches(&[("db", "pg"), ("col", "anything")]));
    assert!(matches(&[("db", "mongo")]));
    assert!(!matches(&[("db", "mysql")]));
    assert!(!matches(&[("col", "users")]), "the event has no db");
}

#[test]
fn s2_33_a_filter_suppresses_what_does_not_fulfil_it() {
    let reading = read_text(WELCOME);
    let trigger = only(&reading);
    let matches = |data: &serde_json::Value| {
        let event = event("DB_INSERT", &[("db", "pg"), ("col", "users")], data);
        let facts = crate::filter::Facts::of(&event);
        trigger.decide(&event, &facts)
    };
    use crate::trigger::Decision;
    assert!(matches!(
        matches(&json!({"doc": {"status": "delivered"}})),
        Decision::Yes(_)
    ));
    for other in [
        json!({"doc": {"status": "new"}}),
        json!({"doc": {}}),
        json!({}),
    ] {
        assert_eq!(matches(&other), Decision::No, "{other}");
    }
}

#[test]
fn s2_03_s2_34_file_events_of_files_and_folders_are_told_apart_by_a_filter() {
    let filter = json!({"rule": "match", "type": "string", "eval": "==", "f1": "args.data.type", "f2": "dir"});
    let text = with_filter(&filter).replace("DB_INSERT", "FILE_CREATE");
    let reading = read_text(&text);
    let trigger = only(&reading);
    let matches = |kind: &str| {
        let data = json!({"path": "/a", "meta": {}, "type": kind});
        trigger.matches(&event("FILE_CREATE", &[], &data)).is_some()
    };
    assert!(matches("dir"));
    assert!(!matches("file"));
    let everything = text.replace("filter", "note");
    let reading = read_text(&everything);
    let trigger = &reading.plan.triggers[0];
    for kind in ["dir", "file"] {
        assert!(
            trigger
                .matches(&event("FILE_CREATE", &[], &json!({"type": kind})))
                .is_some()
        );
    }
}

#[test]
fn rules_come_to_the_same_as_there() {
    let holds = |rule: &serde_json::Value, data: &serde_json::Value| {
        let reading = read_text(&with_filter(rule));
        assert!(!reading.has_errors(), "{:?}", reading.findings);
        reading.plan.triggers[0]
            .matches(&event("DB_INSERT", &[], data))
            .is_some()
    };
    let compare = |kind: &str, eval: &str, f2: serde_json::Value| json!({"rule": "match", "type": kind, "eval": eval, "f1": "args.data.n", "f2": f2});
    let data = json!({"n": 5, "s": "x\"y", "b": true, "z": null, "list": [1, 5]});
    for (rule, expected) in [
        (compare("number", ">", json!(4)), true),
        (compare("number", ">=", json!(5.5)), false),
        (compare("number", "<", json!("6")), true),
        (compare("number", "!=", json!(5)), false),
        (compare("number", "in", json!([1, 5])), true),
        (compare("number", "in", json!("args.data.list")), true),
        (compare("number", "notIn", json!([1, 5])), false),
        (
            json!({"rule": "match", "type": "string", "eval": "==", "f1": "args.data.s", "f2": "x\"y"}),
            true,
        ),
        (
            json!({"rule": "match", "type": "bool", "eval": "==", "f1": "args.data.b", "f2": true}),
            true,
        ),
        (
            json!({"rule": "match", "type": "null", "eval": "==", "f1": "args.data.z", "f2": null}),
            true,
        ),
        (json!({"rule": "allow"}), true),
        (json!({"rule": "deny"}), false),
        (json!({}), true),
        (
            json!({"rule": "or", "clauses": [{"rule": "deny"}, compare("number", "==", json!(5))]}),
            true,
        ),
        (
            json!({"rule": "and", "clauses": [{"rule": "allow"}, compare("number", "==", json!(6))]}),
            false,
        ),
        (
            json!({"rule": "or", "clauses": [
            {"rule": "match", "type": "string", "eval": "==", "f1": "args.data.gone.x", "f2": "x"},
            {"rule": "allow"}]}),
            true,
        ),
    ] {
        assert_eq!(holds(&rule, &data), expected, "{rule}");
    }
}

#[test]
fn a_date_is_compared_as_it_is_written_and_that_is_told() {
    let rule = json!({"rule": "match", "type": "date", "eval": "<", "f1": "args.data.at", "f2": "2026-11-26T00:00:00Z"});
    let reading = read_text(&with_filter(&rule));
    assert_eq!(reading.findings.len(), 1);
    assert_eq!(reading.findings[0].code, "SC_FILTER_DATE");
    assert!(!reading.has_errors());
}

#[test]
fn what_cannot_be_compiled_is_named() {
    for rule in [
        "authenticated",
        "webhook",
        "query",
        "force",
        "remove",
        "encrypt",
        "decrypt",
        "hash",
        "",
    ] {
        let reading = read_text(&with_filter(&json!({"rule": rule})));
        assert_eq!(errors(&reading.findings), ["SC_FILTER"], "{rule}");
        assert!(reading.findings[0].message.contains(&format!("{rule:?}")));
    }
    for rule in [
        json!(1),
        json!({"rule": "and"}),
        json!({"rule": "match", "type": "string", "eval": "==", "f1": "a"}),
        json!({"rule": "match", "type": "string", "eval": "regex", "f1": "args.data.a", "f2": "b"}),
        json!({"rule": "match", "type": "bool", "eval": ">", "f1": "args.data.a", "f2": true}),
        json!({"rule": "match", "type": "object", "eval": "==", "f1": "args.data.a", "f2": {}}),
        json!({"rule": "match", "type": "string", "eval": "==", "f1": "args.auth.id", "f2": "b"}),
        json!({"rule": "match", "type": "string", "eval": "==", "f1": "utils.now()", "f2": "b"}),
        json!({"rule": "match", "type": "string", "eval": "==", "f1": "args.data.in", "f2": "b"}),
        json!({"rule": "match", "type": "number", "eval": "==", "f1": "args.data.a", "f2": "five"}),
        json!({"rule": "match", "type": "string", "eval": "==", "f1": "args.data.a", "f2": ["b"]}),
    ] {
        let reading = read_text(&with_filter(&rule));
        assert_eq!(errors(&reading.findings), ["SC_FILTER"], "{rule}");
    }
    let nested = (0..40).fold(
        json!({"rule": "allow"}),
        |rule, _| json!({"rule": "and", "clauses": [rule]}),
    );
    assert_eq!(
        errors(&read_text(&with_filter(&nested)).findings),
        ["SC_FILTER"]
    );
}

#[test]
fn templates_and_claims_that_have_no_equivalent_are_refused() {
    let with = |members: &serde_json::Value| {
        let mut trigger = json!({"id": "welcome", "type": "DB_INSERT", "url": "http://svc/"});
        trigger
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        read_text(&trigger.to_string())
    };
    let go = json!({"template": "go", "requestTemplate": "{{ .args.data.doc.name }}", "outputFormat": "yaml"});
    assert_eq!(errors(&with(&go).findings), ["SC_TEMPLATE"]);
    assert_eq!(
        errors(&with(&json!({"claims": "{\"id\": 1}"})).findings),
        ["SC_CLAIMS"]
    );
    assert_eq!(
        with(&json!({"template": "go", "requestTemplate": "", "claims": ""})).findings,
        []
    );
    let whole =
        with(&json!({"requestTemplate": "{{ marshalJSON .args.data }}", "outputFormat": "json"}));
    assert_eq!(
        only(&whole).template.as_ref().unwrap().as_str(),
        "{{ data }}"
    );
    let internal = with(&json!({"triggerType": "internal"}));
    assert_eq!(internal.findings[0].code, "SC_TRIGGER_TYPE");
    assert_eq!(internal.plan, Plan::default());
}

#[test]
fn names_that_are_none_are_changed_and_that_is_told() {
    let text = WELCOME.replace("\"welcome\"", "\"My Welcome_Mail\"");
    let reading = read_text(&text);
    assert_eq!(reading.findings[0].code, "SC_ID");
    assert_eq!(reading.plan.triggers[0].name.as_str(), "my-welcome-mail");
    let twice = format!("[{WELCOME},{WELCOME}]");
    assert_eq!(errors(&read_text(&twice).findings), ["SC_DUP_ID"]);
    assert_eq!(errors(&read_text("7").findings), ["SC_SHAPE"]);
    assert_eq!(errors(&read_text("{").findings), ["SC_JSON"]);
}
