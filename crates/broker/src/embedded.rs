//! The broker inside one process: the queue table of `SQLite`, behind the same traits.
//!
//! What is published is handed to its consumer straight from memory once it is on disk; the file
//! is read after a start, and where consumers fell behind further than memory should hold.

mod chores;
mod handing;

mod line;
mod stored;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::reply::ReplyAddress;
use lifecycle::{Health, Tasks};
use storage::queue::EmbeddedQueue;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::consume::{Consumer, Received};
use crate::metrics;
use crate::publish::{Confirm, MESSAGE_BYTES_MAX, Message, PublishError, Publisher};
use crate::reply::{Replier, ReplyInbox};
use crate::{Broker, Queue, Topology};
use chores::Chores;
use handing::{Handing, OnItsWay};
use line::Line;
use stored::Stored;

/// How long a publisher waits while thousands are ahead of it.
const ENQUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The embedded twin.
#[derive(Debug)]
pub struct Embedded {
    topology: Topology,
    lines: Arc<BTreeMap<Queue, Arc<Line>>>,
    publisher: Arc<EmbeddedPublisher>,
    next_consumer: AtomicU64,
    inboxes: Arc<Inboxes>,
}

/// Who waits for replies in this process.
type Inboxes = std::sync::Mutex<BTreeMap<ReplyAddress, mpsc::Sender<Bytes>>>;

impl Embedded {
    /// Offers the queues of the file, and registers the check "broker".
    pub fn start(file: EmbeddedQueue, topology: Topology, tasks: &Tasks, health: &Health) -> Self {
        let (chores, arrived) = mpsc::unbounded_channel();
        let line = |queue| (queue, Line::new(queue, file.clone(), chores.clone()));
        let lines: Arc<BTreeMap<_, _>> = Arc::new(topology.queues().map(line).collect());
        let unreadable = lines.get(&Queue::Unreadable).map(Arc::clone);
        let chores = Chores::new(file.clone(), arrived, unreadable);
        tasks.spawn_background("broker chores", chores.run(tasks.closing()));
        let (on_its_way, handing) = mpsc::unbounded_channel();
        tasks.spawn_background("broker handing", Handing::new(handing).run(tasks.closing()));
        health.register("broker").ready();
        let order = Mutex::new(on_its_way);
        let publisher = Arc::new(EmbeddedPublisher {
            file,
            lines: Arc::clone(&lines),
            order,
        });
        Self {
            topology,
            lines,
            publisher,
            next_consumer: AtomicU64::new(0),
            inboxes: Arc::default(),
        }
    }
}

#[async_trait]
impl Broker for Embedded {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as Arc<dyn Publisher>
    }

    fn consume(&self, queue: Queue, in_flight_max: u16) -> Box<dyn Consumer> {
        let number = self.next_consumer.fetch_add(1, Ordering::Relaxed);
        let line = self.lines.get(&queue).map(Arc::clone);
        if let Some(line) = &line {
            line.register(number, in_flight_max.max(1));
        } else {
            tracing::error!(%queue, "there is no such queue");
        }
        Box::new(EmbeddedConsumer { line, number })
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn reply_inbox(&self) -> ReplyInbox {
        let (sender, inbox) = ReplyInbox::new();
        let mut inboxes = lock(&self.inboxes);
        inboxes.retain(|_, sender| !sender.is_closed());
        inboxes.insert(inbox.address().clone(), sender);
        inbox
    }

    fn replier(&self) -> Replier {
        let inboxes = Arc::clone(&self.inboxes);
        Replier::new(move |to, body| {
            let inbox = lock(&inboxes).get(to).cloned();
            let sent = inbox.map(|inbox| inbox.try_send(body));
            if let Some(Err(TrySendError::Full(_))) = sent {
                metrics::reply_dropped();
            }
        })
    }
}

fn lock(inboxes: &Inboxes) -> MutexGuard<'_, BTreeMap<ReplyAddress, mpsc::Sender<Bytes>>> {
    inboxes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct EmbeddedPublisher {
    file: EmbeddedQueue,
    lines: Arc<BTreeMap<Queue, Arc<Line>>>,
    /// Held while a message is put in line, so that messages are handed on in the file's order.
    order: Mutex<mpsc::UnboundedSender<OnItsWay>>,
}

#[async_trait]
impl Publisher for EmbeddedPublisher {
    async fn publish(&self, queue: Queue, message: Message) -> Result<Confirm, PublishError> {
        let size = message.body.len();
        if size > MESSAGE_BYTES_MAX {
            return Err(PublishError::TooLarge(size));
        }
        let line = self.lines.get(&queue).ok_or(PublishError::Refused)?;
        let stored = Stored::from(message);
        let (confirm, confirmed) = Confirm::new();
        let (headers, body) = stored.to_disk();
        let enqueuing = async {
            let on_its_way = self.order.lock().await;
            let durable = self.file.enqueue(line.name(), headers, body).await;
            let durable = durable.map_err(|error| stored::publish_error(&error))?;
            let line = Arc::clone(line);
            on_its_way
                .send(OnItsWay {
                    durable,
                    line,
                    stored,
                    confirm,
                })
                .map_err(|_ended| PublishError::Unavailable)
        };
        let enqueued = timeout(ENQUEUE_TIMEOUT, enqueuing)
            .await
            .unwrap_or(Err(PublishError::Unavailable));
        metrics::published(queue);
        if let Err(error) = enqueued {
            metrics::settled(queue, &Err(error.clone()));
            return Err(error);
        }
        Ok(confirmed)
    }
}

#[derive(Debug)]
struct EmbeddedConsumer {
    /// None once it was cancelled.
    line: Option<Arc<Line>>,
    number: u64,
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Option<Received> {
        Some(self.line.as_ref()?.next(self.number).await)
    }

    fn try_next(&mut self) -> Option<Received> {
        self.line.as_ref()?.take(self.number)
    }

    async fn cancel(&mut self) {
        if let Some(line) = self.line.take() {
            line.unregister(self.number);
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.unregister(self.number);
        }
    }
}
