//! One connection that publishes: what is on its way over it, and how that is settled.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, Stream};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, Event};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Job, LINGER, Publishing};
use crate::metrics;
use crate::publish::PublishError;
use crate::rabbitmq::connector::{Connector, LinkError};
use crate::rabbitmq::readiness::{Readiness, Role};
use crate::topology::Queue;

/// How exactly a publish's time limit is kept.
const TICK: Duration = Duration::from_millis(100);

/// Nothing confirmed for this many time limits, with messages waiting: something is stuck that
/// the heartbeat does not see.
const STALLED_AFTER_TIMEOUTS: u32 = 6;

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Answer = (u64, lapin::Result<Confirmation>);

pub(super) struct Live {
    connection: Connection,
    channel: Arc<Channel>,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    unconfirmed: BTreeMap<u64, Unconfirmed>,
    next_number: u64,
    is_blocked: bool,
    has_confirmed: bool,
    last_confirmed: Instant,
    stalled_after: Duration,
}

/// Why a connection serves no more.
pub(super) enum Ended {
    Closing,
    Lost(LinkError),
}

struct Unconfirmed {
    queue: Queue,
    /// Taken when the time is over: the broker's answer then only frees the room.
    confirm: Option<oneshot::Sender<Result<(), PublishError>>>,
    deadline: Instant,
    _room: [OwnedSemaphorePermit; 2],
}

impl Unconfirmed {
    fn settle(&mut self, outcome: Result<(), PublishError>) {
        if let Some(confirm) = self.confirm.take() {
            metrics::settled(self.queue, &outcome);
            // Who no longer waits need not be told.
            drop(confirm.send(outcome));
        }
    }
}

impl Live {
    pub(super) async fn connect(
        connector: &Connector,
        publish_timeout: Duration,
    ) -> Result<Self, LinkError> {
        let connection = connector.connect(Role::Publishing).await?;
        let events = Box::pin(connection.events_listener());
        let channel = connection
            .create_channel()
            .await
            .map_err(LinkError::Channel)?;
        let options = ConfirmSelectOptions::default();
        channel
            .confirm_select(options)
            .await
            .map_err(LinkError::Channel)?;
        Ok(Self {
            connection,
            channel: Arc::new(channel),
            events,
            answers: FuturesUnordered::new(),
            unconfirmed: BTreeMap::new(),
            next_number: 0,
            is_blocked: false,
            has_confirmed: false,
            last_confirmed: Instant::now(),
            stalled_after: publish_timeout * STALLED_AFTER_TIMEOUTS,
        })
    }

    pub(super) const fn has_confirmed(&self) -> bool {
        self.has_confirmed
    }

    pub(super) async fn serve(
        &mut self,
        publishing: &mut Publishing,
        closing: &mut (impl Future<Output = ()> + Unpin + Send),
    ) -> Ended {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_closing = false;
        loop {
            while let Some(job) = publishing.held.pop_front() {
                self.send(job);
            }
            let is_idle = self.unconfirmed.is_empty();
            let outcome = tokio::select! {
                Some(answer) = self.answers.next() => self.take_answers(answer),
                Some(job) = publishing.arrivals.recv() => {
                    self.send(job);
                    while let Ok(job) = publishing.arrivals.try_recv() {
                        self.send(job);
                    }
                    Ok(())
                }
                event = self.events.next() => self.take_event(event, &publishing.readiness),
                _ = ticks.tick() => self.check_time(),
                () = &mut *closing, if !is_closing => {
                    is_closing = true;
                    Ok(())
                }
                () = sleep(LINGER), if is_closing && is_idle => return Ended::Closing,
            };
            if let Err(error) = outcome {
                return Ended::Lost(error);
            }
        }
    }

