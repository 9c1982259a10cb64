//! Serves delivery shards: takes its share of them, stands by for the rest, yields what is over.
//!
//! The broker guarantees that a shard has one consumer at a time; who that is, is only advice
//! among the workers. So the wrong advice costs some reconnecting, never order or a limit.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Consumer, Queue, Received};
use coordination::{Membership, Share};
use domain::delivery::{Consignment, Target};
use domain::event::Event;
use lifecycle::Tasks;
use protocol::envelope::Envelope;
use tokio::task::JoinSet;
use tracing::{debug, error, info};

use crate::deliver::Deliverer;
use crate::metrics;
use crate::recent::Recent;
use crate::settle::{InHand, Settler};

/// The group in which workers know each other.
const GROUP: &str = "delivery-worker";

/// A shard that is somebody else's share is left to them this long before standing by for it.
const STAND_BY_AFTER: Duration = Duration::from_secs(1);

/// Serves the shards of one worker.
#[derive(Debug)]
pub struct Shards {
    pub broker: Arc<dyn Broker>,
    pub deliverer: Deliverer,
    pub settler: Settler,
    pub recent: Recent,
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
            let is_over = self.consume(shard, consumer, &mut share, &tasks).await;
            metrics::shard_left();
            if is_over {
                return Ok(());
            }
            info!(
                shard,
                "yielded a delivery shard to the worker whose share it is"
            );
        }
    }

    /// Consumes until stopping (`true`), or until the shard has to be yielded (`false`). What was
    /// begun is finished either way.
    async fn consume(
        self: &Arc<Self>,
        shard: u16,
        mut consumer: Box<dyn Consumer>,
        share: &mut Share,
        tasks: &Tasks,
    ) -> bool {
        let mut stopping = tasks.stopping();
        let mut work = JoinSet::new();
        // Only the one active consumer of a shard is given anything.
        let mut is_active = false;
        let is_over = loop {
            tokio::select! {
                () = &mut stopping => break true,
                received = consumer.next() => {
                    let Some(received) = received else { break true };
                    is_active = true;
                    self.begin(received, &mut work);
                }
                Some(ended) = work.join_next(), if !work.is_empty() => report(ended),
                () = share.changed() => {}
            }
            if is_active && !share.is_mine(shard) {
                break false;
            }
        };
        // The broker serves the next consumer as soon as this one cancels, so what is in hand is
        // answered for first: an endpoint has one caller at a time.
        while let Some(ended) = work.join_next().await {
            report(ended);
        }
        consumer.cancel().await;
        is_over
    }

    fn begin(self: &Arc<Self>, received: Received, work: &mut JoinSet<()>) {
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
        let in_hand = Arc::new(InHand::new(deliveries, received.acknowledgement));
        for consignment in consignments {
            let event = Arc::new(consignment.event);
            for target in consignment.targets {
                let (server, event) = (Arc::clone(self), Arc::clone(&event));
                let in_hand = Arc::clone(&in_hand);
                work.spawn(async move { server.deliver(&event, &target, &in_hand).await });
            }
        }
    }

    /// One delivery, from its turn to its settlement. Without a settlement the message stays
    /// unacknowledged and is given again.
    async fn deliver(&self, event: &Event, target: &Target, in_hand: &InHand) {
        if self.recent.has_finished(target) {
            metrics::repeat_spared();
            in_hand.settled();
            return;
        }
        let settlement = self.deliverer.deliver(event, target).await;
        match self.settler.settle(event, settlement).await {
            Ok(()) => {
                self.recent.finished(target);
                in_hand.settled();
            }
            Err(reason) => {
                debug!(delivery.id = %target.delivery, %reason, "not settled; it comes again");
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a delivery ended by a bug; it is given again");
    }
}
