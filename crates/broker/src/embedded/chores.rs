//! What lines need done that takes time: reading on, and setting messages aside.

use std::future::Future;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use storage::queue::{EmbeddedQueue, Position};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::line::{LOAD_MAX, Line};
use crate::back_off::BackOff;
use crate::metrics;

#[derive(Debug)]
pub(super) enum Chore {
    /// The line is running out of messages in memory.
    Load(Arc<Line>),
    /// The message of this giving is not to come again.
    SetAside {
        line: Arc<Line>,
        number: u64,
        position: Position,
        reason: String,
    },
}

pub(super) struct Chores {
    file: EmbeddedQueue,
    arrivals: mpsc::UnboundedReceiver<Chore>,
    unreadable: Option<Arc<Line>>,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Chores {
    pub(super) fn new(
        file: EmbeddedQueue,
        arrivals: mpsc::UnboundedReceiver<Chore>,
        unreadable: Option<Arc<Line>>,
    ) -> Self {
        Self {
            file,
            arrivals,
            unreadable,
            running: FuturesUnordered::new(),
        }
    }

    /// Whatever is not done in the end is done after the next start.
    pub(super) async fn run(
        mut self,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                Some(()) = self.running.next() => {}
                Some(chore) = self.arrivals.recv() => self.begin(chore),
                () = &mut closing => return Ok(()),
            }
        }
    }

    fn begin(&self, chore: Chore) {
        let file = self.file.clone();
        match chore {
            Chore::Load(line) => self.running.push(Box::pin(load(file, line))),
            Chore::SetAside {
                line,
                number,
                position,
                reason,
            } => {
                let unreadable = self.unreadable.clone();
                self.running.push(Box::pin(async move {
                    set_aside(&file, &line, position, &reason).await;
                    line.forget(number);
                    if let Some(unreadable) = unreadable {
                        unreadable.has_more();
                    }
                }));
            }
        }
    }
}

async fn load(file: EmbeddedQueue, line: Arc<Line>) {
    let mut back_off = BackOff::default();
    loop {
        match file.load(line.name(), line.loaded_up_to(), LOAD_MAX).await {
            Ok(messages) => return line.loaded(messages),
            Err(error) => {
                tracing::warn!(queue = line.name(), %error, "queue cannot be read");
                sleep(back_off.next_wait()).await;
            }
        }
    }
}

async fn set_aside(file: &EmbeddedQueue, line: &Line, position: Position, reason: &str) {
    let mut back_off = BackOff::default();
    tracing::error!(
        queue = line.name(),
        reason,
        "message cannot be read and is set aside"
    );
    while let Err(error) = file.set_aside(position, reason).await {
        tracing::warn!(queue = line.name(), %error, "an unreadable message waits to be set aside");
        sleep(back_off.next_wait()).await;
    }
    metrics::set_aside(line.queue());
}
