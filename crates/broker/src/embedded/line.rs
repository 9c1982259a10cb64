//! One queue in memory: what is ready, what is in hand, and who is served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use storage::queue::{EmbeddedQueue, Position, QueuedMessage};
use tokio::sync::{Notify, mpsc};

use super::chores::Chore;
use super::stored::Stored;
use crate::consume::{Acknowledgement, Answer, Given, Listener, Received};
use crate::metrics;
use crate::topology::Queue;

/// Messages read from the file at a time.
pub(super) const LOAD_MAX: u32 = 64;

/// With fewer ready than this, more are read.
const READY_LOW: usize = 32;

/// What a line keeps ready in memory; the rest waits in the file.
const READY_MESSAGES_MAX: usize = 4096;
const READY_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Line {
    queue: Queue,
    name: String,
    file: EmbeddedQueue,
    chores: mpsc::UnboundedSender<Chore>,
    state: Mutex<State>,
    changed: Notify,
    myself: Weak<Line>,
}

#[derive(Debug, Default)]
struct State {
    ready: BTreeMap<Position, Waiting>,
    ready_bytes: usize,
    /// Everything up to here is or was in memory.
    known_up_to: Option<Position>,
    /// The last message that was published.
    arrived_up_to: Option<Position>,
    /// Whether the file holds messages that are not in memory.
    has_more: bool,
    is_loading: bool,
    in_hand: BTreeMap<u64, InHand>,
    next_number: u64,
    /// In the order in which they came; where only one is served it is the first.
    consumers: VecDeque<Registered>,
}

#[derive(Debug)]
struct Waiting {
    stored: Stored,
    /// How often it was given in vain, crashes included.
    given_before: u32,
}

#[derive(Debug)]
struct InHand {
    position: Position,
    consumer: u64,
    waiting: Waiting,
}

#[derive(Debug)]
struct Registered {
    number: u64,
    in_flight: usize,
    in_flight_max: usize,
}

impl Line {
    pub(super) fn new(
        queue: Queue,
        file: EmbeddedQueue,
        chores: mpsc::UnboundedSender<Chore>,
    ) -> Arc<Self> {
        let state = Mutex::new(State {
            has_more: true,
            ..State::default()
        });
        Arc::new_cyclic(|myself| Self {
            queue,
            name: queue.to_string(),
            file,
            chores,
            state,
            changed: Notify::new(),
            myself: Weak::clone(myself),
        })
    }

    pub(super) const fn queue(&self) -> Queue {
        self.queue
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn register(&self, number: u64, in_flight_max: u16) {
        let in_flight_max = in_flight_max.into();
        self.lock().consumers.push_back(Registered {
            number,
            in_flight: 0,
            in_flight_max,
        });
        self.changed.notify_waiters();
    }

    pub(super) fn unregister(&self, number: u64) {
        self.lock()
            .consumers
            .retain(|consumer| consumer.number != number);
        self.changed.notify_waiters();
    }

    /// A message was written: it is kept in memory unless others wait in the file before it, or
    /// memory holds enough.
    pub(super) fn arrived(&self, position: Position, stored: Stored) {
        {
            let mut state = self.lock();
            state.arrived_up_to = Some(position);
            if state.known_up_to.is_some_and(|known| position <= known) {
                return;
            }
            // Among the unreadable, others arrive by being set aside.
            if state.has_more || state.is_full() || self.queue == Queue::Unreadable {
                state.has_more = true;
            } else {
                state.known_up_to = Some(position);
                state.put(
                    position,
                    Waiting {
                        stored,
                        given_before: 0,
                    },
                );
            }
            self.ask_for_more(&mut state);
        }
        self.changed.notify_waiters();
    }

    pub(super) fn has_more(&self) {
        {
            let mut state = self.lock();
            state.has_more = true;
            self.ask_for_more(&mut state);
        }
        self.changed.notify_waiters();
    }

    pub(super) fn loaded_up_to(&self) -> Option<Position> {
        self.lock().known_up_to
    }

    pub(super) fn loaded(&self, messages: Vec<QueuedMessage>) {
        {
            let mut state = self.lock();
            state.is_loading = false;
            let is_all = u32::try_from(messages.len()).is_ok_and(|count| count < LOAD_MAX);
            for message in messages {
                let position = message.position;
                let given_before = message.crashes;
                state.known_up_to = Some(position);
                state.put(
                    position,
                    Waiting {
                        stored: message.into(),
                        given_before,
                    },
                );
            }
            // What was published after the file was read is still to be read.
            state.has_more = !is_all || state.arrived_up_to > state.known_up_to;
            self.ask_for_more(&mut state);
        }
        self.changed.notify_waiters();
    }

    /// The next message for this consumer; waits for one.
    pub(super) async fn next(&self, consumer: u64) -> Received {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(received) = self.take(consumer) {
                return received;
            }
            changed.await;
        }
    }

