//! Confirms messages once they are on disk, and hands them to their line, in order.

use std::future::Future;
use std::sync::Arc;

use storage::queue::Durable;
use tokio::sync::{mpsc, oneshot};

use super::line::Line;
use super::stored::{Stored, publish_error};
use crate::metrics;
use crate::publish::PublishError;

/// A message that is being written.
#[derive(Debug)]
pub(super) struct OnItsWay {
    pub(super) durable: Durable,
    pub(super) line: Arc<Line>,
    pub(super) stored: Stored,
    pub(super) confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// The loop; bounded by what the file's writer lets wait.
pub(super) struct Handing {
    arrivals: mpsc::UnboundedReceiver<OnItsWay>,
}

impl Handing {
    pub(super) const fn new(arrivals: mpsc::UnboundedReceiver<OnItsWay>) -> Self {
        Self { arrivals }
    }

    pub(super) async fn run(
        mut self,
        mut closing: impl Future<Output = ()> + Unpin + Send,
    ) -> anyhow::Result<()> {
        let mut is_closing = false;
        loop {
            tokio::select! {
                biased;
                arrived = self.arrivals.recv() => match arrived {
                    Some(on_its_way) => hand_on(on_its_way).await,
                    None => return Ok(()),
                },
                () = &mut closing, if !is_closing => {
                    is_closing = true;
                    self.arrivals.close();
                }
            }
        }
    }
}

async fn hand_on(on_its_way: OnItsWay) {
    let OnItsWay {
        durable,
        line,
        stored,
        confirm,
    } = on_its_way;
    let outcome = match durable.await {
        Ok(position) => {
            line.arrived(position, stored);
            Ok(())
        }
        Err(error) => {
            tracing::warn!(queue = line.name(), %error, "message could not be written");
            Err(publish_error(&error))
        }
    };
    metrics::settled(line.queue(), &outcome);
    // Who no longer waits need not be told.
    drop(confirm.send(outcome));
}
