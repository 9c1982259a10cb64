//! Which attempts were finished a short while ago, so that a message given again repeats little.

use std::collections::HashSet;
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
    younger: HashSet<Key>,
    older: HashSet<Key>,
    turned_at: Instant,
}

/// A delivery, its generation and the number of the attempt.
type Key = (DeliveryId, u32, u32);

impl Default for Recent {
    fn default() -> Self {
        Self {
            halves: Mutex::new(Halves {
                younger: HashSet::new(),
                older: HashSet::new(),
                turned_at: Instant::now(),
            }),
        }
    }
}

impl Recent {
    /// Whether this very attempt was finished here a short while ago.
    pub fn has_finished(&self, target: &Target) -> bool {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key_of(target);
        halves.younger.contains(&key) || halves.older.contains(&key)
    }

    pub fn finished(&self, target: &Target) {
        self.finished_at(target, Instant::now());
    }

    fn finished_at(&self, target: &Target, now: Instant) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.duration_since(halves.turned_at) >= REMEMBERED_FOR;
        if is_due || halves.younger.len() >= REMEMBERED_MAX {
            halves.older = std::mem::take(&mut halves.younger);
            halves.turned_at = now;
        }
        halves.younger.insert(key_of(target));
    }
}

const fn key_of(target: &Target) -> Key {
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
        recent.finished(&target(1, 1));
        assert!(recent.has_finished(&target(1, 1)));
        assert!(
            !recent.has_finished(&target(1, 2)),
            "the retry is another attempt"
        );
        assert!(!recent.has_finished(&target(2, 1)));
    }

    #[test]
    fn what_was_finished_is_forgotten_after_two_turns() {
        let recent = Recent::default();
        let begin = Instant::now();
        recent.finished_at(&target(1, 1), begin);
        recent.finished_at(&target(2, 1), begin + REMEMBERED_FOR);
        assert!(
            recent.has_finished(&target(1, 1)),
            "still in the older half"
        );
        recent.finished_at(&target(3, 1), begin + REMEMBERED_FOR * 2);
        assert!(!recent.has_finished(&target(1, 1)));
        assert!(recent.has_finished(&target(2, 1)));
    }
}
