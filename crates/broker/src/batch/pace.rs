//! How long to wait between two messages, from how fast items come.

use std::time::Duration;

use tokio::time::Instant;

use super::BatchLimits;

/// Long enough to count on, short enough to follow a burst.
const WINDOW: Duration = Duration::from_millis(100);

/// Counts what arrives, in windows of [`WINDOW`].
#[derive(Debug)]
pub(super) struct Pace {
    window_began: Instant,
    arrived: u32,
    per_second: f64,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            window_began: now,
            arrived: 0,
            per_second: 0.0,
        }
    }

    /// Something arrived.
    pub(super) fn count(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window_began);
        if elapsed >= WINDOW {
            self.per_second = f64::from(self.arrived) / elapsed.as_secs_f64();
            self.window_began = now;
            self.arrived = 0;
        }
        self.arrived = self.arrived.saturating_add(1);
    }

    /// The shortest time between two messages at this rate: nothing while things are calm.
    pub(super) fn interval(&self, limits: &BatchLimits) -> Duration {
        let from = f64::from(limits.interval_from);
        let full_at = f64::from(limits.interval_full_at.max(limits.interval_from + 1));
        let share = ((self.per_second - from) / (full_at - from)).clamp(0.0, 1.0);
        limits.interval_max.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval_at(per_second: u32) -> Duration {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        for number in 0..per_second {
            let at = Duration::from_secs(1) * number / per_second;
            pace.count(began + at);
        }
        pace.interval(&BatchLimits::default())
    }

    #[test]
    fn the_interval_grows_with_the_rate() {
        assert_eq!(interval_at(10), Duration::ZERO);
        assert_eq!(interval_at(900), Duration::ZERO);
        let half = interval_at(1_500);
        assert!(
            half > Duration::from_millis(2) && half < Duration::from_millis(3),
            "{half:?}"
        );
        assert!(
            interval_at(2_100) == Duration::from_millis(5),
            "{:?}",
            interval_at(2_100)
        );
        assert_eq!(interval_at(20_000), Duration::from_millis(5));
    }

    #[test]
    fn after_idle_there_is_no_interval() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        for number in 0..1_000_u32 {
            pace.count(began + Duration::from_micros(100) * number);
        }
        pace.count(began + Duration::from_millis(150));
        assert!(pace.interval(&BatchLimits::default()) > Duration::ZERO);
        pace.count(began + Duration::from_secs(5));
        assert_eq!(pace.interval(&BatchLimits::default()), Duration::ZERO);
    }
}
