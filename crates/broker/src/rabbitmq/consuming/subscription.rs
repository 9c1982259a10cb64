//! One channel that consumes: hands messages on, and tells the broker what became of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Answered, CANCEL_TIMEOUT, Consuming, stop_wanted};
use crate::back_off::BackOff;
use crate::consume::{Acknowledgement, Answer, Given, Received, SetAside};
use crate::metrics;
use crate::publish::PublishError;
use crate::rabbitmq::connector::LinkError;
use crate::rabbitmq::open_deliveries::{AckFrame, Kept, OpenDeliveries};
use crate::rabbitmq::properties::{Headers, Outgoing};
use crate::rabbitmq::publishing::RabbitPublisher;
use crate::topology::Queue;

/// Acknowledgements of this time go out together.
const ACK_EVERY: Duration = Duration::from_millis(2);

/// As long as some wait for those before them, they are looked at this often.
const ACK_LATE_EVERY: Duration = Duration::from_millis(5);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Subscription {
    /// Kept, because a connection closes when it is dropped.
    _connection: Arc<Connection>,
    channel: Channel,
    deliveries: lapin::Consumer,
    tag: ShortString,
    queue: Queue,
    epoch: u64,
    open: OpenDeliveries,
    /// Messages being published to the queue of the unreadable; resolves to their number.
    setting_aside: FuturesUnordered<BoxFuture<'static, u64>>,
    flush_at: Option<Instant>,
    is_cancelled: bool,
}

/// Why a subscription serves no more.
pub(super) enum Ended {
    /// Nothing more is wanted, and everything given is answered for.
    Finished,
    Lost(LinkError),
}

impl Subscription {
    pub(super) async fn open(
        connection: Arc<Connection>,
        queue: Queue,
        in_flight_max: u16,
        epoch: u64,
    ) -> Result<Self, LinkError> {
        let channel = connection
            .create_channel()
            .await
            .map_err(LinkError::Channel)?;
        // Before consuming: it is the only bound on what the broker sends.
        channel
            .basic_qos(in_flight_max, BasicQosOptions::default())
            .await
            .map_err(LinkError::Channel)?;
        let deliveries = channel
            .basic_consume(
                queue.to_string().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|source| LinkError::Consume { queue, source })?;
        Ok(Self {
            _connection: connection,
            tag: deliveries.tag(),
            channel,
            deliveries,
            queue,
            epoch,
            open: OpenDeliveries::default(),
            setting_aside: FuturesUnordered::new(),
            flush_at: None,
            is_cancelled: false,
        })
    }

    pub(super) async fn serve(
        &mut self,
        consuming: &mut Consuming,
        closing: &mut (impl Future<Output = ()> + Unpin + Send),
    ) -> Ended {
        let mut stopped = consuming.stopped.clone();
        loop {
            if self.is_cancelled && self.open.is_empty() {
                self.close().await;
                return Ended::Finished;
            }
            let flush_at = self.flush_at;
            let outcome = tokio::select! {
                delivery = self.deliveries.next(), if !self.is_cancelled => match delivery {
                    Some(Ok(delivery)) => {
                        self.take_deliveries(delivery, consuming);
                        Ok(())
                    }
                    Some(Err(error)) => Err(LinkError::Lost(error)),
                    None => Err(LinkError::Closed),
                },
                Some(answered) = consuming.answers.recv() => self.take_answers(answered, consuming),
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() =>
                    self.flush(),
                Some(number) = self.setting_aside.next() => {
                    metrics::set_aside(self.queue);
                    self.done(number);
                    Ok(())
                }
                () = stop_wanted(&mut stopped), if !self.is_cancelled => self.cancel(consuming).await,
                () = &mut *closing => {
                    self.finish(consuming).await;
                    return Ended::Finished;
                }
            };
            if let Err(error) = outcome {
                return Ended::Lost(error);
            }
        }
    }

    /// Hands on what the broker has sent so far.
    fn take_deliveries(&mut self, first: Delivery, consuming: &Consuming) {
        self.hand_on(first, consuming);
        while let Some(Some(Ok(delivery))) = self.deliveries.next().now_or_never() {
            self.hand_on(delivery, consuming);
        }
        metrics::unacked(self.queue, self.open.len());
    }

    fn hand_on(&mut self, delivery: Delivery, consuming: &Consuming) {
        let Delivery {
            delivery_tag: number,
            redelivered,
            properties,
            data,
            ..
        } = delivery;
        let body = Bytes::from(data);
        let headers = Headers(&properties);
        let given = Given {
            epoch: self.epoch,
            number,
        };
        let received = Received {
            queue: self.queue,
            id: headers.message_id(),
            body: headers.unpack(body.clone()),
            kind: headers.kind(),
            schema_version: headers.schema_version(),
            is_redelivered: redelivered,
            traceparent: headers.traceparent(),
            set_aside: headers.set_aside(),
            acknowledgement: Acknowledgement::new(Arc::clone(&consuming.listener), given),
        };
        self.open.add(number, Kept { body, properties });
        metrics::received(self.queue);
        consuming.inbox.put(received);
    }

    fn take_answers(
        &mut self,
        first: Answered,
        consuming: &mut Consuming,
    ) -> Result<(), LinkError> {
        self.take_answer(first, &consuming.publisher)?;
        while let Ok(answered) = consuming.answers.try_recv() {
            self.take_answer(answered, &consuming.publisher)?;
        }
        Ok(())
    }

