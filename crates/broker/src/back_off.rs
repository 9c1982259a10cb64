//! How long to wait before the next try: longer each time, and never all at once.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
/// A broker that comes back is used again within this time.
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential, with jitter, without end.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// Between half and all of 100 ms, 200 ms, 400 ms … 5 s.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let full = SHORTEST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + random_share() / 2.0)
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between 0 and 1. Without randomness replicas only lose their jitter.
fn random_share() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_begin_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let waits: Vec<Duration> = (0..20).map(|_| back_off.next_wait()).collect();
        assert!(
            waits[0] >= SHORTEST / 2 && waits[0] <= SHORTEST,
            "{waits:?}"
        );
        assert!(
            waits[3] >= SHORTEST * 4 && waits[3] <= SHORTEST * 8,
            "{waits:?}"
        );
        assert!(
            waits[19] >= LONGEST / 2 && waits[19] <= LONGEST,
            "{waits:?}"
        );
        back_off.reset();
        assert!(back_off.next_wait() <= SHORTEST);
    }
}
