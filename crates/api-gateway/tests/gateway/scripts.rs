//! Calls that scripts see: what they are asked, and what becomes of what they say.

use api_gateway::Config;
use domain::Timestamp;
use domain::api_event::DescriptionKind;
use domain::gateway::script_token::{ScriptCaller, ScriptTokenKey};
use http::{Method, StatusCode};
use protocol::intercept::v1::{Field, InterceptResponse, Request, Response};
use serde_json::{Value, json};
use testkit::{Answer, Receiver};

use crate::support::{KEY, SECRET, World};

fn response(status: u32, body: &str) -> Response {
    Response {
        status,
        headers: vec![Field {
            name: "content-type".to_owned(),
            value: "application/json".to_owned(),
        }],
        body: body.to_owned().into(),
    }
}

#[tokio::test]
async fn s5_19_scripts_run_before_and_after_a_call_that_was_served() {
    let backend = Receiver::start().await;
    backend.answer(
        Answer::status(200)
            .with_body("{\"served\":1}")
            .with_header("content-type", "application/json"),
    );
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    world.bind_all("db._table.{table_name}.get");
    world.scripts.answer(|asked| {
        if asked.phase == "pre_process" {
            let request = asked.request.clone().unwrap();
            InterceptResponse {
                request: Some(Request {
                    parameters: vec![Field {
                        name: "limit".to_owned(),
                        value: "1 2".to_owned(),
                    }],
                    ..request
                }),
                ..InterceptResponse::default()
            }
        } else {
            InterceptResponse {
                response: Some(response(202, "{\"changed\":1}")),
                ..InterceptResponse::default()
            }
        }
    });
    let answered = world
        .call(Method::GET, "/api/v2/db/_table/contact?limit=9", "")
        .await;
    assert_eq!(answered.status, StatusCode::ACCEPTED);
    assert_eq!(answered.json(), json!({"changed": 1}));
    assert_eq!(backend.requests()[0].uri, "/_table/contact?limit=1+2");
    assert_eq!(world.scripts.phases(), ["pre_process", "post_process"]);
    let asked = world.scripts.asked.lock().unwrap().clone();
    assert_eq!(asked[0].event, "db._table.{table_name}.get");
    assert_eq!(
        (asked[0].service.as_str(), asked[0].path.as_str()),
        ("db", "_table/contact")
    );
    assert!(asked[0].response.is_none() && asked[1].response.is_some());
    let shown = asked[0].request.clone().unwrap();
    assert!(
        shown
            .headers
            .iter()
            .all(|header| !header.value.contains(KEY)),
        "{shown:?}"
    );

    let events = world.events(1).await;
    let told: Value = serde_json::from_slice(&events[0].data).unwrap();
    assert_eq!(events[0].event_type.as_str(), "api.call.done");
    assert_eq!(events[0].subject.as_deref(), Some("api/db/_table/contact"));
    assert_eq!(told["request"]["parameters"], json!({"limit": "1 2"}));
    assert_eq!(told["response"]["content"], json!({"changed": 1}));
    assert_eq!(told["resource"], "contact");
    assert_eq!(told["session"]["api_key"], "tlk_test");
}

#[tokio::test]
async fn s5_19_scripts_run_after_a_call_that_was_refused_before_it() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    world.bind_all("db.*");
    world.scripts.answer(|asked| InterceptResponse {
        response: (asked.phase == "pre_process").then(|| response(400, "{\"error\":{}}")),
        ..InterceptResponse::default()
    });
    let answered = world
        .call(Method::DELETE, "/api/v2/db/_table/contact", "")
        .await;
    assert_eq!(answered.status, StatusCode::BAD_REQUEST);
    assert_eq!(backend.count(), 0, "the call was not served");
    assert_eq!(world.scripts.phases(), ["pre_process", "post_process"]);
    let after = world.scripts.asked.lock().unwrap()[1].clone();
    assert_eq!(after.response.unwrap().status, 400);
    assert_eq!(world.events(1).await.len(), 1);
}

