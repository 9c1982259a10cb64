//! Tasks that make one request after another.
//!
//! What a request needs while it is under way is large. A task for each of them would be allocated
//! and freed anew, always in other memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Engine, Job};
use crate::lanes::Started;

/// Kept while they have nothing to do; the others of a burst end with their request.
const IDLE_MAX: usize = 256;

/// Those that have nothing to do.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// The one that was busy last is called first.
    idle: Mutex<Vec<Arc<Hand>>>,
    is_closed: AtomicBool,
}

/// One task, and where it is given what to do next.
#[derive(Debug, Default)]
struct Hand {
    given: Mutex<Option<Box<Started<Job>>>>,
    called: Notify,
}

impl Hands {
    /// Ends those that have nothing to do, and from now on each that has done its work.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for hand in self.idle().drain(..) {
            hand.called.notify_one();
        }
    }

    /// Whether it may wait for more.
    fn rest(&self, hand: &Arc<Hand>) -> bool {
        let mut idle = self.idle();
        let may_stay = idle.len() < IDLE_MAX && !self.is_closed.load(Ordering::Acquire);
        if may_stay {
            idle.push(Arc::clone(hand));
        }
        may_stay
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Hand>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand {
    fn given(&self) -> MutexGuard<'_, Option<Box<Started<Job>>>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Has a request made, by a task that is there or by a new one among `work`.
    pub(super) fn give(self: &Arc<Self>, started: Started<Job>, work: &mut JoinSet<()>) {
        let started = Box::new(started);
        let idle = self.hands.idle().pop();
        let hand = if let Some(hand) = idle {
            hand
        } else {
            let hand = Arc::<Hand>::default();
            work.spawn(Arc::clone(self).work(Arc::clone(&hand)));
            hand
        };
        *hand.given() = Some(started);
        hand.called.notify_one();
    }

    async fn work(self: Arc<Self>, hand: Arc<Hand>) {
        loop {
            hand.called.notified().await;
            let Some(started) = hand.given().take() else {
                return;
            };
            self.request(started).await;
            if !self.hands.rest(&hand) {
                return;
            }
        }
    }
}
