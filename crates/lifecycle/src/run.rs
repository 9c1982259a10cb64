//! From "running" to "ended": waits for a reason to stop, then drains within the grace period.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Tasks;

/// How a run came to its end.
#[derive(Debug)]
pub enum Ended {
    /// Everything in flight was finished.
    Drained,
    /// The grace period was over first; what was unfinished is left to redelivery.
    OutOfTime,
    /// A loop failed or panicked, which stopped the rest.
    Failed(anyhow::Error),
}

/// Background drivers flush in the last fifth of the grace period even if the work overran,
/// because what they hold is finished work of others.
const BACKGROUND_SHARE: u32 = 5;

/// Dropping a loop takes as long as its destructors; this only bounds a loop that blocks.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Runs until the signal comes, somebody calls [`Tasks::stop`] or a loop fails; then stops
/// the work, the servers and the background drivers, in this order.
pub async fn run_until_stopped(
    tasks: Tasks,
    stop_signal: impl Future<Output = ()>,
    grace_period: Duration,
) -> Ended {
    tokio::select! {
        () = stop_signal => {}
        () = tasks.stopping() => {}
    }
    tasks.stop();
    tracing::info!(grace_period_ms = %grace_period.as_millis(), "stopping");
    let drained = drain(&tasks, grace_period).await;
    match tasks.take_failure() {
        Some(failure) => Ended::Failed(failure),
        None if drained => Ended::Drained,
        None => Ended::OutOfTime,
    }
}

async fn drain(tasks: &Tasks, grace_period: Duration) -> bool {
    let started = Instant::now();
    let background_time = grace_period / BACKGROUND_SHARE;
    let work_deadline = started + grace_period.saturating_sub(background_time);

    let work_drained = timeout_at(work_deadline, tasks.drain_work()).await.is_ok();
    if !work_drained {
        tracing::warn!(running = ?tasks.running(), "out of time, unfinished work is dropped");
        wait_for_abort(tasks.abort_work()).await;
    }
    // At least the reserved share, even if the drop above took its time.
    let background_deadline = (started + grace_period).max(Instant::now() + background_time);
    let background_drained = timeout_at(background_deadline, tasks.close_background())
        .await
        .is_ok();
    if !background_drained {
        tracing::warn!(running = ?tasks.running(), "out of time, background work is dropped");
        wait_for_abort(tasks.abort_background()).await;
    }
    work_drained && background_drained
}

async fn wait_for_abort(aborted: impl Future<Output = ()>) {
    if timeout(ABORT_WAIT, aborted).await.is_err() {
        tracing::error!("a loop blocks its thread and cannot be dropped");
    }
}

/// Completes at the first SIGINT or SIGTERM; a second one ends the process at once.
///
/// The signals are caught from this call on, not only from the first poll.
pub fn signals() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let first = next(&mut interrupt, &mut terminate).await;
        tracing::info!(signal = first.name, "signal received");
        let second = async move {
            let second = next(&mut interrupt, &mut terminate).await;
            tracing::warn!(signal = second.name, "second signal, so no more waiting");
            exit_at_once(second.exit_code);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "it must outlive the loops it cuts short"
        )]
        drop(tokio::spawn(second));
    })
}

struct Received {
    name: &'static str,
    exit_code: i32,
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> Received {
    // 128 + the signal's number is what a shell reports for a process ended by it.
    tokio::select! {
        _ = interrupt.recv() => Received { name: "SIGINT", exit_code: 130 },
        _ = terminate.recv() => Received { name: "SIGTERM", exit_code: 143 },
    }
}

#[expect(
    clippy::exit,
    reason = "a person asked twice, and nothing unfinished was confirmed"
)]
fn exit_at_once(code: i32) {
    std::process::exit(code)
}
