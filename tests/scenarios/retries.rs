//! What is not accepted is tried again as the trigger says, and ends as processed or failed.

use std::time::Duration;

use domain::signature;
use harness::{Client, Cluster, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Answer, Received, Receiver, free_port};

const QUICK: [&str; 4] = ["--on", "retry.test", "--interval", "200ms"];

/// A function on `receiver` with these options besides quick retries; gives its signing secret.
async fn function(client: &Client, url: &str, options: &[&str]) -> String {
    let options = [&QUICK[..], options].concat();
    let created = client.create_function("retried", url, &options).await;
    created["signing_secret"].as_str().unwrap().to_owned()
}

async fn emit(client: &Client) -> String {
    let emitted = client.emit("retry.test", &["--data", r#"{"n":1}"#]).await;
    emitted["eid"].as_str().unwrap().to_owned()
}

fn attempts(history: &Value) -> &Vec<Value> {
    history["deliveries"][0]["attempt_list"].as_array().unwrap()
}

#[tokio::test]
async fn s2_08_s2_10_a_receiver_that_answers_500_gets_one_and_three_requests_embedded() {
    let system = Embedded::start().await;
    five_hundred_is_tried_four_times(&system.client()).await;
}

#[tokio::test]
async fn a_receiver_that_answers_500_gets_one_and_three_requests_from_the_services() {
    let cluster = Cluster::start(1).await;
    five_hundred_is_tried_four_times(&cluster.client()).await;
}

async fn five_hundred_is_tried_four_times(client: &Client) {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(500).with_body("not now"));
    let signing_secret = function(client, &receiver.url("/"), &[]).await;
    let eid = emit(client).await;

    let line = client.log_line(&eid, "failed").await;
    assert_eq!(
        (&line["attempts"], &line["response_status"]),
        (&json!(4), &json!(500)),
        "{line}"
    );
    assert_eq!(line["remark"], "attempts used up");
    assert_eq!(line["next_attempt_at"], Value::Null);
    let history = client.history(&eid).await;
    let numbers: Vec<_> = attempts(&history)
        .iter()
        .map(|attempt| &attempt["number"])
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(
        attempts(&history)
            .iter()
            .all(|attempt| attempt["response_body"] == "not now")
    );

    let requests = receiver.requests();
    assert_eq!(requests.len(), 4);
    every_request_is_the_same_delivery(&requests, &signing_secret);
    for pair in requests.windows(2) {
        let wait = pair[1].received_instant - pair[0].received_instant;
        assert!(wait >= Duration::from_millis(190), "{wait:?}");
    }
}

fn every_request_is_the_same_delivery(requests: &[Received], signing_secret: &str) {
    let first = requests[0].header("webhook-id").unwrap();
    assert!(first.starts_with("dlv_"), "{first}");
    for (place, request) in requests.iter().enumerate() {
        assert_eq!(request.header("webhook-id"), Some(first));
        assert_eq!(
            request.header("x-attempt"),
            Some((place + 1).to_string().as_str())
        );
        assert_eq!(request.header("x-max-attempts"), Some("4"));
        assert_eq!(
            request.body, requests[0].body,
            "the same event, the same bytes"
        );
        let timestamp = request
            .header("webhook-timestamp")
            .unwrap()
            .parse()
            .unwrap();
        let signatures = request.header("webhook-signature").unwrap();
        signature::verify(signing_secret, first, timestamp, &request.body, signatures).unwrap();
    }
}

#[tokio::test]
async fn s2_07_s2_14_a_204_is_success_and_ends_it() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    receiver.answer_with(204);
    let client = system.client();
    function(&client, &receiver.url("/"), &[]).await;
    let line = client.log_line(&emit(&client).await, "processed").await;
    assert_eq!(
        (&line["attempts"], &line["response_status"]),
        (&json!(1), &json!(204)),
        "{line}"
    );
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn an_endpoint_that_comes_back_is_reached_by_a_retry() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    receiver.answer_sequence([503, 429, 200]);
    let client = system.client();
    function(&client, &receiver.url("/"), &[]).await;
    let line = client.log_line(&emit(&client).await, "processed").await;
    assert_eq!(
        (&line["attempts"], &line["response_status"]),
        (&json!(3), &json!(200)),
        "{line}"
    );
    assert_eq!(receiver.count(), 3);
}

#[tokio::test]
async fn while_it_waits_it_is_staged_and_says_when_it_goes_on() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let client = system.client();
    let options = [
        "--on",
        "retry.test",
        "--interval",
        "10m",
        "--interval-max",
        "10m",
    ];
    client
        .create_function("patient", &receiver.url("/"), &options)
        .await;
    let eid = emit(&client).await;
    let lines = client
        .logs_when(&["--event", &eid], "one attempt", |lines| {
            lines.iter().any(|line| line["attempts"] == 1)
        })
        .await;
    assert_eq!(lines[0]["status"], "staged");
    assert!(lines[0]["next_attempt_at"].is_string(), "{}", lines[0]);
}

