//! What the log is told of calls at once, without their callers waiting for it.

use std::future::Future;

use broker::Batcher;
use domain::Timestamp;
use domain::delivery::{Status, Target};
use domain::event::Event;
use domain::record::{Matched, Record, Settled};
use lifecycle::Tasks;
use tokio::sync::mpsc;
use tracing::warn;

use crate::metrics;

/// Records that may wait while the broker is away: a minute of two hundred calls a second. What
/// is more is left out and counted: a log that is away must not end calls.
const RECORDS_MAX: usize = 24_000;

/// So many are put in line together.
const TOGETHER_MAX: usize = 256;

/// The remark of a call whose caller went away before the function answered.
const CALLER_GONE: &str = "caller_gone";

/// Takes records of calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallLog(mpsc::Sender<Record>);

impl CallLog {
    /// Starts what hands records on to the batcher.
    pub fn start(records: Batcher<Record>, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(RECORDS_MAX);
        tasks.spawn_background("log of calls", hand_on(receiver, records, tasks.closing()));
        Self(sender)
    }

    fn tell(&self, record: Record) {
        if self.0.try_send(record).is_err() {
            metrics::call_untold();
        }
    }
}

async fn hand_on(
    mut records: mpsc::Receiver<Record>,
    batcher: Batcher<Record>,
    mut closing: impl Future<Output = ()> + Unpin + Send,
) -> anyhow::Result<()> {
    let mut together = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = records.recv_many(&mut together, TOGETHER_MAX) => {
                if count == 0 {
                    return Ok(());
                }
            }
            () = &mut closing => return Ok(()),
        }
        // Nobody waits until they are durable: the batcher sees to that.
        if let Err(error) = batcher
            .put_until_durable(std::mem::take(&mut together))
            .await
        {
            warn!(%error, "calls are left out of the log");
            return Ok(());
        }
    }
}

/// One call's place in the log: opened before it, closed with what came of it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    log: &'a CallLog,
    event: &'a Event,
    target: &'a Target,
    is_closed: bool,
}

impl<'a> Entry<'a> {
    pub(super) fn open(log: &'a CallLog, event: &'a Event, target: &'a Target) -> Self {
        log.tell(Record::Matched(Matched {
            event: event.clone(),
            targets: vec![target.clone()],
        }));
        Self {
            log,
            event,
            target,
            is_closed: false,
        }
    }

    pub(super) fn close(&mut self, record: Record) {
        self.is_closed = true;
        self.log.tell(record);
    }
}

/// A caller that goes away takes the call with it.
impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        self.log.tell(Record::Settled(Settled {
            project: self.event.project.clone(),
            event: self.event.eid,
            delivery: self.target.delivery,
            trigger: self.target.trigger.clone(),
            function: self.target.function.clone(),
            generation: 0,
            status: Status::Cancel,
            remark: CALLER_GONE.to_owned(),
            at: Timestamp::now(),
        }));
    }
}
