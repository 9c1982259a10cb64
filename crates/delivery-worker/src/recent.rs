//! Which attempts were finished a short while ago, so that a message given again repeats little.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::delivery::Target;
use domain::id::DeliveryId;

/// An attempt is remembered for this long at least, and twice as long at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Never more than this many in each of the two halves; about 32 MiB together.
const REMEMBERED_MAX: usize = 500_000;

/// Finished attempts, in two generations so that forgetting costs nothing.
#[derive(Debug)]
pub struct Recent {
    halves: Mutex<Halves>,
}

#[derive(Debug)]
struct Halves {
    /// With whether the attempt was the delivery's last.
    younger: HashMap<Attempt, bool>,
    older: HashMap<Attempt, bool>,
    turned_at: Instant,
}

/// A delivery, its generation and the number of the attempt.
pub type Attempt = (DeliveryId, u32, u32);

impl Default for Recent {
    fn default() -> Self {
        Self {
            halves: Mutex::new(Halves {
                younger: HashMap::new(),
                older: HashMap::new(),
                turned_at: Instant::now(),
            }),
        }
    }
}

impl Recent {
    /// Whether this very attempt was finished here a short while ago, and if so whether it was the
    /// last one.
    pub fn has_finished(&self, target: &Target) -> Option<bool> {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let key = attempt_of(target);
        let found = halves.younger.get(&key).or_else(|| halves.older.get(&key));
        found.copied()
    }

    pub fn finished(&self, target: &Target, is_final: bool) {
        self.finished_at(target, is_final, Instant::now());
    }

    fn finished_at(&self, target: &Target, is_final: bool, now: Instant) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.duration_since(halves.turned_at) >= REMEMBERED_FOR;
        if is_due || halves.younger.len() >= REMEMBERED_MAX {
            halves.older = std::mem::take(&mut halves.younger);
            halves.turned_at = now;
        }
        halves.younger.insert(attempt_of(target), is_final);
    }
}

/// The attempt that is owed next.
pub const fn attempt_of(target: &Target) -> Attempt {
    (target.delivery, target.generation, target.next_attempt)
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::id::EventId;
    use domain::pattern::Captures;

    use super::*;

    fn target(number: u8, next_attempt: u32) -> Target {
        let event = EventId::new(Timestamp::UNIX_EPOCH, [number; 10]);
        Target {
            delivery: DeliveryId::derive(event, "trigger"),
            trigger: "trigger".parse().unwrap(),
            function: "function".parse().unwrap(),
            captures: Captures::default(),
            next_attempt,
            generation: 0,
            revision: 1,
            is_held: false,
        }
    }

    #[test]
    fn only_the_same_attempt_of_the_same_delivery_is_known() {
        let recent = Recent::default();
        recent.finished(&target(1, 1), true);
        assert_eq!(recent.has_finished(&target(1, 1)), Some(true));
        assert_eq!(
            recent.has_finished(&target(1, 2)),
            None,
            "the retry is another attempt"
        );
        assert_eq!(recent.has_finished(&target(2, 1)), None);
    }

    #[test]
    fn what_was_finished_is_forgotten_after_two_turns() {
        let recent = Recent::default();
        let begin = Instant::now();
        recent.finished_at(&target(1, 1), false, begin);
        recent.finished_at(&target(2, 1), false, begin + REMEMBERED_FOR);
        assert_eq!(
            recent.has_finished(&target(1, 1)),
            Some(false),
            "still in the older half"
        );
        recent.finished_at(&target(3, 1), false, begin + REMEMBERED_FOR * 2);
        assert_eq!(recent.has_finished(&target(1, 1)), None);
        assert_eq!(recent.has_finished(&target(2, 1)), Some(false));
    }
}
