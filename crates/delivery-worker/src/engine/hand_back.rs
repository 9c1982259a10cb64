//! What does not wait in the fast lane: it goes to the waiting room, with the reason, and is then
//! done with as far as its message is concerned.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::delivery::{Notice, WaitReason, Waiting};
use tracing::debug;

use super::{Engine, Job};
use crate::metrics;

/// The waiting room paces what was handed back by its allowance; this only keeps one that knows
/// of none yet from sending it straight back.
const HANDED_BACK_FOR: Duration = Duration::from_millis(100);

impl Engine {
    /// Hands deliveries back, together.
    pub(super) async fn hand_back(self: Arc<Self>, jobs: Vec<(Job, WaitReason)>) {
        self.announce(jobs.iter().map(|(job, _)| job)).await;
        let since = Timestamp::now();
        let notices = jobs
            .iter()
            .map(|(job, reason)| wait(job, *reason, since, HANDED_BACK_FOR))
            .collect();
        match self.settler.notices.push_until_durable(notices).await {
            Ok(()) => {
                for (job, reason) in jobs {
                    metrics::handed_back(reason);
                    self.moved_on(&job, None);
                }
            }
            Err(reason) => debug!(%reason, "not handed back; it comes again"),
        }
    }

    /// Tells the waiting room what it may send. Nobody's fate hangs on it.
    pub(super) async fn tell(self: Arc<Self>, notices: Vec<Notice>) {
        if let Err(reason) = self.settler.notices.push_until_durable(notices).await {
            debug!(%reason, "an allowance was not told");
        }
    }
}

pub(super) fn wait(job: &Job, reason: WaitReason, since: Timestamp, wait: Duration) -> Notice {
    Notice::Wait(Box::new(Waiting {
        event: job.event.as_ref().clone(),
        target: job.target.clone(),
        reason,
        since,
        due_at: since.saturating_add(wait).unwrap_or(Timestamp::MAX),
    }))
}
