//! How many requests an endpoint bears at a time: one more while it answers as fast as ever, a
//! part less when it does not.

use std::time::{Duration, Instant};

/// An endpoint nobody knows gets so many at first.
pub const INITIAL: u32 = 10;

/// What is left of the limit after a timeout, a 429 or a 503 …
const AFTER_OVERLOAD: f64 = 0.7;
/// … and after answers became slow.
const AFTER_SLOWNESS: f64 = 0.9;

/// Requests that were under way together fail together: that is one reason, not many.
const DECREASE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Weights of one answer: in the latency of now, and in what is usual when it is above or below.
const WEIGHT_NOW: f64 = 0.1;
const WEIGHT_USUAL_RISES: f64 = 0.005;
const WEIGHT_USUAL_FALLS: f64 = 0.1;

/// Answers are slow when they take so many times the usual, and a noticeable time longer.
const SLOW_FACTOR: f64 = 2.0;
const SLOW_MARGIN_S: f64 = 0.025;

/// Slowness alone never takes an endpoint below this: it may be ours.
const SLOWNESS_LIMIT_MIN: f64 = 4.0;

/// The learned limit of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    limit: f64,
    /// Until the first sign of trouble every answer allows one more, later every round.
    is_searching: bool,
    now_s: Option<f64>,
    usual_s: Option<f64>,
    decreased_at: Option<Instant>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            limit: f64::from(INITIAL),
            is_searching: true,
            now_s: None,
            usual_s: None,
            decreased_at: None,
        }
    }
}

impl Concurrency {
    /// As it was learned before.
    pub fn with_limit(limit: f64) -> Self {
        Self {
            limit: if limit.is_finite() {
                limit.clamp(1.0, f64::from(u16::MAX))
            } else {
                f64::from(INITIAL)
            },
            is_searching: false,
            ..Self::default()
        }
    }

    /// Requests that may be under way, at least 1.
    pub fn limit(&self, ceiling: u32) -> u32 {
        whole(self.limit).clamp(1, ceiling.max(1))
    }

    pub const fn learned(&self) -> f64 {
        self.limit
    }

    /// How long answers take at the moment; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        self.now_s
            .map(|seconds| Duration::from_secs_f64(seconds.clamp(1e-6, 1e6)))
    }

    /// An answer came; `in_flight` counts its request still.
    pub fn answered(&mut self, took: Duration, in_flight: u32, ceiling: u32, now: Instant) {
        let took_s = took.as_secs_f64();
        let now_s = blend(self.now_s, took_s, WEIGHT_NOW);
        self.now_s = Some(now_s);
        let falls = self.usual_s.is_some_and(|usual| took_s < usual);
        let weight = if falls {
            WEIGHT_USUAL_FALLS
        } else {
            WEIGHT_USUAL_RISES
        };
        let usual_s = blend(self.usual_s, took_s, weight);
        self.usual_s = Some(usual_s);
        if now_s > usual_s * SLOW_FACTOR + SLOW_MARGIN_S {
            if self.limit > SLOWNESS_LIMIT_MIN {
                self.decrease(AFTER_SLOWNESS, now);
            }
            return;
        }
        // What is not used up need not grow.
        if f64::from(in_flight) * 2.0 >= self.limit {
            let step = if self.is_searching {
                1.0
            } else {
                1.0 / self.limit
            };
            self.limit = (self.limit + step).min(f64::from(ceiling.max(1)).max(self.limit));
        }
    }

    /// The endpoint had more to do than it can.
    pub fn overloaded(&mut self, now: Instant) {
        self.decrease(AFTER_OVERLOAD, now);
    }

    /// No answer within this time: the latency is more than that.
    pub fn took_at_least(&mut self, took: Duration) {
        self.now_s = Some(blend(self.now_s, took.as_secs_f64(), WEIGHT_NOW));
    }

    fn decrease(&mut self, factor: f64, now: Instant) {
        let interval = self
            .latency()
            .unwrap_or_default()
            .clamp(DECREASE_INTERVAL_MIN, Duration::from_secs(5));
        let is_too_soon = self
            .decreased_at
            .is_some_and(|at| now.saturating_duration_since(at) < interval);
        if is_too_soon {
            return;
        }
        self.is_searching = false;
        self.decreased_at = Some(now);
        self.limit = (self.limit * factor).max(1.0);
    }
}

fn blend(before: Option<f64>, value: f64, weight: f64) -> f64 {
    before.map_or(value, |before| before + (value - before) * weight)
}

/// The whole number below; what is negative or too large becomes the nearest there is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is cast saturates, and this is what is wanted"
)]
pub const fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: u32 = 100;
    const MS: Duration = Duration::from_millis(1);

    fn answers(concurrency: &mut Concurrency, count: u32, took: Duration, begin: Instant) {
        for number in 0..count {
            let in_flight = concurrency.limit(CEILING);
            concurrency.answered(took, in_flight, CEILING, begin + MS * number);
        }
    }

    #[test]
    fn an_endpoint_that_keeps_up_gets_more_up_to_the_ceiling() {
        let mut concurrency = Concurrency::default();
        assert_eq!(concurrency.limit(CEILING), INITIAL);
        answers(&mut concurrency, 1_000, MS * 2, Instant::now());
        assert_eq!(concurrency.limit(CEILING), CEILING);
        assert_eq!(concurrency.limit(7), 7, "a lower ceiling counts at once");
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut concurrency = Concurrency::default();
        for _ in 0..1_000 {
            concurrency.answered(MS, 1, CEILING, Instant::now());
        }
        assert_eq!(concurrency.limit(CEILING), INITIAL);
    }

    #[test]
    fn overload_takes_a_part_once_and_growth_is_then_gentle() {
        let begin = Instant::now();
        let mut concurrency = Concurrency::default();
        answers(&mut concurrency, 40, MS, begin);
        assert_eq!(concurrency.limit(CEILING), 50);
        for _ in 0..50 {
            concurrency.overloaded(begin + MS * 50);
        }
        assert_eq!(
            concurrency.limit(CEILING),
            35,
            "fifty of one moment count once"
        );
        answers(&mut concurrency, 36, MS, begin + MS * 60);
        assert_eq!(concurrency.limit(CEILING), 36, "one more in each round");
    }

    #[test]
    fn overload_without_end_leaves_one() {
        let begin = Instant::now();
        let mut concurrency = Concurrency::default();
        for round in 0..100 {
            concurrency.overloaded(begin + Duration::from_secs(round));
        }
        assert_eq!(concurrency.limit(CEILING), 1);
    }

    #[test]
    fn rising_latency_lowers_the_limit_and_a_slow_endpoint_alone_does_not() {
        let begin = Instant::now();
        let mut slow = Concurrency::default();
        answers(&mut slow, 100, Duration::from_secs(10), begin);
        assert_eq!(slow.limit(CEILING), CEILING, "slow as ever is no reason");
        let mut rising = Concurrency::default();
        answers(&mut rising, 100, MS * 10, begin);
        let before = rising.limit(CEILING);
        for number in 0..20 {
            let at = begin + Duration::from_secs(1 + number);
            rising.answered(MS * 200, before, CEILING, at);
        }
        assert!(rising.limit(CEILING) < before / 2, "{rising:?}");
    }
}
