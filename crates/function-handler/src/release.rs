//! Sends on what has waited long enough. All replicas do it; the waiting room shares the work out.

mod judge;
mod send_on;

pub(crate) use judge::Ending;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::delivery::{Status, Waiting};
use domain::name::{FunctionName, ProjectName};
use domain::registry::Change;
use jiff::Timestamp;
use lifecycle::Tasks;
use storage::WaitingRoom;
use storage::waiting_room::{Claimed, LOOK_INTERVAL, WaitingRow};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tracing::{debug, error, warn};

use crate::error::with_causes;
use crate::index::{Index, Notice};
use crate::metrics;
use crate::outbound::deliveries::Outbound;
use judge::{Fate, SUPERSEDED, Unread};
use send_on::Sorted;

/// Many deliveries that come in one by one do not make the waiting room be asked for each: between
/// two rounds is at least as much time as the first one took, within these bounds. What stands in
/// line waits for it at every step.
const ROUND_INTERVAL_MIN: Duration = Duration::from_millis(2);
const ROUND_INTERVAL_MAX: Duration = Duration::from_millis(20);

/// What was only due by the clock is gathered for so long: nobody waits for it.
const TIMED_INTERVAL: Duration = Duration::from_millis(25);

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The waiting room is counted this often.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Lanes are mended this often: they are right unless an older release, or an operator at the
/// database's own prompt, wrote beside them.
const MEND_INTERVAL: Duration = Duration::from_mins(1);

/// A delivery that stands in line and was sent on is sent again if nothing was heard of it for so
/// long; the broker gives it to another worker long before, should one die with it.
const HELD_FOR: Duration = Duration::from_mins(15);

/// Releases what is due.
#[derive(Debug)]
pub struct Release {
    pub room: Arc<dyn WaitingRoom>,
    pub index: Arc<Index>,
    pub outbound: Outbound,
    /// Taken out at a time.
    pub release_max: u32,
    /// Nobody else gets what was taken out for this long.
    pub claim_for: Duration,
    pub tasks: Tasks,
}

impl Release {
    /// Starts to release, to count what waits, and to look after the lanes.
    pub fn start(self) {
        let tasks = self.tasks.clone();
        let room = || Arc::clone(&self.room);
        let counting = Self::count(room(), tasks.stopping());
        let mending = mend(room(), tasks.stopping());
        let waking = wake_resumed(room(), Arc::clone(&self.index), tasks.stopping());
        tasks.spawn("waiting room count", counting);
        tasks.spawn("waiting room lanes", mending);
        tasks.spawn("waiting room resumed", waking);
        tasks.spawn("waiting room release", self.run());
    }

