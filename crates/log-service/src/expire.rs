//! Makes the days ahead and drops the days that are too old, whole.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use lifecycle::Tasks;
use storage::LogStore;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::append::story;
use crate::metrics;

/// Days are made three ahead, so that even two days without this would be survived.
const EVERY: Duration = Duration::from_hours(1);
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Runs until the process stops; `prepared` becomes true with the first success, before which
/// nothing can be stored.
pub(crate) async fn keep_days(
    store: Arc<dyn LogStore>,
    retention: Duration,
    prepared: watch::Sender<bool>,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let mut stopping = tasks.stopping();
    loop {
        let wait = match store.keep_partitions(Timestamp::now(), retention).await {
            Ok(dropped) => {
                if !dropped.is_empty() {
                    tracing::info!(?dropped, "days older than the retention were dropped");
                    metrics::days_dropped(dropped.len());
                }
                prepared.send_replace(true);
                EVERY
            }
            Err(error) => {
                tracing::warn!(error = story(&error), "the days of the log cannot be kept");
                AGAIN_AFTER
            }
        };
        tokio::select! {
            () = &mut stopping => return Ok(()),
            () = sleep(wait) => {}
        }
    }
}
