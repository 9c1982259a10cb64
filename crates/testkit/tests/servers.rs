//! A server of a test's own can be killed, brought back, and leaves nothing behind.

use std::path::PathBuf;

use testkit::servers::{Postgres, RabbitMq, Redis};

#[tokio::test]
async fn a_killed_postgres_comes_back_with_its_databases() {
    let mut server = Postgres::start().await.unwrap();
    let first = server.pid().unwrap();
    let database = server.database().await;
    server.kill().unwrap();
    assert_eq!(server.pid(), None);
    server.restart().await.unwrap();
    assert_ne!(server.pid().unwrap(), first);

    let other = server.database().await;
    assert_ne!(other.name(), database.name());
    drop((database, other));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_rabbitmq_comes_back_with_its_vhosts() {
    let mut broker = RabbitMq::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    broker.kill().unwrap();
    broker.restart().await.unwrap();
    assert_eq!(vhost.queues().await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_redis_of_ones_own_stops_and_starts_and_is_gone_when_dropped() {
    let mut server = Redis::start().await.unwrap();
    server.stop().await.unwrap();
    server.restart().await.unwrap();
    let process = PathBuf::from(format!("/proc/{}", server.pid().unwrap()));
    assert!(process.exists());
    drop(server);
    assert!(!process.exists());
}