    /// Runs until the tasks stop, and then until what was taken out is sent on or left to its
    /// claim.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut stopping = self.tasks.stopping();
        let mut revisions = self.index.view().changes();
        tokio::select! {
            () = &mut stopping => return Ok(()),
            // Without a snapshot every trigger would seem to be deleted.
            _filled = revisions.wait_for(Option::is_some) => {}
        }
        let mut back_off = BACK_OFF_MIN;
        let mut woken = Woken::ByTime;
        loop {
            let began = Instant::now();
            // A round is not broken off: what it has taken out would have to wait for its claim.
            let wait = match self.turn(woken).await {
                Ok(wait) => {
                    back_off = BACK_OFF_MIN;
                    wait
                }
                Err(error) => {
                    warn!(error = %with_causes(&error), "the waiting room does not answer");
                    let wait = back_off;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                    Wait::For(wait)
                }
            };
            woken = tokio::select! {
                biased;
                () = &mut stopping => return Ok(()),
                woken = self.wait(wait, began) => woken,
            };
        }
    }

    /// Counts what waits, for the metrics, until `stopping`.
    pub async fn count(
        room: Arc<dyn WaitingRoom>,
        mut stopping: impl Future<Output = ()> + Unpin,
    ) -> anyhow::Result<()> {
        loop {
            match (room.counts().await, room.next_due_at().await) {
                (Ok(counts), Ok(due_at)) => {
                    metrics::waiting(&counts);
                    let overdue = due_at.map(|due_at| Timestamp::now().duration_since(due_at));
                    let overdue = overdue.and_then(|overdue| Duration::try_from(overdue).ok());
                    metrics::overdue(overdue.unwrap_or_default());
                }
                (Err(error), _) | (_, Err(error)) => {
                    debug!(error = %with_causes(&error), "the waiting room cannot be counted");
                }
            }
            tokio::select! {
                () = &mut stopping => return Ok(()),
                () = sleep(COUNT_INTERVAL) => {}
            }
        }
    }

    /// Sends on what is due; answers with what to wait for then.
    async fn turn(&self, woken: Woken) -> Result<Wait, storage::Error> {
        // News is mostly of what is due later.
        if woken == Woken::ByNews {
            let wait = self.until_due().await?;
            if !wait.is_over(Instant::now()) {
                return Ok(wait);
            }
        }
        self.round().await?;
        self.until_due().await
    }

    /// Takes out what is due and sends it on, as long as there is much of it.
    async fn round(&self) -> Result<(), storage::Error> {
        let release_max = usize::try_from(self.release_max).unwrap_or(usize::MAX);
        loop {
            let claimed_at = Instant::now();
            let now = Timestamp::now();
            let view = self.index.view().clone();
            let is_paused = move |project: &ProjectName, function: &FunctionName| {
                view.read().is_paused(project, function)
            };
            let claimed = self
                .room
                .claim_due(now, self.claim_for, self.release_max, &is_paused)
                .await?;
            let taken = claimed.due.len() + claimed.called.len() + claimed.unreadable.len();
            if taken == 0 {
                return Ok(());
            }
            // What is left otherwise has its turn in the next round.
            let has_much = taken >= release_max / 2 || claimed.lanes >= release_max;
            let sorted = self.sort(claimed).await?;
            // Past the claim somebody else sends them on: to try any longer would only repeat.
            let give_up_at = claimed_at + self.claim_for.mul_f64(0.8);
            self.send_on(sorted, give_up_at).await?;
            if !has_much || self.tasks.is_stopping() {
                return Ok(());
            }
        }
    }

    async fn sort(&self, claimed: Claimed) -> Result<Sorted, storage::Error> {
        let mut sorted = Sorted::new(claimed.claim);
        sorted.aside = claimed.unreadable;
        let due = readable(claimed.due, &mut sorted);
        let called = readable(claimed.called, &mut sorted);
        let is_up_to_date = self.learn(&due, !called.is_empty()).await;
        let shards = self.outbound.delivery_shards();
        let mut if_newest = Vec::new();
        {
            let registry = self.index.view().read();
            for (row, waiting) in due {
                match judge::of_due(&registry, &row, waiting, shards) {
                    Fate::IfNewest(waiting, shard) => if_newest.push((row, *waiting, shard)),
                    fate => sorted.add(row, fate),
                }
            }
            for (row, waiting) in called {
                match judge::of_called(&registry, &row, &waiting) {
                    // It was called because of a change that is not known here yet.
                    Fate::PutBack(_) if !is_up_to_date => {}
                    fate => sorted.add(row, fate),
                }
            }
        }
        self.send_newest(if_newest, &mut sorted).await?;
        Ok(sorted)
    }

    /// Learns what must be known to decide on these rows; answers whether that went well.
    async fn learn(&self, due: &[(WaitingRow, Waiting)], is_any_called: bool) -> bool {
        // Rows are called because of a change, of which this replica may not have been told yet.
        let learnt = if is_any_called {
            self.index.refresh().await
        } else {
            let newest = due.iter().map(|(_, waiting)| waiting.target.revision).max();
            self.index.catch_up(newest.unwrap_or(0)).await
        };
        if let Err(error) = &learnt {
            warn!(error = %with_causes(error), "what is configured may be older than what is due");
        }
        learnt.is_ok()
    }

    /// Of those that stand behind each other only the newest goes. The others end first; that they
    /// are gone then lets it go.
    async fn send_newest(
        &self,
        firsts: Vec<(WaitingRow, Waiting, u16)>,
        sorted: &mut Sorted,
    ) -> Result<(), storage::Error> {
        if firsts.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = firsts.iter().map(|(row, ..)| row.clone()).collect();
        let mut behind = self.room.behind(&rows).await?;
        for (first, waiting, shard) in firsts {
            let (mut line, others): (Vec<_>, Vec<_>) = behind
                .into_iter()
                .partition(|row| is_same_line(row, &first));
            behind = others;
            // The newest of them stays.
            if line.pop().is_none() {
                let consignment = judge::consignment(waiting, true);
                sorted.add(first, Fate::SendTo(shard, Box::new(consignment)));
                continue;
            }
            sorted.add(first, Fate::End(Box::new(superseded(&waiting))));
            for row in line {
                match judge::read(&row) {
                    Ok(waiting) => sorted.add(row, Fate::End(Box::new(superseded(&waiting)))),
                    // It is met again when it is first.
                    Err(unread) => debug!(delivery.id = %row.delivery, ?unread, "left in line"),
                }
            }
        }
        Ok(())
    }

    async fn until_due(&self) -> Result<Wait, storage::Error> {
        let Some(due_at) = self.room.next_due_at().await? else {
            return Ok(Wait::ForNews);
        };
        let left = due_at.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        Ok(Wait::Until(Instant::now() + left))
    }

    /// Waits, after a turn that began then; answers with what ended it.
    async fn wait(&self, wait: Wait, began: Instant) -> Woken {
        let pause = (began.elapsed() * 2).clamp(ROUND_INTERVAL_MIN, ROUND_INTERVAL_MAX);
        let due = match wait {
            Wait::For(duration) => Some(Instant::now() + duration),
            Wait::Until(due) => Some(due.max(began + TIMED_INTERVAL)),
            Wait::ForNews => None,
        };
        let is_news_wanted = !matches!(wait, Wait::For(_));
        let woken = tokio::select! {
            () = sleep_until(due.unwrap_or(began)), if due.is_some() => Woken::ByTime,
            () = self.room.changed(LOOK_INTERVAL), if is_news_wanted => Woken::ByNews,
        };
        sleep_until(began + pause).await;
        woken
    }
}

