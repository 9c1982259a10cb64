//! Consumes one queue over a channel of its own, on whatever connection there is.

mod subscription;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lifecycle::Tasks;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::connector::LinkError;
use super::link::Link;
use super::publishing::RabbitPublisher;
use crate::back_off::BackOff;
use crate::consume::{Answer, Consumer, Given, Listener, Received};
use crate::inbox::Inbox;
use crate::topology::Queue;
use subscription::{Ended, Subscription};

const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long `cancel` waits for the broker to say that it gives no more.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// The consumer's end; its loop goes on until what was given is answered for.
#[derive(Debug)]
pub(super) struct RabbitConsumer {
    queue: Queue,
    inbox: Arc<Inbox>,
    /// Says that no more is wanted, also by being dropped.
    stop: watch::Sender<bool>,
    /// Whether the loop still takes messages from the broker.
    is_taking: watch::Receiver<bool>,
}

impl RabbitConsumer {
    pub(super) fn start(
        queue: Queue,
        in_flight_max: u16,
        link: Link,
        publisher: Arc<RabbitPublisher>,
        tasks: &Tasks,
    ) -> Self {
        let inbox = Arc::new(Inbox::default());
        let (stop, stopped) = watch::channel(false);
        let (taking, is_taking) = watch::channel(true);
        let (answer, answers) = mpsc::unbounded_channel();
        let consuming = Consuming {
            queue,
            in_flight_max: in_flight_max.max(1),
            publisher,
            inbox: Arc::clone(&inbox),
            listener: Arc::new(Answers(answer)),
            answers,
            stopped,
            taking,
            epoch: 0,
        };
        tasks.spawn_background(
            format!("consumer {queue}"),
            consuming.run(link, tasks.closing()),
        );
        Self {
            queue,
            inbox,
            stop,
            is_taking,
        }
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Received> {
        self.inbox.next().await
    }

    fn try_next(&mut self) -> Option<Received> {
        self.inbox.try_next()
    }

    async fn cancel(&mut self) {
        self.stop.send_replace(true);
        let ended = self.is_taking.wait_for(|is_taking| !is_taking);
        if timeout(CANCEL_TIMEOUT, ended).await.is_err() {
            tracing::warn!(queue = %self.queue, "RabbitMQ does not answer to a cancel");
        }
        // Closed already, unless there was no connection.
        self.inbox.close();
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// An answer to one giving.
#[derive(Debug)]
struct Answered {
    given: Given,
    answer: Answer,
}

#[derive(Debug)]
struct Answers(mpsc::UnboundedSender<Answered>);

impl Listener for Answers {
    fn hear(&self, given: Given, answer: Answer) {
        // When the loop has ended its channel is gone, and the message is given again.
        drop(self.0.send(Answered { given, answer }));
    }
}

/// The loop: subscribes, serves until something goes wrong, and begins anew.
struct Consuming {
    queue: Queue,
    in_flight_max: u16,
    publisher: Arc<RabbitPublisher>,
    inbox: Arc<Inbox>,
    listener: Arc<dyn Listener>,
    answers: mpsc::UnboundedReceiver<Answered>,
    stopped: watch::Receiver<bool>,
    taking: watch::Sender<bool>,
    /// Answers to messages of an earlier subscription come to nothing.
    epoch: u64,
}

impl Consuming {
    async fn run(
        mut self,
        mut link: Link,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        let mut stopped = self.stopped.clone();
        let mut back_off = BackOff::default();
        loop {
            let subscribed = tokio::select! {
                biased;
                () = &mut closing => return Ok(()),
                () = stop_wanted(&mut stopped) => return Ok(()),
                subscribed = self.subscribe(&mut link) => subscribed,
            };
            let ended = match subscribed {
                Some(Ok(mut subscription)) => {
                    back_off.reset();
                    subscription.serve(&mut self, &mut closing).await
                }
                Some(Err(error)) => Ended::Lost(error),
                None => return Ok(()),
            };
            // What was given on this channel is given again by the broker.
            self.epoch += 1;
            match ended {
                Ended::Finished => return Ok(()),
                Ended::Lost(error) => {
                    self.inbox.clear();
                    tracing::warn!(queue = %self.queue, error = %error.story(), "cannot consume");
                }
            }
            tokio::select! {
                () = sleep(back_off.next_wait()) => {}
                () = stop_wanted(&mut stopped) => return Ok(()),
                () = &mut closing => return Ok(()),
            }
        }
    }

    async fn subscribe(&self, link: &mut Link) -> Option<Result<Subscription, LinkError>> {
        let connection = link.connection().await?;
        let subscribing =
            Subscription::open(connection, self.queue, self.in_flight_max, self.epoch);
        let outcome = timeout(SUBSCRIBE_TIMEOUT, subscribing).await;
        Some(outcome.unwrap_or(Err(LinkError::NoAnswer)))
    }
}

/// Completes when the consumer was cancelled or dropped.
async fn stop_wanted(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}