    pub(super) fn take(&self, consumer: u64) -> Option<Received> {
        let listener = self.myself.upgrade()?;
        let mut state = self.lock();
        if !state.is_served(self.queue, consumer) {
            return None;
        }
        self.ask_for_more(&mut state);
        let (position, waiting) = state.ready.pop_first()?;
        state.ready_bytes = state.ready_bytes.saturating_sub(waiting.stored.body.len());
        let number = state.next_number;
        state.next_number += 1;
        state.count_in_flight(consumer, 1);
        let received = self.received((position, &waiting), listener, number);
        state.in_hand.insert(
            number,
            InHand {
                position,
                consumer,
                waiting,
            },
        );
        metrics::unacked(self.queue, state.in_hand.len());
        drop(state);
        self.file.handed(position);
        metrics::received(self.queue);
        Some(received)
    }

    /// The message of this giving is gone from this queue.
    pub(super) fn forget(&self, number: u64) -> Option<Position> {
        let forgotten = {
            let mut state = self.lock();
            let forgotten = state.take_back(number);
            metrics::unacked(self.queue, state.in_hand.len());
            forgotten
        };
        self.changed.notify_waiters();
        forgotten.map(|in_hand| in_hand.position)
    }

    fn received(
        &self,
        (position, waiting): (Position, &Waiting),
        listener: Arc<Self>,
        number: u64,
    ) -> Received {
        let Stored {
            body,
            kind,
            schema_version,
            traceparent,
            set_aside,
            ..
        } = &waiting.stored;
        Received {
            queue: self.queue,
            id: position.to_string(),
            body: Bytes::clone(body),
            kind: kind.clone(),
            schema_version: *schema_version,
            is_redelivered: waiting.given_before > 0,
            traceparent: traceparent.clone(),
            set_aside: set_aside.clone(),
            acknowledgement: Acknowledgement::new(listener, Given { epoch: 0, number }),
        }
    }

    fn give_back(&self, number: u64) {
        let mut state = self.lock();
        let given_before = state
            .in_hand
            .get(&number)
            .map(|held| held.waiting.given_before + 1);
        if given_before.is_some_and(|times| times > self.queue.delivery_limit()) {
            drop(state);
            let reason = format!("given {} times in vain", self.queue.delivery_limit() + 1);
            self.set_aside(number, reason);
            return;
        }
        if let Some(InHand {
            position,
            mut waiting,
            ..
        }) = state.take_back(number)
        {
            waiting.given_before += 1;
            state.put(position, waiting);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn set_aside(&self, number: u64, reason: String) {
        let position = self.lock().in_hand.get(&number).map(|held| held.position);
        if let (Some(position), Some(line)) = (position, self.myself.upgrade()) {
            // At the end of the process the message is given again after the next start.
            drop(self.chores.send(Chore::SetAside {
                line,
                number,
                position,
                reason,
            }));
        }
    }

    fn ask_for_more(&self, state: &mut State) {
        let is_wanted = state.has_more && !state.is_loading && !state.consumers.is_empty();
        if is_wanted
            && state.ready.len() < READY_LOW
            && let Some(line) = self.myself.upgrade()
        {
            state.is_loading = self.chores.send(Chore::Load(line)).is_ok();
        }
    }

    /// A panic elsewhere leaves the state whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Line {
    fn hear(&self, given: Given, answer: Answer) {
        match answer {
            Answer::Done => {
                if let Some(position) = self.forget(given.number) {
                    self.file.ack(position);
                }
            }
            Answer::Returned => self.give_back(given.number),
            Answer::Unreadable(reason) => self.set_aside(given.number, reason),
        }
    }
}

impl State {
    fn put(&mut self, position: Position, waiting: Waiting) {
        self.ready_bytes += waiting.stored.body.len();
        self.ready.insert(position, waiting);
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= READY_MESSAGES_MAX || self.ready_bytes >= READY_BYTES_MAX
    }

    fn is_served(&self, queue: Queue, consumer: u64) -> bool {
        let mut consumers = self.consumers.iter();
        let served = if queue.has_single_consumer() {
            consumers.next().filter(|first| first.number == consumer)
        } else {
            consumers.find(|registered| registered.number == consumer)
        };
        served.is_some_and(|served| served.in_flight < served.in_flight_max)
    }

    fn take_back(&mut self, number: u64) -> Option<InHand> {
        let in_hand = self.in_hand.remove(&number)?;
        self.count_in_flight(in_hand.consumer, -1);
        Some(in_hand)
    }

    fn count_in_flight(&mut self, consumer: u64, change: isize) {
        let mut consumers = self.consumers.iter_mut();
        if let Some(registered) = consumers.find(|registered| registered.number == consumer) {
            registered.in_flight = registered.in_flight.saturating_add_signed(change);
        }
    }
}