#[tokio::test]
async fn s5_19_scripts_run_after_a_service_that_did_not_answer() {
    let mut world = World::start().await;
    world.service("db", "http://127.0.0.1:1/", DescriptionKind::Db);
    world.bind("db.*.post_process");
    let answered = world.call(Method::GET, "/api/v2/db/_table", "").await;
    assert_eq!(answered.status, StatusCode::BAD_GATEWAY);
    let after = world.scripts.asked.lock().unwrap()[0].clone();
    assert_eq!(after.response.unwrap().status, 502);
}

#[tokio::test]
async fn s5_10_calls_of_a_service_that_is_not_described_run_no_script() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("plain", &backend.url("/"), DescriptionKind::None);
    world.bind_all("plain.*");
    let answered = world
        .call(Method::GET, "/api/v2/plain/makes/count", "")
        .await;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(world.scripts.phases(), Vec::<String>::new());
}

#[tokio::test]
async fn s5_06_calls_that_are_not_among_those_described_run_no_script() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    world.bind_all("db.*");
    for method in [Method::HEAD, Method::OPTIONS] {
        world.call(method, "/api/v2/db/_table", "").await;
    }
    world.call(Method::DELETE, "/api/v2/db/_schema", "").await;
    assert_eq!(world.scripts.phases(), Vec::<String>::new());
    assert_eq!(backend.count(), 3);
}

#[tokio::test]
async fn bodies_that_scripts_see_are_bounded_and_others_are_not() {
    let backend = Receiver::start().await;
    let config = Config {
        body_bytes_max: 2048,
        ..Config::default()
    };
    let mut world = World::start_with(config).await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    let long = "x".repeat(4096);
    let free = world
        .call(Method::POST, "/api/v2/db/_table/contact", &long)
        .await;
    assert_eq!(free.status, StatusCode::OK);
    world.bind("db._table.contact.post.pre_process");
    let refused = world
        .call(Method::POST, "/api/v2/db/_table/contact", &long)
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, json!("too_large"))
    );
    assert_eq!(backend.count(), 1);
    world.bind("db._table.contact.get.post_process");
    backend.answer(Answer::status(200).with_body(long));
    let refused = world
        .call(Method::GET, "/api/v2/db/_table/contact", "")
        .await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert_eq!(refused.code(), "answer_too_large");
}

#[tokio::test]
async fn s5_31_s5_09_a_script_calls_back_with_its_token_and_events_fire_again() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    world.bind("db._table.contact.get.pre_process");
    world
        .call(Method::GET, "/api/v2/db/_table/contact", "")
        .await;
    let platform = world.scripts.asked.lock().unwrap()[0].platform.clone();
    let platform: Value = serde_json::from_str(&platform).unwrap();
    let token = platform["api"]["token"].as_str().unwrap().to_owned();
    assert_eq!(platform["session"]["api_key"], "tlk_test");

    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let answered = world
        .call_as(Method::GET, "/api/v2/db/_table/contact", &headers, "")
        .await;
    assert_eq!(answered.status, StatusCode::OK);
    let asked = world.scripts.asked.lock().unwrap().clone();
    assert_eq!((asked.len(), asked[0].depth, asked[1].depth), (2, 0, 1));
    assert_eq!(backend.requests()[1].header("authorization"), None);

    // The token is good for 300 s, and a script that calls itself ends by itself.
    let key = ScriptTokenKey::new(SECRET.as_bytes());
    let caller = |depth| ScriptCaller {
        project: "default".parse().unwrap(),
        depth,
    };
    let old = key.mint(
        &caller(0),
        Timestamp::now() - std::time::Duration::from_secs(301),
    );
    let deep = key.mint(&caller(8), Timestamp::now());
    for (token, status) in [
        (old, StatusCode::UNAUTHORIZED),
        (deep, StatusCode::LOOP_DETECTED),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answered = world
            .call_as(Method::GET, "/api/v2/db/_table/contact", &headers, "")
            .await;
        assert_eq!(answered.status, status);
    }
    assert_eq!(world.scripts.phases().len(), 2);
}
