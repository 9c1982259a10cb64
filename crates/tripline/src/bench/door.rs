//! The ways in: each sends the events whose turn it is and notes the answers in the ledger.

mod batch;
mod post;
mod stream;

use std::sync::Arc;

use tokio::task::JoinSet;

use super::ledger::Ledger;
use super::pace::Pace;
use super::sample::Sample;
use crate::command_line::Connection;
use crate::failure::Failure;

/// How events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Post,
    Stream,
    Batch,
}

/// What is sent, when, and where it is noted.
#[derive(Debug)]
pub(crate) struct Emission {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) pace: Pace,
    pub(crate) sample: Arc<Sample>,
    pub(crate) concurrency: usize,
}

impl Door {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Stream => "stream",
            Self::Batch => "batch",
        }
    }

    /// Sends everything; returns when every event was answered or given up.
    pub(crate) async fn emit(
        self,
        emission: Emission,
        connection: &Connection,
    ) -> Result<(), Failure> {
        let emission = Arc::new(emission);
        match self {
            Self::Post => post::emit(&emission, connection).await,
            Self::Stream => stream::emit(&emission, connection).await,
            Self::Batch => batch::emit(&emission, connection).await,
        }
    }
}

/// Runs as many senders at a time as the emission has concurrency.
async fn senders<S>(emission: &Arc<Emission>, sender: impl Fn() -> S) -> Result<(), Failure>
where
    S: Future<Output = ()> + Send + 'static,
{
    let mut senders: JoinSet<()> = (0..emission.concurrency).map(|_| sender()).collect();
    while let Some(ended) = senders.join_next().await {
        ended.map_err(|error| Failure::local(format!("a sender failed: {error}")))?;
    }
    Ok(())
}