fn superseded(waiting: &Waiting) -> Ending {
    let (event, target) = (&waiting.event, &waiting.target);
    Ending::of(event, target, Status::Cancel, SUPERSEDED, Timestamp::now())
}

fn is_same_line(row: &WaitingRow, first: &WaitingRow) -> bool {
    (&row.project, &row.trigger, &row.order_key)
        == (&first.project, &first.trigger, &first.order_key)
}

/// Decodes rows; what cannot be read is set aside, or left to a newer release.
fn readable(rows: Vec<WaitingRow>, sorted: &mut Sorted) -> Vec<(WaitingRow, Waiting)> {
    let mut readable = Vec::with_capacity(rows.len());
    for row in rows {
        match judge::read(&row) {
            Ok(waiting) => readable.push((row, waiting)),
            Err(Unread::Newer(reason)) => {
                error!(delivery.id = %row.delivery, reason, "a waiting delivery was written by a newer release");
            }
            Err(Unread::Never(reason)) => sorted.aside.push((row.delivery, reason)),
        }
    }
    readable
}

/// Looks after the lanes, until `stopping`.
async fn mend(
    room: Arc<dyn WaitingRoom>,
    mut stopping: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let mut turns = interval(MEND_INTERVAL);
    loop {
        tokio::select! {
            () = &mut stopping => return Ok(()),
            _turn = turns.tick() => {}
        }
        if let Err(error) = room.mend(Timestamp::now()).await {
            debug!(error = %with_causes(&error), "lanes cannot be looked after");
        }
    }
}

/// Has what waits for a function or project looked at as soon as it goes on, until `stopping`.
/// Without it the lanes would be looked at some seconds later.
async fn wake_resumed(
    room: Arc<dyn WaitingRoom>,
    index: Arc<Index>,
    mut stopping: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let mut notices = index.notices();
    loop {
        let notice = tokio::select! {
            () = &mut stopping => return Ok(()),
            notice = notices.recv() => notice,
        };
        let update = match notice {
            Ok(Notice::Changed(update)) => update,
            Ok(Notice::Reloaded) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(()),
        };
        for change in &update.changes {
            let woken = match change {
                Change::Function(function) => {
                    let name = Some(&function.name);
                    room.wake(&function.project, name, Timestamp::now()).await
                }
                Change::Project(project) => room.wake(&project.name, None, Timestamp::now()).await,
                Change::Key(_)
                | Change::FunctionDeleted { .. }
                | Change::Trigger(_)
                | Change::TriggerDeleted { .. }
                | Change::TokenKeys(_)
                | Change::Gateway(_)
                | Change::GatewayDeleted { .. }
                | Change::SessionKeys(_)
                | Change::SessionsRevoked(_)
                | Change::EventType(_)
                | Change::EventTypeDeleted { .. } => Ok(()),
            };
            if let Err(error) = woken {
                warn!(error = %with_causes(&error), "what was resumed is looked at some seconds later");
            }
        }
    }
}

/// Until when there is nothing to do.
#[derive(Debug)]
enum Wait {
    For(Duration),
    /// The next one is due then; an earlier one may come in.
    Until(Instant),
    ForNews,
}

impl Wait {
    fn is_over(&self, now: Instant) -> bool {
        matches!(self, Self::Until(due) if *due <= now)
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    ByTime,
    ByNews,
}
