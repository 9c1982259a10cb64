//! When each event is sent: as soon as another was answered, or by a timetable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use super::ledger::Ledger;
use crate::failure::Failure;

/// An event whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) event: usize,
    /// When it was due; latency counts from here.
    pub(crate) at_us: u64,
}

#[derive(Debug)]
pub(crate) enum Pace {
    /// Closed loop: the door's answers decide.
    Saturating {
        next: AtomicUsize,
        ledger: Arc<Ledger>,
    },
    /// Open loop: the timetable decides. An event that finds every sender busy waits, and its
    /// waiting counts.
    Timetable(Mutex<mpsc::Receiver<Turn>>),
}

impl Pace {
    pub(crate) fn new(rate: Option<f64>, ledger: &Arc<Ledger>) -> Result<Self, Failure> {
        let ledger = Arc::clone(ledger);
        let Some(rate) = rate else {
            return Ok(Self::Saturating {
                next: AtomicUsize::new(0),
                ledger,
            });
        };
        let (due, turns) = mpsc::channel(ledger.events().max(1));
        // A thread, because the runtime's timers are a millisecond coarse.
        thread::Builder::new()
            .name("timetable".to_owned())
            .spawn(move || keep_timetable(&ledger, rate, &due))
            .map_err(|error| Failure::local(format!("cannot start a thread: {error}")))?;
        Ok(Self::Timetable(Mutex::new(turns)))
    }

    /// The next event; none when all had their turn.
    pub(crate) async fn next(&self) -> Option<Turn> {
        let mut turns = Vec::with_capacity(1);
        self.next_up_to(1, &mut turns).await;
        turns.pop()
    }

    /// Adds the next events to `turns`, at least one unless all had their turn.
    pub(crate) async fn next_up_to(&self, count_max: usize, turns: &mut Vec<Turn>) {
        match self {
            Self::Saturating { next, ledger } => {
                let first = next.fetch_add(count_max, Ordering::Relaxed);
                let end = first.saturating_add(count_max).min(ledger.events());
                let at_us = ledger.at_us(Instant::now());
                turns.extend((first..end).map(|event| Turn { event, at_us }));
            }
            Self::Timetable(due) => {
                due.lock().await.recv_many(turns, count_max).await;
            }
        }
    }
}

fn keep_timetable(ledger: &Ledger, rate: f64, due: &mpsc::Sender<Turn>) {
    let begun = Instant::now();
    for event in 0..ledger.events() {
        let Some(at) = begun.checked_add(due_after(event, rate)) else {
            return;
        };
        // A parked thread may wake before its time.
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        if due
            .blocking_send(Turn {
                event,
                at_us: ledger.at_us(at),
            })
            .is_err()
        {
            // Nobody sends any more.
            return;
        }
    }
}

fn due_after(event: usize, rate: f64) -> Duration {
    let seconds = event as f64 / rate;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(events: usize) -> Arc<Ledger> {
        Arc::new(Ledger::new("run".to_owned(), events, 1).unwrap())
    }

    #[tokio::test]
    async fn each_event_has_one_turn() {
        let pace = Pace::new(None, &ledger(5)).unwrap();
        let mut turns = Vec::new();
        pace.next_up_to(3, &mut turns).await;
        turns.extend(pace.next().await);
        pace.next_up_to(3, &mut turns).await;
        let events: Vec<_> = turns.iter().map(|turn| turn.event).collect();
        assert_eq!(events, [0, 1, 2, 3, 4]);
        assert!(pace.next().await.is_none());
    }

    #[tokio::test]
    async fn a_timetable_is_even_and_does_not_wait_for_answers() {
        let pace = Pace::new(Some(2_000.0), &ledger(20)).unwrap();
        let mut due_us = Vec::new();
        while let Some(turn) = pace.next().await {
            assert_eq!(turn.event, due_us.len());
            due_us.push(turn.at_us);
        }
        let between: Vec<_> = due_us.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(between.len(), 19);
        // One microsecond either way is rounding: the times are those of the timetable, however
        // late the thread woke.
        assert!(
            between.iter().all(|between| (499..=501).contains(between)),
            "{between:?}"
        );
    }
}
