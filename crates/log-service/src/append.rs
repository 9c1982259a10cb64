//! Stores records until they are stored: waits out an outage, and finds the one that cannot be.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::record::Record;
use lifecycle::Tasks;
use storage::LogStore;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::database::Database;
use crate::metrics;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Stores what happened.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) database: Database,
    pub(crate) retention: Duration,
    /// Raised whenever something was stored, for those who follow.
    pub(crate) recorded: watch::Sender<u64>,
    pub(crate) tasks: Tasks,
}

/// A record that the database will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its place among the records.
    pub(crate) place: usize,
    pub(crate) reason: String,
}

/// Where the fault lies.
enum Trouble {
    Outage(storage::Error),
    Record(storage::Error),
}

impl Appender {
    /// Stores all records but those that cannot be, however long it takes. `None` when the process
    /// is to stop while the database is away: nothing is known of the rest then.
    pub(crate) async fn append(&self, records: &[Record]) -> Option<Vec<Refused>> {
        let mut refused = Vec::new();
        let mut open = Vec::new();
        if !records.is_empty() {
            open.push(0..records.len());
        }
        let mut back_off = BACK_OFF_MIN;
        while let Some(range) = open.pop() {
            let part = records.get(range.clone()).unwrap_or_default();
            let outage = match self.store.record(part).await {
                Ok(()) => {
                    self.stored(part.len());
                    back_off = BACK_OFF_MIN;
                    continue;
                }
                Err(error) if error.is_passing() => error,
                Err(_) if part.len() > 1 => {
                    // One of them spoils the transaction: each half is tried on its own.
                    let middle = range.start + part.len() / 2;
                    open.push(middle..range.end);
                    open.push(range.start..middle);
                    continue;
                }
                Err(_) => match self.store_alone(part).await {
                    Ok(()) => continue,
                    Err(Trouble::Outage(error)) => error,
                    Err(Trouble::Record(error)) => {
                        refused.push(Refused {
                            place: range.start,
                            reason: story(&error),
                        });
                        continue;
                    }
                },
            };
            open.push(range);
            if !self.wait_out(&outage, back_off).await {
                return None;
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        Some(refused)
    }

    /// The last try with a record that was refused: only a database whose tables are as they
    /// should be may refuse it for good. Without them it refuses everything.
    async fn store_alone(&self, record: &[Record]) -> Result<(), Trouble> {
        let kept = self
            .store
            .keep_partitions(Timestamp::now(), self.retention)
            .await;
        kept.map_err(Trouble::Outage)?;
        match self.store.record(record).await {
            Ok(()) => {
                self.stored(record.len());
                Ok(())
            }
            Err(error) if error.is_passing() => Err(Trouble::Outage(error)),
            Err(error) => Err(Trouble::Record(error)),
        }
    }

    fn stored(&self, records: usize) {
        self.database.is_there();
        self.recorded
            .send_modify(|times| *times = times.wrapping_add(1));
        metrics::records_stored(records);
    }

    /// Waits; false when the process is to stop instead.
    async fn wait_out(&self, outage: &storage::Error, back_off: Duration) -> bool {
        self.database.is_away(outage);
        metrics::stores_failed();
        if self.tasks.is_stopping() {
            return false;
        }
        tokio::select! {
            () = self.tasks.stopping() => false,
            () = sleep(back_off) => true,
        }
    }
}

/// The error and what caused it, in one line.
pub(crate) fn story(error: &storage::Error) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        story.push_str(": ");
        story.push_str(&cause.to_string());
        source = cause.source();
    }
    story
}
