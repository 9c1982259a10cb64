//! Nothing accepted is ever lost, whoever is killed and whenever.
#![expect(clippy::print_stderr, reason = "the counts are part of what is shown")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Client, Cluster, Embedded, Ledger, Options, Role, SOON};
use serde_json::json;
use testkit::servers::{self, RabbitMq};
use testkit::{Answer, Received, Receiver, eventually};
use tokio::task::JoinSet;

/// As the promise says. Unoptimised it takes about a minute on two cores.
const EVENTS: usize = 20_000;

/// As many at once as a busy client has open.
const CALLERS: usize = 32;

/// After the last restart everything has to arrive within this time.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(180);

/// One in so many is refused at first, so that retries are always waiting.
const REFUSED_ONE_IN: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_each_service_and_the_broker_in_turn_loses_nothing_that_was_accepted() {
    let durable = servers::Options {
        durable: true,
        ..servers::Options::default()
    };
    let mut broker = RabbitMq::start_with(durable).await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let options = Options {
        broker_url: Some(vhost.url()),
        ..Options::default()
    };
    let mut cluster = Cluster::start_with(options).await;
    let ledger = Ledger::default();
    let receiver = Receiver::start().await;
    let refused = refuse_some_at_first(&receiver, &ledger);
    let client = cluster.client();
    let options = ["--on", "load.test", "--interval", "1s", "--retries", "20"];
    client
        .create_function("loaded", &receiver.url("/"), &options)
        .await;

    let began = Instant::now();
    let mut callers = start_callers(&client, EVENTS, &ledger);
    let kills = Role::SERVICES.len() + 1;
    for (place, role) in Role::SERVICES.into_iter().enumerate() {
        accepted_share(&ledger, place + 1, kills + 1).await;
        cluster.kill9(role, 0);
        cluster.restart(role, 0).await;
    }
    accepted_share(&ledger, kills, kills + 1).await;
    broker.kill().unwrap();
    broker.restart().await.unwrap();
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let accepted_after = began.elapsed();
    everything_arrives(&ledger).await;
    eprintln!(
        "{} events accepted in {accepted_after:.1?} with {kills} kills, all arrived after {:.1?}; \
         {} requests were duplicates; {} first attempts were refused",
        ledger.accepted_count(),
        began.elapsed(),
        ledger.duplicates(),
        refused.load(Ordering::Relaxed),
    );
    assert_eq!(ledger.accepted_count(), EVENTS);
    assert!(refused.load(Ordering::Relaxed) > EVENTS / REFUSED_ONE_IN / 2);
    the_log_knows_every_ending(&client, &ledger).await;
}

/// Every event was delivered, so every line of the log comes to say so.
async fn the_log_knows_every_ending(client: &Client, ledger: &Ledger) {
    eventually(
        ARRIVAL_DEADLINE,
        "no delivery is left open in the log",
        async || {
            client
                .logs(&["--status", "staged", "--limit", "1"])
                .await
                .is_empty()
                .then_some(())
        },
    )
    .await;
    let failed = client
        .logs(&["--status", "failed", "--status", "cancel"])
        .await;
    assert!(failed.is_empty(), "{failed:#?}");
    let sample = ledger.accepted_sample();
    assert_eq!(
        client.log_line(&sample, "processed").await["function"],
        "loaded"
    );
}

/// Notes down what arrives; one event in fifty is answered 503 once. Counts those.
fn refuse_some_at_first(receiver: &Receiver, ledger: &Ledger) -> Arc<AtomicUsize> {
    let (ledger, refused) = (ledger.clone(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&refused);
    receiver.answer_by(move |request| {
        if request.header("x-attempt") == Some("1")
            && number(request).is_multiple_of(REFUSED_ONE_IN)
        {
            counter.fetch_add(1, Ordering::Relaxed);
            return Answer::status(503);
        }
        ledger.arrived(request.json()["id"].as_str().unwrap_or_default());
        Answer::status(200)
    });
    refused
}

fn number(request: &Received) -> usize {
    let number = request.json()["data"]["number"]
        .as_u64()
        .unwrap_or_default();
    usize::try_from(number).unwrap()
}

/// Each caller posts its share, one event a request, each until it is accepted.
fn start_callers(client: &Client, events: usize, ledger: &Ledger) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, ledger) = (client.clone(), ledger.clone());
        callers.spawn(async move {
            for number in (caller..events).step_by(CALLERS) {
                let id = format!("load-{number}");
                let data = json!({"number": number, "padding": "x".repeat(100)});
                let event = json!({"id": id, "type": "load.test", "data": data});
                client.post_until_accepted(&id, &event, &ledger).await;
            }
        });
    }
    callers
}

