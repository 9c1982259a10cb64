//! The events of a key arrive one after the other, whatever fails and whoever dies.
#![expect(clippy::print_stderr, reason = "the counts are part of what is shown")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Client, Cluster, Options, Role, Shape};
use serde_json::{Value, json};
use testkit::{Answer, Receiver, eventually};

const KEYS: usize = 1_000;
const EVENTS_OF_KEY: usize = 50;
const EVENTS_IN_A_REQUEST: usize = 1_000;
/// One call in so many fails, whichever that is.
const FAILS_EVERY: u64 = 20;
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(300);

/// What the receiver has seen of each key.
#[derive(Debug)]
struct Seen {
    /// How many events of the key were answered with success, the first ones of it.
    settled: Vec<usize>,
    calls: u64,
    failed: u64,
    repeated: u64,
    /// Events that came before the one in front of them was settled.
    too_early: Vec<String>,
}

impl Seen {
    fn call(&mut self, key: usize, number: usize) -> u16 {
        self.calls += 1;
        let settled = self.settled[key];
        if number > settled {
            self.too_early.push(format!(
                "{number} of key {key}, of which {settled} were settled"
            ));
        }
        if self.calls.is_multiple_of(FAILS_EVERY) {
            self.failed += 1;
            return 500;
        }
        if number < settled {
            self.repeated += 1;
        } else {
            self.settled[key] = number + 1;
        }
        200
    }

    fn total(&self) -> usize {
        self.settled.iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_sees_an_event_before_the_one_in_front_of_it_was_settled() {
    let mut cluster = Cluster::start_with(Options {
        shape: Shape::Replicas(2),
        ..Options::default()
    })
    .await;
    let client = cluster.client();
    let seen = Arc::new(Mutex::new(Seen {
        settled: vec![0; KEYS],
        calls: 0,
        failed: 0,
        repeated: 0,
        too_early: Vec::new(),
    }));
    let receiver = Receiver::start().await;
    let noted = Arc::clone(&seen);
    receiver.answer_by(move |request| {
        let data = &request.json()["data"];
        let number = |name: &str| usize::try_from(data[name].as_u64().unwrap()).unwrap();
        let status = noted.lock().unwrap().call(number("key"), number("number"));
        Answer::status(status)
    });
    client
        .create_function("steps", &receiver.url("/"), &[])
        .await;
    // In force in both replicas, and ordered from the beginning.
    let options = [
        "--on",
        "load.step",
        "--ordering",
        "key",
        "--retries",
        "20",
        "--interval",
        "100ms",
    ];
    client.create_trigger("ordered", "steps", &options).await;
    emit(&client).await;
    for (index, share) in [(0, 4), (1, 2)] {
        settled(&seen, KEYS * EVENTS_OF_KEY / share).await;
        cluster.kill9(Role::DeliveryWorker, index);
        cluster.restart(Role::DeliveryWorker, index).await;
    }
    settled(&seen, KEYS * EVENTS_OF_KEY).await;
    let seen = seen.lock().unwrap();
    eprintln!(
        "{} events of {KEYS} keys, {} calls failed, two workers killed: {} calls were repeated",
        seen.total(),
        seen.failed,
        seen.repeated
    );
    assert_eq!(seen.too_early, Vec::<String>::new());
}

async fn emit(client: &Client) {
    let event = |place: usize| {
        let (key, number) = (place % KEYS, place / KEYS);
        json!({
            "type": "load.step",
            "subject": format!("orders/{key}"),
            "data": {"key": key, "number": number},
        })
    };
    for first in (0..KEYS * EVENTS_OF_KEY).step_by(EVENTS_IN_A_REQUEST) {
        let events = (first..first + EVENTS_IN_A_REQUEST).map(event).collect();
        let answer = client.post_event(&Value::Array(events)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

async fn settled(seen: &Mutex<Seen>, events: usize) {
    eventually(ARRIVAL_DEADLINE, "events of every key arrive", async || {
        (seen.lock().unwrap().total() >= events).then_some(())
    })
    .await;
}
