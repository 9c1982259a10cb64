//! Messages that were fetched and wait for the consumer to take them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::consume::Received;

/// Bounded by the number of messages the broker gives without an acknowledgement.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Received>,
    is_closed: bool,
}

impl Inbox {
    /// Puts a message in line; a closed inbox drops it, which gives it back to the queue.
    pub(crate) fn put(&self, received: Received) {
        let refused = {
            let mut state = self.lock();
            if state.is_closed {
                Some(received)
            } else {
                state.waiting.push_back(received);
                None
            }
        };
        drop(refused);
        self.changed.notify_one();
    }

    /// The next message; `None` when the inbox is closed.
    pub(crate) async fn next(&self) -> Option<Received> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if let Some(received) = state.waiting.pop_front() {
                    return Some(received);
                }
                if state.is_closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    pub(crate) fn try_next(&self) -> Option<Received> {
        self.lock().waiting.pop_front()
    }

    /// How many messages wait to be taken.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Gives up what was not taken, for instance because its connection is gone.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut self.lock().waiting);
        drop(dropped);
    }

    pub(crate) fn close(&self) {
        let dropped = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(dropped);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
