//! Waits for what a function answers to an event, for whoever emitted it synchronously.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::{Broker, ReplyInbox};
use domain::id::EventId;
use domain::reply::{Heard, ReplyAddress, Verdict};
use lifecycle::Tasks;
use protocol::fault::{Fault, FaultKind};
use protocol::reply;
use tokio::sync::oneshot;
use tracing::debug;

/// So many may wait at a time at one door; each holds a request open.
const WAITERS_MAX: usize = 10_000;

/// Who waits at this door; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Waiters {
    address: ReplyAddress,
    open: Arc<Mutex<Open>>,
}

type Open = HashMap<EventId, Waiter>;

#[derive(Debug)]
struct Waiter {
    heard: Heard,
    verdict: oneshot::Sender<Verdict>,
}

/// One who waits; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    event: EventId,
    open: Arc<Mutex<Open>>,
    verdict: oneshot::Receiver<Verdict>,
}

impl Waiters {
    pub(crate) fn start(broker: &Arc<dyn Broker>, tasks: &Tasks) -> Self {
        let inbox = broker.reply_inbox();
        let waiters = Self {
            address: inbox.address().clone(),
            open: Arc::default(),
        };
        let hearing = waiters.clone().hear_all(inbox, tasks.closing());
        tasks.spawn_background("replies to who waits", hearing);
        waiters
    }

    /// Where replies have to be sent.
    pub(crate) const fn address(&self) -> &ReplyAddress {
        &self.address
    }

    /// Begins to wait, before the event is sent on its way.
    ///
    /// # Errors
    /// When too many wait already.
    pub(crate) fn wait_for(&self, event: EventId) -> Result<Waiting, Fault> {
        let (sender, verdict) = oneshot::channel();
        let mut open = lock(&self.open);
        if open.len() >= WAITERS_MAX {
            let message = "too many events are being waited for at this moment";
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        let waiter = Waiter {
            heard: Heard::default(),
            verdict: sender,
        };
        open.insert(event, waiter);
        drop(open);
        Ok(Waiting {
            event,
            open: Arc::clone(&self.open),
            verdict,
        })
    }

    async fn hear_all(
        self,
        mut inbox: ReplyInbox,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        loop {
            let reply = tokio::select! {
                reply = inbox.next() => reply,
                () = &mut closing => None,
            };
            let Some(reply) = reply else { return Ok(()) };
            match reply::read(reply) {
                Ok(reply) => self.hear(reply),
                Err(error) => debug!(%error, "a reply cannot be read"),
            }
        }
    }

    fn hear(&self, reply: domain::reply::Reply) {
        let mut open = lock(&self.open);
        let Some(waiter) = open.get_mut(&reply.event) else {
            return;
        };
        let Some(verdict) = waiter.heard.hear(reply.said) else {
            return;
        };
        if let Some(waiter) = open.remove(&reply.event) {
            // Who has stopped waiting need not be told.
            drop(waiter.verdict.send(verdict));
        }
    }
}

impl Waiting {
    /// `None` when the process ends first.
    pub(crate) async fn verdict(&mut self) -> Option<Verdict> {
        (&mut self.verdict).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.event);
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
