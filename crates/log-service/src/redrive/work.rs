//! Works orders off: one replica at a time on each, page by page, and any other goes on with it.

use std::sync::Arc;
use std::time::Duration;

use broker::{Batcher, PublishError};
use domain::Timestamp;
use domain::delivery::Waiting;
use domain::id::RedriveId;
use domain::record::Record;
use lifecycle::Tasks;
use protocol::registry_feed::RegistryView;
use storage::redrives::{Hold, Plan, Planned, Progress, Redrive, RedriveState};
use storage::{LogStore, Redrives};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::plan::{direct_deliveries, page_size, plan, record, waiting};
use crate::append::story;
use crate::metrics;

/// Orders one replica works on at a time; most of them wait for their pace.
const ORDERS_MAX: usize = 32;

/// Of these so many have a page in memory, which may be 25 MiB.
const PAGES_MAX: usize = 4;

/// Orders that were begun elsewhere, or left by a replica that died, are looked for this often.
const POLL: Duration = Duration::from_secs(2);

/// A replica that dies is followed by another after this long …
const LEASE: Duration = Duration::from_secs(10);

/// … and one that lives says so this often.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// By its pace an order is planned so far ahead.
const AHEAD: Duration = Duration::from_secs(1);

/// What is too old to be in the log is forgotten this often.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// Works on the orders of all projects. Clones share what they work with.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) redrives: Arc<dyn Redrives>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) registry: RegistryView,
    pub(crate) waiting: Batcher<Waiting>,
    pub(crate) records: Batcher<Record>,
    /// This replica's name among all.
    pub(crate) replica: String,
    /// Told when an order was begun here.
    pub(crate) begun: Arc<Notify>,
    pub(crate) pages: Pages,
    pub(crate) tasks: Tasks,
}

/// Pages that may be in memory at a time.
#[derive(Debug, Clone)]
pub(crate) struct Pages(Arc<Semaphore>);

impl Default for Pages {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PAGES_MAX)))
    }
}

/// Why the work on an order is over for this replica.
#[derive(Debug)]
enum Over {
    /// There is nothing left of it.
    Done,
    /// It was stopped, or is somebody else's.
    Lost,
    /// This process stops; another replica goes on.
    Leaving,
}

/// What keeps an order from going on.
#[derive(Debug)]
enum Fault {
    Storage(storage::Error),
    Publish(PublishError),
}

impl From<storage::Error> for Fault {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

impl Worker {
    /// Starts to work orders off, and to forget those that are older than `retention`.
    pub(crate) fn start(self, retention: Duration) {
        let tasks = self.tasks.clone();
        tasks.spawn("forget old orders", self.clone().forget(retention));
        tasks.spawn("deliver again", self.run());
    }

    /// Runs until the process stops; then lets go of what it holds.
    async fn run(self) -> anyhow::Result<()> {
        let mut stopping = self.tasks.stopping();
        let mut revisions = self.registry.changes();
        tokio::select! {
            () = &mut stopping => return Ok(()),
            // Without a snapshot every function would seem to be gone.
            _filled = revisions.wait_for(Option::is_some) => {}
        }
        let mut orders = JoinSet::new();
        loop {
            while orders.len() < ORDERS_MAX
                && let Some(redrive) = self.claim().await
            {
                let worker = self.clone();
                orders.spawn(async move { worker.work(redrive).await });
            }
            tokio::select! {
                () = &mut stopping => break,
                () = self.begun.notified() => {}
                () = sleep(POLL) => {}
                Some(ended) = orders.join_next(), if !orders.is_empty() => {
                    if let Err(error) = ended {
                        error!(%error, "the work on an order ended by a bug; it goes on when its lease ends");
                    }
                }
            }
        }
        while orders.join_next().await.is_some() {}
        if let Err(error) = self.redrives.release(&self.replica).await {
            warn!(
                error = story(&error),
                "orders are taken over when their lease ends"
            );
        }
        Ok(())
    }

    /// Forgets what is older than `retention`, until the process stops.
    async fn forget(self, retention: Duration) -> anyhow::Result<()> {
        let mut stopping = self.tasks.stopping();
        loop {
            let before = Timestamp::now().saturating_sub(retention);
            let before = before.unwrap_or(Timestamp::UNIX_EPOCH);
            if let Err(error) = self.redrives.forget(before).await {
                warn!(error = story(&error), "old orders cannot be forgotten yet");
            }
            tokio::select! {
                () = &mut stopping => return Ok(()),
                () = sleep(FORGET_EVERY) => {}
            }
        }
    }

    async fn claim(&self) -> Option<Redrive> {
        if self.tasks.is_stopping() {
            return None;
        }
        let claimed = self.redrives.claim(&self.replica, Timestamp::now(), LEASE);
        claimed.await.unwrap_or_else(|error| {
            warn!(
                error = story(&error),
                "orders to deliver again cannot be read"
            );
            None
        })
    }

