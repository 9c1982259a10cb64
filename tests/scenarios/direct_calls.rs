//! Functions are called directly, and messages of triggers come in at the same address.

use harness::{Embedded, Http};
use serde_json::{Value, json};
use testkit::{Answer, Receiver};

use harness::SOON;

/// The requests as they stand in extremum's documents.
const DIRECT: &str = r#"{"parameters":{"name":"Jack","age":23},"context":{"headers":
    {"Authorization":"Bearer ","x-app-id":"appid"},"package":"my-package","function":"number-func"}}"#;
const STORAGE: &str = r#"{"messages":[{"event_metadata":{"event_id":"bb1dd06d-a82c-49b4-af98-d8e0c5a1d8f0",
    "event_type":"yandex.cloud.events.storage.ObjectDelete","created_at":"2019-12-19T14:17:47.847365Z",
    "tracing_context":{"trace_id":"dd52ace79c62892f"}},
    "details":{"bucket_id":"s3-for-trigger","object_id":"dev/0_15a775_972dbde4_orig12.jpg"}}]}"#;
const SIGNAL: &str = r#"{"messages":[{"event_metadata":{"event_id":"cce76685-5828-4304-a83d-95643c0507a0",
    "event_type":"yandex.cloud.events.messagequeue.QueueMessage","created_at":"2019-09-24T00:54:28.980441Z"},
    "details":{"queue_id":"yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue","message":
    {"message_id":"cce76685-5828-4304-a83d-95643c0507a0","md5_of_body":"d29343907090dff4cec4a9a0efb80d20",
    "body":"message body","attributes":{"SentTimestamp":"1569285804456"}}}}]}"#;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "the seed's requests, one after the other"
)]
async fn s4_01_s4_13_s4_14_s4_15_s4_17_extremums_requests_work_as_they_stand() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let answer = Answer::status(200).with_header("content-type", "application/json");
    receiver.answer(answer.with_body("23"));
    let create = |name: &'static str, on: &'static str| {
        let url = receiver.url(&format!("/{name}"));
        let client = client.clone();
        async move {
            let handlers = "main,on_storage_trigger,on_signal";
            let mut words = vec!["functions", "create", name, "--url", &url];
            words.extend(["--handler", handlers]);
            if !on.is_empty() {
                words.extend(["--on", on]);
            }
            client.run(&words).await.done();
        }
    };
    create("my-package/number-func", "").await;
    create(
        "my-package/thumbnails",
        "yandex.cloud.events.storage.ObjectDelete",
    )
    .await;
    create("my-package/listener", "queue.message.receive").await;

    let http = Http::default();
    let url = system.url();
    let post = |path: String, body: &'static str| {
        let (http, url) = (http.clone(), format!("{url}{path}"));
        async move { http.post(&url, &[], body).await.unwrap() }
    };
    let answer = post("/".to_owned(), DIRECT).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, "23".to_owned())
    );
    for path in ["/", "/v1/projects/default/functions"] {
        let answer = post(path.to_owned(), STORAGE).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    assert_eq!(post("/".to_owned(), SIGNAL).await.status, 202);
    // The second time the same message is a duplicate.
    let requests = receiver.wait_for(3, SOON).await;
    let by_path = |path: &str| {
        let mut of_path = requests.iter().filter(|request| request.path == path);
        of_path
            .next()
            .unwrap_or_else(|| panic!("nothing for {path}"))
    };
    let direct = by_path("/my-package/number-func");
    let expected: Value = serde_json::from_str(DIRECT).unwrap();
    assert_eq!(direct.json(), expected);
    assert_eq!(direct.header("x-function-handler"), Some("main"));
    let storage = by_path("/my-package/thumbnails");
    assert_eq!(
        storage.header("x-function-handler"),
        Some("on_storage_trigger")
    );
    let details = &storage.json()["data"]["details"];
    assert_eq!(details["bucket_id"], "s3-for-trigger");
    assert_eq!(details["object_id"], "dev/0_15a775_972dbde4_orig12.jpg");
    let signal = by_path("/my-package/listener");
    assert_eq!(signal.header("x-function-handler"), Some("on_signal"));
    assert_eq!(
        signal.json()["data"]["details"]["message"]["body"],
        "message body"
    );
    client
        .logs_when(&["--type", "api.call.direct"], "the direct call", |lines| {
            lines.len() == 1 && lines[0]["status"] == "processed"
        })
        .await;
}

