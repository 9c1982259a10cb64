//! The very same as four services with replicas, on RabbitMQ, PostgreSQL and Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Client, Cluster, Ledger, Options, Role, SOON, Shape};
use serde_json::json;
use testkit::{Answer, Receiver, eventually};

use crate::quick_start::walk_through;

const FINISHED: &str = "everything in flight was finished";

#[tokio::test]
async fn two_replicas_of_each_do_what_one_process_does_and_drain_at_sigterm() {
    let mut cluster = Cluster::start(2).await;
    walk_through(&cluster.client()).await;
    every_pair_of_replicas_works(&cluster).await;

    for (member, code) in cluster.stop_all().await {
        assert_eq!(code, Some(0), "{member:?}");
        let output = cluster.output(member.0, member.1);
        assert!(output.contains(FINISHED), "{member:?}: {output}");
    }
}

async fn every_pair_of_replicas_works(cluster: &Cluster) {
    let receiver = Receiver::start().await;
    let client = cluster.client_of(1);
    client
        .create_function("both", &receiver.url("/both"), &["--on", "both.replicas"])
        .await;
    for index in 0..2 {
        let client = cluster.client_of(index);
        for _ in 0..10 {
            let emitted = client.emit("both.replicas", &["--data", "{}"]).await;
            assert_eq!(emitted["duplicate"], false);
        }
    }
    receiver.wait_for(20, SOON).await;
    for index in 0..2 {
        let lines = cluster
            .client_of(index)
            .logs_when(
                &["--function", "both", "--status", "processed"],
                "20 lines",
                |lines| lines.len() == 20,
            )
            .await;
        let deliveries: BTreeSet<_> = lines
            .iter()
            .map(|line| &line["delivery_id"])
            .map(ToString::to_string)
            .collect();
        assert_eq!(deliveries.len(), 20);
    }
    assert_eq!(receiver.count(), 20);
}

#[tokio::test]
async fn one_process_serves_all_on_the_same_ground() {
    let options = Options {
        shape: Shape::AllInOne,
        ..Options::default()
    };
    let mut cluster = Cluster::start_with(options).await;
    walk_through(&cluster.client()).await;
    assert_eq!(cluster.stop(Role::All, 0).await, Some(0));
}

#[tokio::test]
async fn what_is_under_way_at_sigterm_is_finished_and_not_repeated() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::status(200).after(Duration::from_secs(1)));
    client
        .create_function("slow", &receiver.url("/"), &["--on", "slow.call"])
        .await;
    let emitted = client.emit("slow.call", &["--data", "{}"]).await;
    receiver.wait_for(1, SOON).await;

    assert_eq!(cluster.stop(Role::DeliveryWorker, 0).await, Some(0));
    assert!(cluster.output(Role::DeliveryWorker, 0).contains(FINISHED));
    client
        .log_line(emitted["eid"].as_str().unwrap(), "processed")
        .await;
    cluster.restart(Role::DeliveryWorker, 0).await;
    client.emit("slow.call", &["--data", "{}"]).await;
    receiver.wait_for(2, SOON).await;
    client
        .logs_when(&["--status", "processed"], "two lines", |lines| {
            lines.len() == 2
        })
        .await;
    assert_eq!(receiver.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_replica_of_each_dies_the_others_take_over() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client_of(1);
    let receiver = Receiver::start().await;
    let ledger = Ledger::default();
    let arrivals = ledger.clone();
    receiver.answer_by(move |request| {
        arrivals.arrived(request.json()["id"].as_str().unwrap_or_default());
        Answer::status(200)
    });
    client
        .create_function("survivor", &receiver.url("/"), &["--on", "take.over"])
        .await;
    post_some(&client, "before", &ledger).await;
    for role in Role::SERVICES {
        cluster.kill9(role, 0);
        post_some(&client, role.as_str(), &ledger).await;
    }
    // A lost worker's shards move within 10 s.
    eventually(SOON, "every event arrives", async || {
        ledger.missing().is_empty().then_some(())
    })
    .await;
}

async fn post_some(client: &Client, label: &str, ledger: &Ledger) {
    for number in 0..50 {
        let id = format!("{label}-{number}");
        let event = json!({"id": id, "type": "take.over", "data": {"number": number}});
        client.post_until_accepted(&id, &event, ledger).await;
    }
}

#[tokio::test]
async fn an_outage_of_the_log_service_loses_nothing_and_slows_nobody() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("unlogged", &receiver.url("/"), &["--on", "log.outage"])
        .await;
    cluster.kill9(Role::LogService, 0);
    for _ in 0..20 {
        client.emit("log.outage", &["--data", "{}"]).await;
    }
    receiver.wait_for(20, SOON).await;
    cluster.restart(Role::LogService, 0).await;
    client
        .logs_when(&["--status", "processed"], "20 lines", |lines| {
            lines.len() == 20
        })
        .await;
}
