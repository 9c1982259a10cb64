//! What comes in: calls, changes of the registry, events, and what has to wait.

pub(crate) mod gate;
mod paging;

pub mod functions;
pub mod gateway;
pub mod imports;
pub mod keys;
pub mod operate;
pub mod packages;
pub mod projects;
pub mod schedules;
pub(crate) mod scripts_http;
pub mod sessions;
pub mod triggers;
pub mod types;

pub mod follow_registry;
pub mod registry;
pub mod watch_functions;

pub mod events;
pub mod line_up;
pub mod waiting;

use std::sync::Arc;

use broker::{Acknowledgement, Received};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use jiff::Timestamp;
use protocol::envelope::ReadError;
use tracing::{error, warn};

use crate::call_off::CallOff;
use crate::error::with_causes;
use crate::index::Index;
use crate::metrics;
use gate::Gate;

/// What every gRPC service here works with. Clones share it.
#[derive(Debug, Clone)]
pub struct Desk {
    pub(crate) gate: Gate,
    pub(crate) index: Arc<Index>,
    pub(crate) call_off: CallOff,
    /// Completes when streams should end.
    pub(crate) stopping: Shared<BoxFuture<'static, ()>>,
}

impl Desk {
    pub(crate) fn new(
        gate: Gate,
        index: Arc<Index>,
        call_off: CallOff,
        tasks: &lifecycle::Tasks,
    ) -> Self {
        Self {
            gate,
            index,
            call_off,
            stopping: tasks.stopping().boxed().shared(),
        }
    }

    /// After a write: whoever calls this replica next sees it.
    pub(crate) async fn catch_up(&self, revision: u64) {
        if let Err(error) = self.index.catch_up(revision).await {
            // It is stored; the loop that follows the registry will see it.
            warn!(error = %with_causes(&error), revision, "a change is not visible here yet");
        }
    }
}

/// The time, to the microsecond: that is what is stored, so an answer is the same ever after.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// What a message carries, and the duty to answer for it; `None` when it cannot be read and was
/// set aside.
fn read_or_set_aside<T>(
    received: Received,
    read: impl FnOnce(Bytes) -> Result<Vec<T>, ReadError>,
) -> Option<(Vec<T>, Acknowledgement)> {
    match read(received.body) {
        Ok(items) => Some((items, received.acknowledgement)),
        Err(unreadable) => {
            let reason = with_causes(&unreadable);
            error!(queue = %received.queue, reason, "a message cannot be read and is set aside");
            metrics::message_unreadable(received.queue);
            received.acknowledgement.reject(reason);
            None
        }
    }
}
