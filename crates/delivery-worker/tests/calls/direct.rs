//! Direct calls over HTTP: what the function gets, and what its caller is answered.

use std::time::Duration;

use bytes::Bytes;
use domain::function::{AnswerShape, FunctionSettings};
use domain::record::Record;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Receiver};

use crate::support::{DEADLINE, World};

const FUNCTIONS: &str = "/v1/projects/default/functions";

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

fn body(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

fn json_answer(body: &str) -> Answer {
    let body = body.to_owned();
    Answer::status(200)
        .with_header("content-type", "application/json")
        .with_body(body)
}

async fn world(receiver: &Receiver) -> World {
    let world = World::start(&receiver.url("/any-class")).await;
    world.add("my-package/number-func", FunctionSettings::default());
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_01_s4_02_s4_03_the_seeds_call_runs_the_function_with_its_context_and_answers_its_result()
 {
    let receiver = Receiver::start().await;
    receiver.answer(json_answer("42"));
    let world = world(&receiver).await;
    for path in [FUNCTIONS, "/"] {
        let answer = world.post(path, &[], SEED).await;
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body(), "42", "the result and nothing else");
        assert!(answer.headers().contains_key("x-event-id"));
    }
    let request = receiver.wait_for(2, DEADLINE).await.remove(0);
    let seed: Value = serde_json::from_str(SEED).unwrap();
    assert_eq!(request.json(), seed);
    assert_eq!(request.path, "/any-class", "not named like the function");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_direct_call_is_in_the_log_without_its_secrets() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let secret = SEED.replace("Bearer ", "Bearer of-the-caller");
    world.post(FUNCTIONS, &[], secret).await;
    let records = world.records(2).await;
    let [Record::Matched(matched), Record::Attempted(attempted)] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(matched.event.event_type.as_str(), "api.call.direct");
    assert_eq!(attempted.trigger.as_str(), "direct-call");
    let logged = String::from_utf8_lossy(&matched.event.data);
    assert!(logged.contains("Jack") && logged.contains("appid"));
    assert!(!logged.contains("of-the-caller"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_09_a_result_is_any_json_or_nothing() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    for result in [r#"{"a":1}"#, "[1,2]", "7", r#""text""#, "null", "true", ""] {
        receiver.answer(json_answer(result));
        let answer = world.post(FUNCTIONS, &[], SEED).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.body(), result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_10_wrong_parameters_are_refused_and_the_function_is_not_called() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let schema = r#"{"type":"object","required":["name"],"properties":{"age":{"type":"integer"}}}"#;
    let settings = FunctionSettings {
        parameters_schema: Some(schema.to_owned()),
        ..FunctionSettings::default()
    };
    world.add("my-package/strict", settings);
    let path = format!("{FUNCTIONS}/my-package/strict/invoke");
    for (parameters, field) in [
        (r#"{"name":"Jack","age":"old"}"#, "parameters/age"),
        (r#"{"age":23}"#, "parameters"),
        (r#""{\"name\":\"Jack\"}""#, "parameters"),
        ("null", "parameters"),
    ] {
        let call = format!(r#"{{"parameters":{parameters}}}"#);
        let answer = world.post(&path, &[], call).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{parameters}");
        assert_eq!(body(&answer)["field"], field, "{parameters}");
    }
    assert_eq!(receiver.count(), 0);
    let answer = world.post(&path, &[], r#"{"parameters":{"name":"Jack"}}"#);
    assert_eq!(answer.await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_11_s4_06_an_unknown_function_is_answered_with_what_there_is() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let call = |package: &str, function: &str| {
        json!({"context": {"package": package, "function": function}}).to_string()
    };
    let answer = world
        .post(FUNCTIONS, &[], call("my-pack", "number-func"))
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(body(&answer)["field"], "context.package");
    assert_eq!(body(&answer)["allowed"], "default, my-package");
    for name in ["number", "ab", "1abc", "-abc", "abc-", "Abc"] {
        let answer = world.post(FUNCTIONS, &[], call("my-package", name)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(body(&answer)["field"], "context.function");
        assert_eq!(body(&answer)["allowed"], "number-func");
    }
    let answer = world.post(FUNCTIONS, &[], "{}").await;
    assert_eq!(body(&answer)["field"], "context.function");
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_12_an_enveloped_answer_has_status_code_timestamp_and_result() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let settings = FunctionSettings {
        answer: AnswerShape::Enveloped,
        endpoint: Some("numberFunc".to_owned()),
        ..FunctionSettings::default()
    };
    world.add("my-package/enveloped", settings);
    // By its endpoint too.
    let path = format!("{FUNCTIONS}/my-package/numberFunc/invoke");
    receiver.answer(json_answer(r#"{"n":1.50}"#));
    let answer = world.post(&path, &[], "{}").await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(text.ends_with(r#""result":{"n":1.50}}"#), "{text}");
    let enveloped = body(&answer);
    assert_eq!(enveloped["status"], "ok");
    assert_eq!(enveloped["code"], 200);
    assert!(enveloped["timestamp"].is_string());
    receiver.answer_with(500);
    let answer = world.post(&path, &[], "{}").await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(body(&answer)["status"], "fail");
    assert_eq!(body(&answer)["alerts"][0]["level"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_is_502_and_one_that_is_slow_504_and_neither_is_called_again() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.answer(Answer::status(503).with_body("not today"));
    let answer = world.post(FUNCTIONS, &[], SEED).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(body(&answer)["code"], "function_failed");
    assert_eq!(body(&answer)["value"], "503");
    let detail = body(&answer)["detail"].to_string();
    assert!(
        detail.contains("503") && detail.contains("not today"),
        "{detail}"
    );
    receiver.hang();
    let path = format!("{FUNCTIONS}?timeout=200ms");
    let answer = world.post(&path, &[], SEED).await;
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(body(&answer)["code"], "function_timeout");
    assert_eq!(world.records(4).await.len(), 4);
    assert_eq!(receiver.count(), 2);
    for bad in ["1ms", "1h", "soon"] {
        let path = format!("{FUNCTIONS}?timeout={bad}");
        let answer = world.post(&path, &[], SEED).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_28_a_hundred_calls_at_once_never_see_each_others_context() {
    let receiver = Receiver::start().await;
    receiver.answer_by(|request| {
        // Says what it was told, after all of them are there.
        let tenant = request.json()["context"]["headers"]["x-tenant"].to_string();
        json_answer(&tenant).after(Duration::from_millis(100))
    });
    let world = world(&receiver).await;
    let call = async |number: usize| {
        let tenant = format!("tenant-{number}");
        let body = json!({
            "parameters": number,
            "context": {
                "headers": {"x-tenant": tenant},
                "package": "my-package",
                "function": "number-func",
            },
        });
        let answer = world.post(FUNCTIONS, &[], body.to_string()).await;
        (answer, json!(tenant))
    };
    let answers = futures::future::join_all((0..100).map(call)).await;
    for (answer, tenant) in answers {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(body(&answer), tenant);
    }
    for request in receiver.requests() {
        let body = request.json();
        let tenant = format!("tenant-{}", body["parameters"]);
        assert_eq!(body["context"]["headers"], json!({"x-tenant": tenant}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_names_one_function_and_its_path_and_context_agree() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let path = format!("{FUNCTIONS}/my-package/number-func/invoke");
    let other = json!({"context": {"function": "hook"}}).to_string();
    let answer = world.post(&path, &[], other).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(body(&answer)["field"], "context.function");
    let answer = world.post(&path, &[], r#"{"messages":[]}"#).await;
    assert_eq!(body(&answer)["field"], "messages");
    assert_eq!(world.post(&path, &[], SEED).await.status(), StatusCode::OK);
    let loops = [("x-tripline-depth", "9")];
    let answer = world.post(&path, &loops, SEED).await;
    assert_eq!(body(&answer)["field"], "x-tripline-depth");
    let unknown = world.post("/v1/projects/nobody/functions", &[], SEED).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_function_is_not_called() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let settings = FunctionSettings {
        is_paused: true,
        ..FunctionSettings::default()
    };
    world.add("my-package/resting", settings);
    let path = format!("{FUNCTIONS}/my-package/resting/invoke");
    let answer = world.post(&path, &[], "{}").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(receiver.count(), 0);
}
