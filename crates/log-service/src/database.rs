//! Whether the database answers: asked every few seconds, and told by those who use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifecycle::Tasks;
use lifecycle::health::Check;
use storage::LogStore;
use tokio::time::{sleep, timeout};

use crate::append::story;

const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of the database; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    check: Check,
    was_there: Arc<AtomicBool>,
}

impl Database {
    pub(crate) fn new(check: Check) -> Self {
        Self {
            check,
            was_there: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(crate) fn is_there(&self) {
        if !self.was_there.swap(true, Ordering::Relaxed) {
            tracing::info!("the database is there again");
        }
        self.check.ready();
    }

    pub(crate) fn is_away(&self, error: &storage::Error) {
        self.is_silent(&story(error));
    }

    fn is_silent(&self, reason: &str) {
        if self.was_there.swap(false, Ordering::Relaxed) {
            tracing::warn!(reason, "the database is away; the queue holds what happens");
        }
        self.check.not_ready(reason);
    }
}

/// Asks until the process stops.
pub(crate) async fn watch(
    store: Arc<dyn LogStore>,
    database: Database,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let mut stopping = tasks.stopping();
    loop {
        match timeout(ANSWER_TIMEOUT, store.ping()).await {
            Ok(Ok(())) => database.is_there(),
            Ok(Err(error)) => database.is_away(&error),
            Err(_elapsed) => database.is_silent("no answer in time"),
        }
        tokio::select! {
            () = &mut stopping => return Ok(()),
            () = sleep(ASK_EVERY) => {}
        }
    }
}
