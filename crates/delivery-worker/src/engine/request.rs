//! One request, from its start to its settlement.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::delivery::WaitReason;
use domain::pace::{Exchange, Reaction};
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use super::hand_back::wait;
use super::shard::Open;
use super::{Engine, Job, REVISION_WAIT_MAX};
use crate::deliver::{Settlement, cancelled};
use crate::lanes::{LEAVES_AFTER, LineId, Started, Turn};
use crate::metrics;
use crate::progress::{Mark, Repeatable};

/// A delivery that has left its message is due again this long after its request must have ended:
/// long enough to record what came of it.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The right to have one request under way; given back when dropped.
pub(super) struct Ticket<'a> {
    engine: &'a Engine,
    line: LineId,
    is_probe: bool,
    is_overdue: bool,
    is_given_back: bool,
}

impl Engine {
    /// In a box, since this is held for as long as a request is under way.
    pub(super) async fn request(self: &Arc<Self>, mut started: Box<Started<Job>>) {
        let job = &mut started.job;
        drop(job.queued.take());
        let mut ticket = Ticket::new(self, started.line, started.is_probe);
        let has_gathered = job.batch.is_some();
        let is_off = match has_gathered {
            true => self.is_off_or_paused(std::slice::from_ref(job)),
            false => self.is_off(job),
        };
        if is_off {
            ticket.give_back(None);
            let paused = vec![(started.job, WaitReason::Paused)];
            return Arc::clone(self).hand_back(paused).await;
        }
        // What the request needs is gone before the rest is done.
        let (settlement, has_left) = self.exchange(job, &mut ticket).await;
        drop(ticket);
        // A request under way need not hold the memory that is only needed for this.
        Box::pin(self.settle(job, settlement, has_left)).await;
    }

    /// Makes the request; what came of it, and whether the delivery has left its message.
    async fn exchange(
        self: &Arc<Self>,
        job: &mut Job,
        ticket: &mut Ticket<'_>,
    ) -> (Box<Settlement>, bool) {
        let begun_at = Instant::now();
        let mut delivering = pin!(self.deliverer.deliver(&job.event, &job.target));
        let leaves_at = job.read_at + LEAVES_AFTER;
        let in_time = tokio::select! {
            biased;
            settlement = &mut delivering => Some(settlement),
            () = sleep_until(leaves_at.into()), if !job.has_left => None,
        };
        if let Some(settlement) = in_time {
            ticket.give_back(settlement.exchange.as_ref());
            return (settlement, job.has_left);
        }
        let left = self.time_left(job, begun_at);
        ticket.is_overdue(Instant::now() + left);
        let (open, repeatable) = (job.open.take(), job.repeatable.take());
        let ending = async {
            let settlement = delivering.await;
            ticket.give_back(settlement.exchange.as_ref());
            settlement
        };
        // The row is durable before anything that replaces or ends it is sent.
        // Over long before the request is.
        let leaving = Box::pin(self.leave(job, (open, repeatable), left));
        tokio::join!(ending, leaving)
    }

    /// Whether the function's end was ordered here, and it is only not known everywhere yet.
    pub(super) fn is_off(&self, job: &Job) -> bool {
        if self.watch.holds_nothing() {
            return false;
        }
        let (project, name) = (&job.event.project, &job.target.function);
        let registry = self.deliverer.registry.read();
        let function = registry.function(project, name);
        function.is_some_and(|function| self.watch.is_off(function))
    }

    /// How long a request may still take.
    pub(super) fn time_left(&self, job: &Job, begun_at: Instant) -> Duration {
        let registry = self.deliverer.registry.read();
        let trigger = registry.rule_of(&job.event.project, &job.target);
        let allowed = trigger.map_or(Duration::ZERO, |trigger| trigger.retry.timeout);
        allowed.saturating_sub(begun_at.elapsed())
    }

    /// Lets a delivery whose request is under way leave its message; `false` if it cannot.
    async fn leave(
        self: &Arc<Self>,
        job: &Job,
        (open, repeatable): (Option<Open>, Option<Repeatable>),
        left: Duration,
    ) -> bool {
        self.announce(std::iter::once(job)).await;
        let due_in = left + LEASE_MARGIN;
        let row = wait(job, WaitReason::InFlight, Timestamp::now(), due_in);
        let row = self.settler.notices.push_until_durable(vec![row]);
        let has_left = row.await.is_ok();
        if has_left {
            metrics::left();
            self.moved_on(job, repeatable);
        }
        drop(open);
        has_left
    }

