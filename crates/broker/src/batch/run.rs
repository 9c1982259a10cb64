//! The loop of a batcher: gather, publish, settle.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::waiters::{Part, Waiters};
use super::{BatchLimits, Encoding, Group};
use crate::back_off::BackOff;
use crate::publish::{Message, PublishError, Publisher};
use crate::topology::Queue;

type Settled = (Prepared, Result<(), PublishError>);

pub(super) struct Loop<T> {
    publisher: Arc<dyn Publisher>,
    queue: Queue,
    encoding: Encoding<T>,
    limits: BatchLimits,
    arrivals: mpsc::UnboundedReceiver<Group<T>>,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    waiters: Waiters,
    in_flight: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// Failed, to be published again in the order they had, before anything else.
    again: BTreeMap<u64, Prepared>,
    next_number: u64,
    pace: Pace,
    back_off: BackOff,
    not_before: Instant,
    is_closing: bool,
}

struct Waiting<T> {
    item: T,
    bytes: usize,
    group: u64,
    until_durable: bool,
}

/// A message that is on its way or failed.
struct Prepared {
    number: u64,
    message: Message,
    parts: Vec<Part>,
    until_durable: bool,
}

impl<T: Send + 'static> Loop<T> {
    pub(super) fn new(
        publisher: Arc<dyn Publisher>,
        queue: Queue,
        encoding: Encoding<T>,
        limits: BatchLimits,
        arrivals: mpsc::UnboundedReceiver<Group<T>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            publisher,
            queue,
            encoding,
            limits,
            arrivals,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiters: Waiters::default(),
            in_flight: FuturesUnordered::new(),
            again: BTreeMap::new(),
            next_number: 0,
            pace: Pace::new(now),
            back_off: BackOff::default(),
            not_before: now,
            is_closing: false,
        }
    }

    pub(super) async fn run(
        mut self,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        let mut is_open = true;
        loop {
            self.take_arrivals();
            let has_work = !self.waiting.is_empty() || !self.again.is_empty();
            let has_room = self.has_room();
            let ready_at = self.ready_at();
            if has_work && has_room && Instant::now() >= ready_at {
                self.publish_next().await;
                continue;
            }
            if !is_open && !has_work && self.in_flight.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(settled) = self.in_flight.next() => self.settle(settled),
                () = sleep_until(ready_at), if has_work && has_room => {}
                // What comes while nothing could be published anyway is taken together later.
                group = self.arrivals.recv(), if is_open && !has_work => match group {
                    Some(group) => {
                        self.arrived(1);
                        self.add(group);
                    }
                    None => is_open = false,
                },
                () = &mut closing, if !self.is_closing => {
                    self.is_closing = true;
                    self.arrivals.close();
                }
            }
        }
    }

    /// What failed goes alone and before all others, so that nothing overtakes it again.
    fn has_room(&self) -> bool {
        if self.again.is_empty() {
            self.in_flight.len() < self.limits.publishes_in_flight_max.max(1)
        } else {
            self.in_flight.is_empty()
        }
    }

    fn take_arrivals(&mut self) {
        let mut groups = 0;
        while let Ok(group) = self.arrivals.try_recv() {
            groups += 1;
            self.add(group);
        }
        if groups > 0 {
            self.arrived(groups);
        }
    }

    fn arrived(&mut self, groups: u32) {
        let now = Instant::now();
        self.limits.stream.count(groups, now);
        self.pace.arrived(now);
    }

    /// When the next message may go: at once if it is full.
    fn ready_at(&self) -> Instant {
        let is_full = self.waiting.len() >= self.limits.items_max
            || self.waiting_bytes >= self.limits.bytes_max;
        match self.pace.next_at(&self.limits).filter(|_| !is_full) {
            Some(by_pace) => self.not_before.max(by_pace),
            None => self.not_before,
        }
    }

    fn add(&mut self, group: Group<T>) {
        let Group {
            items,
            until_durable,
            settled,
            room,
        } = group;
        if items.is_empty() {
            drop(settled.send(Ok(())));
            return;
        }
        let group = self.waiters.add(items.len(), settled, room);
        let bytes_of = self.encoding.bytes_of;
        for item in items {
            let bytes = bytes_of(&item);
            self.waiting_bytes += bytes;
            self.waiting.push_back(Waiting {
                bytes,
                item,
                group,
                until_durable,
            });
        }
    }

    async fn publish_next(&mut self) {
        let prepared = match self.again.pop_first() {
            Some((_, failed)) => failed,
            None => self.prepare(),
        };
        self.pace.published(Instant::now());
        let sent = self
            .publisher
            .publish(self.queue, prepared.message.clone())
            .await;
        self.in_flight.push(Box::pin(async move {
            let outcome = match sent {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (prepared, outcome)
        }));
    }

    /// The next message: as much of what waits as fits.
    fn prepare(&mut self) -> Prepared {
        let until_durable = self
            .waiting
            .front()
            .is_some_and(|first| first.until_durable);
        let mut items = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.pop_front_if(|next| {
            next.until_durable == until_durable
                && items.len() < self.limits.items_max
                && (items.is_empty() || bytes + next.bytes <= self.limits.bytes_max)
        }) {
            bytes += next.bytes;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(next.bytes);
            items.push(next.item);
            match parts.last_mut() {
                Some(part) if part.group == next.group => part.items += 1,
                _ => parts.push(Part {
                    group: next.group,
                    items: 1,
                }),
            }
        }
        let number = self.next_number;
        self.next_number += 1;
        Prepared {
            number,
            message: (self.encoding.encode)(&items),
            parts,
            until_durable,
        }
    }

    fn settle(&mut self, (prepared, outcome): Settled) {
        if let Err(error) = &outcome
            && prepared.until_durable
            && !self.is_closing
            && !matches!(error, PublishError::TooLarge(_))
        {
            tracing::warn!(queue = %self.queue, %error, "messages wait to be published again");
            self.not_before = Instant::now() + self.back_off.next_wait();
            self.again.insert(prepared.number, prepared);
            return;
        }
        if outcome.is_ok() {
            self.back_off.reset();
        }
        self.waiters.settle(&prepared.parts, &outcome);
    }
}
