//! What can go wrong when the log is asked, and what a client is told of it.

use protocol::fault::{Fault, FaultKind};

use crate::append::story;

/// What a client is told; what it cannot mend is in our own log.
pub(crate) fn of_storage(error: &storage::Error) -> Fault {
    if error.is_passing() {
        return Fault::unavailable("the log cannot be read at this moment");
    }
    tracing::error!(error = story(error), "the log cannot be read");
    Fault::new(FaultKind::Internal, "the log cannot be read")
}