    /// Makes what came of a delivery durable, and answers for it. Without that its message stays
    /// unacknowledged and is given again.
    pub(super) async fn settle(
        &self,
        job: &mut Job,
        mut settlement: Box<Settlement>,
        has_left: bool,
    ) {
        if let Some(called) = settlement.called.take()
            && let Some(disable) = self.watch.observe(&called).await
        {
            // Before the delivery is settled: else nobody would switch it off after a crash.
            if let Err(reason) = self.settler.disable(disable).await {
                debug!(delivery.id = %job.target.delivery, %reason, "not settled; it comes again");
                return;
            }
        }
        let is_final = settlement.waiting.is_none();
        let has_row = has_left || job.target.is_held;
        let settled = self
            .settler
            .settle(&job.event, settlement, &job.target, has_row)
            .await;
        match settled {
            Ok(()) => {
                self.recent.finished(&job.target, is_final);
                if !has_left {
                    let mark = if is_final { Mark::Ended } else { Mark::Waits };
                    let repeatable = job.repeatable.take();
                    self.settled(job, mark, repeatable);
                }
            }
            Err(reason) => {
                debug!(delivery.id = %job.target.delivery, %reason, "not settled; it comes again");
            }
        }
    }

    /// Waits until the registry knows what decided for a delivery, and puts it in line.
    pub(super) async fn await_revision(self: Arc<Self>, job: Job) {
        let left = (job.read_at + REVISION_WAIT_MAX).saturating_duration_since(Instant::now());
        let reached = self.deliverer.registry.reaches(job.target.revision, left);
        // In time or not: what is known then decides.
        let _is_there: bool = timeout(left, reached).await.unwrap_or(false);
        let shard = job.shard;
        self.offer(vec![job], shard);
    }

    /// Ends a delivery whose function is gone.
    pub(super) async fn settle_unsent(self: Arc<Self>, mut job: Job) {
        let settlement = cancelled(&job.event, &job.target, "function_deleted");
        let has_left = job.has_left;
        self.settle(&mut job, settlement, has_left).await;
    }

    /// Answers for a delivery that was finished a short while ago; a row that is held for it may
    /// not have heard of it.
    pub(super) async fn spare(self: Arc<Self>, job: Job) {
        metrics::repeat_spared();
        let is_final = match job.known {
            Some(mark) => mark == Mark::Ended,
            None => self.recent.has_finished(&job.target) == Some(true),
        };
        if is_final && job.target.is_held {
            let project = job.event.project.clone();
            if let Err(reason) = self.settler.end(project, &job.target).await {
                debug!(delivery.id = %job.target.delivery, %reason, "not settled; it comes again");
                return;
            }
        }
        if !job.has_left {
            self.settled(&job, if is_final { Mark::Ended } else { Mark::Waits }, None);
        }
    }
}

impl<'a> Ticket<'a> {
    pub(super) const fn new(engine: &'a Engine, line: LineId, is_probe: bool) -> Self {
        Self {
            engine,
            line,
            is_probe,
            is_overdue: false,
            is_given_back: false,
        }
    }

    /// The request has left its message.
    pub(super) fn is_overdue(&mut self, until: Instant) {
        self.is_overdue = true;
        self.engine.desk().lanes.is_overdue(self.line, until);
    }

    pub(super) fn give_back(&mut self, exchange: Option<&Exchange>) {
        self.is_given_back = true;
        let unsent = Exchange {
            reaction: Reaction::Unsent,
            took: Duration::ZERO,
            rest: None,
            is_probe: false,
        };
        let exchange = Exchange {
            is_probe: self.is_probe,
            ..exchange.copied().unwrap_or(unsent)
        };
        let now = Instant::now();
        let turn = {
            let mut desk = self.engine.desk();
            desk.lanes.ended(self.line, &exchange, self.is_overdue, now)
        };
        match turn {
            Some(Turn::Opened) => metrics::breaker_opened(),
            Some(Turn::Closed) => metrics::breaker_closed(),
            None => {}
        }
        self.engine.wake.notify_one();
    }
}

/// A bug in one delivery must not cost its endpoint a slot for ever.
impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_given_back {
            self.give_back(None);
        }
    }
}
