//! When a failed delivery is tried again.

use std::time::Duration;

/// How often, and how far apart, a delivery is tried. The defaults are Space Cloud's.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries_max: u32,
    /// The wait before the first retry.
    pub interval: Duration,
    pub backoff: Backoff,
    /// No wait is longer than this.
    pub interval_max: Duration,
    /// Share of each wait, `0.0..=1.0`, that is spread at random to both sides.
    pub jitter: f64,
    /// One attempt may take this long, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Every wait is `interval`.
    Fixed,
    /// Every wait is twice the one before.
    Exponential,
}

impl Backoff {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Exponential => "exponential",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fixed, Self::Exponential]
            .into_iter()
            .find(|backoff| backoff.as_str() == text)
    }
}

/// A setting outside what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: {allowed}")]
pub struct PolicyError {
    pub field: &'static str,
    pub value: String,
    pub allowed: &'static str,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries_max: 3,
            interval: Duration::from_secs(5),
            backoff: Backoff::Fixed,
            interval_max: Duration::from_secs(60),
            jitter: 0.0,
            timeout: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// Checks every limit.
    ///
    /// # Errors
    /// Names the first field that is outside its range.
    pub fn check(&self) -> Result<(), PolicyError> {
        let fault = |field, value: String, allowed| {
            Err(PolicyError {
                field,
                value,
                allowed,
            })
        };
        if self.retries_max > 100 {
            return fault(
                "retries",
                self.retries_max.to_string(),
                "allowed are 0 to 100",
            );
        }
        let day = Duration::from_hours(24);
        if self.interval < Duration::from_millis(100) || self.interval > day {
            return fault(
                "interval",
                millis(self.interval),
                "allowed are 100 ms to 24 h",
            );
        }
        if self.interval_max < self.interval || self.interval_max > day {
            return fault(
                "interval_max",
                millis(self.interval_max),
                "allowed are interval to 24 h",
            );
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return fault("jitter", self.jitter.to_string(), "allowed are 0 to 1");
        }
        if self.timeout < Duration::from_millis(100) || self.timeout > Duration::from_mins(5) {
            return fault(
                "timeout",
                millis(self.timeout),
                "allowed are 100 ms to 5 min",
            );
        }
        if self.total_wait() > Duration::from_hours(6 * 24) {
            return fault(
                "retries",
                self.retries_max.to_string(),
                "all waits together may last 6 days, a day less than logs are kept",
            );
        }
        Ok(())
    }

    /// The wait after attempt `attempt` (from 1), or `None` when no attempt is left.
    pub fn wait_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        if attempt > self.retries_max {
            return None;
        }
        let wait = self.nominal_wait(attempt);
        // `random` 0.5 is the middle: half of the jitter lies before, half behind.
        let factor = 1.0 + self.jitter * (random.clamp(0.0, 1.0) * 2.0 - 1.0);
        Some(wait.mul_f64(factor))
    }

    fn nominal_wait(&self, attempt: u32) -> Duration {
        let factor = match self.backoff {
            Backoff::Fixed => 1,
            Backoff::Exponential => 2_u32.saturating_pow(attempt.saturating_sub(1)),
        };
        self.interval.saturating_mul(factor).min(self.interval_max)
    }

    fn total_wait(&self) -> Duration {
        (1..=self.retries_max)
            .map(|attempt| self.nominal_wait(attempt) + self.timeout)
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn by_default_three_retries_five_seconds_apart() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=4)
            .map(|attempt| policy.wait_after(attempt, 0.3))
            .collect();
        assert_eq!(
            waits,
            [Some(SECOND * 5), Some(SECOND * 5), Some(SECOND * 5), None]
        );
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn exponential_waits_double_up_to_the_cap() {
        let policy = RetryPolicy {
            retries_max: 5,
            interval: SECOND,
            interval_max: SECOND * 6,
            backoff: Backoff::Exponential,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = (1..=5).filter_map(|n| policy.wait_after(n, 0.5)).collect();
        assert_eq!(
            waits,
            [SECOND, SECOND * 2, SECOND * 4, SECOND * 6, SECOND * 6]
        );
        assert_eq!(policy.wait_after(u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_spreads_to_both_sides() {
        let policy = RetryPolicy {
            jitter: 0.5,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.wait_after(1, 0.0), Some(Duration::from_millis(2500)));
        assert_eq!(policy.wait_after(1, 1.0), Some(Duration::from_millis(7500)));
    }

    #[test]
    fn no_retries_is_expressible() {
        let policy = RetryPolicy {
            retries_max: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.wait_after(1, 0.5), None);
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn a_policy_outside_its_limits_names_the_field() {
        let field = |policy: RetryPolicy| policy.check().unwrap_err().field;
        let base = RetryPolicy::default;
        assert_eq!(
            field(RetryPolicy {
                retries_max: 101,
                ..base()
            }),
            "retries"
        );
        assert_eq!(
            field(RetryPolicy {
                interval: Duration::ZERO,
                ..base()
            }),
            "interval"
        );
        assert_eq!(
            field(RetryPolicy {
                interval_max: SECOND,
                ..base()
            }),
            "interval_max"
        );
        assert_eq!(
            field(RetryPolicy {
                jitter: f64::NAN,
                ..base()
            }),
            "jitter"
        );
        assert_eq!(
            field(RetryPolicy {
                timeout: SECOND * 301,
                ..base()
            }),
            "timeout"
        );
        let endless = RetryPolicy {
            retries_max: 100,
            interval: Duration::from_hours(2),
            interval_max: Duration::from_hours(2),
            ..base()
        };
        assert_eq!(field(endless), "retries");
    }
}
