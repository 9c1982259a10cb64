//! The loops of one running system, in the three groups in which they stop.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Name = Cow<'static, str>;

/// A handle on the loops of one system; clones share them. Several systems may live in one
/// process, each with its own `Tasks`.
#[derive(Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    work: Group,
    serving: Group,
    background: Group,
    /// No new work is to be taken.
    stopping: CancellationToken,
    /// Every ordinary loop has ended, so what servers still answer is all that is left.
    work_ended: CancellationToken,
    /// Nobody leans on the background drivers any more.
    closing: CancellationToken,
    failure: Mutex<Option<anyhow::Error>>,
}

#[derive(Default)]
struct Group {
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
    abort: CancellationToken,
}

#[derive(Default)]
struct Running {
    next: u64,
    names: BTreeMap<u64, Name>,
}

impl Tasks {
    /// Starts an ordinary loop. It should end soon after [`stopping`](Self::stopping)
    /// completes, with its work in flight finished. If it fails or panics before that, the
    /// whole system is stopped.
    pub fn spawn(
        &self,
        name: impl Into<Cow<'static, str>>,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.spawn_in(&self.inner.work, name.into(), future);
    }

    /// Starts a driver that others need while they drain (a publisher, a batcher). It should
    /// go on until [`closing`](Self::closing) completes, then flush and end.
    pub fn spawn_background(
        &self,
        name: impl Into<Cow<'static, str>>,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.spawn_in(&self.inner.background, name.into(), future);
    }

    /// Starts a server loop: told to stop with the ordinary loops, but not counted as work,
    /// because a client's open stream must not hold up the rest.
    pub(crate) fn spawn_serving(
        &self,
        name: Cow<'static, str>,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.spawn_in(&self.inner.serving, name, future);
    }

    /// Completes when no new work should be taken.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + Unpin + 'static + use<> {
        Box::pin(self.inner.stopping.clone().cancelled_owned())
    }

    /// Completes when every ordinary loop and every server has ended; for background drivers.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + Unpin + 'static + use<> {
        Box::pin(self.inner.closing.clone().cancelled_owned())
    }

    /// Completes when every ordinary loop has ended during a stop.
    pub fn work_ended(&self) -> impl Future<Output = ()> + Send + Unpin + 'static + use<> {
        Box::pin(self.inner.work_ended.clone().cancelled_owned())
    }

    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.is_cancelled()
    }

    /// Asks every loop to stop; [`run_until_stopped`](crate::run_until_stopped) then drains.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// The names of the loops that have not ended, in the order they were started.
    pub fn running(&self) -> Vec<String> {
        let Inner {
            work,
            serving,
            background,
            ..
        } = &*self.inner;
        [work, serving, background]
            .into_iter()
            .flat_map(Group::names)
            .collect()
    }

    fn spawn_in(
        &self,
        group: &Group,
        name: Name,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let listed = Listed::new(Arc::clone(&group.running), name.clone());
        let abort = group.abort.clone();
        let tasks = self.clone();
        group.tracker.spawn(async move {
            // Dropped at the end of this block: by then the outcome is recorded.
            let _listed = listed;
            let outcome = tokio::select! {
                biased;
                () = abort.cancelled() => return,
                outcome = AssertUnwindSafe(future).catch_unwind() => outcome,
            };
            match outcome {
                Ok(Ok(())) => tracing::debug!(task = %name, "loop ended"),
                Ok(Err(error)) => tasks.fail(&name, error),
                Err(panic) => tasks.fail(&name, anyhow!("panicked: {}", panic_text(&*panic))),
            }
        });
    }

    fn fail(&self, name: &str, error: anyhow::Error) {
        if self.is_stopping() {
            tracing::warn!(task = name, error = %format_args!("{error:#}"), "loop failed while stopping");
            return;
        }
        tracing::error!(task = name, error = %format_args!("{error:#}"), "loop failed, so everything stops");
        lock(&self.inner.failure).get_or_insert(error.context(format!("run {name}")));
        self.stop();
    }

    pub(crate) fn take_failure(&self) -> Option<anyhow::Error> {
        lock(&self.inner.failure).take()
    }

    /// Waits until the ordinary loops and then the servers have ended.
    pub(crate) async fn drain_work(&self) {
        self.inner.work.ended().await;
        self.inner.work_ended.cancel();
        self.inner.serving.ended().await;
    }

    /// Drops every ordinary loop and server where it stands.
    pub(crate) async fn abort_work(&self) {
        self.inner.work.abort.cancel();
        self.inner.serving.abort.cancel();
        self.drain_work().await;
    }

    /// Tells the background drivers to flush, and waits until they have ended.
    pub(crate) async fn close_background(&self) {
        self.inner.closing.cancel();
        self.inner.background.ended().await;
    }

    /// Drops every background driver where it stands.
    pub(crate) async fn abort_background(&self) {
        self.inner.background.abort.cancel();
        self.close_background().await;
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("stopping", &self.is_stopping())
            .field("running", &self.running())
            .finish()
    }
}

impl Group {
    async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn names(&self) -> Vec<String> {
        lock(&self.running)
            .names
            .values()
            .map(ToString::to_string)
            .collect()
    }
}

/// A loop's entry in the list of running ones, taken out when the loop is dropped.
struct Listed {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Listed {
    fn new(running: Arc<Mutex<Running>>, name: Name) -> Self {
        let number = {
            let mut list = lock(&running);
            list.next += 1;
            let number = list.next;
            list.names.insert(number, name);
            number
        };
        Self { running, number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.running).names.remove(&self.number);
    }
}

/// A panic elsewhere leaves these lists whole, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
