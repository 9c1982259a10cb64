//! What one shard has in hand, so that its reader knows when to go on and when to let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// While so many of a shard's deliveries wait for their turn, no further message is taken: they
/// are all of endpoints that keep up, so it is this process that is behind.
pub(super) const QUEUED_MAX: usize = 256;

/// What one shard has in hand. Clones share it.
#[derive(Debug, Clone)]
pub struct ShardWork {
    shard: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    queued: AtomicUsize,
    changed: Notify,
}

/// One delivery that is neither settled nor has left its message.
#[derive(Debug)]
pub(super) struct Open(Arc<Counts>);

/// One delivery whose request has not begun.
#[derive(Debug)]
pub(super) struct Queued(Arc<Counts>);

impl ShardWork {
    pub fn new(shard: u16) -> Self {
        Self {
            shard,
            counts: Arc::default(),
        }
    }

    pub const fn shard(&self) -> u16 {
        self.shard
    }

    /// Whether another message may be taken.
    pub fn has_room(&self) -> bool {
        self.counts.queued.load(Ordering::Acquire) < QUEUED_MAX
    }

    /// Returns when there may be room.
    pub async fn room(&self) {
        loop {
            let changed = self.counts.changed.notified();
            if self.has_room() {
                return;
            }
            changed.await;
        }
    }

    /// Returns when nothing is open any more.
    pub async fn finished(&self) {
        loop {
            let changed = self.counts.changed.notified();
            if self.counts.open.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn open(&self) -> Open {
        self.counts.open.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(&self.counts))
    }

    pub(super) fn queue(&self) -> Queued {
        self.counts.queued.fetch_add(1, Ordering::AcqRel);
        Queued(Arc::clone(&self.counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.0.queued.fetch_sub(1, Ordering::AcqRel) == QUEUED_MAX {
            self.0.changed.notify_one();
        }
    }
}
