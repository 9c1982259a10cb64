//! Who waits for which items: a group may be spread over several messages.

use std::collections::BTreeMap;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::publish::PublishError;

/// The groups that are not settled yet, by number.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    unsettled_items: usize,
    failure: Option<PublishError>,
    settled: oneshot::Sender<Result<(), PublishError>>,
    /// Given back when the group is settled.
    _room: [OwnedSemaphorePermit; 2],
}

/// Part of a group in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) group: u64,
    pub(super) items: usize,
}

impl Waiters {
    pub(super) fn add(
        &mut self,
        items: usize,
        settled: oneshot::Sender<Result<(), PublishError>>,
        room: [OwnedSemaphorePermit; 2],
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let waiter = Waiter {
            unsettled_items: items,
            failure: None,
            settled,
            _room: room,
        };
        self.waiting.insert(number, waiter);
        number
    }

    /// A message with these parts was confirmed or failed; a group is told once it is through,
    /// and of its first failure.
    pub(super) fn settle(&mut self, parts: &[Part], outcome: &Result<(), PublishError>) {
        for part in parts {
            let Some(waiter) = self.waiting.get_mut(&part.group) else {
                continue;
            };
            waiter.unsettled_items = waiter.unsettled_items.saturating_sub(part.items);
            if let Err(failure) = outcome {
                waiter.failure.get_or_insert_with(|| failure.clone());
            }
            if waiter.unsettled_items == 0
                && let Some(waiter) = self.waiting.remove(&part.group)
            {
                let outcome = waiter.failure.map_or(Ok(()), Err);
                // Who no longer waits need not be told.
                drop(waiter.settled.send(outcome));
            }
        }
    }
}
