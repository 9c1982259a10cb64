//! Where the suite runs: a broker of each kind, which can be opened again after a restart.

use std::sync::Arc;
use std::time::Duration;

use broker::{
    Broker, Config, Consumer, Embedded, Message, PublishError, Queue, RabbitMq, Received,
};
use lifecycle::{Health, Tasks, run_until_stopped};
use storage::queue::Limits;
use tempfile::TempDir;
use testkit::TestVhost;
use tokio::time::timeout;

/// For what should come; generous, because the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) enum Ground {
    RabbitMq(TestVhost),
    Embedded(TempDir),
}

/// A broker that is open, and what runs it.
pub(crate) struct System {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) tasks: Tasks,
    pub(crate) health: Health,
}

impl Ground {
    pub(crate) async fn rabbitmq() -> Self {
        Self::RabbitMq(testkit::rabbitmq_vhost().await)
    }

    pub(crate) fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn open(&self) -> System {
        self.open_with(Config::default()).await
    }

    pub(crate) async fn open_with(&self, config: Config) -> System {
        let tasks = Tasks::default();
        let health = Health::following(&tasks);
        let broker: Arc<dyn Broker> = match self {
            Self::RabbitMq(vhost) => {
                let config = Config {
                    url: vhost.url().parse().unwrap(),
                    ..config
                };
                Arc::new(RabbitMq::start(&config, &tasks, &health).unwrap())
            }
            Self::Embedded(folder) => {
                let files = storage::sqlite::open(folder.path()).await.unwrap();
                let queue_bytes_max = config.queue_bytes_max;
                let limits = Limits {
                    queue_bytes_max,
                    ..Limits::default()
                };
                let queue = files.queue(limits, &tasks).await.unwrap();
                Arc::new(Embedded::start(queue, config.topology(), &tasks, &health))
            }
        };
        let mut watch = health.watch();
        timeout(SOON, async {
            while !watch.is_ready() && watch.changed().await {}
        })
        .await
        .unwrap();
        System {
            broker,
            tasks,
            health,
        }
    }
}

impl System {
    pub(crate) async fn publish(&self, queue: Queue, text: &str) -> Result<(), PublishError> {
        self.broker
            .publisher()
            .publish(queue, message(text))
            .await?
            .await
    }

    /// Publishes all in this order and waits for every confirm.
    pub(crate) async fn publish_all(&self, queue: Queue, texts: impl Iterator<Item = String>) {
        let publisher = self.broker.publisher();
        let mut confirms = Vec::new();
        for text in texts {
            confirms.push(publisher.publish(queue, message(&text)).await.unwrap());
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
    }

    pub(crate) fn consume(&self, queue: Queue, in_flight_max: u16) -> Box<dyn Consumer> {
        self.broker.consume(queue, in_flight_max)
    }

    /// Stops in good order.
    pub(crate) async fn stop(self) {
        let Self {
            broker,
            tasks,
            health,
        } = self;
        drop((broker, health));
        run_until_stopped(tasks, async {}, Duration::from_secs(10)).await;
    }
}

/// Text in which nothing repeats itself, so that it travels as long as it is.
pub(crate) fn incompressible(length: usize) -> String {
    let mut state = 0x9e37_79b9_u32;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'A' + u8::try_from(state % 58).unwrap())
    };
    (0..length).map(letter).collect()
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        body: text.to_owned().into(),
        kind: "test.v1.Text",
        schema_version: 1,
        items: 1,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Received {
    timeout(SOON, consumer.next())
        .await
        .expect("a message in time")
        .expect("no end")
}

/// Takes and acknowledges as many messages, and gives their texts.
pub(crate) async fn take_texts(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let received = next(consumer).await;
        texts.push(text(&received));
        received.acknowledgement.ack();
    }
    texts
}

pub(crate) fn text(received: &Received) -> String {
    String::from_utf8(received.body.to_vec()).unwrap()
}

/// Whether nothing comes within a time in which it certainly would have.
pub(crate) async fn nothing_comes(consumer: &mut Box<dyn Consumer>) -> bool {
    timeout(Duration::from_millis(300), consumer.next())
        .await
        .is_err()
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("{number:05}"))
}
