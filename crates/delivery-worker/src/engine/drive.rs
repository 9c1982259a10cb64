//! The loop that starts what may start, and looks after what time changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::delivery::{Notice, WaitReason};
use lifecycle::Tasks;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tracing::error;

use super::note::NOTE_INTERVAL;
use super::shard::QUEUED_MAX;
use super::{Chore, Desk, Engine, Job};
use crate::lanes::Started;
use crate::progress::Repeatable;

/// Requests that are started before others get a word in.
const STARTED_AT_ONCE: usize = 64;

/// How often time is looked at while something depends on it.
const TICK: Duration = Duration::from_millis(20);

/// What is handed back is gathered for so long, unless it is the first for a while: its row is
/// not due before either, and each message and each commit takes something from those that keep up.
const HAND_BACK_INTERVAL: Duration = Duration::from_millis(50);

/// So many are not kept waiting for more: they still count among what their shards have queued,
/// and a shard with too much of that is not read on.
const HAND_BACK_MAX: usize = QUEUED_MAX / 2;

/// How often what was learned is written down.
const KEEP_INTERVAL: Duration = Duration::from_secs(3);

/// What is to be done now.
struct Due {
    started: Vec<Started<Job>>,
    chores: Vec<Chore>,
    notices: Vec<Notice>,
    unrecalled: bool,
    /// When time alone may change something.
    wakes_at: Option<Instant>,
    is_idle: bool,
}

impl Engine {
    /// Runs until the tasks stop and nothing is in hand any more.
    pub async fn drive(self: Arc<Self>, tasks: Tasks) -> anyhow::Result<()> {
        let mut stopping = tasks.stopping();
        let mut is_stopping = false;
        let mut work = JoinSet::new();
        let mut ticked_at = Instant::now();
        let mut kept_at = Instant::now();
        let mut noted_at = Instant::now();
        loop {
            let now = Instant::now();
            let is_tick = now.saturating_duration_since(ticked_at) >= TICK;
            let due = self.due(is_tick, now);
            if is_tick {
                ticked_at = now;
            }
            let has_more = due.started.len() == STARTED_AT_ONCE;
            let is_done = is_stopping
                && due.is_idle
                && work.is_empty()
                && self.serving.load(Ordering::Acquire) == 0;
            self.begin(due.started, due.chores, due.notices, &mut work);
            if due.unrecalled {
                work.spawn(Arc::clone(&self).recall());
            }
            // Whoever writes notes just now wakes this loop when it is done.
            let has_to_note = self.has_unnoted() && !self.is_writing_notes();
            if has_to_note && now.saturating_duration_since(noted_at) >= NOTE_INTERVAL {
                noted_at = now;
                work.spawn(Arc::clone(&self).note());
            }
            if now.saturating_duration_since(kept_at) >= KEEP_INTERVAL {
                kept_at = now;
                work.spawn(Arc::clone(&self).keep());
            }
            if is_done {
                return Ok(());
            }
            if has_more {
                // Requests that were started get their turn before more are.
                tokio::task::yield_now().await;
                continue;
            }
            let mut wakes_at = due.wakes_at.unwrap_or(now + KEEP_INTERVAL);
            if has_to_note {
                wakes_at = wakes_at.min(noted_at + NOTE_INTERVAL);
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some(ended) = work.join_next(), if !work.is_empty() => {
                    report(ended);
                    while let Some(ended) = work.try_join_next() {
                        report(ended);
                    }
                }
                () = sleep_until(wakes_at.into()) => {}
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    self.hands.close();
                    // What waits for others goes as it is.
                    self.desk().lanes.flush();
                }
            }
        }
    }

    fn due(&self, is_tick: bool, now: Instant) -> Due {
        let mut desk = self.desk();
        let mut notices = Vec::new();
        if is_tick {
            desk.lanes.tick(now);
            Self::show(&desk);
        }
        if is_tick || desk.lanes.is_urgent() {
            let allowances = desk.lanes.allowances(now, Timestamp::now());
            notices.extend(allowances.into_iter().map(Notice::Allow));
        }
        let started_max = STARTED_AT_ONCE.min(self.room());
        let mut started = desk.lanes.start(started_max, now);
        for started in &mut started {
            for job in std::iter::once(&mut started.job).chain(&mut started.others) {
                job.repeatable = Some(Repeatable::count_in(&self.repeatable));
            }
        }
        let handed_back = desk.take_handed_back(now);
        let leaving = desk.lanes.take_leaving();
        let mut chores = std::mem::take(&mut desk.chores);
        for late in desk.given_again.take_late(now) {
            desk.lanes.refuse(late, WaitReason::Concurrency);
        }
        let freed = desk.given_again.take_freed();
        if !freed.is_empty() {
            chores.push(Chore::Offer(freed));
        }
        if !leaving.is_empty() {
            chores.push(Chore::Leave(leaving));
        }
        if !handed_back.is_empty() {
            chores.push(Chore::HandBack(handed_back));
        }
        let needs_ticks = desk.lanes.needs_ticks() || desk.given_again.holds_any();
        let is_empty = desk.lanes.queued() == 0 && desk.lanes.going_back() == 0;
        let wakes_at = needs_ticks.then(|| {
            let by_rate = desk.lanes.wakes_at(now).unwrap_or(now + TICK);
            by_rate.min(now + TICK)
        });
        Due {
            is_idle: started.is_empty() && chores.is_empty() && is_empty,
            unrecalled: desk.lanes.has_unrecalled(),
            started,
            chores,
            notices,
            wakes_at,
        }
    }

    fn begin(
        self: &Arc<Self>,
        started: Vec<Started<Job>>,
        chores: Vec<Chore>,
        notices: Vec<Notice>,
        work: &mut JoinSet<()>,
    ) {
        for started in started {
            if started.others.is_empty() {
                self.give(started, work);
            } else {
                work.spawn(Arc::clone(self).request_batch(started));
            }
        }
        for chore in chores {
            match chore {
                Chore::Await(job) => work.spawn(Arc::clone(self).await_revision(job)),
                Chore::Settle(job) => work.spawn(Arc::clone(self).settle_unsent(job)),
                Chore::Spare(job) => work.spawn(Arc::clone(self).spare(job)),
                Chore::HandBack(jobs) => work.spawn(Arc::clone(self).hand_back(jobs)),
                Chore::Offer(jobs) => {
                    self.offer_freed(jobs);
                    continue;
                }
                Chore::Leave(jobs) => work.spawn(Arc::clone(self).leave_gathering(jobs)),
            };
        }
        if !notices.is_empty() {
            work.spawn(Arc::clone(self).tell(notices));
        }
    }
}

impl Desk {
    /// What is handed back now: at once when it is the first for a while, else when enough has
    /// gathered.
    fn take_handed_back(&mut self, now: Instant) -> Vec<(Job, WaitReason)> {
        let has_gathered = now.saturating_duration_since(self.handed_back_at) >= HAND_BACK_INTERVAL
            || self.lanes.going_back() >= HAND_BACK_MAX
            || self.lanes.is_flushing();
        if self.lanes.going_back() == 0 || !has_gathered {
            return Vec::new();
        }
        self.handed_back_at = now;
        self.lanes.take_handed_back()
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a delivery ended by a bug; it is given again");
    }
}
