//! One and the same event, as functions receive it in each format.

use std::collections::BTreeSet;

use domain::format::Format;
use harness::{Client, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Received, Receiver};

const FIVE: [(&str, &str, u32); 5] = [
    ("STORAGE_INSERT", "storage.row.insert", 1000),
    ("STORAGE_UPDATE", "storage.row.update", 1001),
    ("STORAGE_DELETE", "storage.row.delete", 1002),
    ("AUTH_LOGIN", "auth.session.login", 2000),
    ("AUTH_REGISTER", "auth.user.register", 2001),
];

fn keys(body: &Value) -> BTreeSet<&str> {
    body.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

async fn emit(client: &Client, event_type: &str, data: &Value) {
    client
        .emit(event_type, &["--data", &data.to_string()])
        .await;
}

#[tokio::test]
async fn s1_03_s1_04_s1_05_s1_06_s1_22_schmucklis_five_events_have_exactly_the_seeds_fields() {
    let system = Embedded::start().await;
    let client = system.client();
    let underscored = ["_event_id", "_event_name", "_function_session", "_secret"];
    let row = ["row_id", "container", "bucket", "dataset"];
    let data = json!({
        "row_id": "42", "container": "orders", "bucket": 7, "dataset": "main",
        "user_id": "u1", "email": "ann@example.com", "lang": "en", "more": "is not sent",
    });
    for (alias, _, number) in FIVE {
        let receiver = Receiver::start().await;
        let name = format!("on-{number}");
        let on = number.to_string();
        let options = ["--on", &on, "--format", "schmuckli"];
        let created = client
            .create_function(&name, &receiver.url("/"), &options)
            .await;
        emit(&client, alias, &data).await;
        let body = receiver.wait_for(1, SOON).await[0].json();

        let fields: &[&str] = match number {
            2000 => &["user_id", "email"],
            2001 => &["user_id", "email", "lang"],
            _ => &row,
        };
        let expected: BTreeSet<_> = fields.iter().chain(&underscored).copied().collect();
        assert_eq!(keys(&body), expected, "{alias}");
        assert_eq!(body["_secret"], created["secret"]);
        assert_eq!(body["_event_id"], number);
        assert_eq!(body["_event_name"], alias);
        assert_eq!(body["_function_session"], Value::Null);
        if fields.len() == 4 {
            assert_eq!(
                (&body["row_id"], &body["bucket"]),
                (&json!(42), &json!(7)),
                "as numbers"
            );
        }
    }
}

#[tokio::test]
async fn numbers_names_and_aliases_are_the_same_both_ways() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    for (alias, canonical, number) in FIVE {
        for (place, on) in [alias, canonical, &number.to_string()]
            .into_iter()
            .enumerate()
        {
            let name = format!("by-{number}-{place}");
            client
                .create_function(&name, &receiver.url(&format!("/{name}")), &["--on", on])
                .await;
        }
    }
    for (alias, canonical, number) in FIVE {
        receiver.clear();
        emit(&client, alias, &json!({})).await;
        emit(&client, canonical, &json!({})).await;
        let received = receiver.wait_for(6, SOON).await;
        let paths: BTreeSet<_> = received
            .iter()
            .map(|request| request.path.clone())
            .collect();
        let expected = (0..3)
            .map(|place| format!("/by-{number}-{place}"))
            .collect();
        assert_eq!(paths, expected, "only those who asked for {number}");
        assert!(
            received
                .iter()
                .all(|request| request.json()["type"] == canonical)
        );
    }
}

#[tokio::test]
async fn s1_07_no_two_functions_share_a_secret_and_a_new_one_is_made_each_time() {
    let system = Embedded::start().await;
    let client = system.client();
    let mut secrets = BTreeSet::new();
    for name in ["one", "two", "one"] {
        if secrets.len() == 4 {
            client.run(&["functions", "delete", "one"]).await.done();
        }
        let created = client
            .create_function(name, "http://127.0.0.1:9/", &[])
            .await;
        secrets.insert(created["secret"].to_string());
        secrets.insert(created["signing_secret"].to_string());
    }
    assert_eq!(secrets.len(), 6);
}

#[tokio::test]
async fn a_custom_type_in_schmucklis_format_carries_its_data_as_it_is() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--on", "order.paid", "--format", "schmuckli"];
    let created = client
        .create_function("custom", &receiver.url("/"), &options)
        .await;
    let data = json!({"total": 12.50, "lines": [1, 2], "_secret": "forged"});
    emit(&client, "order.paid", &data).await;
    let body = receiver.wait_for(1, SOON).await[0].json();
    assert_eq!(
        (&body["total"], &body["lines"]),
        (&json!(12.5), &json!([1, 2]))
    );
    assert_eq!(
        (&body["_event_id"], &body["_event_name"]),
        (&Value::Null, &json!("order.paid"))
    );
    assert_eq!(
        body["_secret"], created["secret"],
        "data cannot pass for a secret"
    );
}

