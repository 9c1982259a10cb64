//! Waiting for a condition with a deadline: the one place where a test lets time pass.

use std::time::{Duration, Instant};

/// Short enough not to slow a test down, long enough not to keep a core busy.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks `condition` until it gives a value, and returns that value.
///
/// # Panics
///
/// When `deadline` has passed without one, saying `what` was waited for.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let value = tokio::time::timeout(deadline, async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            pause().await;
        }
    })
    .await;
    value.unwrap_or_else(|_elapsed| panic!("waited {deadline:?} in vain: {what}"))
}

/// Asks `condition` until it holds; `false` when the deadline has passed.
pub(crate) async fn holds_within(
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause().await;
    }
}

pub(crate) async fn pause() {
    tokio::time::sleep(POLL_INTERVAL).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_first_value_the_condition_gives() {
        let mut asked = 0;
        let value = eventually(Duration::from_secs(5), "three questions", async || {
            asked += 1;
            (asked == 3).then_some(asked)
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "waited 50ms in vain: the moon")]
    async fn says_what_was_waited_for_in_vain() {
        eventually(Duration::from_millis(50), "the moon", async || None::<()>).await;
    }
}