#[tokio::test]
async fn s2_09_a_redirect_is_not_followed_and_counts_as_a_failure() {
    let system = Embedded::start().await;
    let elsewhere = Receiver::start().await;
    let receiver = Receiver::start().await;
    receiver.redirect_to(&elsewhere.url("/trap"));
    let client = system.client();
    function(&client, &receiver.url("/"), &["--retries", "1"]).await;
    let line = client.log_line(&emit(&client).await, "failed").await;
    assert_eq!(
        (&line["attempts"], &line["response_status"]),
        (&json!(2), &json!(302)),
        "{line}"
    );
    assert_eq!((receiver.count(), elsewhere.count()), (2, 0));
}

#[tokio::test]
async fn s2_13_no_answer_in_time_is_a_failure_and_is_tried_again() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    receiver.hang();
    let client = system.client();
    function(
        &client,
        &receiver.url("/"),
        &["--retries", "1", "--timeout", "300ms"],
    )
    .await;
    let eid = emit(&client).await;
    let line = client.log_line(&eid, "failed").await;
    assert_eq!(
        (&line["attempts"], &line["error_class"]),
        (&json!(2), &json!("timeout")),
        "{line}"
    );
    let history = client.history(&eid).await;
    assert!(
        attempts(&history)
            .iter()
            .all(|attempt| attempt["response_status"] == 0),
        "{history}"
    );
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_is_tried_again() {
    let system = Embedded::start().await;
    let client = system.client();
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    function(&client, &nobody, &["--retries", "2"]).await;
    let line = client.log_line(&emit(&client).await, "failed").await;
    assert_eq!(
        (&line["attempts"], &line["error_class"]),
        (&json!(3), &json!("connect")),
        "{line}"
    );
}

#[tokio::test]
async fn s2_11_s2_12_by_default_three_retries_five_seconds_apart_within_five_seconds_each() {
    let system = Embedded::start().await;
    let client = system.client();
    let url = "http://127.0.0.1:9/";
    client
        .create_function("usual", url, &["--on", "AUTH_LOGIN"])
        .await;
    let trigger = client
        .run(&["triggers", "get", "usual"])
        .await
        .done()
        .object();
    let retry = &trigger["retry"];
    assert_eq!(
        (&retry["retries"], &retry["backoff"]),
        (&json!(3), &json!("fixed"))
    );
    assert_eq!(
        (&retry["interval_ms"], &retry["timeout_ms"]),
        (&json!(5000), &json!(5000))
    );
}

#[tokio::test]
async fn s2_30_each_trigger_has_its_own_policy_and_one_failing_does_not_affect_the_other() {
    let system = Embedded::start().await;
    let client = system.client();
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    bad.answer_with(500);
    client
        .create_function("good-one", &good.url("/"), &[])
        .await;
    client.create_function("bad-one", &bad.url("/"), &[]).await;
    let settings: [(&str, &str, &[&str]); 3] = [
        ("hasty", "bad-one", &["--retries", "0"]),
        (
            "patient",
            "bad-one",
            &["--retries", "2", "--interval", "100ms"],
        ),
        (
            "fine",
            "good-one",
            &["--retries", "5", "--interval", "100ms"],
        ),
    ];
    for (name, function, options) in settings {
        let options = [&["--on", "retry.test"], options].concat();
        client.create_trigger(name, function, &options).await;
    }
    let eid = emit(&client).await;
    let lines = client
        .logs_when(&["--event", &eid], "three endings", |lines| {
            lines.len() == 3 && lines.iter().all(|line| line["status"] != "staged")
        })
        .await;
    let mut endings: Vec<_> = lines
        .iter()
        .map(|line| {
            format!(
                "{} {} {}",
                line["trigger"], line["status"], line["attempts"]
            )
        })
        .collect();
    endings.sort();
    assert_eq!(
        endings,
        [
            r#""fine" "processed" 1"#,
            r#""hasty" "failed" 1"#,
            r#""patient" "failed" 3"#,
        ]
    );
    assert_eq!((good.count(), bad.count()), (1, 4));
}

#[tokio::test]
async fn exponential_waits_double() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    function(&client, &receiver.url("/"), &["--backoff", "exponential"]).await;
    client.log_line(&emit(&client).await, "failed").await;
    let requests = receiver.requests();
    let waits: Vec<_> = requests
        .windows(2)
        .map(|pair| pair[1].received_instant - pair[0].received_instant)
        .collect();
    for (wait, expected) in waits.iter().zip([200, 400, 800]) {
        assert!(*wait >= Duration::from_millis(expected - 10), "{waits:?}");
        assert!(*wait < Duration::from_millis(expected) + SOON, "{waits:?}");
    }
    assert_eq!(waits.len(), 3);
}
