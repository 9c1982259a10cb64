//! What the five systems' own texts promise about the whole: who is called, what is kept, what holds.

use harness::{Client, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Answer, Receiver, eventually};

async fn emit(client: &Client, event_type: &str, data: &Value) -> String {
    let emitted = client
        .emit(event_type, &["--data", &data.to_string()])
        .await;
    emitted["eid"].as_str().unwrap().to_owned()
}

fn row() -> Value {
    json!({"row_id": 42, "container": "orders", "bucket": 7, "dataset": "main"})
}

#[tokio::test]
async fn s1_01_s1_09_s1_10_s1_25_each_function_that_asked_is_called_once_and_no_other() {
    let system = Embedded::start().await;
    let client = system.client();
    let inserts = Receiver::start().await;
    let logins = Receiver::start().await;
    for name in ["first", "second", "third"] {
        let options = ["--on", "1000", "--format", "schmuckli"];
        client
            .create_function(name, &inserts.url(&format!("/{name}")), &options)
            .await;
    }
    let options = ["--on", "2000", "--format", "schmuckli"];
    client
        .create_function("greeter", &logins.url("/"), &options)
        .await;

    let insert = emit(&client, "STORAGE_INSERT", &row()).await;
    let requests = inserts.wait_for(3, SOON).await;
    let login = json!({"user_id": "u1", "email": "ann@example.com"});
    emit(&client, "AUTH_LOGIN", &login).await;
    logins.wait_for(1, SOON).await;

    let mut paths: Vec<_> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/first", "/second", "/third"]);
    let lines = client
        .logs_when(&["--event", &insert], "three were called", |lines| {
            lines.len() == 3 && lines.iter().all(|line| line["status"] == "processed")
        })
        .await;
    assert!(lines.iter().all(|line| line["attempts"] == 1), "{lines:?}");
    assert_eq!(
        (inserts.count(), logins.count()),
        (3, 1),
        "who asked for logins was told of that one alone"
    );
    assert_eq!(logins.requests()[0].json()["_event_id"], 2000);
}

#[tokio::test]
async fn s1_18_s1_20_what_the_endpoint_answered_is_in_the_log() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(201).with_body("stored as 17"));
    client
        .create_function("keeper", &receiver.url("/"), &["--on", "1000"])
        .await;
    let eid = emit(&client, "STORAGE_INSERT", &row()).await;
    client.log_line(&eid, "processed").await;

    let history = client.history(&eid).await;
    let attempt = &history["deliveries"][0]["attempt_list"][0];
    assert_eq!(attempt["response_status"], 201, "{history}");
    assert_eq!(attempt["response_body"], "stored as 17", "{history}");
}

#[tokio::test]
async fn s2_01_s2_06_s2_20_s3_30_rows_files_and_events_of_ones_own_call_webhooks_and_nobody_waits()
{
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(200).with_body(r#"{"result":"for nobody"}"#));
    for (name, on) in [
        ("on-row", "DB_INSERT"),
        ("on-file", "FILE_CREATE"),
        ("on-own", "order-placed"),
    ] {
        let options = ["--on", on, "--format", "space-cloud"];
        client
            .create_function(name, &receiver.url(&format!("/{name}")), &options)
            .await;
    }
    for (event_type, data) in [
        ("DB_INSERT", json!({"db": "pg", "col": "orders", "doc": {}})),
        ("FILE_CREATE", json!({"path": "/a.txt", "type": "file"})),
        ("order-placed", json!({"orderId": 7})),
    ] {
        let answer = client
            .post_event(&json!({"type": event_type, "data": data}))
            .await;
        assert_eq!(answer.status.as_u16(), 202);
        assert!(!answer.text().contains("for nobody"), "{}", answer.text());
    }
    let requests = receiver.wait_for(3, SOON).await;
    let mut called: Vec<_> = requests
        .iter()
        .map(|request| (request.path.clone(), request.json()["type"].clone()))
        .collect();
    called.sort_by(|left, right| left.0.cmp(&right.0));
    let expected = [
        ("/on-file".to_owned(), json!("FILE_CREATE")),
        ("/on-own".to_owned(), json!("order-placed")),
        ("/on-row".to_owned(), json!("DB_INSERT")),
    ];
    assert_eq!(called, expected);
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json"));
        let token = request.header("x-sc-token").unwrap();
        assert!(
            token.starts_with("Bearer ey"),
            "every webhook of Space Cloud has one"
        );
    }
}