#[tokio::test]
async fn x_06_x_07_one_event_in_all_formats_has_one_id_and_each_delivery_its_own() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    for format in Format::ALL.map(Format::as_str) {
        let options = [
            "--subject",
            "datasets/{dataset}/rows/{row}",
            "--format",
            format,
        ];
        client
            .create_function(format, &receiver.url(&format!("/{format}")), &options)
            .await;
    }
    let data = r#"{"row_id":1,"text":"Euro € 😀"}"#;
    let options = [
        "--data",
        data,
        "--subject",
        "datasets/main/rows/42",
        "--actor",
        "u_17",
    ];
    let options = [&options[..], &["--id", "my-own-id", "--source", "/shop"]].concat();
    let emitted = client.emit("STORAGE_INSERT", &options).await;
    assert_eq!(emitted["id"], "my-own-id");

    let received = receiver.wait_for(9, SOON).await;
    let of = |path: &str| {
        received
            .iter()
            .find(|request| request.path == path)
            .unwrap()
    };
    the_structured_one(of("/cloudevents-structured"));
    the_binary_one(of("/cloudevents-binary"), data);
    let header = |name: &str| -> BTreeSet<_> {
        received
            .iter()
            .map(|request| request.header(name).unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        header("x-event-id"),
        BTreeSet::from([emitted["eid"].as_str().unwrap().to_owned()])
    );
    assert_eq!(header("webhook-id").len(), 9);
    assert_eq!(header("x-function").len(), 9);
}

fn the_structured_one(request: &Received) {
    assert_eq!(
        request.header("content-type"),
        Some("application/cloudevents+json")
    );
    let event = request.json();
    let expected = json!({
        "specversion": "1.0", "id": "my-own-id", "source": "/shop", "type": "storage.row.insert",
        "subject": "datasets/main/rows/42", "eventnumber": 1000, "eventname": "STORAGE_INSERT",
        "actorid": "u_17", "actorkind": "user", "datacontenttype": "application/json",
        "data": {"row_id": 1, "text": "Euro € 😀"},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&event[name], value, "{name}");
    }
    let params: Value = serde_json::from_str(event["params"].as_str().unwrap()).unwrap();
    assert_eq!(params, json!({"dataset": "main", "row": "42"}));
    let is_name = |name: &String| {
        name.len() <= 20
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    assert!(event.as_object().unwrap().keys().all(is_name), "{event}");
}

fn the_binary_one(request: &Received, data: &str) {
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, data, "untouched");
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-id", "my-own-id"),
        ("ce-source", "/shop"),
        ("ce-type", "storage.row.insert"),
        ("ce-subject", "datasets/main/rows/42"),
        ("ce-eventnumber", "1000"),
        ("ce-actorid", "u_17"),
    ];
    for (name, value) in expected {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("ce-datacontenttype"), None);
}

#[tokio::test]
async fn a_pattern_selects_by_subject_and_others_are_left_alone() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--on", "storage.row.*", "--subject", "datasets/main/**"];
    client
        .create_function("main-rows", &receiver.url("/main"), &options)
        .await;
    client
        .create_function("logins", &receiver.url("/logins"), &["--on", "2000"])
        .await;
    for subject in ["datasets/main/rows/1", "datasets/other/rows/2"] {
        client.emit("STORAGE_DELETE", &["--subject", subject]).await;
    }
    client
        .emit("AUTH_LOGIN", &["--subject", "datasets/main/rows/3"])
        .await;
    let received = receiver.wait_for(2, SOON).await;
    client
        .logs_when(&[], "three events", |lines| {
            lines.len() == 3 && lines.iter().all(|line| line["status"] != "staged")
        })
        .await;
    assert_eq!(receiver.count(), 2);
    let seen: BTreeSet<_> = received
        .iter()
        .map(|request| (request.path.clone(), request.json()["subject"].to_string()))
        .collect();
    let expected = [
        ("/main", "datasets/main/rows/1"),
        ("/logins", "datasets/main/rows/3"),
    ];
    assert_eq!(
        seen,
        expected
            .map(|(path, subject)| (path.to_owned(), format!("{subject:?}")))
            .into()
    );
}

#[tokio::test]
async fn the_same_event_from_the_same_source_is_taken_once() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    client
        .create_function("once", &receiver.url("/"), &["--on", "order.paid"])
        .await;
    let options = ["--id", "order-1", "--source", "/shop", "--data", "{}"];
    let first = client.emit("order.paid", &options).await;
    let again = client.emit("order.paid", &options).await;
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["eid"], again["eid"]);
    let elsewhere = ["--id", "order-1", "--source", "/other", "--data", "{}"];
    assert_eq!(
        client.emit("order.paid", &elsewhere).await["duplicate"],
        false
    );
    let keyed = ["--idempotency-key", "k1", "--data", "{}"];
    assert_eq!(client.emit("order.paid", &keyed).await["duplicate"], false);
    assert_eq!(client.emit("order.paid", &keyed).await["duplicate"], true);
    client
        .logs_when(&["--status", "processed"], "three deliveries", |lines| {
            lines.len() == 3
        })
        .await;
    assert_eq!(receiver.count(), 3);
}
