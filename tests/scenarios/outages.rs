//! What a service can do without, it does without; what comes back is used again.

use std::time::Duration;

use domain::shard;
use harness::{Client, Cluster, Embedded, Options, Role, SOON};
use serde_json::json;
use testkit::{Receiver, TestDatabase, servers};

/// As a system is installed unless somebody says otherwise.
const DELIVERY_SHARDS: u16 = 8;

async fn emit(client: &Client, count: usize) {
    for _ in 0..count {
        let answer = client
            .post_event(&json!({"type": "outage.test", "data": {}}))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// A cluster whose database can go away without anybody else noticing.
async fn with_a_database_of_its_own() -> (servers::Postgres, TestDatabase, Cluster) {
    let postgres = servers::Postgres::start().await.unwrap();
    let database = postgres.database().await;
    let options = Options {
        database_url: Some(database.url()),
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    (postgres, database, cluster)
}

#[tokio::test]
async fn without_redis_nothing_stops() {
    let mut redis = servers::Redis::start().await.unwrap();
    let options = Options {
        redis_url: Some(redis.url()),
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("steady", &receiver.url("/"), &["--on", "outage.test"])
        .await;
    emit(&client, 5).await;
    redis.kill().unwrap();
    emit(&client, 5).await;
    receiver.wait_for(10, SOON).await;
    redis.restart().await.unwrap();
    emit(&client, 5).await;
    receiver.wait_for(15, SOON).await;
    client
        .logs_when(&["--status", "processed"], "15 lines", |lines| {
            lines.len() == 15
        })
        .await;
}

#[tokio::test]
async fn without_the_database_events_are_taken_and_delivered_and_the_log_catches_up() {
    let (mut postgres, _database, cluster) = with_a_database_of_its_own().await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("steady", &receiver.url("/"), &["--on", "outage.test"])
        .await;
    emit(&client, 5).await;
    receiver.wait_for(5, SOON).await;

    postgres.kill().unwrap();
    emit(&client, 5).await;
    receiver.wait_for(10, SOON).await;
    let words = [
        "functions",
        "create",
        "later",
        "--url",
        "http://127.0.0.1:9/",
    ];
    let line = client.run(&words).await.refused(7);
    assert!(line.contains("database"), "{line}");

    postgres.restart().await.unwrap();
    client
        .logs_when(&["--status", "processed"], "ten lines", |lines| {
            lines.len() == 10
        })
        .await;
    client.run(&words).await.done();
}

#[tokio::test]
async fn a_retry_that_is_due_while_the_database_is_away_happens_later() {
    let (mut postgres, _database, cluster) = with_a_database_of_its_own().await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    receiver.answer_sequence([500, 200]);
    let options = ["--on", "outage.test", "--interval", "200ms"];
    client
        .create_function("steady", &receiver.url("/"), &options)
        .await;
    postgres.kill().unwrap();
    emit(&client, 1).await;
    receiver.wait_for(1, SOON).await;
    postgres.restart().await.unwrap();
    receiver.wait_for(2, SOON).await;
    client
        .logs_when(&["--status", "processed"], "one line", |lines| {
            lines.len() == 1
        })
        .await;
}

#[tokio::test]
async fn what_stands_in_line_waits_for_the_database_and_what_comes_behind_it_does_not() {
    let (mut postgres, _database, cluster) = with_a_database_of_its_own().await;
    let client = cluster.client();
    let (in_line, free) = (Receiver::start().await, Receiver::start().await);
    for (name, receiver, on) in [
        ("in-line", &in_line, "outage.ordered"),
        ("free", &free, "outage.test"),
    ] {
        client
            .create_function(name, &receiver.url("/"), &["--on", on])
            .await;
    }
    client
        .run(&["triggers", "update", "in-line", "--ordering", "key"])
        .await
        .done();
    let emit = async |event_type: &str, number: usize| {
        // Of one subject, they are all in one shard.
        let event = json!({"type": event_type, "subject": "one", "data": {"number": number}});
        let answer = client.post_event(&event).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    emit("outage.ordered", 0).await;
    in_line.wait_for(1, SOON).await;

    postgres.kill().unwrap();
    for number in 1..=5 {
        emit("outage.ordered", number).await;
        emit("outage.test", number).await;
    }
    free.wait_for(5, SOON).await;
    assert_eq!(in_line.requests().len(), 1);

    postgres.restart().await.unwrap();
    in_line.wait_for(6, SOON).await;
    let numbers: Vec<_> = in_line
        .requests()
        .iter()
        .map(|request| request.json()["data"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn functions_and_keys_are_known_while_the_function_handler_is_away() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("steady", &receiver.url("/"), &["--on", "outage.test"])
        .await;
    cluster.kill9(Role::FunctionHandler, 0);
    emit(&client, 5).await;
    assert_eq!(
        client
            .without_key()
            .post_event(&json!({"type": "a.b"}))
            .await
            .status,
        401
    );
    cluster.restart(Role::FunctionHandler, 0).await;
    receiver.wait_for(5, SOON).await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_holds_up_none_of_another_shard() {
    let system = Embedded::start().await;
    let client = system.client();
    let slow = Receiver::start().await;
    slow.hang();
    let mut quick = Receiver::start().await;
    while shard(&quick) == shard(&slow) {
        quick = Receiver::start().await;
    }
    let options = ["--on", "outage.test", "--timeout", "20s", "--retries", "0"];
    client
        .create_function("slow-one", &slow.url("/"), &options)
        .await;
    client
        .create_function("quick-one", &quick.url("/"), &["--on", "outage.test"])
        .await;
    emit(&client, 200).await;
    quick.wait_for(200, Duration::from_secs(15)).await;
}

/// The delivery shard of a function there.
fn shard(receiver: &Receiver) -> u16 {
    let project = "default".parse().unwrap();
    shard::of_endpoint(&project, &receiver.url(""), DELIVERY_SHARDS)
}
