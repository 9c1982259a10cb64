//! Replies: what is told to one process that waits, and to nobody once it is gone.
//!
//! They stand beside the queues and promise less: nothing is stored, nothing confirmed, and what
//! does not fit is dropped. Who waits has a deadline.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use domain::reply::ReplyAddress;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Replies that may wait to be taken; each may have some 64 KiB.
pub(crate) const REPLIES_MAX: u16 = 1_000;

/// Where the replies to one process come in. Who asks for an answer says its address.
#[derive(Debug)]
pub struct ReplyInbox {
    address: ReplyAddress,
    replies: mpsc::Receiver<Bytes>,
}

impl ReplyInbox {
    /// An inbox under an address that no other has, and what puts replies into it.
    pub fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, replies) = mpsc::channel(REPLIES_MAX.into());
        let address = ReplyAddress::of(Uuid::now_v7().as_u128());
        (sender, Self { address, replies })
    }

    pub const fn address(&self) -> &ReplyAddress {
        &self.address
    }

    /// The next reply; waits for one. `None` when there will be none any more.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.replies.recv().await
    }
}

/// Sends replies. Cheap to clone.
#[derive(Clone)]
pub struct Replier(Arc<Way>);

/// How a reply gets to an address.
type Way = dyn Fn(&ReplyAddress, Bytes) + Send + Sync;

impl Replier {
    pub fn new(send: impl Fn(&ReplyAddress, Bytes) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends a reply on its way. Whether it arrives nobody knows.
    pub fn reply(&self, to: &ReplyAddress, body: Bytes) {
        (self.0)(to, body);
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Replier")
    }
}
