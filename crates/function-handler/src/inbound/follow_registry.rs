//! Keeps the index up to date: a snapshot at the start, then every change as it is told.

use std::sync::Arc;
use std::time::Duration;

use lifecycle::health::Check;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::error::with_causes;
use crate::index::Index;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A thousand changes in a row are read in a few goes; one alone is read at once.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Follows one store.
#[derive(Debug)]
pub struct Follower {
    pub index: Arc<Index>,
    /// The store is asked this often even if it told of nothing.
    pub poll: Duration,
    /// Whether there is a snapshot to work with.
    pub registry: Check,
    /// Whether the store answered when it was last asked.
    pub database: Check,
}

impl Follower {
    /// Runs until `stopping`.
    pub async fn run(self, stopping: impl Future<Output = ()> + Unpin) -> anyhow::Result<()> {
        tokio::select! {
            () = stopping => Ok(()),
            never = self.follow() => never,
        }
    }

    async fn follow(self) -> anyhow::Result<()> {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let began = Instant::now();
            match self.index.refresh().await {
                Ok(()) => {
                    if back_off > BACK_OFF_MIN {
                        info!(
                            revision = self.index.revision(),
                            "the registry is read again"
                        );
                    }
                    back_off = BACK_OFF_MIN;
                    self.database.ready();
                    self.registry.ready();
                    self.index.store().changed(self.poll).await;
                    sleep_until(began + REFRESH_INTERVAL_MIN).await;
                }
                Err(error) => {
                    let reason = with_causes(&error);
                    warn!(error = reason, retry_ms = %back_off.as_millis(), "the registry cannot be read");
                    self.database.not_ready(reason);
                    sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }
}
