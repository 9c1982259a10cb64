//! What both kinds of coordination promise: one suite, run on Redis and in process.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use coordination::{
    Config, EmbeddedCoordination, EndpointMemory, IdempotencyKeys, LEARNED_FOR, Membership,
    RedisCoordination, Reservation,
};
use domain::id::EventId;
use testkit::{TestRedis, eventually, servers};

const SOON: Duration = Duration::from_secs(10);

trait Coordination: IdempotencyKeys + Membership + EndpointMemory {}
impl<T: IdempotencyKeys + Membership + EndpointMemory> Coordination for T {}

fn at(redis: &TestRedis) -> Arc<dyn Coordination> {
    let config = Config {
        url: redis.url().parse().unwrap(),
        ..Config::default()
    };
    Arc::new(RedisCoordination::new(&config).unwrap())
}

macro_rules! on_both {
    ($($promise:ident,)*) => {
        mod on_redis {
            $(
                #[tokio::test]
                async fn $promise() {
                    let redis = testkit::redis();
                    super::$promise(super::at(&redis)).await;
                }
            )*
        }

        mod embedded {
            $(
                #[tokio::test]
                async fn $promise() {
                    let embedded = super::EmbeddedCoordination::default();
                    super::$promise(std::sync::Arc::new(embedded)).await;
                }
            )*
        }
    };
}

on_both! {
    a_key_is_reserved_once_and_then_pending,
    a_confirmed_key_says_which_event_it_was,
    a_released_key_is_free_again,
    a_release_takes_nothing_from_others,
    many_keys_are_answered_in_their_order,
    of_many_callers_one_gets_the_key,
    members_are_listed_until_they_leave_or_fall_silent,
    what_was_learned_about_endpoints_is_recalled_by_anybody,
}

fn event(number: u8) -> EventId {
    EventId::new("2026-07-01T12:00:00Z".parse().unwrap(), [number; 10])
}

fn key(name: &str, number: u8) -> (String, EventId) {
    (name.to_owned(), event(number))
}

async fn a_key_is_reserved_once_and_then_pending(coordination: Arc<dyn Coordination>) {
    let first = coordination.reserve(&[key("a b\r\n{c}", 1)]).await.unwrap();
    assert_eq!(first, [Reservation::Reserved]);
    let second = coordination.reserve(&[key("a b\r\n{c}", 2)]).await.unwrap();
    assert_eq!(second, [Reservation::Pending(event(1))]);
}

async fn a_confirmed_key_says_which_event_it_was(coordination: Arc<dyn Coordination>) {
    coordination.reserve(&[key("a", 1)]).await.unwrap();
    coordination.confirm(&[key("a", 1)]).await.unwrap();
    let again = coordination.reserve(&[key("a", 2)]).await.unwrap();
    assert_eq!(again, [Reservation::Confirmed(event(1))]);
    coordination.release(&[key("a", 1)]).await.unwrap();
    let again = coordination.reserve(&[key("a", 3)]).await.unwrap();
    assert_eq!(again, [Reservation::Confirmed(event(1))]);
}

async fn a_released_key_is_free_again(coordination: Arc<dyn Coordination>) {
    coordination.reserve(&[key("a", 1)]).await.unwrap();
    coordination.release(&[key("a", 1)]).await.unwrap();
    let again = coordination.reserve(&[key("a", 2)]).await.unwrap();
    assert_eq!(again, [Reservation::Reserved]);
}

async fn a_release_takes_nothing_from_others(coordination: Arc<dyn Coordination>) {
    coordination.reserve(&[key("a", 1)]).await.unwrap();
    coordination
        .release(&[key("a", 2), key("unknown", 2)])
        .await
        .unwrap();
    let again = coordination.reserve(&[key("a", 3)]).await.unwrap();
    assert_eq!(again, [Reservation::Pending(event(1))]);
}

async fn many_keys_are_answered_in_their_order(coordination: Arc<dyn Coordination>) {
    coordination
        .reserve(&[key("b", 1), key("c", 2)])
        .await
        .unwrap();
    coordination.confirm(&[key("c", 2)]).await.unwrap();
    let keys = [
        key("a", 3),
        key("b", 4),
        key("c", 5),
        key("d", 6),
        key("a", 7),
    ];
    let expected = [
        Reservation::Reserved,
        Reservation::Pending(event(1)),
        Reservation::Confirmed(event(2)),
        Reservation::Reserved,
        Reservation::Pending(event(3)),
    ];
    assert_eq!(coordination.reserve(&keys).await.unwrap(), expected);
    assert!(coordination.reserve(&[]).await.unwrap().is_empty());
}

