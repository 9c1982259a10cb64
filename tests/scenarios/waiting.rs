//! What must wait is seen, paused, put off, cancelled and kept in order, from the command line.

use std::time::{Duration, Instant};

use domain::Timestamp;
use harness::{Client, Cluster, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Receiver, eventually};

const ON: [&str; 2] = ["--on", "waiting.test"];

async fn emit(client: &Client, options: &[&str]) -> String {
    let emitted = client.emit("waiting.test", options).await;
    emitted["eid"].as_str().unwrap().to_owned()
}

async fn waiting(client: &Client) -> Vec<Value> {
    let listed = client.run(&["deliveries", "list"]).await.done();
    listed.objects()
}

async fn wait_until_there_are(client: &Client, count: usize) -> Vec<Value> {
    eventually(SOON, "they wait", async || {
        let waiting = waiting(client).await;
        (waiting.len() == count).then_some(waiting)
    })
    .await
}

#[tokio::test]
async fn a_paused_function_loses_nothing_embedded() {
    let system = Embedded::start().await;
    a_paused_function_loses_nothing(&system.client()).await;
}

#[tokio::test]
async fn a_paused_function_loses_nothing_from_the_services() {
    let cluster = Cluster::start(1).await;
    a_paused_function_loses_nothing(&cluster.client()).await;
}

async fn a_paused_function_loses_nothing(client: &Client) {
    let receiver = Receiver::start().await;
    client
        .create_function("paused", &receiver.url("/"), &ON)
        .await;
    let paused = client.run(&["functions", "pause", "paused"]).await.done();
    assert_eq!(paused.object()["settings"]["paused"], true);
    let mut eids = Vec::new();
    for _ in 0..5 {
        eids.push(emit(client, &[]).await);
    }
    let listed = wait_until_there_are(client, 5).await;
    assert!(
        listed.iter().all(|line| line["reason"] == "paused"),
        "{listed:?}"
    );
    let backlog = client.run(&["deliveries", "backlog"]).await.done().object();
    assert_eq!(
        (
            &backlog["function"],
            &backlog["reason"],
            &backlog["deliveries"]
        ),
        (&json!("paused"), &json!("paused"), &json!(5))
    );
    assert_eq!(receiver.count(), 0);
    client.run(&["functions", "resume", "paused"]).await.done();
    for eid in eids {
        client.log_line(&eid, "processed").await;
    }
    assert_eq!(receiver.count(), 5);
    wait_until_there_are(client, 0).await;

    client.run(&["projects", "pause"]).await.done();
    let eid = emit(client, &[]).await;
    wait_until_there_are(client, 1).await;
    let resumed = client.run(&["projects", "resume"]).await.done();
    assert_eq!(resumed.object()["paused"], false);
    client.log_line(&eid, "processed").await;
}

#[tokio::test]
async fn s2_54_an_event_for_later_is_called_then_and_can_be_put_off_hastened_and_cancelled() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    client
        .create_function("later", &receiver.url("/"), &ON)
        .await;
    let began = Instant::now();
    let eid = emit(&client, &["--delay", "2s"]).await;
    let staged = client.log_line(&eid, "staged").await;
    assert!(staged["next_attempt_at"].is_string(), "{staged}");
    client.log_line(&eid, "processed").await;
    let waited = receiver.requests()[0].received_instant - began;
    assert!(waited >= Duration::from_millis(1_900), "{waited:?}");

    let at = (Timestamp::now() + Duration::from_secs(3_600)).to_string();
    let cancelled = emit(&client, &["--deliver-at", &at]).await;
    let listed = wait_until_there_are(&client, 1).await;
    assert_eq!(listed[0]["reason"], "scheduled");
    let id = listed[0]["id"].as_str().unwrap();
    client
        .run(&["deliveries", "reschedule", id, "--in", "2h"])
        .await
        .done();
    assert!(waiting(&client).await[0]["due_at"].as_str().unwrap() > at.as_str());
    client
        .run(&["deliveries", "reschedule", id, "--in", "8d"])
        .await
        .refused(3);
    client.run(&["deliveries", "cancel", id]).await.done();
    let line = client.log_line(&cancelled, "cancel").await;
    assert_eq!(line["remark"], "cancelled by operator");
    client.run(&["deliveries", "cancel", id]).await.refused(5);
    client
        .run(&["deliveries", "cancel", "dlv_nonsense"])
        .await
        .refused(3);

    let hastened = emit(&client, &["--delay", "1h"]).await;
    let listed = wait_until_there_are(&client, 1).await;
    let id = listed[0]["id"].as_str().unwrap();
    client.run(&["deliveries", "retry-now", id]).await.done();
    client.log_line(&hastened, "processed").await;
    assert_eq!(receiver.count(), 2, "the cancelled one was not sent");
    client
        .run(&["emit", "waiting.test", "--delay", "7d"])
        .await
        .refused(3);
}

#[tokio::test]
async fn events_of_one_key_are_called_in_order_although_some_fail_embedded() {
    let system = Embedded::start().await;
    events_of_one_key_are_called_in_order_although_some_fail(&system.client()).await;
}

#[tokio::test]
async fn events_of_one_key_are_called_in_order_although_some_fail_from_the_services() {
    let cluster = Cluster::start(1).await;
    events_of_one_key_are_called_in_order_although_some_fail(&cluster.client()).await;
}

async fn events_of_one_key_are_called_in_order_although_some_fail(client: &Client) {
    const EVENTS: usize = 12;
    let receiver = Receiver::start().await;
    receiver.answer_sequence([200, 500, 200, 200, 503, 500, 200]);
    let url = receiver.url("/");
    let options = [&ON[..], &["--interval", "200ms"]].concat();
    client.create_function("ordered", &url, &options).await;
    client
        .run(&["triggers", "update", "ordered", "--ordering", "key"])
        .await
        .done();
    for number in 0..EVENTS {
        let data = format!("{{\"number\":{number}}}");
        emit(client, &["--subject", "orders/1", "--data", &data]).await;
    }
    let requests = receiver.wait_for(EVENTS + 3, SOON).await;
    let numbers: Vec<_> = requests
        .iter()
        .map(|request| request.json()["data"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    wait_until_there_are(client, 0).await;
}
