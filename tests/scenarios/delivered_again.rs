//! What failed is delivered again when its receiver is mended, and events find new functions.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Client, Cluster, Embedded, Role, SOON};
use serde_json::{Value, json};
use testkit::{Received, Receiver, eventually};

async fn broken_function(client: &Client, receiver: &Receiver) {
    receiver.answer_with(400);
    let options = ["--on", "shop.order.paid", "--retries", "0"];
    client
        .create_function("broken", &receiver.url("/"), &options)
        .await;
}

fn ids(requests: &[Received]) -> Vec<&str> {
    requests
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect()
}

#[tokio::test]
async fn x_13_a_failed_delivery_is_made_again_under_its_own_id_embedded() {
    let system = Embedded::start().await;
    a_failed_delivery_is_made_again_under_its_own_id(&system.client()).await;
}

#[tokio::test]
async fn a_failed_delivery_is_made_again_under_its_own_id_by_the_services() {
    let cluster = Cluster::start(1).await;
    a_failed_delivery_is_made_again_under_its_own_id(&cluster.client()).await;
}

async fn a_failed_delivery_is_made_again_under_its_own_id(client: &Client) {
    let receiver = Receiver::start().await;
    broken_function(client, &receiver).await;
    let emitted = client.emit("shop.order.paid", &[]).await;
    let eid = emitted["eid"].as_str().unwrap();
    let failed = client.log_line(eid, "failed").await;
    let delivery = failed["delivery_id"].as_str().unwrap();
    let redrive = ["deliveries", "redrive", delivery];

    // Too early: it fails once more.
    client.run(&redrive).await.done();
    let line = client
        .logs_when(&["--event", eid], "the second failure", |lines| {
            lines[0]["status"] == "failed" && lines[0]["generation"] == 1
        })
        .await;
    assert_eq!(line[0]["attempts"], 1, "attempts begin anew");
    receiver.answer_with(200);
    // Deleted meanwhile, the trigger takes nothing with it that was ordered.
    client.run(&["triggers", "delete", "broken"]).await.done();
    let told = client.run(&redrive).await.done().objects();
    assert_eq!(told.last().unwrap()["state"], "done", "{told:#?}");
    client.log_line(eid, "processed").await;

    let requests = receiver.requests();
    assert_eq!(ids(&requests), [delivery; 3]);
    let history = client.history(eid).await;
    let shown = &history["deliveries"][0];
    let generations: Vec<_> = shown["attempt_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| {
            (
                &attempt["generation"],
                &attempt["number"],
                &attempt["response_status"],
            )
        })
        .collect();
    let expected = [json!([0, 1, 400]), json!([1, 1, 400]), json!([2, 1, 200])];
    assert_eq!(json!(generations), json!(expected));
    let orders = shown["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 2);
    assert_eq!(
        (&orders[1]["generation"], &orders[1]["kind"]),
        (&json!(2), &json!("redrive"))
    );
    // What was accepted is not made again.
    let refused = client.run(&redrive).await.refused(5);
    assert!(refused.contains(delivery), "{refused}");
}

#[tokio::test]
async fn a_time_window_is_counted_first_and_then_delivered_again() {
    let system = Embedded::start().await;
    let client = system.client();
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    broken_function(&client, &receiver).await;
    client.create_function("other", &other.url("/"), &[]).await;
    for number in 0..20 {
        let data = json!({"type": "shop.order.paid", "data": {"n": number}});
        assert_eq!(client.post_event(&data).await.status, 202);
    }
    let unmatched = client.emit("shop.order.lost", &[]).await;
    client
        .logs_when(&["--status", "failed"], "20 failures", |lines| {
            lines.len() == 20
        })
        .await;
    receiver.answer_with(200);
    receiver.clear();

    let window = ["redrive", "--function", "broken", "--since", "1h"];
    let dry = [&window[..], &["--dry-run"]].concat();
    let counted = client.run(&dry).await.done().object();
    assert_eq!(counted["count"], 20);
    assert_eq!(counted["sample"].as_array().unwrap().len(), 10);
    let asked = client.run(&window).await.refused(2);
    assert!(
        asked.contains("20 deliveries match") && asked.contains("--yes"),
        "{asked}"
    );
    assert_eq!(receiver.count(), 0);
    let told = client
        .run(&[&window[..], &["--yes", "--rate", "50/s"]].concat())
        .await;
    let told = told.done().objects();
    let last = told.last().unwrap();
    assert_eq!(
        (&last["state"], &last["sent"]),
        (&json!("done"), &json!(20))
    );
    receiver.wait_for(20, SOON).await;
    client
        .logs_when(&["--status", "processed"], "20 successes", |lines| {
            lines.len() == 20
        })
        .await;

    let replay = ["replay", "--function", "other", "--since", "1h", "--yes"];
    client.run(&replay).await.done();
    let requests = other.wait_for(21, SOON).await;
    let distinct: BTreeSet<_> = ids(&requests).into_iter().collect();
    assert_eq!(distinct.len(), 21);
    let has_unmatched =
        |request: &Received| request.header("x-event-id") == unmatched["eid"].as_str();
    assert!(
        requests.iter().any(has_unmatched),
        "also what had matched nothing"
    );
    let lines = client
        .logs_when(&["--function", "other"], "21 replayed", |lines| {
            lines.len() == 21 && lines.iter().all(|line| line["status"] == "processed")
        })
        .await;
    assert!(lines.iter().all(|line| line["generation"] == 1));
    let listed = client.run(&["redrive", "list"]).await.done().objects();
    let kinds: Vec<_> = listed.iter().map(|order| &order["kind"]).collect();
    assert_eq!(kinds, ["replay", "redrive"]);
    let people = client.run_as_people_do(&["redrive", "list"]).await.done();
    assert!(people.stdout.contains("ORDER"), "{}", people.stdout);
}

#[tokio::test]
async fn a_redrive_survives_the_death_of_its_log_service() {
    const FAILED: usize = 60;
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    broken_function(&client, &receiver).await;
    for _ in 0..FAILED {
        let event = json!({"type": "shop.order.paid"});
        assert_eq!(client.post_event(&event).await.status, 202);
    }
    client
        .logs_when(&["--status", "failed"], "all failures", |lines| {
            lines.len() == FAILED
        })
        .await;
    receiver.answer_with(200);
    receiver.clear();
    let words = ["redrive", "--since", "1h", "--yes", "--rate", "20/s"];
    let _watching = client.start(&words);
    receiver.wait_for(5, SOON).await;
    cluster.kill9(Role::LogService, 0);
    cluster.restart(Role::LogService, 0).await;
    let all = eventually(SOON, "every delivery", async || {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for id in ids(&receiver.requests()) {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        (counts.len() == FAILED).then_some(counts)
    })
    .await;
    let repeated: usize = all.values().map(|count| count - 1).sum();
    assert!(repeated <= 20, "at most a batch is repeated: {repeated}");
    let listed = client
        .logs_when(&["--status", "processed"], "all processed", |lines| {
            lines.len() == FAILED
        })
        .await;
    assert!(listed.iter().all(|line: &Value| line["generation"] == 1));
    eventually(SOON, "the order is done", async || {
        let listed = client.run(&["redrive", "list"]).await.done().objects();
        (listed[0]["state"] == "done" && listed[0]["sent"] == FAILED).then_some(())
    })
    .await;
}