    /// Hands the message to lapin. The first poll puts its frames in line, so order is kept.
    fn send(&mut self, job: Job) {
        let Job {
            queue,
            outgoing,
            confirm,
            deadline,
            room,
        } = job;
        if deadline <= Instant::now() {
            let mut late = Unconfirmed {
                queue,
                confirm: Some(confirm),
                deadline,
                _room: room,
            };
            late.settle(Err(PublishError::Unavailable));
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        if self.unconfirmed.is_empty() {
            self.last_confirmed = Instant::now();
        }
        let channel = Arc::clone(&self.channel);
        let mut answer = Box::pin(async move {
            let published = channel.basic_publish(
                "".into(),
                queue.to_string().into(),
                BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                },
                &outgoing.body.body,
                outgoing.properties(),
            );
            let outcome = match published.await {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, outcome)
        });
        metrics::published(queue);
        let confirm = Some(confirm);
        self.unconfirmed.insert(
            number,
            Unconfirmed {
                queue,
                confirm,
                deadline,
                _room: room,
            },
        );
        match (&mut answer).now_or_never() {
            Some(answered) => self.answers.push(Box::pin(std::future::ready(answered))),
            None => self.answers.push(answer),
        }
    }

    /// Settles what the broker answered.
    ///
    /// lapin attributes a returned message to whichever confirm it resolves next, not always to
    /// its own. So everything that one acknowledgement resolves is looked at together, and a
    /// returned message fails it all.
    fn take_answers(&mut self, first: Answer) -> Result<(), LinkError> {
        let mut answers = vec![first];
        self.take_ready(&mut answers);
        // Passes lapin's lock on the confirms, hence behind an acknowledgement it is resolving.
        drop(self.channel.wait_for_confirms().now_or_never());
        self.take_ready(&mut answers);
        let is_returned = |(_, outcome): &Answer| {
            matches!(
                outcome,
                Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))
            )
        };
        if answers.iter().any(is_returned) {
            return Err(LinkError::Returned);
        }
        for (number, outcome) in answers {
            let outcome = match outcome {
                Ok(Confirmation::Ack(_)) => Ok(()),
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                    Err(PublishError::Refused)
                }
                Err(error) => return Err(LinkError::Lost(error)),
            };
            if let Some(mut unconfirmed) = self.unconfirmed.remove(&number) {
                unconfirmed.settle(outcome);
            }
            self.has_confirmed = true;
            self.last_confirmed = Instant::now();
        }
        Ok(())
    }

    fn take_ready(&mut self, answers: &mut Vec<Answer>) {
        while let Some(Some(answer)) = self.answers.next().now_or_never() {
            answers.push(answer);
        }
    }

    fn take_event(&mut self, event: Option<Event>, readiness: &Readiness) -> Result<(), LinkError> {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tracing::warn!(%reason, "RabbitMQ takes no messages at the moment");
                self.is_blocked = true;
                readiness.lost(Role::Publishing, format!("blocked by RabbitMQ: {reason}"));
            }
            Some(Event::ConnectionUnblocked) => {
                tracing::info!("RabbitMQ takes messages again");
                self.is_blocked = false;
                self.last_confirmed = Instant::now();
                readiness.restored(Role::Publishing);
            }
            Some(Event::Error(error)) => return Err(LinkError::Lost(error)),
            Some(_) => {}
            None => return Err(LinkError::Closed),
        }
        Ok(())
    }

    fn check_time(&mut self) -> Result<(), LinkError> {
        if !self.connection.status().connected() {
            return Err(LinkError::Closed);
        }
        let now = Instant::now();
        let overdue = if self.is_blocked {
            PublishError::Unavailable
        } else {
            PublishError::TimedOut
        };
        let is_overdue = |unconfirmed: &&mut Unconfirmed| unconfirmed.deadline <= now;
        // In the order of their deadlines, but for those held for a while.
        for unconfirmed in self.unconfirmed.values_mut().take_while(is_overdue) {
            unconfirmed.settle(Err(overdue.clone()));
        }
        let silent_for = now.saturating_duration_since(self.last_confirmed);
        let is_stalled = !self.is_blocked && silent_for > self.stalled_after;
        if is_stalled && !self.unconfirmed.is_empty() {
            return Err(LinkError::Stalled(self.stalled_after));
        }
        Ok(())
    }

    /// Nothing is known of what was on its way.
    pub(super) fn fail_all(&mut self) {
        for (_, mut unconfirmed) in std::mem::take(&mut self.unconfirmed) {
            unconfirmed.settle(Err(PublishError::Unavailable));
        }
    }

    pub(super) async fn close(&mut self) {
        let closed = timeout(CLOSE_TIMEOUT, self.connection.close(200, "end".into())).await;
        tracing::debug!(?closed, "connection for publishing closed");
    }
}
