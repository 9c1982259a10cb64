//! Waiting for a NOTIFY, with a poll as the safety net.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Listens on one channel; connects again by itself and never fails.
#[derive(Debug)]
pub(super) struct Wake {
    pool: PgPool,
    channel: &'static str,
    listener: Mutex<Option<PgListener>>,
}

impl Wake {
    pub(super) fn new(pool: PgPool, channel: &'static str) -> Self {
        Self {
            pool,
            channel,
            listener: Mutex::new(None),
        }
    }

    /// Returns when something was told since the last call, when it may have been missed because
    /// there was no connection, and after `poll` at the latest.
    pub(super) async fn wait(&self, poll: Duration) {
        let deadline = Instant::now() + poll;
        let told = tokio::time::timeout_at(deadline, self.told()).await;
        if let Ok(Err(error)) = told {
            tracing::debug!(%error, channel = self.channel, "not listening, so polling");
            tokio::time::sleep_until(deadline).await;
        }
    }

    async fn told(&self) -> Result<(), sqlx::Error> {
        let mut slot = self.listener.lock().await;
        let Some(listener) = slot.as_mut() else {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.listen(self.channel).await?;
            *slot = Some(listener);
            // What was told before we listened was told to nobody.
            return Ok(());
        };
        match listener.try_recv().await {
            // A lost connection counts as told: something may have been missed.
            Ok(_) => {
                // One look at the tables answers everything told so far.
                while listener.next_buffered().is_some() {}
                Ok(())
            }
            Err(error) => {
                *slot = None;
                Err(error)
            }
        }
    }
}
