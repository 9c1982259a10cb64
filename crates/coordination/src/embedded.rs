//! Coordination within one process, which only has to agree with itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::id::EventId;
use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::Unavailable;
use crate::endpoint_memory::EndpointMemory;
use crate::idempotency::{IdempotencyKeys, PENDING_FOR, REMEMBERED_FOR, Reservation};
use crate::membership::Membership;

/// Beyond this many keys the ones least asked for are forgotten: a repeat, never a loss.
const KEYS_MAX: u64 = 1_000_000;

/// More endpoints and functions than one process calls in the time they are remembered.
const ENDPOINTS_MAX: u64 = 100_000;

/// In memory: a restart forgets it, as a Redis without persistence does.
#[derive(Debug)]
pub struct EmbeddedCoordination {
    keys: Cache<Arc<str>, Held>,
    groups: Mutex<HashMap<String, BTreeMap<String, Instant>>>,
    endpoints: Cache<String, Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    event: EventId,
    is_confirmed: bool,
}

/// What was learned, and for how long it is kept.
#[derive(Debug, Clone)]
struct Kept {
    text: String,
    time: Duration,
}

/// Each entry lives as long as was asked when it was last kept.
struct ByTime;

impl Expiry<String, Kept> for ByTime {
    fn expire_after_create(&self, _name: &String, kept: &Kept, _at: Instant) -> Option<Duration> {
        Some(kept.time)
    }

    fn expire_after_update(
        &self,
        _name: &String,
        kept: &Kept,
        _at: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.time)
    }
}

/// Each entry lives as long as its phase says.
struct ByPhase;

impl Expiry<Arc<str>, Held> for ByPhase {
    fn expire_after_create(&self, _key: &Arc<str>, held: &Held, _at: Instant) -> Option<Duration> {
        Some(held.lifetime())
    }

    fn expire_after_update(
        &self,
        _key: &Arc<str>,
        held: &Held,
        _at: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(held.lifetime())
    }
}

impl Held {
    const fn lifetime(self) -> Duration {
        if self.is_confirmed {
            REMEMBERED_FOR
        } else {
            PENDING_FOR
        }
    }

    const fn reservation(self) -> Reservation {
        if self.is_confirmed {
            Reservation::Confirmed(self.event)
        } else {
            Reservation::Pending(self.event)
        }
    }
}

impl Default for EmbeddedCoordination {
    fn default() -> Self {
        let keys = Cache::builder()
            .max_capacity(KEYS_MAX)
            .expire_after(ByPhase)
            .build();
        Self {
            keys,
            groups: Mutex::default(),
            endpoints: Cache::builder()
                .max_capacity(ENDPOINTS_MAX)
                .expire_after(ByTime)
                .build(),
        }
    }
}

impl EmbeddedCoordination {
    fn groups(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Instant>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl IdempotencyKeys for EmbeddedCoordination {
    async fn reserve(&self, keys: &[(String, EventId)]) -> Result<Vec<Reservation>, Unavailable> {
        let reserve = |(key, event): &(String, EventId)| {
            let held = Held {
                event: *event,
                is_confirmed: false,
            };
            let entry = self.keys.entry(key.as_str().into()).or_insert(held);
            if entry.is_fresh() {
                Reservation::Reserved
            } else {
                entry.value().reservation()
            }
        };
        Ok(keys.iter().map(reserve).collect())
    }

    async fn confirm(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        for (key, event) in keys {
            self.keys.insert(
                key.as_str().into(),
                Held {
                    event: *event,
                    is_confirmed: true,
                },
            );
        }
        Ok(())
    }

    async fn release(&self, keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        for (key, event) in keys {
            let is_ours = |held: Held| !held.is_confirmed && held.event == *event;
            self.keys
                .entry(key.as_str().into())
                .and_compute_with(|entry| match entry {
                    Some(entry) if is_ours(*entry.value()) => Op::Remove,
                    Some(_) | None => Op::Nop,
                });
        }
        Ok(())
    }
}

#[async_trait]
impl Membership for EmbeddedCoordination {
    async fn announce(
        &self,
        group: &str,
        member: &str,
        time_to_live: Duration,
    ) -> Result<(), Unavailable> {
        let until = Instant::now() + time_to_live;
        self.groups()
            .entry(group.to_owned())
            .or_default()
            .insert(member.to_owned(), until);
        Ok(())
    }

    async fn leave(&self, group: &str, member: &str) -> Result<(), Unavailable> {
        if let Some(members) = self.groups().get_mut(group) {
            members.remove(member);
        }
        Ok(())
    }

    async fn members(&self, group: &str) -> Result<Vec<String>, Unavailable> {
        let now = Instant::now();
        let mut groups = self.groups();
        let Some(members) = groups.get_mut(group) else {
            return Ok(Vec::new());
        };
        members.retain(|_, until| now < *until);
        Ok(members.keys().cloned().collect())
    }
}

#[async_trait]
impl EndpointMemory for EmbeddedCoordination {
    fn is_shared(&self) -> bool {
        false
    }

    async fn keep(&self, learned: &[(String, String)], time: Duration) -> Result<(), Unavailable> {
        for (name, text) in learned {
            let text = text.clone();
            self.endpoints.insert(name.clone(), Kept { text, time });
        }
        Ok(())
    }

    async fn recall(&self, names: &[String]) -> Result<Vec<Option<String>>, Unavailable> {
        let recall = |name| self.endpoints.get(name).map(|kept| kept.text);
        Ok(names.iter().map(recall).collect())
    }
}
