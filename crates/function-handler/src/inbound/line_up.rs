//! Puts deliveries in line: in the order of their events, and those together that come meanwhile.

use std::sync::Arc;
use std::time::Duration;

use broker::PublishError;
use domain::delivery::Waiting;
use lifecycle::Tasks;
use storage::WaitingRoom;
use storage::waiting_room::WaitingRow;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::waiting::row_of;
use crate::error::with_causes;
use crate::metrics;

/// Batches of events whose deliveries are stored together, and that may wait for it.
const GROUPS_MAX: usize = 64;

/// After a transaction others gather for as long as it took, within this bound: each costs far more
/// than a row in it, and takes something from what stands in no line.
const GATHER_MAX: Duration = Duration::from_millis(10);

/// While the database is away, it is tried again this often.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The one way by which this replica puts deliveries in line. Clones share it.
#[derive(Debug, Clone)]
pub struct LineUp(mpsc::Sender<Group>);

/// What was put together.
#[derive(Debug)]
struct Group {
    rows: Vec<WaitingRow>,
    stored: oneshot::Sender<()>,
}

/// Resolves when what was put is stored; with an error when the process ends first.
pub(super) type LinedUp = oneshot::Receiver<()>;

impl LineUp {
    /// Starts the loop, which ends when nobody can put anything any more.
    pub fn start(room: Arc<dyn WaitingRoom>, tasks: &Tasks) -> Self {
        let (sender, arrivals) = mpsc::channel(GROUPS_MAX);
        tasks.spawn("line up", run(room, arrivals));
        Self(sender)
    }

    /// Puts deliveries behind all that were put before.
    ///
    /// # Errors
    /// Only when the process ends.
    pub(super) async fn put(&self, in_line: &[Waiting]) -> Result<LinedUp, PublishError> {
        let rows = in_line.iter().map(|waiting| WaitingRow {
            order_key: waiting.event.ordering_key().map(ToOwned::to_owned),
            ..row_of(waiting)
        });
        let (stored, lined_up) = oneshot::channel();
        let group = Group {
            rows: rows.collect(),
            stored,
        };
        let put = self.0.send(group).await;
        put.map_err(|_ended| PublishError::Unavailable)?;
        Ok(lined_up)
    }
}

async fn run(
    room: Arc<dyn WaitingRoom>,
    mut arrivals: mpsc::Receiver<Group>,
) -> anyhow::Result<()> {
    let mut groups = Vec::new();
    while arrivals.recv_many(&mut groups, GROUPS_MAX).await > 0 {
        let began = Instant::now();
        let rows = groups.iter_mut().flat_map(|group| group.rows.drain(..));
        let rows: Vec<WaitingRow> = rows.collect();
        if !rows.is_empty() {
            store(room.as_ref(), &rows).await;
        }
        for group in groups.drain(..) {
            // Who no longer waits need not be told.
            let _was_awaited: Result<(), ()> = group.stored.send(());
        }
        sleep(began.elapsed().min(GATHER_MAX)).await;
    }
    Ok(())
}

/// Stores rows, however long it takes. Also when the process is told to stop: what is in hand when
/// it ends goes back to its queue at once and in order, which it would not one by one.
async fn store(room: &dyn WaitingRoom, rows: &[WaitingRow]) {
    let mut back_off = BACK_OFF_MIN;
    while let Err(error) = room.line_up(rows).await {
        warn!(error = %with_causes(&error), rows = rows.len(), "deliveries cannot be put in line");
        sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
    metrics::stored(rows.len());
}
