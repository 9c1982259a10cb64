//! Follows what is recorded, by whichever replica: looks at the newest lines again and again, and
//! gives those that are new or differ from what was given before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::delivery::Status;
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use futures::stream::{self, Stream};
use storage::LogStore;
use storage::log_store::{DeliveryFilter, DeliveryLine};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use crate::metrics;
use crate::query::cursor;

/// What other replicas stored is seen within this time.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What this replica stored wakes at once, but a busy one not all the time.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// After an outage the stream goes on; a longer one ends it.
const FAILURES_MAX: u32 = 20;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// New lines are looked for among events accepted in this time.
const WINDOW: Duration = Duration::from_mins(15);
const PAGE: u32 = 500;
const PAGES_MAX: usize = 10;

/// Lines remembered, newest; well more than one look can see.
const SEEN_MAX: usize = 20_000;
/// Deliveries that are not final and stand too far back for the first page, asked for by id.
const ASKED_AT_ONCE_MAX: usize = 256;
const OPEN_MAX: usize = 4_096;
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A line's place; the oldest is the smallest.
type Place = (EventId, Option<DeliveryId>);

/// What makes a line worth giving again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    status: Option<Status>,
    attempts: u32,
    generation: u32,
    next_attempt_at: Option<Timestamp>,
}

/// What one client has been given.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Arc<dyn LogStore>,
    project: ProjectName,
    filter: DeliveryFilter,
    seen: BTreeMap<Place, Seen>,
    /// Deliveries that are not final, and when to ask for them.
    open: BTreeMap<DeliveryId, Timestamp>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        metrics::follower_went();
    }
}

impl Follower {
    /// Follows from now on: what is there already counts as given.
    pub(crate) async fn start(
        store: Arc<dyn LogStore>,
        project: ProjectName,
        filter: DeliveryFilter,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, storage::Error> {
        metrics::follower_came();
        let (seen, open) = (BTreeMap::new(), BTreeMap::new());
        let mut follower = Self {
            store,
            project,
            filter,
            seen,
            open,
            _place: place,
        };
        follower.look().await?;
        Ok(follower)
    }

    /// The lines that are new or have changed, oldest first.
    async fn look(&mut self) -> Result<Vec<DeliveryLine>, storage::Error> {
        let now = Timestamp::now();
        let mut changed = self.look_at_the_newest(now).await?;
        changed.extend(self.look_at_open_ones(now).await?);
        changed.sort_by_key(|line| line.eid);
        Ok(changed)
    }

    async fn look_at_the_newest(
        &mut self,
        now: Timestamp,
    ) -> Result<Vec<DeliveryLine>, storage::Error> {
        let window = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
        let since = self.filter.since.map_or(window, |since| since.max(window));
        let filter = DeliveryFilter {
            since: Some(since),
            ..self.filter.clone()
        };
        let (mut before, mut changed) = (None, Vec::new());
        for _ in 0..PAGES_MAX {
            let page = self
                .store
                .deliveries(&self.project, &filter, before, PAGE)
                .await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            before = page.last().map(cursor);
            let known = changed.len();
            changed.extend(page.into_iter().filter(|line| self.notice(line, now)));
            if is_last || changed.len() == known {
                break;
            }
        }
        Ok(changed)
    }

    /// A retry changes a line long after it was new.
    async fn look_at_open_ones(
        &mut self,
        now: Timestamp,
    ) -> Result<Vec<DeliveryLine>, storage::Error> {
        let due = self.open.iter().filter(|(_, ask_at)| **ask_at <= now);
        let due: Vec<DeliveryId> = due.map(|(id, _)| *id).take(ASKED_AT_ONCE_MAX).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let lines = self.store.lines(&self.project, &due).await?;
        let changed = lines.into_iter().filter(|line| self.notice(line, now));
        let changed: Vec<_> = changed.collect();
        let changed = changed
            .into_iter()
            .filter(|line| self.is_wanted(line))
            .collect();
        // What is not found has no row yet, or has been dropped with its day.
        let ask_again = now.saturating_add(ASK_AGAIN_AFTER).unwrap_or(now);
        let oldest = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
        for id in due {
            if self.open.get(&id).is_none_or(|ask_at| *ask_at > now) {
                continue;
            }
            if id.accepted_at() > oldest {
                self.open.insert(id, ask_again);
            } else {
                self.open.remove(&id);
            }
        }
        Ok(changed)
    }

    /// Of all conditions, only that on the state can cease to hold.
    fn is_wanted(&self, line: &DeliveryLine) -> bool {
        let statuses = &self.filter.statuses;
        let status = line.delivery.as_ref().map(|delivery| delivery.status);
        statuses.is_empty() || status.is_some_and(|status| statuses.contains(&status))
    }

    /// Remembers a line; true when it has to be given.
    fn notice(&mut self, line: &DeliveryLine, now: Timestamp) -> bool {
        let place = (line.eid, line.delivery.as_ref().map(|delivery| delivery.id));
        let state = line.delivery.as_ref();
        let seen = Seen {
            status: state.map(|state| state.status),
            attempts: state.map_or(0, |state| state.attempts),
            generation: state.map_or(0, |state| state.generation),
            next_attempt_at: state.and_then(|state| state.next_attempt_at),
        };
        if let Some(state) = state {
            if state.status.is_final() {
                self.open.remove(&state.id);
            } else {
                let ask_again = now.saturating_add(ASK_AGAIN_AFTER).unwrap_or(now);
                let ask_at = state
                    .next_attempt_at
                    .map_or(ask_again, |due| due.max(ask_again));
                self.open.insert(state.id, ask_at);
                if self.open.len() > OPEN_MAX {
                    self.open.pop_first();
                }
            }
        }
        let is_new = self.seen.get(&place) != Some(&seen);
        if is_new {
            self.seen.insert(place, seen);
            if self.seen.len() > SEEN_MAX {
                self.seen.pop_first();
            }
        }
        is_new
    }

    /// The lines, as they come; ends with an error when the store is away for too long.
    pub(crate) fn lines(
        self,
        recorded: watch::Receiver<u64>,
    ) -> impl Stream<Item = Result<DeliveryLine, storage::Error>> + Send {
        let state = Following {
            follower: self,
            recorded,
            waiting: VecDeque::new(),
            failures: 0,
        };
        stream::unfold(Some(state), async |state| {
            let mut state = state?;
            match state.next().await {
                Ok(line) => Some((Ok(line), Some(state))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Following {
    follower: Follower,
    recorded: watch::Receiver<u64>,
    waiting: VecDeque<DeliveryLine>,
    failures: u32,
}

impl Following {
    async fn next(&mut self) -> Result<DeliveryLine, storage::Error> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Ok(line);
            }
            self.wait().await;
            match self.follower.look().await {
                Ok(lines) => {
                    self.failures = 0;
                    self.waiting.extend(lines);
                }
                Err(error) => {
                    self.failures += 1;
                    if self.failures >= FAILURES_MAX || !error.is_passing() {
                        return Err(error);
                    }
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn wait(&mut self) {
        sleep(LOOK_AFTER).await;
        let woken = async {
            if self.recorded.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = woken => {}
            () = sleep(LOOK_EVERY.saturating_sub(LOOK_AFTER)) => {}
        }
    }
}
