//! Who was promised delivery and who arrived: the judge of "nothing accepted is lost".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ids of events, as accepted and as arrived. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    accepted: BTreeSet<String>,
    arrived: BTreeMap<String, u64>,
}

impl Ledger {
    /// The event was answered with 2xx.
    pub fn accepted(&self, id: impl Into<String>) {
        self.entries().accepted.insert(id.into());
    }

    /// The event's function was called and accepted it.
    pub fn arrived(&self, id: impl Into<String>) {
        *self.entries().arrived.entry(id.into()).or_default() += 1;
    }

    pub fn accepted_count(&self) -> usize {
        self.entries().accepted.len()
    }

    /// Any one of the accepted events.
    pub fn accepted_sample(&self) -> String {
        self.entries().accepted.first().cloned().unwrap_or_default()
    }

    /// How many different events arrived.
    pub fn arrived_count(&self) -> usize {
        self.entries().arrived.len()
    }

    /// Arrivals beyond the first of each event.
    pub fn duplicates(&self) -> u64 {
        self.entries().arrived.values().map(|times| times - 1).sum()
    }

    /// Accepted and not yet arrived.
    pub fn missing(&self) -> Vec<String> {
        let entries = self.entries();
        let is_missing = |id: &&String| !entries.arrived.contains_key(*id);
        entries
            .accepted
            .iter()
            .filter(is_missing)
            .cloned()
            .collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
