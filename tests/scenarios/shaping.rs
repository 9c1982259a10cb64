//! Triggers choose by what events carry and shape what is sent, and whoever wonders is told why.

use std::time::Duration;

use harness::{Client, Embedded};
use serde_json::{Value, json};
use testkit::{Answer, Receiver};

async fn emit(client: &Client, data: &str) -> String {
    let emitted = client
        .emit("order.paid", &["--data", data, "--subject", "orders/42"])
        .await;
    emitted["eid"].as_str().unwrap().to_owned()
}

async fn condition(client: &Client, eid: &str, what: &str) -> Value {
    let words = ["why", eid, "--function", "orders"];
    let conditions = client.run(&words).await.done().objects();
    let mut told = conditions.into_iter();
    told.find(|condition| condition["condition"] == what)
        .unwrap()
}

#[tokio::test]
async fn s2_33_a_filter_calls_by_data_and_whoever_asks_is_told_why() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    client
        .create_function("orders", &receiver.url("/"), &[])
        .await;
    let options = [
        "--on",
        "order.*",
        "--subject",
        "orders/{id}",
        "--filter",
        "data.total > 10 && params.id == '42' && event.type.startsWith('order.')",
    ];
    client.create_trigger("large", "orders", &options).await;

    let large = emit(&client, r#"{"total":12.5}"#).await;
    client.log_line(&large, "processed").await;
    let small = emit(&client, r#"{"total":9}"#).await;
    let lines = client
        .logs_when(&["--event", &small], "it matched nothing", |lines| {
            !lines.is_empty()
        })
        .await;
    assert_eq!(lines[0]["delivery_id"], Value::Null, "{}", lines[0]);
    let odd = emit(&client, r#"{"sum":12}"#).await;
    let line = client.log_line(&odd, "cancel").await;
    let remark = line["remark"].as_str().unwrap();
    assert!(remark.starts_with("filter failed: "), "{line}");
    assert!(remark.contains("total"), "{line}");
    assert_eq!(line["attempts"], 0, "{line}");
    assert_eq!(receiver.count(), 1);

    let told = condition(&client, &large, "filter").await;
    assert_eq!(
        (&told["calls"], &told["found"]),
        (&json!(true), &json!("true"))
    );
    let told = condition(&client, &small, "filter").await;
    assert_eq!(
        (&told["calls"], &told["found"]),
        (&json!(false), &json!("false"))
    );
    let told = condition(&client, &odd, "filter").await;
    assert!(
        told["found"].as_str().unwrap().starts_with("failed: "),
        "{told}"
    );
    let told = condition(&client, &small, "subject").await;
    assert_eq!(
        (&told["holds"], &told["found"]),
        (&json!(true), &json!("orders/42"))
    );
}

#[tokio::test]
async fn a_bad_filter_or_template_is_refused_with_its_place() {
    let system = Embedded::start().await;
    let client = system.client();
    client
        .create_function("orders", "http://127.0.0.1:9/", &[])
        .await;
    let create = async |option: &str, text: &str| {
        let words = [
            "triggers",
            "create",
            "bad",
            "--function",
            "orders",
            option,
            text,
        ];
        client.run(&words).await.refused(3)
    };
    let line = create("--filter", "data.total >\n10 &&& true").await;
    assert!(
        line.contains("trigger.filter") && line.contains("line 2"),
        "{line}"
    );
    let line = create("--filter", "dota.total > 10").await;
    assert!(line.contains("column 1") && line.contains("dota"), "{line}");
    let line = create("--template", "{\n{% if %}}").await;
    assert!(
        line.contains("trigger.template") && line.contains("line 2"),
        "{line}"
    );
    let line = create("--final", "200").await;
    assert!(line.contains("trigger.retry.final_statuses"), "{line}");
}

#[tokio::test]
async fn s2_49_a_template_makes_the_body_and_the_functions_headers_go_with_it() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--header", "X-Tenant: acme", "--header", "x-region: eu"];
    client
        .create_function("orders", &receiver.url("/"), &options)
        .await;
    let options = [
        "--on",
        "order.paid",
        "--template",
        r#"{"text": {{ data.name }}, "row": {{ data.row }}, "try": {{ attempt }}}"#,
    ];
    client.create_trigger("shaped", "orders", &options).await;

    let eid = emit(&client, r#"{"name":"Bob \"the\" Builder","row":42}"#).await;
    client.log_line(&eid, "processed").await;
    let requests = receiver.requests();
    let request = requests.first().unwrap();
    assert_eq!(
        request.json(),
        json!({"text": "Bob \"the\" Builder", "row": 42, "try": 1})
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-tenant"), Some("acme"));
    assert_eq!(request.header("x-region"), Some("eu"));
    assert!(request.header("webhook-signature").is_some());

    let eid = emit(&client, r#"{"name":"without a row"}"#).await;
    let line = client.log_line(&eid, "failed").await;
    assert_eq!(line["error_class"], "render", "{line}");
    assert_eq!(line["remark"], "can never work", "{line}");
    assert!(
        line["error"].as_str().unwrap().contains("template"),
        "{line}"
    );
    assert_eq!(
        receiver.count(),
        1,
        "nothing is sent of what cannot be made"
    );
}

#[tokio::test]
async fn a_rest_that_the_endpoint_asks_for_is_given_up_to_the_cap() {
    let system = Embedded::start().await;
    let client = system.client();
    let (short, long) = (Receiver::start().await, Receiver::start().await);
    let tired = |seconds: &str| Answer::status(429).with_header("retry-after", seconds);
    short.answers_in_turn([tired("1"), Answer::status(200)]);
    long.answers_in_turn([tired("3600"), Answer::status(200)]);
    let options = ["--on", "order.paid", "--interval", "100ms"];
    client
        .create_function("short", &short.url("/"), &options)
        .await;
    let capped = [&options[..], &["--retry-after-max", "500ms"]].concat();
    client
        .create_function("long", &long.url("/"), &capped)
        .await;
    let eid = emit(&client, "{}").await;
    client
        .logs_when(&["--event", &eid], "both accepted", |lines| {
            lines.len() == 2 && lines.iter().all(|line| line["status"] == "processed")
        })
        .await;
    let wait = |receiver: &Receiver| {
        let requests = receiver.requests();
        requests[1].received_instant - requests[0].received_instant
    };
    assert!(
        wait(&short) >= Duration::from_millis(990),
        "{:?}",
        wait(&short)
    );
    assert!(
        wait(&long) >= Duration::from_millis(490),
        "{:?}",
        wait(&long)
    );
}

#[tokio::test]
async fn waits_are_listed_and_some_answers_and_times_are_final() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let refusing = Receiver::start().await;
    refusing.answer_with(404);
    client
        .create_function("orders", &receiver.url("/"), &[])
        .await;
    client
        .create_function("refusing", &refusing.url("/"), &[])
        .await;
    let on = ["--on", "order.paid"];
    let listed = [&on[..], &["--waits", "100ms,600ms"]].concat();
    client.create_trigger("listed", "orders", &listed).await;
    let timed = [
        &on[..],
        &[
            "--retries",
            "50",
            "--interval",
            "400ms",
            "--total-max",
            "1s",
        ],
    ]
    .concat();
    client.create_trigger("timed", "refusing", &timed).await;
    let ended = [&on[..], &["--final", "400-404,410"]].concat();
    client.create_trigger("ended", "refusing", &ended).await;

    let eid = emit(&client, "{}").await;
    let lines = client
        .logs_when(&["--event", &eid], "three endings", |lines| {
            lines.len() == 3 && lines.iter().all(|line| line["status"] == "failed")
        })
        .await;
    let ending = |trigger: &str| {
        let line = lines
            .iter()
            .find(|line| line["trigger"] == trigger)
            .unwrap();
        (line["remark"].clone(), line["attempts"].clone())
    };
    assert_eq!(ending("listed"), (json!("attempts used up"), json!(3)));
    assert_eq!(ending("ended"), (json!("the answer is final"), json!(1)));
    let (remark, attempts) = ending("timed");
    assert_eq!(remark, "time used up");
    assert!((1..=3).contains(&attempts.as_u64().unwrap()), "{attempts}");
    let requests = receiver.requests();
    let waits: Vec<_> = requests
        .windows(2)
        .map(|pair| pair[1].received_instant - pair[0].received_instant)
        .collect();
    assert!(waits[0] >= Duration::from_millis(90), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(590), "{waits:?}");
}

#[tokio::test]
async fn a_functions_settings_are_shown_and_its_credentials_only_by_kind() {
    let system = Embedded::start().await;
    let client = system.client();
    let options = [
        "--rate",
        "50/s",
        "--concurrency",
        "10",
        "--header",
        "x-tenant: acme",
        "--bearer",
        "hidden-token",
        "--disable-on-gone",
        "--signing",
        "both",
    ];
    client
        .create_function("careful", "http://127.0.0.1:9/", &options)
        .await;
    let get = client.run(&["functions", "get", "careful"]).await.done();
    assert!(!get.stdout.contains("hidden-token"), "{}", get.stdout);
    let settings = &get.object()["settings"];
    assert_eq!(settings["rate_per_second"], 50.0, "{settings}");
    assert_eq!(settings["concurrency_max"], 10, "{settings}");
    assert_eq!(settings["headers"], json!([["x-tenant", "acme"]]));
    assert_eq!(settings["authorization"], "bearer");
    assert_eq!(settings["disable_on_gone"], true);
    assert_eq!(settings["signing"], "both");
    let words = [
        "functions",
        "update",
        "careful",
        "--reset",
        "rate,headers,authorization",
        "--concurrency",
        "5",
    ];
    let changed = client.run(&words).await.done().object();
    let settings = &changed["settings"];
    assert_eq!(settings["rate_per_second"], Value::Null, "{settings}");
    assert_eq!(settings["headers"], json!([]));
    assert_eq!(settings["authorization"], Value::Null);
    assert_eq!(settings["concurrency_max"], 5);
    let words = ["functions", "update", "careful", "--header", "host: evil"];
    let line = client.run(&words).await.refused(3);
    assert!(line.contains("settings.headers[0].name"), "{line}");
}
