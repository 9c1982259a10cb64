//! A worker that dies in the middle of its work: what it had in hand is delivered again, and little more.
#![expect(clippy::print_stderr, reason = "the counts are part of what is shown")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Client, Cluster, Ledger, Options, Role, Shape};
use serde_json::json;
use testkit::{Answer, Receiver, eventually};

const EVENTS: usize = 20_000;
const EVENTS_IN_A_REQUEST: usize = 500;
/// Each worker has at most this many requests under way.
const IN_FLIGHT_MAX: usize = 100;
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_repeats_a_small_part_of_what_it_had_in_hand() {
    let mut cluster = Cluster::start_with(Options {
        shape: Shape::Replicas(2),
        variables: vec![
            (
                "TRIPLINE__DELIVERY_WORKER__IN_FLIGHT_MAX".to_owned(),
                IN_FLIGHT_MAX.to_string(),
            ),
            // The bound holds as long as Redis answers, however slow the machine is.
            (
                "TRIPLINE__COORDINATION__TIMEOUT".to_owned(),
                "10s".to_owned(),
            ),
        ],
        ..Options::default()
    })
    .await;
    let client = cluster.client();
    let ledger = Ledger::default();
    let calls = Arc::new(AtomicUsize::new(0));
    // Several, so that both workers have endpoints of their own.
    let mut receivers = Vec::new();
    for number in 0..8 {
        let receiver = Receiver::start().await;
        let (ledger, calls) = (ledger.clone(), Arc::clone(&calls));
        receiver.answer_by(move |request| {
            calls.fetch_add(1, Ordering::Relaxed);
            ledger.arrived(request.json()["id"].as_str().unwrap_or_default());
            Answer::status(200).after(Duration::from_millis(5))
        });
        let on = format!("load.t{number}");
        client
            .create_function(
                &format!("loaded-{number}"),
                &receiver.url("/"),
                &["--on", &on],
            )
            .await;
        receivers.push(receiver);
    }
    emit(&client, &ledger).await;
    for (index, share) in [(0, 4), (1, 2)] {
        called(&calls, EVENTS / share).await;
        cluster.kill9(Role::DeliveryWorker, index);
        cluster.restart(Role::DeliveryWorker, index).await;
    }
    eventually(ARRIVAL_DEADLINE, "everything arrives", async || {
        (ledger.arrived_count() >= EVENTS).then_some(())
    })
    .await;
    eprintln!(
        "two workers killed: {} requests were duplicates",
        ledger.duplicates()
    );
    assert_eq!(ledger.missing(), Vec::<String>::new());
    // No more than were under way when the two died. Without the notes 982 were repeated.
    assert!(
        ledger.duplicates() <= 2 * u64::try_from(IN_FLIGHT_MAX).unwrap(),
        "{} were repeated",
        ledger.duplicates()
    );
}

async fn emit(client: &Client, ledger: &Ledger) {
    for first in (0..EVENTS).step_by(EVENTS_IN_A_REQUEST) {
        let event = |number: usize| json!({"id": format!("load-{number}"), "type": format!("load.t{}", number % 8), "data": {}});
        let events = (first..first + EVENTS_IN_A_REQUEST).map(event).collect();
        let answer = client.post_event(&serde_json::Value::Array(events)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        for number in first..first + EVENTS_IN_A_REQUEST {
            ledger.accepted(format!("load-{number}"));
        }
    }
}

async fn called(calls: &AtomicUsize, times: usize) {
    eventually(ARRIVAL_DEADLINE, "calls arrive", async || {
        (calls.load(Ordering::Relaxed) >= times).then_some(())
    })
    .await;
}
