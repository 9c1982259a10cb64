//! The same door on RabbitMQ and Redis.

use std::sync::Arc;

use broker::RabbitMq;
use coordination::RedisCoordination;
use lifecycle::{Health, Tasks};
use serde_json::json;
use settings::SecretUrl;

use crate::harness::{GENEROUS, on};

#[tokio::test]
async fn an_event_confirmed_by_rabbitmq_is_taken_once_and_a_repeat_is_known_by_redis() {
    let vhost = testkit::rabbitmq_vhost().await;
    let redis = testkit::redis();
    let tasks = Tasks::default();
    let health = Health::default();
    let url = |text: String| text.parse::<SecretUrl>().unwrap();
    let config = broker::Config {
        url: url(vhost.url()),
        ..broker::Config::default()
    };
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let config = coordination::Config {
        url: url(redis.url()),
        ..coordination::Config::default()
    };
    let keys = Arc::new(RedisCoordination::new(&config).unwrap());
    let system = on(Arc::new(broker), &tasks, &health, false, keys);

    let order = r#"{"type":"order.placed","id":"order-1","data":{"total":12}}"#;
    testkit::eventually(GENEROUS, "the door is ready", async || {
        health.is_ready().then_some(())
    })
    .await;
    let first = system.post_json(order).await;
    assert_eq!(
        first.body,
        json!({"id": "order-1", "duplicate": false}),
        "{first:?}"
    );
    assert_eq!(
        system.post_json(order).await.body,
        json!({"id": "order-1", "duplicate": true})
    );
    let events = system.take(1).await;
    assert_eq!((events.len(), events[0].id.as_str()), (1, "order-1"));
    system.tasks.stop();
}