    async fn work(self, redrive: Redrive) {
        let (id, project) = (redrive.id, redrive.project.clone());
        let (state, reason) = match self.work_off(redrive).await {
            Ok(Over::Done) => (RedriveState::Done, None),
            Ok(Over::Lost | Over::Leaving) => return,
            Err(Fault::Storage(error)) if error.is_passing() => {
                warn!(redrive.id = %id, error = story(&error), "an order waits for the database");
                return;
            }
            Err(Fault::Storage(error)) => (RedriveState::Failed, Some(story(&error))),
            Err(Fault::Publish(error @ PublishError::TooLarge(_))) => {
                (RedriveState::Failed, Some(error.to_string()))
            }
            // The process ends.
            Err(Fault::Publish(_)) => return,
        };
        info!(redrive.id = %id, %project, state = state.as_str(), reason, "an order to deliver again has ended");
        let now = Timestamp::now();
        let ended = self
            .redrives
            .end(id, &self.replica, state, reason.as_deref(), now);
        if let Err(error) = ended.await {
            // Whoever claims it next finds nothing left.
            warn!(redrive.id = %id, error = story(&error), "the end of an order cannot be noted");
        }
    }

    async fn work_off(&self, mut redrive: Redrive) -> Result<Over, Fault> {
        if redrive.progress.batch > 0 {
            // Whether the last batch was published is not known: it is, once more.
            let batch = self.redrives.planned(&redrive, redrive.progress.batch);
            let planned = batch.await?;
            if let Hold::Lost = self.publish(&redrive, planned).await? {
                return Ok(Over::Lost);
            }
        }
        loop {
            if let Some(over) = self.wait_for_turn(&redrive).await? {
                return Ok(over);
            }
            // Never closed: without a place there is no process any more.
            let _place = self.pages.0.acquire().await.ok();
            let candidates = self.redrives.candidates(
                &redrive.project,
                &redrive.order,
                redrive.progress.done_to,
                page_size(&redrive),
            );
            let candidates = candidates.await?;
            if candidates.is_empty() {
                return Ok(Over::Done);
            }
            let direct = direct_deliveries(&redrive, &candidates);
            let known = self.logs.lines(&redrive.project, &direct).await?;
            let known = known
                .into_iter()
                .filter_map(|line| line.delivery)
                .map(|state| (state.id, state))
                .collect();
            let now = Timestamp::now();
            let plan = plan(&redrive, candidates, &known, &self.registry.read(), now);
            let Some(planned) = self.note(&mut redrive, plan).await? else {
                return Ok(Over::Lost);
            };
            if let Hold::Lost = self.publish(&redrive, planned).await? {
                return Ok(Over::Lost);
            }
        }
    }

    /// Writes a batch down; `None` when the order is not this replica's any more.
    async fn note(&self, redrive: &mut Redrive, plan: Plan) -> Result<Option<Vec<Planned>>, Fault> {
        let progress: Progress = plan.progress;
        let now = Timestamp::now();
        let noted = self
            .redrives
            .plan(redrive, &self.replica, plan, now, LEASE)
            .await?;
        redrive.progress = progress;
        Ok(noted)
    }

    /// By its pace an order waits here; and it notices here that it is over.
    async fn wait_for_turn(&self, redrive: &Redrive) -> Result<Option<Over>, Fault> {
        let mut stopping = self.tasks.stopping();
        loop {
            if self.tasks.is_stopping() {
                return self.leave(redrive).await.map(Some);
            }
            let left = redrive
                .progress
                .next_due_at
                .duration_since(Timestamp::now());
            let left = Duration::try_from(left).unwrap_or_default();
            let Some(wait) = left.checked_sub(AHEAD).filter(|wait| !wait.is_zero()) else {
                return Ok(None);
            };
            tokio::select! {
                () = &mut stopping => {}
                () = sleep(wait.min(RENEW_EVERY)) => {}
            }
            if let Hold::Lost = self.renew(redrive.id).await? {
                return Ok(Some(Over::Lost));
            }
        }
    }

    /// An empty batch says that the one before it was published: nothing is repeated.
    async fn leave(&self, redrive: &Redrive) -> Result<Over, Fault> {
        let plan = Plan {
            planned: Vec::new(),
            skipped: 0,
            progress: Progress {
                batch: redrive.progress.batch + 1,
                ..redrive.progress
            },
        };
        self.note(&mut redrive.clone(), plan).await?;
        Ok(Over::Leaving)
    }

    async fn renew(&self, id: RedriveId) -> Result<Hold, Fault> {
        let now = Timestamp::now();
        Ok(self.redrives.renew(id, &self.replica, now, LEASE).await?)
    }

    /// Publishes a batch, first to the waiting room and then to the log, however long that takes
    /// as long as the order is this replica's.
    async fn publish(&self, redrive: &Redrive, planned: Vec<Planned>) -> Result<Hold, Fault> {
        if planned.is_empty() {
            return Ok(Hold::Held);
        }
        let count = planned.len();
        let published = self.publish_all(redrive, planned);
        tokio::pin!(published);
        loop {
            tokio::select! {
                published = &mut published => {
                    published.map_err(Fault::Publish)?;
                    metrics::redriven(count);
                    return Ok(Hold::Held);
                }
                () = sleep(RENEW_EVERY) => {
                    if let Hold::Lost = self.renew(redrive.id).await? {
                        return Ok(Hold::Lost);
                    }
                }
            }
        }
    }

    async fn publish_all(
        &self,
        redrive: &Redrive,
        planned: Vec<Planned>,
    ) -> Result<(), PublishError> {
        let now = Timestamp::now();
        let (project, kind) = (&redrive.project, redrive.order.kind);
        let records = planned
            .iter()
            .map(|one| record(one, project, kind, redrive.id, now))
            .collect();
        let waiting = {
            let registry = self.registry.read();
            let waiting = planned
                .into_iter()
                .map(|one| waiting(one, project, &registry, now));
            waiting.collect()
        };
        self.waiting.push_until_durable(waiting).await?;
        self.records.push_until_durable(records).await
    }
}