#[tokio::test]
async fn a_function_is_invoked_from_the_command_line() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_by(|request| {
        let body = request.json()["parameters"]["n"].to_string();
        Answer::status(200)
            .with_header("content-type", "application/json")
            .with_body(body)
    });
    let url = receiver.url("/");
    let schema = r#"{"type":"object","required":["n"]}"#;
    let create = ["functions", "create", "shop/price", "--url", &url];
    let settings = ["--parameters-schema", schema, "--endpoint", "askPrice"];
    client.run(&[&create[..], &settings].concat()).await.done();
    let invoke = ["functions", "invoke", "shop/askPrice", "--parameters"];
    let header = ["--header", "x-tenant: acme"];
    let words = [&invoke[..], &[r#"{"n":7}"#], &header].concat();
    let outcome = client.run_as_people_do(&words).await.done();
    assert_eq!(outcome.stdout.trim(), "7");
    let context = &receiver.requests()[0].json()["context"];
    assert_eq!(context["headers"], json!({"x-tenant": "acme"}));
    let refused = client.run(&[&invoke[..], &["7"]].concat()).await.refused(3);
    assert!(refused.contains("parameters"), "{refused}");
    let create = ["functions", "create", "shop/other", "--url", &url];
    let taken = [&create[..], &["--endpoint", "askPrice"]].concat();
    let refused = client.run(&taken).await.refused(6);
    assert!(refused.contains("settings.endpoint"), "{refused}");
    let schema = [&create[..], &["--parameters-schema", r#"{"type":"sting"}"#]].concat();
    let refused = client.run(&schema).await.refused(3);
    assert!(refused.contains("settings.parameters_schema"), "{refused}");
    let handlers = [&create[..], &["--handler", "on_signal"]].concat();
    let refused = client.run(&handlers).await.refused(3);
    assert!(refused.contains("no main method"), "{refused}");
    let same = ["functions", "create", "else/price", "--url", &url];
    client.run(&same).await.done();
    let twice = ["functions", "create", "shop/price", "--url", &url];
    client.run(&twice).await.refused(6);
}

#[tokio::test]
async fn s4_15_s4_16_s4_17_s4_29_each_function_is_called_once_with_its_messages_of_a_request() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_by(|request| {
        let status = if request.path == "/fails" { 500 } else { 200 };
        Answer::status(status)
    });
    // m1 -> one, both, fails; m2 -> both; m3 -> nobody.
    for (name, on) in [
        ("one", &["file.object.create"][..]),
        ("both", &["file.object.create", "queue.message.receive"]),
        ("fails", &["file.object.create"]),
    ] {
        let url = receiver.url(&format!("/{name}"));
        let function = format!("my-package/{name}");
        let mut words = vec!["functions", "create", &function, "--url", &url];
        words.extend(["--format", "yandex", "--batch-size", "10"]);
        words.extend(["--batch-cutoff", "500ms", "--interval", "1s"]);
        words.extend(on.iter().flat_map(|on| ["--on", on]));
        client.run(&words).await.done();
    }
    let created = |id: &str| {
        json!({"event_metadata": {"event_id": id,
            "event_type": "yandex.cloud.events.storage.ObjectCreate",
            "created_at": "2019-12-19T14:17:47.847365Z"},
            "details": {"bucket_id": "photos", "object_id": format!("{id}.jpg")}})
    };
    let signal = json!({"event_metadata": {"event_id": "m2",
        "event_type": "yandex.cloud.events.messagequeue.QueueMessage",
        "created_at": "2019-12-19T14:17:47.847365Z"},
        "details": {"queue_id": "a:b:orders", "message": {"message_id": "m2", "body": "hello",
        "attributes": {"SentTimestamp": "1569285804456"}}}});
    let timer = json!({"event_metadata": {"event_id": "m3",
        "event_type": "yandex.cloud.events.serverless.triggers.TimerMessage",
        "created_at": "2019-12-19T14:17:47.847365Z"},
        "details": {"trigger_id": "t1", "payload": ""}});
    let body = json!({"messages": [created("m1"), signal, timer]});
    let url = format!("{}/v1/projects/default/functions", system.url());
    let answer = Http::default().post_json(&url, None, &body).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    // The one that fails is called again, the others are not.
    let requests = receiver.wait_for(4, SOON).await;
    let ids = |path: &str| {
        let of_path = requests.iter().filter(|request| request.path == path);
        let bodies: Vec<Value> = of_path.map(|request| request.json()).collect();
        let ids = bodies.iter().map(|body| {
            let messages = body["messages"].as_array().unwrap().iter();
            messages
                .map(|message| {
                    message["event_metadata"]["event_id"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect::<Vec<_>>()
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("/one"), [["m1"]]);
    assert_eq!(ids("/both"), [["m1", "m2"]]);
    assert_eq!(ids("/fails"), [["m1"], ["m1"]]);
}
