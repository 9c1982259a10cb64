//! Takes events from one shard, in order, and sees to it that what follows from them is durable.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::{Acknowledgement, Broker, Consumer, PublishError, Queue, Received, Replier};
use coordination::Share;
use domain::event::Event;
use domain::schedule::schedule_of;
use domain::session::{RevocationSubject, SessionRevocation, deleted_user};
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use lifecycle::Tasks;
use protocol::envelope::Envelope as _;
use protocol::reply;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::line_up::LineUp;
use super::read_or_set_aside;
use crate::error::with_causes;
use crate::index::Index;
use crate::match_events::match_events;
use crate::metrics;
use crate::outbound::deliveries::Outbound;

/// Events are matched so many at a time, when so many are waiting …
const EVENTS_MAX: usize = 256;

/// … or about so many bytes of them.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// While the confirms of one batch are awaited, or the database for what stands in line, the next
/// ones are matched.
const BATCHES_IN_FLIGHT_MAX: usize = 32;

/// The only consumer of one event shard, as far as the broker lets it.
#[derive(Debug)]
pub struct EventShard {
    pub shard: u16,
    pub broker: Arc<dyn Broker>,
    pub index: Arc<Index>,
    pub outbound: Outbound,
    pub replier: Replier,
    pub line_up: LineUp,
    pub tasks: Tasks,
    pub messages_in_hand_max: u16,
    /// Which shards this replica should serve, for as long as the others are alive.
    pub share: Share,
}

/// While the database is away, it is tried again this often.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A shard that is somebody else's share is left to them this long before standing by for it.
const STAND_BY_AFTER: Duration = Duration::from_secs(1);

impl EventShard {
    /// Runs until `stopping`, and then until what was begun is durable.
    pub async fn run(
        mut self,
        mut stopping: impl Future<Output = ()> + Unpin,
    ) -> anyhow::Result<()> {
        let mut revisions = self.index.view().changes();
        tokio::select! {
            () = &mut stopping => return Ok(()),
            // Without a snapshot every event would seem to interest nobody.
            _filled = revisions.wait_for(Option::is_some) => {}
        }
        loop {
            if !self.share.is_mine(self.shard) {
                tokio::select! {
                    () = &mut stopping => return Ok(()),
                    // The share may become mine meanwhile; asking again decides.
                    _waited = timeout(STAND_BY_AFTER, self.share.changed()) => {}
                }
            }
            if self.consume(&mut stopping).await {
                return Ok(());
            }
            info!(
                shard = self.shard,
                "yielded an event shard to the replica whose share it is"
            );
        }
    }

    /// Consumes until stopping (`true`), or until the shard has to be yielded (`false`). What was
    /// begun is durable either way before the next consumer is served: that keeps the order.
    async fn consume(&mut self, stopping: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        let queue = Queue::Events(self.shard);
        let mut consumer = self.broker.consume(queue, self.messages_in_hand_max);
        let mut in_flight = FuturesUnordered::new();
        // Only the one active consumer of a shard is given anything.
        let mut is_active = false;
        let is_over = loop {
            tokio::select! {
                biased;
                () = &mut *stopping => break true,
                Some(()) = in_flight.next() => {}
                () = self.share.changed() => {}
                received = consumer.next(), if in_flight.len() < BATCHES_IN_FLIGHT_MAX => {
                    let Some(first) = received else { break true };
                    is_active = true;
                    let batch = Batch::take(first, consumer.as_mut());
                    match self.begin(batch).await {
                        Ok(begun) => in_flight.push(begun),
                        Err(error) => {
                            info!(%queue, %error, "events are left to the next consumer");
                            break true;
                        }
                    }
                }
            }
            if is_active && !self.share.is_mine(self.shard) {
                break false;
            }
        };
        while in_flight.next().await.is_some() {}
        consumer.cancel().await;
        is_over
    }