#[tokio::test]
async fn s2_24_what_a_webhook_is_sent_opens_none_of_our_doors() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--on", "1000", "--token", "hs256", "--bearer", "theirs"];
    client
        .create_function("verified", &receiver.url("/"), &options)
        .await;
    emit(&client, "STORAGE_INSERT", &row()).await;
    let request = &receiver.wait_for(1, SOON).await[0];
    let sent = ["x-sc-token", "authorization"].map(|name| request.header(name).unwrap());
    for token in sent {
        let token = token.strip_prefix("Bearer ").unwrap();
        for words in [&["functions", "list"][..], &["logs"], &["keys", "list"]] {
            client.with_key(token).run(words).await.refused(4);
        }
        let answer = client
            .with_key(token)
            .post_event(&json!({"type": "order.paid"}))
            .await;
        assert_eq!(answer.status.as_u16(), 401, "{}", answer.text());
    }
}

#[tokio::test]
async fn s2_52_changing_a_trigger_leaves_what_happened_as_it_was() {
    let system = Embedded::start().await;
    let client = system.client();
    let before = Receiver::start().await;
    let after = Receiver::start().await;
    client
        .create_function("mailer", &before.url("/"), &["--on", "order.paid"])
        .await;
    let data = json!({"total": 12.5, "name": "Ann"});
    let eid = emit(&client, "order.paid", &data).await;
    client.log_line(&eid, "processed").await;
    let kept = client.history(&eid).await["event"].clone();

    client.create_function("biller", &after.url("/"), &[]).await;
    let words = [
        "triggers",
        "update",
        "mailer",
        "--filter",
        "data.total > 100",
    ];
    client.run(&words).await.done();
    let words = ["triggers", "create", "bills", "--function", "biller"];
    let words = [&words[..], &["--on", "order.paid"]].concat();
    client.run(&words).await.done();
    let second = emit(&client, "order.paid", &data).await;
    client.log_line(&second, "processed").await;

    assert_eq!((before.count(), after.count()), (1, 1));
    assert_eq!(client.history(&eid).await["event"], kept);
    let body = |receiver: &Receiver| receiver.requests()[0].json()["data"].clone();
    assert_eq!(body(&before), body(&after));
}

#[tokio::test]
async fn x_14_what_was_accepted_delivered_retried_and_lost_can_be_counted() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_sequence([500, 500, 200]);
    let options = [
        "--on",
        "order.paid",
        "--retries",
        "1",
        "--interval",
        "100ms",
    ];
    client
        .create_function("counted", &receiver.url("/"), &options)
        .await;
    let lost = emit(&client, "order.paid", &json!({})).await;
    client.log_line(&lost, "failed").await;
    let kept = emit(&client, "order.paid", &json!({})).await;
    client.log_line(&kept, "processed").await;

    let metrics = format!("{}/metrics", system.url());
    for (series, least) in [
        ("tripline_events_accepted_total", 2.0),
        (
            r#"tripline_deliveries_settled_total{status="processed"}"#,
            1.0,
        ),
        (r#"tripline_deliveries_settled_total{status="staged"}"#, 1.0),
        (r#"tripline_deliveries_settled_total{status="failed"}"#, 1.0),
        (
            r#"tripline_delivery_dead_letters_total{outcome="told"}"#,
            1.0,
        ),
        ("tripline_waiting_overdue_seconds", 0.0),
    ] {
        eventually(SOON, series, async || {
            let text = client.http.get(&metrics).await.ok()?.text();
            let line = text.lines().find(|line| line.starts_with(series))?;
            let counted: f64 = line.rsplit(' ').next()?.parse().ok()?;
            (counted >= least).then_some(())
        })
        .await;
    }
}
