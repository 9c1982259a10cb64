//! Sends deliveries to their shards and records to the logs, many to a message, in order.

use std::sync::Arc;

use broker::{BatchLimits, Batcher, Broker, Encoding, Message, PublishError, Pushed, Queue};
use domain::delivery::{Consignment, Notice};
use domain::record::Record;
use futures::future::try_join_all;
use lifecycle::Tasks;
use protocol::envelope::Envelope as _;

use crate::match_events::{Fanout, TARGETS_MAX};

/// A message of deliveries has about so many bytes at most.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A delivery counts as at least so many bytes, which keeps a message to [`TARGETS_MAX`] of them:
/// one message should not occupy a worker for long.
const DELIVERY_BYTES_MIN: usize = MESSAGE_BYTES_MAX / TARGETS_MAX;

/// The lines to all delivery shards and to the logs; clones share them.
#[derive(Debug, Clone)]
pub struct Outbound {
    deliveries: Arc<[Batcher<Consignment>]>,
    records: Batcher<Record>,
    notices: Batcher<Notice>,
}

/// Resolves when all that was sent together is durable.
#[derive(Debug)]
pub struct Sent(Vec<Pushed>);

impl Outbound {
    /// Starts the lines.
    pub fn start(broker: &dyn Broker, tasks: &Tasks) -> Self {
        let publisher = broker.publisher();
        let limits = BatchLimits {
            bytes_max: MESSAGE_BYTES_MAX,
            // What came first at the door stays first, even when the broker refuses it once.
            publishes_in_flight_max: 1,
            waiting_bytes_max: 64 * 1024 * 1024,
            ..BatchLimits::default()
        };
        let line = |shard| {
            let encoding = Encoding {
                bytes_of: bytes_of_consignment,
                encode: Message::of,
            };
            let queue = Queue::Deliveries(shard);
            Batcher::start(
                Arc::clone(&publisher),
                queue,
                encoding,
                limits.clone(),
                tasks,
            )
        };
        let deliveries = (0..broker.topology().delivery_shards).map(line).collect();
        let encoding = Encoding::of_envelope();
        let limits = BatchLimits::unhurried();
        let records = Batcher::start(
            Arc::clone(&publisher),
            Queue::Records,
            encoding,
            limits,
            tasks,
        );
        let (encoding, limits) = (Encoding::of_envelope(), BatchLimits::default());
        let notices = Batcher::start(publisher, Queue::Waiting, encoding, limits, tasks);
        Self {
            deliveries,
            records,
            notices,
        }
    }

    pub fn delivery_shards(&self) -> u16 {
        u16::try_from(self.deliveries.len()).unwrap_or(u16::MAX)
    }

    /// Puts what follows from a batch of events in line, however long the lines are. It is
    /// published again and again until it is durable.
    ///
    /// # Errors
    /// Only when the process ends.
    pub async fn send(&self, fanout: Fanout) -> Result<Sent, PublishError> {
        let mut pushed = Vec::with_capacity(fanout.consignments.len() + 1);
        for (shard, consignments) in fanout.consignments {
            pushed.push(self.line(shard)?.put_until_durable(consignments).await?);
        }
        if !fanout.waiting.is_empty() {
            let waiting = fanout.waiting.into_iter();
            let notices = waiting.map(|waiting| Notice::Wait(Box::new(waiting)));
            pushed.push(self.notices.put_until_durable(notices.collect()).await?);
        }
        pushed.push(self.records.put_until_durable(fanout.records).await?);
        Ok(Sent(pushed))
    }

    /// Sends deliveries of one shard once; they are durable when this answers.
    ///
    /// # Errors
    /// When the broker did not take them, or nobody knows.
    pub async fn send_once(
        &self,
        shard: u16,
        consignments: Vec<Consignment>,
    ) -> Result<(), PublishError> {
        self.line(shard)?.push_all(consignments).await
    }

    /// Sends records once; they are durable when this answers.
    ///
    /// # Errors
    /// When the broker did not take them, or nobody knows.
    pub async fn record_once(&self, records: Vec<Record>) -> Result<(), PublishError> {
        self.records.push_all(records).await
    }

    fn line(&self, shard: u16) -> Result<&Batcher<Consignment>, PublishError> {
        // Every shard is worked out with the number of lines, so there is one for it.
        self.deliveries
            .get(usize::from(shard))
            .ok_or(PublishError::Refused)
    }
}

impl Sent {
    /// Waits for every confirm.
    ///
    /// # Errors
    /// When the process ends first, or something is too large to be sent at all.
    pub async fn durable(self) -> Result<(), PublishError> {
        try_join_all(self.0).await.map(drop)
    }
}

fn bytes_of_consignment(consignment: &Consignment) -> usize {
    consignment
        .bytes()
        .max(consignment.targets.len() * DELIVERY_BYTES_MIN)
}
