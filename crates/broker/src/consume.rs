//! Taking messages out of a queue, and answering for them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::topology::Queue;

/// Takes messages from one queue, in its order.
#[async_trait]
pub trait Consumer: Send + fmt::Debug {
    /// The next message; waits for one. Outlives lost connections. `None` after `cancel`.
    async fn next(&mut self) -> Option<Received>;

    /// The next message if one is here already.
    fn try_next(&mut self) -> Option<Received>;

    /// Takes no more: what was given and is unacknowledged may still be acknowledged; what was
    /// fetched and not given goes back to the queue.
    ///
    /// On a queue with a single consumer the next one is served from now on. To keep order over
    /// the hand-over, stop taking, answer for what is in hand, and only then cancel: with nothing in
    /// hand, what was fetched is given to the next one before anything else.
    async fn cancel(&mut self);
}

/// Everything that is ready behind `first`, in order, up to `messages_max` messages or
/// `bytes_max` bytes with it, so that a busy consumer handles many messages at once.
pub fn take_waiting(
    consumer: &mut dyn Consumer,
    first: Received,
    messages_max: usize,
    bytes_max: usize,
) -> Vec<Received> {
    let mut bytes = first.body.len();
    let mut taken = vec![first];
    while taken.len() < messages_max && bytes < bytes_max {
        let Some(received) = consumer.try_next() else {
            break;
        };
        bytes += received.body.len();
        taken.push(received);
    }
    taken
}

/// A message in hand. Dropped without an answer, it goes back to the queue.
#[derive(Debug)]
pub struct Received {
    pub queue: Queue,
    /// Of this message alone in its queue, and the same whenever it is given; `""` where its publisher gave it
    /// none.
    pub id: String,
    pub body: Bytes,
    /// As its header says; `""` when there is none.
    pub kind: String,
    pub schema_version: u32,
    /// Whether it was given before, to anybody.
    pub is_redelivered: bool,
    pub traceparent: Option<String>,
    /// For a message in the queue `unreadable.v1`: why it was set aside, and from which queue.
    pub set_aside: Option<SetAside>,
    pub acknowledgement: Acknowledgement,
}

/// Why and where a message was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Name of the queue it was in.
    pub queue: String,
    pub reason: String,
}

/// The duty to answer for a message. Answers are collected and sent together, a few milliseconds
/// later; after the loss of a connection they come to nothing, since the message is given again.
#[derive(Debug)]
pub struct Acknowledgement {
    listener: Arc<dyn Listener>,
    given: Given,
    is_answered: bool,
}

/// Which giving of which message: after a reconnect the same message is given anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// Hears what becomes of messages in hand; told once of each giving.
pub(crate) trait Listener: Send + Sync + fmt::Debug {
    fn hear(&self, given: Given, answer: Answer);
}

/// What becomes of a message in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done: it is removed.
    Done,
    /// It cannot be read: it is set aside in the queue `unreadable.v1`, with the reason.
    Unreadable(String),
    /// Nobody answered: it goes back to the queue.
    Returned,
}

impl Acknowledgement {
    pub(crate) const fn new(listener: Arc<dyn Listener>, given: Given) -> Self {
        Self {
            listener,
            given,
            is_answered: false,
        }
    }

    /// The message is done with: it is removed from the queue.
    pub fn ack(mut self) {
        self.answer(Answer::Done);
    }

    /// The message cannot be read: it is set aside in the queue `unreadable.v1`.
    pub fn reject(mut self, reason: impl Into<String>) {
        self.answer(Answer::Unreadable(reason.into()));
    }

    fn answer(&mut self, answer: Answer) {
        self.is_answered = true;
        self.listener.hear(self.given, answer);
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answer(Answer::Returned);
        }
    }
}
