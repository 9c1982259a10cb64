//! Ctrl-C while measuring: functions are deleted and processes stopped before the program ends.

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// Whether the person asked to stop. A second Ctrl-C ends the program at once.
#[derive(Debug)]
pub(crate) struct Interrupt {
    seen: watch::Receiver<bool>,
    _listener: JoinSet<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signals = lifecycle::signals()
            .map_err(|error| Failure::local(format!("cannot listen to signals: {error}")))?;
        let (say, seen) = watch::channel(false);
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            signals.await;
            say.send_replace(true);
        });
        Ok(Self {
            seen,
            _listener: listener,
        })
    }

    /// What `work` comes to, unless the person asks to stop before.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut seen = self.seen.clone();
        let asked = async {
            if seen.wait_for(|seen| *seen).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = work => done,
            () = asked => Err(Failure::local("bench: interrupted")),
        }
    }
}