    fn take_answer(
        &mut self,
        answered: Answered,
        publisher: &Arc<RabbitPublisher>,
    ) -> Result<(), LinkError> {
        let Given { epoch, number } = answered.given;
        if epoch != self.epoch {
            return Ok(());
        }
        match answered.answer {
            Answer::Done => {
                self.done(number);
                Ok(())
            }
            Answer::Returned => self.give_back(number),
            Answer::Unreadable(reason) => {
                self.set_aside(number, reason, publisher);
                Ok(())
            }
        }
    }

    fn done(&mut self, number: u64) {
        self.open.done(number);
        self.flush_at
            .get_or_insert_with(|| Instant::now() + ACK_EVERY);
    }

    fn give_back(&mut self, number: u64) -> Result<(), LinkError> {
        if !self.open.remove(number) {
            return Ok(());
        }
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        send(self.channel.basic_nack(number, options))
    }

    /// Confirm before ack: a crash in between sets it aside twice; the other order loses it.
    fn set_aside(&mut self, number: u64, reason: String, publisher: &Arc<RabbitPublisher>) {
        let Some(Kept { body, properties }) = self.open.kept(number) else {
            return;
        };
        tracing::error!(queue = %self.queue, %reason, "message cannot be read and is set aside");
        let headers = Headers(&properties);
        let outgoing = Outgoing {
            body: headers.packed(body),
            kind: headers.kind().into(),
            schema_version: headers.schema_version(),
            items: headers.items(),
            traceparent: headers.traceparent(),
            set_aside: Some(SetAside {
                queue: self.queue.to_string(),
                reason,
            }),
        };
        let publisher = Arc::clone(publisher);
        self.setting_aside.push(Box::pin(async move {
            let mut back_off = BackOff::default();
            while let Err(error) = publish(&publisher, outgoing.clone()).await {
                tracing::warn!(%error, "an unreadable message waits to be set aside");
                tokio::time::sleep(back_off.next_wait()).await;
            }
            number
        }));
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        let frames = self.open.flush();
        self.acknowledge(&frames)?;
        self.flush_at = self
            .open
            .has_done()
            .then(|| Instant::now() + ACK_LATE_EVERY);
        metrics::unacked(self.queue, self.open.len());
        Ok(())
    }

    fn acknowledge(&self, frames: &[AckFrame]) -> Result<(), LinkError> {
        frames
            .iter()
            .try_for_each(|&AckFrame { number, multiple }| {
                send(self.channel.basic_ack(number, BasicAckOptions { multiple }))
            })
    }

    /// Stops the broker from sending more, and gives back what nobody has taken.
    async fn cancel(&mut self, consuming: &mut Consuming) -> Result<(), LinkError> {
        self.is_cancelled = true;
        while let Ok(answered) = consuming.answers.try_recv() {
            self.take_answer(answered, &consuming.publisher)?;
        }
        let is_nothing_in_hand = self.open.in_hand() == consuming.inbox.len();
        if is_nothing_in_hand && self.setting_aside.is_empty() {
            // With its channel all that was fetched goes back at once, in order, before the next
            // consumer is given anything. After a mere cancel it would come behind that.
            let frames = self.open.flush_all();
            self.acknowledge(&frames)?;
            self.close().await;
            self.open = OpenDeliveries::default();
            consuming.inbox.close();
            consuming.taking.send_replace(false);
            return Ok(());
        }
        // What is in the inbox came first, so it goes back first.
        consuming.inbox.close();
        let cancelling = self
            .channel
            .basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        timeout(CANCEL_TIMEOUT, cancelling)
            .await
            .map_err(|_elapsed| LinkError::NoAnswer)?
            .map_err(LinkError::Lost)?;
        while let Some(Some(Ok(delivery))) = self.deliveries.next().now_or_never() {
            self.hand_on(delivery, consuming);
        }
        consuming.taking.send_replace(false);
        Ok(())
    }

    /// At the end of the process: says what is done; the rest goes back with the channel.
    async fn finish(&mut self, consuming: &mut Consuming) {
        while let Ok(answered) = consuming.answers.try_recv() {
            if self.take_answer(answered, &consuming.publisher).is_err() {
                return;
            }
        }
        let frames = self.open.flush_all();
        if self.acknowledge(&frames).is_ok() {
            self.close().await;
        }
    }

    /// Waits for the broker's answer, so that what was sent before has arrived.
    async fn close(&mut self) {
        metrics::unacked(self.queue, 0);
        let closed = timeout(CLOSE_TIMEOUT, self.channel.close(200, "end".into())).await;
        tracing::debug!(queue = %self.queue, ?closed, "consumer closed");
    }
}

async fn publish(publisher: &RabbitPublisher, outgoing: Outgoing) -> Result<(), PublishError> {
    publisher.send(Queue::Unreadable, outgoing).await?.await
}

/// Puts a frame in line without waiting until it is written: a failure to write ends the channel,
/// and that is seen by whoever reads from it.
fn send(frame: impl Future<Output = lapin::Result<()>>) -> Result<(), LinkError> {
    match frame.now_or_never() {
        Some(Err(error)) => Err(LinkError::Lost(error)),
        Some(Ok(())) | None => Ok(()),
    }
}
