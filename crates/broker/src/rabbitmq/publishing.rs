//! Publishes over one connection: many messages on their way at once, each with its confirm.

mod live;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lifecycle::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::connector::{Connector, LinkError};
use super::properties::Outgoing;
use super::readiness::{Readiness, Role};
use crate::back_off::BackOff;
use crate::config::Config;
use crate::metrics;
use crate::publish::{Confirm, MESSAGE_BYTES_MAX, Message, PublishError, Publisher};
use crate::topology::Queue;
use live::{Ended, Live};

/// All messages on their way together.
const BYTES_IN_FLIGHT_MAX: u32 = 64 * 1024 * 1024;

/// After everything else has ended, batchers may still send what they hold.
const LINGER: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub(super) struct RabbitPublisher {
    jobs: mpsc::UnboundedSender<Job>,
    /// Bounds the jobs, and with them what lapin holds.
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    timeout: Duration,
}

/// A message on its way.
#[derive(Debug)]
struct Job {
    queue: Queue,
    outgoing: Outgoing,
    confirm: oneshot::Sender<Result<(), PublishError>>,
    deadline: Instant,
    /// Held until the broker answered or the connection is gone, even if nobody waits any more.
    room: [OwnedSemaphorePermit; 2],
}

/// Starts the publishing loop.
pub(super) fn start(
    config: &Config,
    connector: Connector,
    readiness: Arc<Readiness>,
    tasks: &Tasks,
) -> RabbitPublisher {
    let (jobs, arrivals) = mpsc::unbounded_channel();
    let publishing = Publishing {
        connector,
        readiness,
        arrivals,
        held: VecDeque::new(),
        timeout: config.publish_timeout,
    };
    tasks.spawn_background("broker publishing", publishing.run(tasks.closing()));
    RabbitPublisher {
        jobs,
        messages: Arc::new(Semaphore::new(config.publishes_in_flight_max.into())),
        bytes: Arc::new(Semaphore::new(
            usize::try_from(BYTES_IN_FLIGHT_MAX).unwrap_or(Semaphore::MAX_PERMITS),
        )),
        timeout: config.publish_timeout,
    }
}

impl RabbitPublisher {
    pub(super) async fn send(
        &self,
        queue: Queue,
        outgoing: Outgoing,
    ) -> Result<Confirm, PublishError> {
        let size = outgoing.body.body.len();
        if size > MESSAGE_BYTES_MAX {
            return Err(PublishError::TooLarge(size));
        }
        let deadline = Instant::now() + self.timeout;
        let room = timeout_at(deadline, self.reserve(size))
            .await
            .unwrap_or(Err(PublishError::Unavailable))?;
        let (confirm, confirmed) = Confirm::new();
        let job = Job {
            queue,
            outgoing,
            confirm,
            deadline,
            room,
        };
        self.jobs
            .send(job)
            .map_err(|_ended| PublishError::Unavailable)?;
        Ok(confirmed)
    }

    async fn reserve(&self, size: usize) -> Result<[OwnedSemaphorePermit; 2], PublishError> {
        let size = u32::try_from(size)
            .unwrap_or(u32::MAX)
            .min(BYTES_IN_FLIGHT_MAX);
        let ended = |_closed| PublishError::Unavailable;
        let message = Arc::clone(&self.messages)
            .acquire_owned()
            .await
            .map_err(ended)?;
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(size)
            .await
            .map_err(ended)?;
        Ok([message, bytes])
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, queue: Queue, message: Message) -> Result<Confirm, PublishError> {
        // The limit is of what was meant, however small it can be packed.
        let size = message.body.len();
        if size > MESSAGE_BYTES_MAX {
            return Err(PublishError::TooLarge(size));
        }
        self.send(queue, message.into()).await
    }
}

impl Job {
    fn settle(self, outcome: Result<(), PublishError>) {
        metrics::settled(self.queue, &outcome);
        // Who no longer waits need not be told.
        drop(self.confirm.send(outcome));
    }
}

/// The loop: connects, publishes until something goes wrong, and begins anew.
struct Publishing {
    connector: Connector,
    readiness: Arc<Readiness>,
    arrivals: mpsc::UnboundedReceiver<Job>,
    /// Arrived while there was no connection.
    held: VecDeque<Job>,
    timeout: Duration,
}

impl Publishing {
    async fn run(
        mut self,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        let mut back_off = BackOff::default();
        loop {
            let mut live = tokio::select! {
                live = self.connect(&mut back_off) => live,
                () = &mut closing => return Ok(()),
            };
            tracing::info!("publishing to RabbitMQ");
            self.readiness.restored(Role::Publishing);
            match live.serve(&mut self, &mut closing).await {
                Ended::Closing => {
                    live.close().await;
                    return Ok(());
                }
                Ended::Lost(error) => {
                    self.report(&error);
                    live.fail_all();
                    if live.has_confirmed() {
                        back_off.reset();
                    }
                    self.wait(back_off.next_wait()).await;
                }
            }
        }
    }

    /// Tries until there is a connection. What arrives meanwhile is held for the first try,
    /// which bridges a short interruption, and fails at once after it.
    async fn connect(&mut self, back_off: &mut BackOff) -> Live {
        let mut has_failed = false;
        loop {
            let connector = self.connector.clone();
            let mut connecting = Box::pin(Live::connect(&connector, self.timeout));
            let outcome = loop {
                let first_deadline = self.held.front().map(|job| job.deadline);
                tokio::select! {
                    outcome = &mut connecting => break outcome,
                    Some(job) = self.arrivals.recv() => {
                        if has_failed {
                            job.settle(Err(PublishError::Unavailable));
                        } else {
                            self.held.push_back(job);
                        }
                    }
                    () = sleep_until(first_deadline.unwrap_or_else(Instant::now)),
                        if first_deadline.is_some() => self.expire_held(),
                }
            };
            match outcome {
                Ok(live) => return live,
                Err(error) => {
                    has_failed = true;
                    self.report(&error);
                    self.fail_held();
                    self.wait_and_refuse(back_off.next_wait()).await;
                }
            }
        }
    }

    fn report(&self, error: &LinkError) {
        let story = error.story();
        tracing::warn!(error = %story, "cannot publish to RabbitMQ");
        metrics::connection_failed(Role::Publishing.name());
        self.readiness.lost(Role::Publishing, story);
    }

    /// Waits before the first try, still holding what arrives.
    async fn wait(&mut self, time: Duration) {
        let mut passed = Box::pin(sleep(time));
        loop {
            tokio::select! {
                () = &mut passed => return,
                Some(job) = self.arrivals.recv() => self.held.push_back(job),
            }
        }
    }

    async fn wait_and_refuse(&mut self, time: Duration) {
        let mut passed = Box::pin(sleep(time));
        loop {
            tokio::select! {
                () = &mut passed => return,
                Some(job) = self.arrivals.recv() => job.settle(Err(PublishError::Unavailable)),
            }
        }
    }

    fn expire_held(&mut self) {
        let now = Instant::now();
        while let Some(job) = self.held.pop_front_if(|job| job.deadline <= now) {
            job.settle(Err(PublishError::Unavailable));
        }
    }

    fn fail_held(&mut self) {
        for job in self.held.drain(..) {
            job.settle(Err(PublishError::Unavailable));
        }
    }
}
