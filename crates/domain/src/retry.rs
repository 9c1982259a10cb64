//! When a failed delivery is tried again.

mod statuses;

use std::time::Duration;

use jiff::Timestamp;

pub use self::statuses::{StatusError, Statuses};

/// A delivery is tried for so long at most: a day less than logs are kept.
pub const TOTAL_MAX: Duration = Duration::from_hours(6 * 24);

/// As many waits can be listed as there may be retries.
const WAITS_MAX: usize = 100;

const DAY: Duration = Duration::from_hours(24);

/// How often, and how far apart, a delivery is tried. The defaults are Space Cloud's.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries_max: u32,
    /// The wait before the first retry.
    pub interval: Duration,
    pub backoff: Backoff,
    /// With [`Backoff::Listed`], the waits one after the other; the last one repeats.
    pub waits: Vec<Duration>,
    /// No wait is longer than this, but those that are listed and those an endpoint asks for.
    pub interval_max: Duration,
    /// Share of each wait, `0.0..=1.0`, that is spread at random to both sides.
    pub jitter: f64,
    /// No attempt is made later than this after the event was accepted or was to be delivered.
    pub total_max: Duration,
    /// An endpoint that asks for a rest (`Retry-After`) is left alone for so long at most.
    pub retry_after_max: Duration,
    /// Answers after which there is no further attempt.
    pub final_statuses: Statuses,
    /// An answer of 2xx counts only if it is JSON without an `error`; see [`crate::answer`].
    pub expects_json: bool,
    /// Connecting may take this long, name and handshake included; `None`: as the worker says.
    pub connect_timeout: Option<Duration>,
    /// The head of the answer must be there by then; `None`: as long as the whole.
    pub first_byte_timeout: Option<Duration>,
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
    /// The waits are listed one by one.
    Listed,
}

impl Backoff {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Exponential => "exponential",
            Self::Listed => "listed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fixed, Self::Exponential, Self::Listed]
            .into_iter()
            .find(|backoff| backoff.as_str() == text)
    }
}

/// A setting outside what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: allowed are {allowed}")]
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
            waits: Vec::new(),
            interval_max: Duration::from_secs(60),
            jitter: 0.0,
            total_max: TOTAL_MAX,
            retry_after_max: Duration::from_hours(1),
            final_statuses: Statuses::default(),
            expects_json: false,
            connect_timeout: None,
            first_byte_timeout: None,
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
        self.check_waits()?;
        self.check_timeouts()?;
        if !(Duration::from_secs(1)..=TOTAL_MAX).contains(&self.total_max) {
            return fault(
                "total_max",
                millis(self.total_max),
                "1 s to 6 days, a day less than logs are kept",
            );
        }
        if self.retry_after_max > DAY {
            return fault("retry_after_max", millis(self.retry_after_max), "0 to 24 h");
        }
        if self.total_wait() > TOTAL_MAX {
            return fault(
                "retries",
                self.retries_max.to_string(),
                "all waits together may last 6 days, a day less than logs are kept",
            );
        }
        Ok(())
    }

    fn check_waits(&self) -> Result<(), PolicyError> {
        if self.retries_max > 100 {
            return fault("retries", self.retries_max.to_string(), "0 to 100");
        }
        if self.waits.len() > WAITS_MAX {
            let count = self.waits.len().to_string();
            return fault("waits", count, "up to 100 waits");
        }
        if (self.backoff == Backoff::Listed) == self.waits.is_empty() {
            let count = self.waits.len().to_string();
            return fault("waits", count, "waits go with the backoff `listed`");
        }
        let listable = Duration::from_millis(100)..=DAY;
        if let Some(wait) = self.waits.iter().find(|wait| !listable.contains(wait)) {
            return fault("waits", millis(*wait), "100 ms to 24 h each");
        }
        if !listable.contains(&self.interval) {
            return fault("interval", millis(self.interval), "100 ms to 24 h");
        }
        if self.interval_max < self.interval || self.interval_max > DAY {
            return fault(
                "interval_max",
                millis(self.interval_max),
                "interval to 24 h",
            );
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return fault("jitter", self.jitter.to_string(), "0 to 1");
        }
        Ok(())
    }

    fn check_timeouts(&self) -> Result<(), PolicyError> {
        if self.timeout < Duration::from_millis(100) || self.timeout > Duration::from_mins(5) {
            return fault("timeout", millis(self.timeout), "100 ms to 5 min");
        }
        let parts = [
            ("connect_timeout", self.connect_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
        ];
        for (field, part) in parts {
            if let Some(part) = part
                && !(Duration::from_millis(10)..=self.timeout).contains(&part)
            {
                let allowed = "10 ms to the timeout of the whole attempt";
                return fault(field, millis(part), allowed);
            }
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
        let before = attempt.saturating_sub(1);
        let factor = match self.backoff {
            Backoff::Fixed => 1,
            Backoff::Exponential => 2_u32.saturating_pow(before),
            Backoff::Listed => {
                let place = usize::try_from(before).unwrap_or(usize::MAX);
                let listed = self.waits.get(place).or_else(|| self.waits.last());
                return listed.copied().unwrap_or(self.interval);
            }
        };
        self.interval.saturating_mul(factor).min(self.interval_max)
    }

    fn total_wait(&self) -> Duration {
        (1..=self.retries_max)
            .map(|attempt| self.nominal_wait(attempt) + self.timeout)
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// How long a `Retry-After` asks to wait: seconds, or until a time. `None` when it says neither.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn fault(field: &'static str, value: String, allowed: &'static str) -> Result<(), PolicyError> {
    Err(PolicyError {
        field,
        value,
        allowed,
    })
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests;
