//! What is changed takes effect everywhere within a second, without a restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::{Client, Cluster, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Receiver, eventually};

/// A change reaches every replica in this time.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Enough events to reach every shard, and so every replica.
const PROBES: usize = 40;

/// The ids of events that were sent a second and more after now, one after the other.
async fn emit_from_a_second_on(client: &Client) -> BTreeSet<String> {
    let changed = Instant::now();
    let mut late = BTreeSet::new();
    eventually(SOON, "enough late events", async || {
        let is_late = changed.elapsed() >= EFFECTIVE_WITHIN;
        let answer = client
            .post_event(&json!({"type": "live.test", "data": {}}))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        if is_late {
            late.insert(answer.json()["id"].as_str().unwrap().to_owned());
        }
        (late.len() >= PROBES).then_some(())
    })
    .await;
    late
}

/// Who was called for each of these events, as soon as all of them are settled.
async fn called_for(client: &Client, ids: &BTreeSet<String>) -> BTreeSet<String> {
    let lines = client
        .logs_when(
            &["--limit", "10000"],
            "every late event is settled",
            |lines| {
                let settled = lines.iter().filter(|line| line["status"] != "staged");
                let seen: BTreeSet<_> = settled
                    .filter_map(|line| line["event_id"].as_str())
                    .collect();
                ids.iter().all(|id| seen.contains(id.as_str()))
            },
        )
        .await;
    let of_ids = lines
        .iter()
        .filter(|line| ids.contains(line["event_id"].as_str().unwrap()));
    let called: Vec<_> = of_ids
        .map(|line| line["trigger"].as_str().unwrap_or("nobody"))
        .collect();
    assert_eq!(called.len(), ids.len(), "one line for each");
    called.into_iter().map(str::to_owned).collect()
}

fn only(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

#[tokio::test]
async fn triggers_come_change_and_go_on_all_replicas_within_a_second() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("live", &receiver.url("/"), &[])
        .await;
    let update = ["triggers", "update", "watching"];
    let steps: [(&str, Vec<&str>, &str); 6] = [
        (
            "created",
            vec![
                "triggers",
                "create",
                "watching",
                "--function",
                "live",
                "--on",
                "live.*",
            ],
            "watching",
        ),
        (
            "switched off",
            [&update[..], &["--enabled", "false"]].concat(),
            "nobody",
        ),
        (
            "switched on again",
            [&update[..], &["--enabled", "true"]].concat(),
            "watching",
        ),
        (
            "asks for others",
            [&update[..], &["--on", "other.*"]].concat(),
            "nobody",
        ),
        (
            "asks for it again",
            [&update[..], &["--on", "live.test"]].concat(),
            "watching",
        ),
        ("deleted", vec!["triggers", "delete", "watching"], "nobody"),
    ];
    for (what, words, called) in steps {
        client.run(&words).await.done();
        let late = emit_from_a_second_on(&client).await;
        assert_eq!(called_for(&client, &late).await, only(called), "{what}");
    }
}

#[tokio::test]
async fn a_functions_new_address_is_called_within_a_second_by_every_worker() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("moving", &receiver.url("/first"), &["--on", "live.test"])
        .await;
    client
        .run(&[
            "functions",
            "update",
            "moving",
            "--url",
            &receiver.url("/second"),
        ])
        .await
        .done();
    let late = emit_from_a_second_on(&client).await;
    assert_eq!(called_for(&client, &late).await, only("moving"));
    for request in receiver.requests() {
        let id = request.json()["id"].as_str().unwrap().to_owned();
        assert!(
            request.path == "/second" || !late.contains(&id),
            "{id} went to {}",
            request.path
        );
    }
}

#[tokio::test]
async fn a_trigger_created_switched_off_waits_to_be_switched_on() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    client
        .run(&[
            "functions",
            "create",
            "sleeper",
            "--url",
            &receiver.url("/"),
        ])
        .await
        .done();
    let words = [
        "triggers",
        "create",
        "asleep",
        "--function",
        "sleeper",
        "--on",
        "live.test",
    ];
    let created = client
        .run(&[&words[..], &["--disabled"]].concat())
        .await
        .done()
        .object();
    assert_eq!(created["enabled"], false);
    let late = emit_from_a_second_on(&client).await;
    assert_eq!(called_for(&client, &late).await, only("nobody"));
    let updated = client
        .run(&["triggers", "update", "asleep", "--enabled", "true"])
        .await
        .done();
    assert_eq!(updated.object()["enabled"], true);
    let late = emit_from_a_second_on(&client).await;
    assert_eq!(called_for(&client, &late).await, only("asleep"));
}

#[tokio::test]
async fn deleting_a_trigger_cancels_what_waits_embedded() {
    let system = Embedded::start().await;
    waiting_is_cancelled(
        &system.client(),
        &["triggers", "delete", "unlucky"],
        "trigger_deleted",
    )
    .await;
}

#[tokio::test]
async fn deleting_a_function_cancels_what_waits_embedded() {
    let system = Embedded::start().await;
    waiting_is_cancelled(
        &system.client(),
        &["functions", "delete", "unlucky"],
        "_deleted",
    )
    .await;
}

#[tokio::test]
async fn deleting_a_trigger_cancels_what_waits_in_the_services() {
    let cluster = Cluster::start(1).await;
    waiting_is_cancelled(
        &cluster.client(),
        &["triggers", "delete", "unlucky"],
        "trigger_deleted",
    )
    .await;
}

async fn waiting_is_cancelled(client: &Client, deletion: &[&str], remark: &str) {
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    // Long enough to delete something meanwhile; when it is due at the latest, it is cancelled.
    let options = ["--on", "live.test", "--interval", "5s"];
    client
        .create_function("unlucky", &receiver.url("/"), &options)
        .await;
    for _ in 0..3 {
        client.emit("live.test", &["--data", "{}"]).await;
    }
    client
        .logs_when(&["--status", "staged"], "three that wait", |lines| {
            lines.len() == 3 && lines.iter().all(|line| line["attempts"] == 1)
        })
        .await;
    client.run(deletion).await.done();
    let lines = client
        .logs_when(&["--status", "cancel"], "three cancelled", |lines| {
            lines.len() == 3
        })
        .await;
    for line in lines {
        assert!(line["remark"].as_str().unwrap().ends_with(remark), "{line}");
        assert_eq!(line["next_attempt_at"], Value::Null, "{line}");
    }
    assert_eq!(receiver.count(), 3);
}

#[tokio::test]
async fn a_paused_receiver_sees_what_its_updated_policy_says() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let options = ["--on", "live.test", "--retries", "0"];
    client
        .create_function("changing", &receiver.url("/"), &options)
        .await;
    let emitted = client.emit("live.test", &["--data", "{}"]).await;
    client
        .log_line(emitted["eid"].as_str().unwrap(), "failed")
        .await;
    assert_eq!(receiver.count(), 1);

    let words = [
        "triggers",
        "update",
        "changing",
        "--retries",
        "1",
        "--interval",
        "100ms",
    ];
    let updated = client.run(&words).await.done().object();
    assert_eq!(
        (
            &updated["retry"]["retries"],
            &updated["retry"]["interval_ms"]
        ),
        (&json!(1), &json!(100))
    );
    assert_eq!(
        updated["retry"]["timeout_ms"], 5000,
        "what is not named stays"
    );
    let emitted = client.emit("live.test", &["--data", "{}"]).await;
    client
        .log_line(emitted["eid"].as_str().unwrap(), "failed")
        .await;
    assert_eq!(receiver.count(), 3);
}
