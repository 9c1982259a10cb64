//! Serves delivery shards: takes its share of them, stands by for the rest, yields what is over.
//!
//! The broker guarantees that a shard has one consumer at a time; who that is, is only advice
//! among the workers. So the wrong advice costs some reconnecting, never order or a limit.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Consumer, Queue, Received};
use coordination::{Membership, Share};
use domain::delivery::Consignment;
use lifecycle::Tasks;
use protocol::envelope::Envelope;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::engine::{Engine, ShardWork};
use crate::metrics;
use crate::progress::Progress;
use crate::settle::InHand;

/// The group in which workers know each other.
const GROUP: &str = "delivery-worker";

/// A shard that is somebody else's share is left to them this long before standing by for it.
const STAND_BY_AFTER: Duration = Duration::from_secs(1);

/// A shard that nobody else serves although it is their share is served this long before it is
/// offered to them: at first, and at most. While coordination is away, advice may be old.
const YIELDS_AFTER: Duration = Duration::from_secs(5);
const YIELDS_AFTER_MAX: Duration = Duration::from_mins(5);

/// Why a shard is consumed from no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Stopping,
    /// By new advice it is somebody else's share.
    Advised,
    /// It was not ours for a long time; its owner may be back.
    Offered,
}

/// Serves the shards of one worker.
#[derive(Debug)]
pub struct Shards {
    pub broker: Arc<dyn Broker>,
    pub engine: Arc<Engine>,
    /// Messages of one shard that are in hand at a time.
    pub messages_in_hand_max: u16,
}

impl Shards {
    /// Starts the loops: one that shares out, and one for each shard.
    pub fn start(self, membership: Arc<dyn Membership>, worker: String, tasks: &Tasks) {
        let shards = self.broker.topology().delivery_shards;
        let share = Share::keep(membership, GROUP, worker, shards, tasks);
        let server = Arc::new(self);
        for shard in 0..shards {
            let serving = Arc::clone(&server).serve(shard, share.clone(), tasks.clone());
            tasks.spawn(format!("delivery shard {shard}"), serving);
        }
    }

    async fn serve(
        self: Arc<Self>,
        shard: u16,
        mut share: Share,
        tasks: Tasks,
    ) -> anyhow::Result<()> {
        let mut stopping = tasks.stopping();
        let mut patience = YIELDS_AFTER;
        loop {
            if !share.is_mine(shard) {
                tokio::select! {
                    () = &mut stopping => return Ok(()),
                    // The share may become mine meanwhile; asking again decides.
                    _waited = tokio::time::timeout(STAND_BY_AFTER, share.changed()) => {}
                }
            }
            let consumer = self
                .broker
                .consume(Queue::Deliveries(shard), self.messages_in_hand_max);
            metrics::shard_taken();
            self.engine.begin_serving();
            let left = self
                .consume(shard, consumer, &mut share, patience, &tasks)
                .await;
            self.engine.end_serving();
            metrics::shard_left();
            patience = match left {
                Left::Stopping => return Ok(()),
                Left::Advised => YIELDS_AFTER,
                Left::Offered => (patience * 2).min(YIELDS_AFTER_MAX),
            };
            info!(
                shard,
                "yielded a delivery shard to the worker whose share it is"
            );
        }
    }

    /// Consumes until stopping, or until the shard has to be yielded. What was begun is finished
    /// either way.
    async fn consume(
        &self,
        shard: u16,
        mut consumer: Box<dyn Consumer>,
        share: &mut Share,
        patience: Duration,
        tasks: &Tasks,
    ) -> Left {
        let mut stopping = tasks.stopping();
        let work = ShardWork::new(shard);
        // Only the one active consumer of a shard is given anything.
        let mut active_since = None;
        let left = loop {
            let has_room = work.has_room();
            let yields_at = active_since
                .filter(|_| !share.is_mine(shard))
                .map(|since: Instant| since + patience);
            tokio::select! {
                () = &mut stopping => break Left::Stopping,
                received = consumer.next(), if has_room => {
                    let Some(received) = received else { break Left::Stopping };
                    active_since.get_or_insert_with(Instant::now);
                    self.begin(received, &work).await;
                }
                () = work.room(), if !has_room => {}
                () = share.changed() => {
                    if active_since.is_some() && !share.is_mine(shard) {
                        break Left::Advised;
                    }
                }
                () = until(yields_at) => break Left::Offered,
            }
        };
        // The broker serves the next consumer as soon as this one cancels, so what is in hand is
        // answered for first: an endpoint has one caller at a time. Requests that have left their
        // message may go on; the next owner is told of them.
        work.finished().await;
        self.engine.hand_on(shard).await;
        consumer.cancel().await;
        left
    }

    async fn begin(&self, received: Received, work: &ShardWork) {
        let consignments = match Consignment::read(received.body) {
            Ok(consignments) => consignments,
            Err(unreadable) => {
                metrics::message_unreadable();
                let reason = format!("{:#}", anyhow::Error::from(unreadable));
                error!(queue = %received.queue, reason, "a message cannot be read; set aside");
                received.acknowledgement.reject(reason);
                return;
            }
        };
        let deliveries: usize = consignments
            .iter()
            .map(|consignment| consignment.targets.len())
            .sum();
        if deliveries == 0 {
            received.acknowledgement.ack();
            return;
        }
        let progress = match self.engine.is_noting() {
            true => Progress::of(&received.id, deliveries),
            false => None,
        };
        // Its worker may have died; what it had settled is not repeated.
        let again = match (&progress, received.is_redelivered) {
            (Some(progress), true) => Some(self.engine.noted(progress).await.unwrap_or_default()),
            (None, true) => Some(String::new()),
            (_, false) => None,
        };
        let in_hand = InHand::new(deliveries, progress, received.acknowledgement);
        let in_hand = Arc::new(in_hand);
        self.engine
            .take(consignments, again.as_deref(), &in_hand, work);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
