//! Receivers written for each of the five systems, and for batches of CloudEvents, take tripline's
//! calls as they are.

use harness::{Client, Embedded, ForeignServer, SOON};
use serde_json::{Value, json};
use testkit::eventually;

/// Emits an event and waits until its one delivery is processed.
async fn deliver(client: &Client, event_type: &str, subject: &str, data: &Value) {
    let data = data.to_string();
    let mut options = vec!["--data", data.as_str()];
    if !subject.is_empty() {
        options.extend(["--subject", subject]);
    }
    let emitted = client.emit(event_type, &options).await;
    let eid = emitted["eid"].as_str().unwrap();
    client.log_line(eid, "processed").await;
}

#[tokio::test]
async fn receivers_of_four_systems_in_python_take_the_calls_unchanged() {
    let system = Embedded::start().await;
    let client = system.client();
    let rotated = client
        .run(&["projects", "rotate-secret", "default", "--overlap", "0s"])
        .await
        .done()
        .object();
    // Functions first, as their secrets are shown once; the receivers learn them when they start.
    let mut created = Vec::new();
    for (name, format, options) in [
        (
            "schmuckli",
            "schmuckli",
            &["--on", "1000", "--on", "2001"][..],
        ),
        (
            "space-cloud",
            "space-cloud",
            &[
                "--on",
                "DB_INSERT",
                "--subject",
                "databases/**",
                "--token",
                "hs256",
                "--expect-json-response",
            ],
        ),
        ("yandex", "yandex", &["--subject", "object-storage/**"]),
        ("signals", "yandex", &["--on", "4000"]),
        ("direct", "extremum", &["--on", "number.asked"]),
        (
            "cloudevents",
            "cloudevents-batch",
            &[
                "--on",
                "batch.event",
                "--batch-size",
                "3",
                "--batch-cutoff",
                "30s",
            ],
        ),
    ] {
        let options = [&["--format", format], options].concat();
        let nowhere = "http://127.0.0.1:9/";
        created.push(client.create_function(name, nowhere, &options).await);
    }
    let secrets = json!({rotated["kid"].as_str().unwrap(): rotated["secret"]});
    let server = ForeignServer::start(
        "receivers.py",
        &json!({
            "secrets": secrets,
            "schmuckli_secret": created[0]["secret"],
            "signing_secret": created[5]["signing_secret"],
        }),
    )
    .await;
    for (name, path) in [
        ("schmuckli", "/schmuckli"),
        ("space-cloud", "/space-cloud"),
        ("yandex", "/yandex"),
        ("signals", "/extremum"),
        ("direct", "/extremum"),
        ("cloudevents", "/cloudevents"),
    ] {
        let url = server.url(path);
        client
            .run(&["functions", "update", name, "--url", &url])
            .await
            .done();
    }

    let row = "datasets/main/buckets/7/containers/orders/rows/42";
    let data = json!({"row_id": 42, "container": "orders", "bucket": 7, "dataset": "main"});
    deliver(&client, "STORAGE_INSERT", row, &data).await;
    let data = json!({"user_id": "u1", "email": "ann@example.com", "lang": "en"});
    deliver(&client, "AUTH_REGISTER", "users/u1", &data).await;
    let object = "object-storage/photos/dev%2F1.jpg";
    deliver(&client, "file.object.delete", object, &json!({})).await;
    let message = json!({"queue_id": "yrn:a:b:orders", "message": {"body": "message body"}});
    deliver(&client, "queue.message.receive", "queues/orders", &message).await;
    deliver(
        &client,
        "number.asked",
        "",
        &json!({"name": "Jack", "age": 23}),
    )
    .await;
    for number in 1..=3 {
        let data = json!({"n": number}).to_string();
        client.emit("batch.event", &["--data", &data]).await;
    }
    eventually(SOON, "the batch to be processed", async || {
        let lines = client.logs(&["--status", "processed"]).await;
        let of = |line: &&Value| line["function"] == "cloudevents";
        (lines.iter().filter(of).count() == 3).then_some(())
    })
    .await;
    let document = json!({"doc": {"name": "Jack"}, "find": {"id": "u1"}});
    let subject = "databases/pg/tables/users/rows/u1";
    let options = ["--data", &document.to_string(), "--subject", subject];
    client.emit("DB_INSERT", &options).await;
    eventually(SOON, "Space Cloud's to be processed", async || {
        let lines = client.logs(&["--status", "processed"]).await;
        let mut of = lines
            .iter()
            .filter(|line| line["function"] == "space-cloud");
        of.next().map(|_| ())
    })
    .await;

    let seen = server.end().await;
    let insert = json!({"row_id": 42, "container": "orders", "bucket": 7, "dataset": "main"});
    let calls = seen["/schmuckli"].as_array().unwrap();
    assert_eq!(
        calls[0],
        json!({"id": 1000, "name": "STORAGE_INSERT", "fields": insert, "has_session": true})
    );
    assert_eq!(calls[1]["fields"]["lang"], "en");
    let found = json!({
        "type": "DB_INSERT", "db": "pg", "col": "users", "doc": {"name": "Jack"},
        "find": {"id": "u1"},
    });
    assert_eq!(seen["/space-cloud"], json!([found]));
    let deleted = json!([[["ObjectDelete", "photos", "dev/1.jpg"]]]);
    assert_eq!(seen["/yandex"], deleted);
    assert_eq!(
        seen["/extremum"],
        json!([
            [["signal", "message body"]],
            ["default", "direct", "default", 2]
        ])
    );
    let batch = json!([["batch.event", 1], ["batch.event", 2], ["batch.event", 3]]);
    assert_eq!(seen["/cloudevents"], json!([batch]), "in one request");
}

#[tokio::test]
async fn receivers_of_kii_and_dreamfactory_in_node_take_the_calls_unchanged() {
    let system = Embedded::start().await;
    let client = system.client();
    let server = ForeignServer::start("receivers.cjs", &json!({})).await;
    let (kii, dreamfactory) = (server.url("/kii"), server.url("/dreamfactory"));
    let buckets = "users/{userID}/buckets/score/objects/{objectID}";
    let on_score = [
        "--on",
        "DATA_OBJECT_CREATED",
        "--subject",
        buckets,
        "--format",
        "kii",
    ];
    client.create_function("on-score", &kii, &on_score).await;
    let on_user = ["--on", "USER_CREATED", "--format", "kii"];
    client.create_function("on-user", &kii, &on_user).await;
    let on_call = ["--on", "api.call.*", "--format", "dreamfactory"];
    client
        .create_function("on-call", &dreamfactory, &on_call)
        .await;

    let object = "users/u1/buckets/score/objects/o9";
    deliver(&client, "DATA_OBJECT_CREATED", object, &json!({"score": 1})).await;
    deliver(&client, "USER_CREATED", "users/u1", &json!({})).await;
    let call = json!({
        "request": {"method": "POST", "service": "db", "resource": "_table/contact"},
        "response": {"status_code": 200, "content": {}},
        "resource": "contact",
    });
    deliver(&client, "api.call.done", "api/db/_table/contact", &call).await;

    let seen = server.end().await;
    let uri = "kiicloud://users/u1/buckets/score/objects/o9";
    assert_eq!(
        seen["/kii"],
        json!([["default", "u1", "score", "o9", uri], ["u1"]])
    );
    assert_eq!(
        seen["/dreamfactory"],
        json!([["POST", "db", "contact", 200]])
    );
}
