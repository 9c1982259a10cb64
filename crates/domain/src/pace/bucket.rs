//! A token bucket: so many a second, and some at once after a rest.

use std::time::{Duration, Instant};

use crate::function::RateLimit;

/// The tokens of one limit; the limit itself may change at any time.
#[derive(Debug, Clone)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub const fn new(tokens: f64, now: Instant) -> Self {
        Self { tokens, at: now }
    }

    /// With everything that may go at once.
    pub fn full(limit: RateLimit, now: Instant) -> Self {
        Self::new(f64::from(limit.burst), now)
    }

    pub fn has(&mut self, limit: RateLimit, now: Instant) -> bool {
        self.tokens(limit, now) >= 1.0
    }

    /// How many there are, with parts.
    pub fn tokens(&mut self, limit: RateLimit, now: Instant) -> f64 {
        self.refill(limit, now);
        self.tokens
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let has = self.has(limit, now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// When there is one again.
    pub fn next_at(&mut self, limit: RateLimit, now: Instant) -> Instant {
        self.refill(limit, now);
        let missing = (1.0 - self.tokens).max(0.0);
        // A limit of next to nothing must not overflow the clock.
        let wait = Duration::try_from_secs_f64(missing / limit.per_second.max(1e-6));
        now + wait.unwrap_or(Duration::MAX).min(Duration::from_hours(24))
    }

    fn refill(&mut self, limit: RateLimit, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let most = f64::from(limit.burst.max(1));
        self.tokens = (self.tokens + passed * limit.per_second).min(most);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit {
        per_second: 10.0,
        burst: 3,
    };

    #[test]
    fn the_burst_goes_at_once_and_then_one_each_tenth_of_a_second() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(LIMIT, begin);
        let at_once = (0..10).filter(|_| bucket.take(LIMIT, begin)).count();
        assert_eq!(at_once, 3);
        let next = bucket.next_at(LIMIT, begin);
        assert_eq!(next, begin + Duration::from_millis(100));
        assert!(!bucket.take(LIMIT, next - Duration::from_millis(1)));
        assert!(bucket.take(LIMIT, next));
    }

    #[test]
    fn in_no_second_is_the_limit_exceeded_by_more_than_the_burst() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(LIMIT, begin);
        let taken: Vec<u32> = (0..5_000)
            .filter(|ms| bucket.take(LIMIT, begin + Duration::from_millis(u64::from(*ms))))
            .collect();
        for first in &taken {
            let within = taken
                .iter()
                .filter(|at| (*first..first + 1_000).contains(at));
            assert!(within.count() <= 13);
        }
        assert_eq!(taken.len(), 3 + 49);
    }
}
