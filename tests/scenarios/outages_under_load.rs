//! Each server is away for half a minute and killed, while events go on: nothing accepted is lost.
#![expect(clippy::print_stderr, reason = "the counts are part of what is shown")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Client, Cluster, Ledger, Options};
use serde_json::json;
use testkit::servers::{self, Postgres, RabbitMq, Redis};
use testkit::{Answer, Receiver, eventually};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// As long as the promise says.
const AWAY_FOR: Duration = Duration::from_secs(30);
const CALLERS: usize = 4;
/// Of each caller.
const INTERVAL: Duration = Duration::from_millis(40);
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(180);

/// The servers, in the order in which they go.
#[derive(Debug, Clone, Copy)]
enum Server {
    RabbitMq,
    Postgres,
    Redis,
}

struct Ground {
    rabbitmq: RabbitMq,
    postgres: Postgres,
    redis: Redis,
}

impl Ground {
    async fn stop(&mut self, server: Server) {
        match server {
            Server::RabbitMq => self.rabbitmq.stop().await,
            Server::Postgres => self.postgres.stop().await,
            Server::Redis => self.redis.stop().await,
        }
        .unwrap();
    }

    fn kill(&mut self, server: Server) {
        match server {
            Server::RabbitMq => self.rabbitmq.kill(),
            Server::Postgres => self.postgres.kill(),
            Server::Redis => self.redis.kill(),
        }
        .unwrap();
    }

    async fn restart(&mut self, server: Server) {
        match server {
            Server::RabbitMq => self.rabbitmq.restart().await,
            Server::Postgres => self.postgres.restart().await,
            Server::Redis => self.redis.restart().await,
        }
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_may_be_away_or_die_under_load_and_nobody_is_restarted_by_hand() {
    let durable = || servers::Options {
        durable: true,
        ..servers::Options::default()
    };
    let mut ground = Ground {
        rabbitmq: RabbitMq::start_with(durable()).await.unwrap(),
        postgres: Postgres::start_with(durable()).await.unwrap(),
        redis: Redis::start_with(durable()).await.unwrap(),
    };
    let vhost = ground.rabbitmq.vhost().await.unwrap();
    let database = ground.postgres.database().await;
    let cluster = Cluster::start_with(Options {
        broker_url: Some(vhost.url()),
        database_url: Some(database.url()),
        redis_url: Some(ground.redis.url()),
        ..Options::default()
    })
    .await;
    let client = cluster.client();
    let ledger = Ledger::default();
    let receiver = receive(&ledger).await;
    let options = ["--on", "load.test", "--interval", "1s", "--retries", "50"];
    client
        .create_function("loaded", &receiver.url("/"), &options)
        .await;

    let go_on = Arc::new(AtomicBool::new(true));
    let mut callers = start_callers(&client, &ledger, &go_on);
    for server in [Server::RabbitMq, Server::Postgres, Server::Redis] {
        more_are_accepted(&ledger, 200).await;
        ground.stop(server).await;
        let stopped = Instant::now();
        eventually(
            AWAY_FOR * 2,
            "it has been away for long enough",
            async || (stopped.elapsed() >= AWAY_FOR).then_some(()),
        )
        .await;
        ground.restart(server).await;
        more_are_accepted(&ledger, 200).await;
        ground.kill(server);
        ground.restart(server).await;
    }
    more_are_accepted(&ledger, 200).await;
    go_on.store(false, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    eventually(ARRIVAL_DEADLINE, "everything arrives", async || {
        (ledger.arrived_count() >= ledger.accepted_count() && ledger.missing().is_empty())
            .then_some(())
    })
    .await;
    eprintln!(
        "{} accepted while each server was away once and killed once; {} requests were duplicates",
        ledger.accepted_count(),
        ledger.duplicates()
    );
    eventually(ARRIVAL_DEADLINE, "the log knows every ending", async || {
        let open = ["--status", "staged", "--limit", "1"];
        client.logs(&open).await.is_empty().then_some(())
    })
    .await;
    let lost = client
        .logs(&["--status", "failed", "--status", "cancel"])
        .await;
    assert!(lost.is_empty(), "{lost:#?}");
}

/// One event in fifty is refused once, so that retries wait at all times.
async fn receive(ledger: &Ledger) -> Receiver {
    let receiver = Receiver::start().await;
    let ledger = ledger.clone();
    receiver.answer_by(move |request| {
        let body = request.json();
        let number = body["data"]["number"].as_u64().unwrap_or_default();
        if request.header("x-attempt") == Some("1") && number.is_multiple_of(50) {
            return Answer::status(503);
        }
        ledger.arrived(body["id"].as_str().unwrap_or_default());
        Answer::status(200)
    });
    receiver
}

fn start_callers(client: &Client, ledger: &Ledger, go_on: &Arc<AtomicBool>) -> JoinSet<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, ledger) = (client.clone(), ledger.clone());
        let (next, go_on) = (Arc::clone(&next), Arc::clone(go_on));
        callers.spawn(async move {
            let mut turn = tokio::time::interval(INTERVAL);
            turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while go_on.load(Ordering::Relaxed) {
                turn.tick().await;
                let number = next.fetch_add(1, Ordering::Relaxed);
                let id = format!("load-{number}");
                let event = json!({"id": id, "type": "load.test", "data": {"number": number}});
                client.post_until_accepted(&id, &event, &ledger).await;
            }
        });
    }
    callers
}

async fn more_are_accepted(ledger: &Ledger, more: usize) {
    let before = ledger.accepted_count();
    eventually(ARRIVAL_DEADLINE, "events are taken again", async || {
        (ledger.accepted_count() >= before + more).then_some(())
    })
    .await;
}
