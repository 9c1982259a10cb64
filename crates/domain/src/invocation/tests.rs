//! Direct calls are read as extremum's callers write them, and refused by name.

use super::*;
use crate::event::sample;
use crate::function::FunctionSettings;
use crate::registry::{Change, Update};

/// As it stands in extremum's documents.
const SEED: &str = r#"{
"parameters": {
"name": "Jack",
"age": 23
},
"context": {
"headers": {
"Authorization": "Bearer ",
"x-app-id": "appid"
},
"package": "my-package",
"function": "number-func"
}
}"#;

fn direct(body: &str) -> DirectCall {
    match Invocation::read(body.as_bytes()).unwrap() {
        Invocation::Direct(call) => call,
        Invocation::Messages => panic!("{body} is a direct call"),
    }
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    let kii = Function {
        settings: FunctionSettings {
            endpoint: Some("onOrder".to_owned()),
            ..FunctionSettings::default()
        },
        ..sample::function("my-package/on-order")
    };
    registry.apply(Update {
        revision: 1,
        is_snapshot: true,
        changes: vec![
            Change::Function(sample::function("my-package/number-func")),
            Change::Function(kii),
            Change::Function(sample::function("other-package/number-func")),
        ],
    });
    registry
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn s4_01_s4_02_the_example_of_the_documents_is_a_direct_call_and_its_function_sees_all_of_it() {
    let call = direct(SEED);
    assert_eq!(call.package.as_deref(), Some("my-package"));
    assert_eq!(call.function.as_deref(), Some("number-func"));
    let body = call.body(&"my-package/number-func".parse().unwrap());
    assert_eq!(json(&body), json(SEED.as_bytes()));
}

#[test]
fn s4_08_parameters_are_any_json_and_come_as_they_were_written() {
    let function = "my-package/number-func".parse().unwrap();
    for parameters in [
        r#"{"b":1,"a":12345678901234567890123}"#,
        "[1, 2.50]",
        "7",
        r#""text""#,
        "null",
        "true",
    ] {
        let call = direct(&format!(
            r#"{{"parameters": {parameters} , "context": {{}}}}"#
        ));
        assert_eq!(call.parameters, parameters.as_bytes());
        let body = String::from_utf8(call.body(&function).to_vec()).unwrap();
        let beginning = format!(r#"{{"parameters":{parameters},"context":{{"#);
        assert!(body.starts_with(&beginning), "{body}");
    }
    assert_eq!(direct("{}").parameters, "null");
}

#[test]
fn s4_13_a_body_with_messages_is_a_trigger_call_whatever_else_it_brings() {
    let read = |body: &str| Invocation::read(body.as_bytes()).unwrap();
    assert_eq!(read(r#"{"messages":[]}"#), Invocation::Messages);
    let both = r#"{"parameters":1,"context":{"package":"a"},"messages":[1]}"#;
    assert_eq!(read(both), Invocation::Messages);
    assert!(matches!(
        read(r#"{"messages":null}"#),
        Invocation::Direct(_)
    ));
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let field = |body: &str| Invocation::read(body.as_bytes()).unwrap_err().field;
    assert_eq!(field("{nope"), "body");
    assert_eq!(field("7"), "body");
    assert_eq!(field(r#"{"context":7}"#), "context");
    assert_eq!(field(r#"{"context":{"package":7}}"#), "context");
    assert_eq!(
        field(r#"{"context":{"headers":{"a":1}}}"#),
        "context.headers"
    );
    let deep = format!(r#"{{"parameters":{}{}}}"#, "[".repeat(101), "]".repeat(101));
    assert_eq!(field(&deep), "body");
    let long = format!(
        r#"{{"context":{{"headers":{{"a":"{}"}}}}}}"#,
        "x".repeat(HEADERS_BYTES_MAX)
    );
    assert_eq!(field(&long), "context.headers");
}

#[test]
fn the_log_shows_no_secret_header_and_no_endless_parameters() {
    let function = "my-package/number-func".parse().unwrap();
    let logged = json(&direct(SEED).logged(&function));
    assert_eq!(logged["context"]["headers"]["Authorization"], "***");
    assert_eq!(logged["context"]["headers"]["x-app-id"], "appid");
    assert_eq!(logged["parameters"]["name"], "Jack");
    let long = format!(r#"{{"parameters":"{}"}}"#, "x".repeat(LOGGED_BYTES_MAX));
    let logged = direct(&long).logged(&function);
    assert!(logged.len() < 200);
    assert_eq!(json(&logged)["parameters_bytes"], LOGGED_BYTES_MAX + 2);
}

#[test]
fn s4_11_what_is_not_there_is_answered_with_what_is() {
    let registry = registry();
    let project = "default".parse().unwrap();
    let find = |package, function| registry.find_function(&project, package, function);
    assert_eq!(
        find("my-package", "number-func").unwrap().name,
        "my-package/number-func".parse().unwrap()
    );
    assert_eq!(
        find("my-package", "onOrder").unwrap().name,
        "my-package/on-order".parse().unwrap(),
        "by its endpoint"
    );
    let error = find("my-pack", "number-func").unwrap_err();
    assert_eq!(error.field, "context.package");
    assert_eq!(error.allowed, "my-package, other-package");
    let error = find("my-package", "Number").unwrap_err();
    assert_eq!(error.field, "context.function");
    assert_eq!(error.allowed, "number-func, on-order, onOrder");
    let elsewhere = "another".parse().unwrap();
    let error = registry.find_function(&elsewhere, "my-package", "number-func");
    assert!(error.unwrap_err().allowed.starts_with("none"));
}

#[test]
fn an_endpoint_is_one_functions_within_its_package() {
    let registry = registry();
    let with = |name: &str, endpoint: &str| Function {
        settings: FunctionSettings {
            endpoint: Some(endpoint.to_owned()),
            ..FunctionSettings::default()
        },
        ..sample::function(name)
    };
    let clash = |function: &Function| registry.clash_of(function).is_some();
    assert!(clash(&with("my-package/another", "onOrder")));
    assert!(!clash(&with("other-package/another", "onOrder")));
    assert!(!clash(&with("my-package/on-order", "onOrder")), "its own");
    assert!(!clash(&sample::function("my-package/another")));
}

#[test]
fn answers_may_have_the_shape_of_extremums_library() {
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(
        String::from_utf8(enveloped(b"[1]", now)).unwrap(),
        r#"{"status":"ok","code":200,"timestamp":"1970-01-01T00:00:00.000Z","result":[1]}"#
    );
    let failed = json(&failed(400, "no", now));
    assert_eq!(failed["status"], "fail");
    assert_eq!(failed["alerts"][0]["code"], "400");
}
