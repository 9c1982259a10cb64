//! Gives deliveries rows that were told with their event alone and of which nothing else was heard.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use lifecycle::Tasks;
use storage::LogStore;
use tokio::time::{Instant, sleep};

use crate::append::story;

const EVERY: Duration = Duration::from_secs(1);

/// Starts to look, until the process stops. Any number of replicas share the work.
pub(crate) fn start(store: Arc<dyn LogStore>, owed_for: Duration, tasks: &Tasks) {
    tasks.spawn("make owed", make_owed(store, owed_for, tasks.clone()));
}

async fn make_owed(
    store: Arc<dyn LogStore>,
    owed_for: Duration,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let mut stopping = tasks.stopping();
    loop {
        let told_before = Timestamp::now().saturating_sub(owed_for);
        let began = Instant::now();
        let made = store.make_owed(told_before.unwrap_or(Timestamp::MIN)).await;
        let wait = match made {
            // Half of the time is left to others.
            Ok(true) => began.elapsed(),
            Ok(false) => EVERY,
            Err(error) => {
                tracing::debug!(error = story(&error), "what is owed is given rows later");
                EVERY
            }
        };
        tokio::select! {
            biased;
            () = &mut stopping => return Ok(()),
            () = sleep(wait) => {}
        }
    }
}
