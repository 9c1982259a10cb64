//! Watches the clock: schedules that are due strike, each strike is an event of its own.
//!
//! Whichever replica sees it first claims a schedule, emits the event, and moves the schedule on
//! when that is durable. If it dies in between, another one emits the same event under the same id.

use std::sync::Arc;
use std::time::Duration;

use domain::schedule::{Schedule, Strike, TimeZone};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::error::with_causes;
use crate::inbound::now;
use crate::index::{Index, Notice};
use crate::metrics;
use crate::outbound::own_events::OwnEvents;

/// Schedules that are taken at a time.
const CLAIM_MAX: u32 = 100;

/// A replica that dies with schedules in hand delays them by this long.
const CLAIM_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The clock is looked at this often even if nothing is due before, since it can be set.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(5);

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Has schedules strike, for one replica.
#[derive(Debug)]
pub struct Clock {
    pub index: Arc<Index>,
    pub events: OwnEvents,
}

impl Clock {
    /// Runs until `stopping`.
    pub async fn run(self, stopping: impl Future<Output = ()> + Unpin) -> anyhow::Result<()> {
        tokio::select! {
            () = stopping => Ok(()),
            never = self.watch() => never,
        }
    }

    async fn watch(self) -> anyhow::Result<()> {
        let mut notices = self.index.notices();
        let mut back_off = BACK_OFF_MIN;
        loop {
            match self.strike_all().await {
                Ok(next_due) => {
                    back_off = BACK_OFF_MIN;
                    tokio::select! {
                        () = sleep(until(next_due)) => {}
                        () = changed(&mut notices) => {}
                    }
                }
                Err(error) => {
                    warn!(error = %with_causes(&error), "schedules cannot be looked at");
                    sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    /// Has everything strike that is due, and says when the next one is.
    async fn strike_all(&self) -> Result<Option<Timestamp>, storage::Error> {
        let store = self.index.store();
        loop {
            let now = now();
            let until = now.saturating_add(CLAIM_FOR).unwrap_or(now);
            let claimed = store.claim_due_schedules(now, until, CLAIM_MAX).await?;
            if claimed.is_empty() {
                return store.next_schedule_due().await;
            }
            let struck = claimed.iter().map(|schedule| self.strike(schedule, now));
            for result in join_all(struck).await {
                result?;
            }
        }
    }

    async fn strike(&self, schedule: &Schedule, now: Timestamp) -> Result<(), storage::Error> {
        let Some(due) = schedule.next_at else {
            return Ok(());
        };
        let (project, name) = (&schedule.project, &schedule.name);
        let zone = TimeZone::get(&schedule.time_zone).unwrap_or_else(|reason| {
            error!(%project, schedule = %name, %reason, "a time zone is gone; UTC stands in for it");
            TimeZone::UTC
        });
        let Strike { at, next_at } = schedule.strike(due, &zone, now);
        match at {
            Some(at) => {
                if !self.events.emit(&schedule.event(at)).await {
                    // It stays due: whoever claims it next tries again.
                    return Ok(());
                }
                metrics::schedule_struck();
                debug!(%project, schedule = %name, %at, "a schedule has struck");
            }
            None => {
                info!(%project, schedule = %name, %due, "what a schedule missed is too long ago");
            }
        }
        let store = self.index.store();
        store.advance_schedule(schedule, due, at, next_at).await
    }
}

/// How long to wait for a time.
fn until(due: Option<Timestamp>) -> Duration {
    let wait = due.map(|due| due.duration_since(Timestamp::now()));
    let wait = wait.map(|wait| Duration::try_from(wait).unwrap_or(Duration::ZERO));
    wait.map_or(LOOK_INTERVAL_MAX, |wait| wait.min(LOOK_INTERVAL_MAX))
}

/// Returns when something configured was changed.
async fn changed(notices: &mut broadcast::Receiver<Notice>) {
    match notices.recv().await {
        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
        // The index goes on as long as this does.
        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
    }
}
