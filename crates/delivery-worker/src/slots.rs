//! Requests under way at a time: so many in all, and of these only a part to one endpoint, so that
//! one that does not answer leaves room for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// An endpoint may have this part of all slots …
const PART_OF_ENDPOINT: u16 = 10;

/// … but at least so many.
const SLOTS_OF_ENDPOINT_MIN: u16 = 30;

/// Endpoints that are known at a time; those that are idle are forgotten beyond it.
const ENDPOINTS_MAX: usize = 10_000;

/// The slots of one worker. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots {
    all: Arc<Semaphore>,
    of_endpoint_max: usize,
    endpoints: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// The right to have one request under way, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _of_endpoint: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    pub fn new(in_flight_max: u16) -> Self {
        Self {
            all: Arc::new(Semaphore::new(in_flight_max.into())),
            of_endpoint_max: of_endpoint_max(in_flight_max).into(),
            endpoints: Arc::default(),
        }
    }

    /// Waits for a slot; `origin` is the endpoint's scheme, host and port.
    ///
    /// # Errors
    /// Never while the worker lives: slots are not taken away.
    pub async fn acquire(&self, origin: String) -> Result<Slot, AcquireError> {
        // The endpoint's own comes first: who waits for it must not hold one of all.
        let of_endpoint = self.of_endpoint(origin).acquire_owned().await?;
        let of_all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Slot {
            _of_endpoint: of_endpoint,
            _of_all: of_all,
        })
    }

    fn of_endpoint(&self, origin: String) -> Arc<Semaphore> {
        let mut endpoints = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= ENDPOINTS_MAX && !endpoints.contains_key(&origin) {
            // Somebody else holds a clone while a slot is taken or waited for.
            endpoints.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        let slots = endpoints
            .entry(origin)
            .or_insert_with(|| Arc::new(Semaphore::new(self.of_endpoint_max)));
        Arc::clone(slots)
    }
}

/// How many requests one endpoint may have under way.
pub fn of_endpoint_max(in_flight_max: u16) -> u16 {
    (in_flight_max / PART_OF_ENDPOINT)
        .max(SLOTS_OF_ENDPOINT_MIN)
        .min(in_flight_max)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn an_endpoint_that_keeps_its_slots_leaves_the_rest_to_others() {
        let slots = Slots::new(300);
        let hanging = || slots.acquire("http://hanging".to_owned()).now_or_never();
        let taken: Vec<_> = (0..30).map(|_| hanging().unwrap().unwrap()).collect();
        assert!(hanging().is_none(), "the 31st has to wait");
        let others: Vec<_> = (0..270)
            .map(|number| slots.acquire(format!("http://{number}")).now_or_never())
            .collect();
        assert!(others.iter().all(Option::is_some));
        drop(taken);
        assert!(hanging().is_some());
    }

    #[test]
    fn an_endpoint_has_a_tenth_or_thirty_but_never_more_than_all() {
        assert_eq!(of_endpoint_max(1000), 100);
        assert_eq!(of_endpoint_max(100), 30);
        assert_eq!(of_endpoint_max(10), 10);
    }
}
