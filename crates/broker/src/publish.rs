//! Putting messages into queues, and knowing when they are durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::topology::Queue;

/// Longest body of a message; well below the 16 MiB that `RabbitMQ` takes by default.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The body of a message, and what its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub body: Bytes,
    /// What the body is, for example `tripline.wire.v1.EventBatch`.
    pub kind: &'static str,
    pub schema_version: u32,
    /// How many events, deliveries or records the body carries.
    pub items: u32,
    /// W3C trace context, where the message carries one item.
    pub traceparent: Option<String>,
}

/// Why a message was not made durable. Nothing is known of it: publishing again may repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("the broker cannot be reached")]
    Unavailable,
    #[error("the broker did not confirm in time")]
    TimedOut,
    #[error("the queue is full or refused the message")]
    Refused,
    #[error("too much is waiting to be published")]
    Busy,
    #[error("the message has {0} bytes, more than a message may have")]
    TooLarge(usize),
}

/// Puts messages into queues.
#[async_trait]
pub trait Publisher: Send + Sync + fmt::Debug {
    /// Puts the message in line, behind those put there before by the same caller, and answers
    /// with its confirm. Waits while the window of unconfirmed messages is full.
    ///
    /// # Errors
    /// When the message cannot be sent at all.
    async fn publish(&self, queue: Queue, message: Message) -> Result<Confirm, PublishError>;
}

/// Resolves when the message is durable.
#[derive(Debug)]
pub struct Confirm(oneshot::Receiver<Result<(), PublishError>>);

impl Confirm {
    /// The confirm, and the other end that settles it. Dropping that end means `Unavailable`.
    pub fn new() -> (oneshot::Sender<Result<(), PublishError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Confirm {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|settled| settled.unwrap_or(Err(PublishError::Unavailable)))
    }
}
