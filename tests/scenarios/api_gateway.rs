//! Calls of an API through the gateway: functions see them before, after and when they are answered.

use std::time::Duration;

use harness::{Client, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Answer, Receiver, eventually};

/// Puts the stand-in for a database behind the gateway.
async fn behind(system: &Embedded, backend: &Receiver) -> Client {
    let client = system.client();
    let url = backend.url("/");
    client
        .run(&[
            "gateway",
            "services",
            "create",
            "db",
            "--url",
            &url,
            "--describe",
            "db",
        ])
        .await
        .done();
    client
}

/// Binds an endpoint to an event; it may change what it sees.
async fn bind(client: &Client, name: &str, endpoint: &Receiver, event: &str, options: &[&str]) {
    client.create_function(name, &endpoint.url("/"), &[]).await;
    let words = [
        &[
            "scripts",
            "put",
            event,
            "--function",
            name,
            "--active",
            "--allow-modification",
        ],
        options,
    ];
    client.run(&words.concat()).await.done();
}

fn call_url(system: &Embedded, path: &str) -> String {
    format!("{}/api/v2/{path}", system.url())
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one call, looked at from every side")]
async fn s5_15_s5_20_s5_22_functions_change_a_call_before_it_is_served_and_after() {
    let system = Embedded::start().await;
    let backend = Receiver::start().await;
    backend.answer(
        Answer::status(200)
            .with_body(r#"{"rows": [1, 2]}"#)
            .with_header("content-type", "application/json"),
    );
    let client = behind(&system, &backend).await;
    let (generic, specific, after) =
        tokio::join!(Receiver::start(), Receiver::start(), Receiver::start());
    let changed =
        json!({"request": {"payload": {"by": "generic"}, "headers": {"x-script": "generic"}}});
    generic.answer(Answer::status(200).with_body(changed.to_string()));
    after.answer(Answer::status(200).with_body(
        json!({"response": {"status_code": 203, "content": {"rows": []}, "headers": {"x-after": "1"}}}).to_string(),
    ));
    bind(
        &client,
        "specific",
        &specific,
        "db._table.contact.post.pre_process",
        &[],
    )
    .await;
    bind(
        &client,
        "generic",
        &generic,
        "db._table.{table_name}.post.pre_process",
        &[],
    )
    .await;
    bind(
        &client,
        "after",
        &after,
        "db._table.contact.post.post_process",
        &[],
    )
    .await;

    let url = call_url(&system, "db/_table/contact?fields=id");
    let answered = client
        .http
        .post_json(&url, None, &json!({"by": "client"}))
        .await
        .unwrap();
    assert_eq!(answered.status, 203, "{}", answered.text());
    assert_eq!(answered.json(), json!({"rows": []}));
    assert_eq!(answered.headers["x-after"], "1");

    let served = &backend.requests()[0];
    assert_eq!(served.json(), json!({"by": "generic"}));
    assert_eq!(served.header("x-script"), Some("generic"));
    let first = generic.requests()[0].json();
    assert_eq!(first["request"]["payload"], json!({"by": "client"}));
    assert_eq!(first["request"]["parameters"], json!({"fields": "id"}));
    assert_eq!(first["resource"], "contact");
    assert!(first.get("response").is_none(), "{first}");
    // The generic one came first: the specific one sees what it made of the request.
    assert_eq!(
        specific.requests()[0].json()["request"]["payload"],
        json!({"by": "generic"})
    );
    let seen = after.requests()[0].json();
    assert_eq!(seen["response"]["content"], json!({"rows": [1, 2]}));
    assert_eq!(seen["response"]["status_code"], 200);
    let lines = client
        .logs_when(&["--type", "api.call.pre"], "both calls before", |lines| {
            lines.len() == 2
        })
        .await;
    assert!(
        lines.iter().all(|line| line["status"] == "processed"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn s5_18_s5_19_s5_21_a_function_refuses_a_call_and_another_still_sees_it() {
    let system = Embedded::start().await;
    let backend = Receiver::start().await;
    let client = behind(&system, &backend).await;
    let (guard, after) = tokio::join!(Receiver::start(), Receiver::start());
    let thrown =
        json!({"exception": {"status_code": 400, "code": 123_456, "message": "Missing filter"}});
    guard.answer(Answer::status(200).with_body(thrown.to_string()));
    after.answer(Answer::status(200).with_body("{}"));
    bind(&client, "guard", &guard, "db._table.*.get.pre_process", &[]).await;
    bind(
        &client,
        "after",
        &after,
        "db._table.*.get.post_process",
        &[],
    )
    .await;
    let answered = client
        .http
        .get(&call_url(&system, "db/_table/contact"))
        .await
        .unwrap();
    let error = json!({"error": {"code": 123_456, "context": null, "message": "Missing filter", "status_code": 400}});
    assert_eq!(
        (answered.status.as_u16(), answered.json()),
        (400, error.clone())
    );
    assert_eq!(backend.count(), 0);
    assert_eq!(after.requests()[0].json()["response"]["content"], error);

    after.answer(Answer::status(200).with_body(json!({"exception": "no"}).to_string()));
    let answered = client
        .http
        .get(&call_url(&system, "db/_table/contact"))
        .await
        .unwrap();
    assert_eq!(
        (
            answered.status.as_u16(),
            &answered.json()["error"]["message"]
        ),
        (500, &json!("no"))
    );
}

#[tokio::test]
async fn s5_33_a_script_without_an_answer_ends_the_call_or_is_passed_over_and_both_are_logged() {
    let system = Embedded::start().await;
    let backend = Receiver::start().await;
    let client = behind(&system, &backend).await;
    let (hangs, ignored) = tokio::join!(Receiver::start(), Receiver::start());
    hangs.hang();
    ignored.hang();
    let short = ["--timeout", "300ms"];
    bind(
        &client,
        "hangs",
        &hangs,
        "db._table.one.get.pre_process",
        &short,
    )
    .await;
    let ignore = [&short[..], &["--on-error", "ignore"]].concat();
    bind(
        &client,
        "ignored",
        &ignored,
        "db._table.two.get.pre_process",
        &ignore,
    )
    .await;

    let answered = client
        .http
        .get(&call_url(&system, "db/_table/one"))
        .await
        .unwrap();
    assert_eq!(answered.status, 500);
    assert_eq!(answered.json()["error"]["code"], "script_failed");
    assert_eq!(backend.count(), 0);
    let answered = client
        .http
        .get(&call_url(&system, "db/_table/two"))
        .await
        .unwrap();
    assert_eq!(answered.status, 200);
    assert_eq!(backend.count(), 1);
    for function in ["hangs", "ignored"] {
        let conditions = ["--function", function, "--status", "failed"];
        client
            .logs_when(&conditions, "the script that failed", |lines| {
                lines.len() == 1
            })
            .await;
    }
}

#[tokio::test]
async fn s5_24_s5_25_s5_26_a_queued_function_gets_the_call_even_after_a_restart() {
    let mut system = Embedded::start().await;
    let backend = Receiver::start().await;
    backend.answer(
        Answer::status(201)
            .with_body(r#"{"id": 7}"#)
            .with_header("content-type", "application/json"),
    );
    let client = behind(&system, &backend).await;
    let created = client
        .run(&["keys", "create", "--scope", "emit"])
        .await
        .done()
        .object();
    let queued = Receiver::start().await;
    bind(
        &client,
        "later",
        &queued,
        "db._table.{table_name}.post.queued",
        &[],
    )
    .await;
    // It does not run before it is let: so the restart falls between answer and run.
    client.run(&["functions", "pause", "later"]).await.done();

    let key = created["secret"].as_str().unwrap();
    let url = call_url(&system, "db/_table/contact");
    let answered = client
        .http
        .post_json(&url, Some(key), &json!({"name": "Ann"}))
        .await
        .unwrap();
    assert_eq!(
        (answered.status.as_u16(), answered.json()),
        (201, json!({"id": 7}))
    );
    system.kill9();
    assert_eq!(queued.count(), 0, "the answer did not wait for it");
    let id = created["id"].as_str().unwrap();
    system.restart().await;
    // What the session was at the time of the call is told, whatever became of it since.
    client.run(&["keys", "revoke", id]).await.done();
    client.run(&["functions", "resume", "later"]).await.done();

    let told = queued.wait_for(1, SOON).await[0].json();
    let call = if told["data"].is_object() {
        told["data"].clone()
    } else {
        told
    };
    assert_eq!(call["request"]["payload"], json!({"name": "Ann"}));
    assert_eq!(call["request"]["method"], "POST");
    assert_eq!(call["response"]["status_code"], 201);
    assert_eq!(call["response"]["content"], json!({"id": 7}));
    assert_eq!(call["session"]["api_key"], id);
    assert!(!call.to_string().contains(key), "the key itself is nowhere");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "two documents and the calls of each")]
async fn s5_11_s5_12_described_services_fire_the_events_of_their_documents() {
    let system = Embedded::start().await;
    let backend = Receiver::start().await;
    let client = system.client();
    let url = backend.url("/");
    let openapi = "openapi: 3.0.0\npaths:\n  /makes/count:\n    get: {}\n";
    let wsdl = "<definitions><portType><operation name='call_method'/></portType></definitions>";
    for (name, kind, document) in [("cars", "openapi", openapi), ("soap", "wsdl", wsdl)] {
        let words = [
            "gateway",
            "services",
            "create",
            name,
            "--url",
            &url,
            "--describe",
            kind,
            "--document",
            "-",
        ];
        client.run_with_input(&words, document).await.done();
    }
    let events = |lines: Vec<Value>| {
        let events = lines
            .into_iter()
            .map(|line| line["event"].as_str().unwrap().to_owned());
        events.collect::<Vec<_>>()
    };
    let offered = client
        .run(&["gateway", "events", "cars"])
        .await
        .done()
        .objects();
    assert_eq!(events(offered), ["cars.makes.count.get"]);
    let offered = client
        .run(&["gateway", "events", "soap"])
        .await
        .done()
        .objects();
    assert_eq!(events(offered), ["soap.call_method.post"]);

    let seen = Receiver::start().await;
    seen.answer(Answer::status(200).with_body("{}"));
    bind(
        &client,
        "seen",
        &seen,
        "cars.makes.count.get.pre_process",
        &[],
    )
    .await;
    client
        .run(&[
            "scripts",
            "put",
            "soap.call_method.post.pre_process",
            "--function",
            "seen",
            "--active",
        ])
        .await
        .done();
    client
        .http
        .get(&call_url(&system, "cars/makes/count"))
        .await
        .unwrap();
    client
        .http
        .get(&call_url(&system, "cars/makes/other"))
        .await
        .unwrap();
    client
        .http
        .post(&call_url(&system, "soap/call_method"), &[], "<x/>")
        .await
        .unwrap();
    assert_eq!(backend.count(), 3);
    let resources: Vec<Value> = seen
        .requests()
        .iter()
        .map(|request| request.json()["request"]["resource"].clone())
        .collect();
    assert_eq!(resources, ["makes/count", "call_method"]);
}

#[tokio::test]
async fn s5_28_a_script_runs_only_while_it_is_active() {
    let system = Embedded::start().await;
    let backend = Receiver::start().await;
    let client = behind(&system, &backend).await;
    let script = Receiver::start().await;
    script.answer(Answer::status(200).with_body("{}"));
    client.create_function("seen", &script.url("/"), &[]).await;
    let put = [
        "scripts",
        "put",
        "db._table.*.get.pre_process",
        "--function",
        "seen",
    ];
    let url = call_url(&system, "db/_table/contact");
    let made = client.run(&put).await.done().object();
    assert_eq!(made["is_active"], false);
    client.http.get(&url).await.unwrap();
    assert_eq!(script.count(), 0);
    client
        .run(&[&put[..], &["--active", "true"]].concat())
        .await
        .done();
    client.http.get(&url).await.unwrap();
    assert_eq!(script.count(), 1);
    client
        .run(&[&put[..], &["--active", "false"]].concat())
        .await
        .done();
    client.http.get(&url).await.unwrap();
    eventually(
        Duration::from_secs(5),
        "three calls were served",
        async || (backend.count() == 3).then_some(()),
    )
    .await;
    assert_eq!(script.count(), 1);
}
