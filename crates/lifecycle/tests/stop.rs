//! A stop drains in order, ends at the deadline, and says when a loop was the reason.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifecycle::{Ended, Tasks, run_until_stopped};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

const GENEROUS: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, line: &'static str) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

async fn check(tasks: Tasks, stop: impl Future<Output = ()>, grace_period: Duration) -> Ended {
    timeout(GENEROUS, run_until_stopped(tasks, stop, grace_period))
        .await
        .unwrap()
}

#[tokio::test]
async fn drains_what_is_in_flight() {
    let tasks = Tasks::default();
    let diary = Diary::default();
    let (stopping, noted) = (tasks.stopping(), diary.clone());
    tasks.spawn("consumer", async move {
        stopping.await;
        tokio::task::yield_now().await;
        noted.note("finished");
        Ok(())
    });
    assert_eq!(tasks.running(), ["consumer"]);

    let ended = check(tasks.clone(), async {}, GENEROUS).await;

    assert!(matches!(ended, Ended::Drained), "{ended:?}");
    assert_eq!(diary.lines(), ["finished"]);
    assert!(tasks.is_stopping());
    assert!(tasks.running().is_empty());
}

#[tokio::test]
async fn gives_up_at_the_deadline_and_drops_what_is_left() {
    let tasks = Tasks::default();
    let (held, dropped) = oneshot::channel::<()>();
    tasks.spawn("stuck", async move {
        let _held = held;
        pending().await
    });

    let started = Instant::now();
    let ended = check(tasks, async {}, Duration::from_millis(50)).await;

    assert!(matches!(ended, Ended::OutOfTime), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
    timeout(GENEROUS, dropped).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_panicking_loop_stops_the_rest_and_is_reported() {
    let tasks = Tasks::default();
    let diary = Diary::default();
    let (stopping, noted) = (tasks.stopping(), diary.clone());
    tasks.spawn("healthy", async move {
        stopping.await;
        noted.note("healthy loop ended in order");
        Ok(())
    });
    tasks.spawn("broken", async { panic!("wires crossed") });

    let ended = check(tasks, pending(), GENEROUS).await;

    let Ended::Failed(error) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(format!("{error:#}"), "run broken: panicked: wires crossed");
    assert_eq!(diary.lines(), ["healthy loop ended in order"]);
}

#[tokio::test]
async fn a_failing_loop_stops_the_rest_and_the_first_failure_is_reported() {
    let tasks = Tasks::default();
    tasks.spawn("first", async { Err(anyhow::anyhow!("connection lost")) });
    let stopping = tasks.stopping();
    tasks.spawn("second", async move {
        stopping.await;
        Err(anyhow::anyhow!("first is gone"))
    });

    let ended = check(tasks, pending(), GENEROUS).await;

    let Ended::Failed(error) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(format!("{error:#}"), "run first: connection lost");
}

#[tokio::test]
async fn a_loop_that_ends_well_does_not_stop_the_rest() {
    let tasks = Tasks::default();
    let (ended, once) = oneshot::channel();
    tasks.spawn("once", async move {
        ended.send(()).unwrap();
        Ok(())
    });
    once.await.unwrap();
    while !tasks.running().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!tasks.is_stopping());
}

#[tokio::test]
async fn background_drivers_outlive_the_work() {
    let tasks = Tasks::default();
    let diary = Diary::default();
    let (closing, noted) = (tasks.closing(), diary.clone());
    tasks.spawn_background("publisher", async move {
        closing.await;
        noted.note("publisher flushed");
        Ok(())
    });
    let (stopping, noted) = (tasks.stopping(), diary.clone());
    tasks.spawn("consumer", async move {
        stopping.await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        noted.note("consumer ended");
        Ok(())
    });

    let ended = check(tasks, async {}, GENEROUS).await;

    assert!(matches!(ended, Ended::Drained), "{ended:?}");
    assert_eq!(diary.lines(), ["consumer ended", "publisher flushed"]);
}

#[tokio::test]
async fn background_drivers_flush_even_if_the_work_ran_out_of_time() {
    let tasks = Tasks::default();
    let diary = Diary::default();
    let (closing, noted) = (tasks.closing(), diary.clone());
    tasks.spawn_background("publisher", async move {
        closing.await;
        noted.note("publisher flushed");
        Ok(())
    });
    tasks.spawn("stuck", pending());

    let ended = check(tasks, async {}, Duration::from_millis(100)).await;

    assert!(matches!(ended, Ended::OutOfTime), "{ended:?}");
    assert_eq!(diary.lines(), ["publisher flushed"]);
}

#[tokio::test]
async fn two_systems_in_one_process_stop_apart() {
    let (one, other) = (Tasks::default(), Tasks::default());
    let ended = check(one, async {}, GENEROUS).await;
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
    assert!(!other.is_stopping());
}
