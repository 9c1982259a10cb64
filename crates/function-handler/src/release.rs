//! Sends on what has waited long enough. All replicas do it; the waiting room shares the work out.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::delivery::{Consignment, Status, Waiting};
use domain::record::{Record, Settled};
use jiff::Timestamp;
use lifecycle::Tasks;
use protocol::envelope::Envelope as _;
use storage::WaitingRoom;
use storage::waiting_room::WaitingRow;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use crate::call_off::wanted;
use crate::error::with_causes;
use crate::index::Index;
use crate::match_events::shard_of;
use crate::metrics;
use crate::outbound::deliveries::Outbound;

/// The waiting room is looked at this often even if it told of nothing.
const POLL: Duration = Duration::from_secs(5);

/// Many deliveries that come in one by one do not make the waiting room be asked for each.
const ROUND_INTERVAL_MIN: Duration = Duration::from_millis(20);

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The waiting room is counted this often.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

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

/// What becomes of one row.
#[derive(Debug)]
enum Fate {
    /// It goes to the worker that serves this shard.
    SendTo(u16, Consignment),
    /// Nobody wants it any more.
    Cancel(&'static str, Record),
    /// It was made due, and is wanted all the same: it waits on.
    PutBack,
    /// It stays: a newer release has to read it, or more has to be known of it first.
    Stay,
}

/// Rows on their way out, and what carries them.
#[derive(Debug, Default)]
struct Sorted {
    by_shard: BTreeMap<u16, (Vec<Consignment>, Vec<WaitingRow>)>,
    cancelled: (Vec<Record>, Vec<WaitingRow>),
    early: Vec<WaitingRow>,
}

impl Release {
    /// Starts to release, and to count what waits.
    pub fn start(self) {
        let tasks = self.tasks.clone();
        let counting = Self::count(Arc::clone(&self.room), tasks.stopping());
        tasks.spawn("waiting room count", counting);
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
        loop {
            let began = Instant::now();
            // A round is not broken off: what it has taken out would have to wait for its claim.
            let wait = match self.round().await {
                Ok(()) => {
                    back_off = BACK_OFF_MIN;
                    self.until_due(began).await
                }
                Err(error) => {
                    warn!(error = %with_causes(&error), "the waiting room does not answer");
                    let wait = back_off;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                    Wait::For(wait)
                }
            };
            tokio::select! {
                biased;
                () = &mut stopping => return Ok(()),
                () = self.wait(wait, began) => {}
            }
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
                    counts
                        .iter()
                        .for_each(|(reason, count)| metrics::waiting(*reason, *count));
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

    /// Takes out what is due and sends it on.
    async fn round(&self) -> Result<(), storage::Error> {
        loop {
            let claimed_at = Instant::now();
            let now = Timestamp::now();
            let rows = self
                .room
                .claim_due(now, self.claim_for, self.release_max)
                .await?;
            let count = rows.len();
            if count == 0 {
                return Ok(());
            }
            let sorted = self.sort(rows, now).await;
            // Past the claim somebody else sends them on: to try any longer would only repeat.
            let give_up_at = claimed_at + self.claim_for.mul_f64(0.8);
            self.send_on(sorted, give_up_at).await?;
            if count < usize::try_from(self.release_max).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    async fn sort(&self, rows: Vec<WaitingRow>, now: Timestamp) -> Sorted {
        let mut readable = Vec::with_capacity(rows.len());
        for row in rows {
            match read(&row) {
                Ok(waiting) => readable.push((row, waiting)),
                Err(reason) => {
                    error!(delivery.id = %row.delivery, reason, "a waiting delivery cannot be read");
                }
            }
        }
        let is_up_to_date = self.learn(&readable, now).await;
        let mut sorted = Sorted::default();
        for (row, waiting) in readable {
            let fate = match self.fate_of(waiting) {
                Fate::SendTo(..) if row.due_at > now && is_up_to_date => Fate::PutBack,
                Fate::SendTo(..) if row.due_at > now => Fate::Stay,
                fate => fate,
            };
            match fate {
                Fate::SendTo(shard, consignment) => {
                    let (consignments, rows) = sorted.by_shard.entry(shard).or_default();
                    consignments.push(consignment);
                    rows.push(row);
                }
                Fate::Cancel(remark, record) => {
                    debug!(delivery.id = %row.delivery, remark, "a waiting delivery is cancelled");
                    metrics::cancelled(remark);
                    sorted.cancelled.0.push(record);
                    sorted.cancelled.1.push(row);
                }
                Fate::PutBack => sorted.early.push(row),
                Fate::Stay => {}
            }
        }
        sorted
    }

    /// Learns what must be known to decide on these rows; answers whether that went well.
    async fn learn(&self, rows: &[(WaitingRow, Waiting)], now: Timestamp) -> bool {
        // Rows come early because of a change, of which this replica may not have been told yet.
        let learnt = if rows.iter().any(|(row, _)| row.due_at > now) {
            self.index.refresh().await
        } else {
            let newest = rows
                .iter()
                .map(|(_, waiting)| waiting.target.revision)
                .max();
            self.index.catch_up(newest.unwrap_or(0)).await
        };
        if let Err(error) = &learnt {
            warn!(error = %with_causes(error), "what is configured may be older than what is due");
        }
        learnt.is_ok()
    }

    fn fate_of(&self, waiting: Waiting) -> Fate {
        let registry = self.index.view().read();
        let Waiting { event, target, .. } = waiting;
        let remark = match wanted(&registry, &event.project, &target) {
            // What this replica has not heard of yet only looks as if it was deleted.
            Err(_) if registry.revision < target.revision => return Fate::Stay,
            Err(unwanted) => unwanted.remark(),
            Ok(function) => {
                let shard = shard_of(function, self.outbound.delivery_shards());
                return Fate::SendTo(
                    shard,
                    Consignment {
                        event,
                        targets: vec![target],
                    },
                );
            }
        };
        let settled = Settled {
            project: event.project,
            event: event.eid,
            delivery: target.delivery,
            trigger: target.trigger,
            function: target.function,
            generation: target.generation,
            status: Status::Cancel,
            remark: remark.to_owned(),
            at: Timestamp::now(),
        };
        Fate::Cancel(remark, Record::Settled(settled))
    }

    /// Publishes, and only then removes: to die in between repeats, and never loses.
    async fn send_on(&self, sorted: Sorted, give_up_at: Instant) -> Result<(), storage::Error> {
        let Sorted {
            mut by_shard,
            cancelled: (records, cancelled_rows),
            early,
        } = sorted;
        self.put_back(early).await;
        let mut gone = Vec::new();
        let mut back_off = BACK_OFF_MIN;
        while !by_shard.is_empty() {
            let attempts = by_shard
                .into_iter()
                .map(async |(shard, (consignments, rows))| {
                    let outcome = self.outbound.send_once(shard, consignments.clone()).await;
                    (shard, consignments, rows, outcome)
                });
            by_shard = BTreeMap::new();
            for (shard, consignments, rows, outcome) in futures::future::join_all(attempts).await {
                match outcome {
                    Ok(()) => gone.extend(rows),
                    Err(error) => {
                        warn!(shard, %error, rows = rows.len(), "due deliveries could not be sent on");
                        by_shard.insert(shard, (consignments, rows));
                    }
                }
            }
            let is_over = self.tasks.is_stopping() || Instant::now() + back_off >= give_up_at;
            if by_shard.is_empty() || is_over {
                break;
            }
            self.remove(&mut gone).await?;
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        self.remove(&mut gone).await?;
        self.record_cancelled(records, cancelled_rows).await
    }

    async fn put_back(&self, early: Vec<WaitingRow>) {
        if early.is_empty() {
            return;
        }
        if let Err(error) = self.room.put_back(&early).await {
            warn!(error = %with_causes(&error), rows = early.len(), "deliveries that came early come again when their claim has run out");
        }
    }

    async fn remove(&self, gone: &mut Vec<WaitingRow>) -> Result<(), storage::Error> {
        if gone.is_empty() {
            return Ok(());
        }
        self.room.remove(gone).await?;
        metrics::released(gone.len());
        gone.clear();
        Ok(())
    }

    async fn record_cancelled(
        &self,
        records: Vec<Record>,
        rows: Vec<WaitingRow>,
    ) -> Result<(), storage::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.outbound.record_once(records).await {
            Ok(()) => self.room.remove(&rows).await,
            // They stay, and come again when their claim has run out.
            Err(error) => {
                warn!(%error, rows = rows.len(), "cancelled deliveries could not be recorded");
                Ok(())
            }
        }
    }

    async fn until_due(&self, began: Instant) -> Wait {
        match self.room.next_due_at().await {
            Ok(Some(due_at)) => {
                let left = due_at.duration_since(Timestamp::now());
                Wait::Until(
                    began.max(Instant::now()) + Duration::try_from(left).unwrap_or_default(),
                )
            }
            Ok(None) => Wait::ForNews,
            Err(error) => {
                warn!(error = %with_causes(&error), "the waiting room does not say what is due next");
                Wait::For(BACK_OFF_MAX)
            }
        }
    }

    async fn wait(&self, wait: Wait, began: Instant) {
        match wait {
            Wait::For(duration) => sleep(duration).await,
            Wait::ForNews => self.room.changed(POLL).await,
            Wait::Until(due) => tokio::select! {
                () = sleep_until(due) => {}
                () = self.room.changed(POLL) => {}
            },
        }
        sleep_until(began + ROUND_INTERVAL_MIN).await;
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

fn read(row: &WaitingRow) -> Result<Waiting, String> {
    let waiting = Waiting::read(row.payload.clone()).map_err(|error| with_causes(&error))?;
    waiting
        .into_iter()
        .next()
        .ok_or_else(|| "the envelope is empty".to_owned())
}