    /// Matches a batch and puts what follows in line; the answer waits until that is durable.
    async fn begin(&self, batch: Batch) -> Result<impl Future<Output = ()> + use<>, PublishError> {
        let shards = self.outbound.delivery_shards();
        let Batch {
            events,
            acknowledgements,
        } = batch;
        let count = events.len();
        let now = Timestamp::now();
        self.end_sessions(&events, now).await?;
        self.know_schedules_of(&events).await;
        let mut fanout = self
            .index
            .with(|matcher, registry| match_events(matcher, registry, events, shards, now));
        metrics::matched(count, fanout.unmatched, fanout.deliveries);
        for (to, reply) in std::mem::take(&mut fanout.replies) {
            self.replier.reply(&to, reply::write(&reply));
        }
        // Before anything of the next batch: the order of the rows is that of the events. Nobody else
        // waits for them.
        let lined_up = match std::mem::take(&mut fanout.in_line) {
            none if none.is_empty() => None,
            in_line => Some(self.line_up.put(&in_line).await?),
        };
        let sent = self.outbound.send(fanout).await?;
        Ok(async move {
            if let Some(lined_up) = lined_up
                && lined_up.await.is_err()
            {
                info!("events whose deliveries are not in line are left to the next consumer");
                return;
            }
            match sent.durable().await {
                Ok(()) => acknowledgements.into_iter().for_each(Acknowledgement::ack),
                // Dropped, they go back to the queue and come again.
                Err(PublishError::TooLarge(bytes)) => {
                    error!(
                        bytes,
                        "what follows from an event is larger than a message may be"
                    );
                }
                Err(error) => warn!(%error, "events will come again"),
            }
        })
    }
}

impl EventShard {
    /// Another replica may have had a schedule strike that this one has not heard of yet: then its
    /// trigger would not be found, and the strike would call nobody.
    async fn know_schedules_of(&self, events: &[Event]) {
        let has_unknown = {
            let registry = self.index.view().read();
            events.iter().any(|event| {
                let name = schedule_of(event);
                name.is_some_and(|name| registry.trigger(&event.project, &name).is_none())
            })
        };
        if has_unknown && let Err(error) = self.index.refresh().await {
            warn!(error = %with_causes(&error), "a schedule that has struck is not known here");
        }
    }

    /// Ends the sessions of users whose accounts were deleted, before anybody hears of it.
    async fn end_sessions(&self, events: &[Event], now: Timestamp) -> Result<(), PublishError> {
        for event in events {
            let Some(user) = deleted_user(event) else {
                continue;
            };
            let revocation = SessionRevocation {
                project: event.project.clone(),
                subject: RevocationSubject::Actor(user),
                at: now,
                revision: 0,
            };
            let mut back_off = BACK_OFF_MIN;
            loop {
                match self.index.store().revoke_sessions(&revocation).await {
                    // Without its project nobody acts in it.
                    Ok(_) | Err(storage::Error::NotFound { .. }) => break,
                    Err(error) => {
                        warn!(error = %with_causes(&error), "sessions cannot be revoked yet");
                    }
                }
                if self.tasks.is_stopping() {
                    return Err(PublishError::Unavailable);
                }
                sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
        }
        Ok(())
    }
}

/// Events of several messages, matched together.
struct Batch {
    events: Vec<Event>,
    acknowledgements: Vec<Acknowledgement>,
}

impl Batch {
    /// What is waiting behind `first`, up to the limits. What cannot be read is set aside.
    fn take(first: Received, consumer: &mut dyn Consumer) -> Self {
        let mut batch = Self {
            events: Vec::new(),
            acknowledgements: Vec::new(),
        };
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(received) = next {
            bytes += received.body.len();
            if let Some((events, acknowledgement)) = read_or_set_aside(received, Event::read) {
                batch.events.extend(events);
                batch.acknowledgements.push(acknowledgement);
            }
            let is_full = batch.events.len() >= EVENTS_MAX || bytes >= BATCH_BYTES_MAX;
            next = if is_full { None } else { consumer.try_next() };
        }
        batch
    }
}