async fn accepted_share(ledger: &Ledger, share: usize, of: usize) {
    let what = format!("{share} of {of} parts are accepted");
    eventually(ARRIVAL_DEADLINE, &what, async || {
        (ledger.accepted_count() >= EVENTS * share / of).then_some(())
    })
    .await;
}

async fn everything_arrives(ledger: &Ledger) {
    let arrived = tokio::time::timeout(
        ARRIVAL_DEADLINE,
        eventually(ARRIVAL_DEADLINE * 2, "everything arrives", async || {
            (ledger.arrived_count() >= ledger.accepted_count() && ledger.missing().is_empty())
                .then_some(())
        }),
    );
    let in_time = arrived.await.is_ok();
    let missing = ledger.missing();
    let few = missing.get(..missing.len().min(20)).unwrap_or_default();
    let accepted = ledger.accepted_count();
    assert!(
        in_time,
        "{} of {accepted} never arrived: {few:?}",
        missing.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_08_what_up_has_accepted_survives_a_kill_right_after_the_answer() {
    let mut system = Embedded::start().await;
    let ledger = Ledger::default();
    let receiver = Receiver::start().await;
    let arrivals = ledger.clone();
    receiver.answer_by(move |request| {
        arrivals.arrived(request.json()["id"].as_str().unwrap_or_default());
        Answer::status(200)
    });
    let client = system.client();
    client
        .create_function("kept", &receiver.url("/"), &["--on", "kill.test"])
        .await;
    for round in 0..5 {
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let (client, ledger) = (client.clone(), ledger.clone());
            callers.spawn(async move {
                for number in 0..25 {
                    let id = format!("{round}-{caller}-{number}");
                    let event = json!({"id": id, "type": "kill.test", "data": {}});
                    client.post_until_accepted(&id, &event, &ledger).await;
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        // The last answer has just been read.
        system.kill9();
        system.restart().await;
    }
    everything_arrives(&ledger).await;
    eprintln!(
        "{} accepted, {} duplicates",
        ledger.accepted_count(),
        ledger.duplicates()
    );
    client
        .logs_when(
            &["--limit", "2000", "--status", "processed"],
            "a line each",
            |lines| lines.len() == 1000,
        )
        .await;
}

#[tokio::test]
async fn a_retry_that_waits_happens_after_a_kill_embedded() {
    let mut system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    wait_for_a_retry(&client, &receiver).await;
    system.kill9();
    system.restart().await;
    receiver.wait_for(2, SOON).await;
}

#[tokio::test]
async fn a_retry_that_waits_happens_after_every_service_was_killed() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    wait_for_a_retry(&client, &receiver).await;
    for role in Role::SERVICES {
        cluster.kill9(role, 0);
    }
    for role in Role::SERVICES {
        cluster.restart(role, 0).await;
    }
    receiver.wait_for(2, SOON * 2).await;
    client
        .logs_when(&["--status", "processed"], "it was accepted", |lines| {
            lines.len() == 1
        })
        .await;
}

/// One event is refused, and its next attempt is recorded.
async fn wait_for_a_retry(client: &Client, receiver: &Receiver) {
    receiver.answer_sequence([500, 200]);
    let options = ["--on", "kill.test", "--interval", "2s"];
    client
        .create_function("waiting", &receiver.url("/"), &options)
        .await;
    client.emit("kill.test", &["--data", "{}"]).await;
    receiver.wait_for(1, SOON).await;
    client
        .logs_when(&["--status", "staged"], "the next attempt", |lines| {
            lines.iter().any(|line| line["next_attempt_at"].is_string())
        })
        .await;
}

#[tokio::test]
async fn while_the_broker_is_away_events_are_refused_and_not_forgotten() {
    let durable = servers::Options {
        durable: true,
        ..servers::Options::default()
    };
    let mut broker = RabbitMq::start_with(durable).await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let options = Options {
        broker_url: Some(vhost.url()),
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("later", &receiver.url("/"), &["--on", "broker.away"])
        .await;

    broker.kill().unwrap();
    let event = json!({"id": "one", "type": "broker.away", "data": {}});
    let answer = client.post_event(&event).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["code"], "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    let ready = client
        .http
        .get(&format!("{}/readyz", client.servers.emitter))
        .await
        .unwrap();
    assert_eq!(ready.status, 503, "the door cannot do without the broker");

    broker.restart().await.unwrap();
    client
        .post_until_accepted("one", &event, &Ledger::default())
        .await;
    receiver.wait_for(1, SOON).await;
}