async fn of_many_callers_one_gets_the_key(coordination: Arc<dyn Coordination>) {
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..50 {
        let coordination = Arc::clone(&coordination);
        callers.spawn(async move { coordination.reserve(&[key("a", number)]).await.unwrap() });
    }
    let answers = callers.join_all().await.concat();
    let reserved = answers
        .iter()
        .filter(|answer| **answer == Reservation::Reserved)
        .count();
    assert_eq!(reserved, 1);
}

async fn members_are_listed_until_they_leave_or_fall_silent(coordination: Arc<dyn Coordination>) {
    let long = Duration::from_secs(60);
    coordination.announce("workers", "b", long).await.unwrap();
    coordination.announce("workers", "a", long).await.unwrap();
    coordination
        .announce("workers", "c", Duration::from_millis(50))
        .await
        .unwrap();
    coordination.announce("others", "d", long).await.unwrap();
    eventually(SOON, "the silent one to be forgotten", async || {
        (coordination.members("workers").await.unwrap() == ["a", "b"]).then_some(())
    })
    .await;
    coordination.leave("workers", "a").await.unwrap();
    assert_eq!(coordination.members("workers").await.unwrap(), ["b"]);
    assert!(coordination.members("nobody").await.unwrap().is_empty());
}

async fn what_was_learned_about_endpoints_is_recalled_by_anybody(
    coordination: Arc<dyn Coordination>,
) {
    let learned = |endpoint: &str, text: &str| (endpoint.to_owned(), text.to_owned());
    let (one, other) = ("acme https://a.example", "acme https://b.example:8443");
    coordination
        .keep(
            &[
                learned(one, "concurrency=5"),
                learned(other, "concurrency=7"),
            ],
            LEARNED_FOR,
        )
        .await
        .unwrap();
    coordination
        .keep(&[learned(one, "concurrency=6")], LEARNED_FOR)
        .await
        .unwrap();
    let asked = [
        other.to_owned(),
        "acme https://c.example".to_owned(),
        one.to_owned(),
    ];
    let recalled = coordination.recall(&asked).await.unwrap();
    let recalled: Vec<_> = recalled.iter().map(Option::as_deref).collect();
    assert_eq!(
        recalled,
        [Some("concurrency=7"), None, Some("concurrency=6")]
    );
    assert!(coordination.recall(&[]).await.unwrap().is_empty());
    coordination.keep(&[], LEARNED_FOR).await.unwrap();
    let short = Duration::from_millis(50);
    let again = learned(one, "concurrency=8");
    coordination.keep(&[again], short).await.unwrap();
    eventually(SOON, "it is kept no longer than asked", async || {
        let recalled = coordination.recall(&asked).await.unwrap();
        let recalled: Vec<_> = recalled.iter().map(Option::as_deref).collect();
        (recalled == [Some("concurrency=7"), None, None]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_systems_with_their_own_prefix_do_not_meet() {
    let redis = testkit::redis();
    let config = Config {
        url: redis.url().parse().unwrap(),
        ..Config::default()
    };
    let one = RedisCoordination::new(&config).unwrap();
    let other_config = Config {
        key_prefix: "other".to_owned(),
        ..config
    };
    let other = RedisCoordination::new(&other_config).unwrap();
    one.reserve(&[key("a", 1)]).await.unwrap();
    let reserved = other.reserve(&[key("a", 2)]).await.unwrap();
    assert_eq!(reserved, [Reservation::Reserved]);
}

#[tokio::test]
async fn a_redis_that_is_away_stalls_nobody_and_is_used_again() {
    let mut server = servers::Redis::start().await.unwrap();
    let config = Config {
        url: server.url().parse().unwrap(),
        ..Config::default()
    };
    let coordination = RedisCoordination::new(&config).unwrap();
    coordination.reserve(&[key("a", 1)]).await.unwrap();
    server.kill().unwrap();
    let began = Instant::now();
    for number in 0..20 {
        coordination.reserve(&[key("b", number)]).await.unwrap_err();
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    server.restart().await.unwrap();
    let reserved = eventually(SOON, "Redis to be used again", async || {
        coordination.reserve(&[key("c", 1)]).await.ok()
    })
    .await;
    assert_eq!(reserved, [Reservation::Reserved]);
}

#[tokio::test]
async fn a_redis_that_hangs_stalls_nobody_for_long() {
    // Accepts, and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    let config = Config {
        url: url.parse().unwrap(),
        ..Config::default()
    };
    let coordination = RedisCoordination::new(&config).unwrap();
    let began = Instant::now();
    for number in 0..20 {
        coordination.reserve(&[key("b", number)]).await.unwrap_err();
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}
