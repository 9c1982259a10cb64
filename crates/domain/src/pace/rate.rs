//! How often an endpoint that answers 429 may be asked: a part less at each refusal, slowly more
//! while there is none.

use std::time::{Duration, Instant};

/// What is left of the rate after a refusal: at least half, at most nine tenths.
const DECREASE_MAX: f64 = 0.5;
const DECREASE_MIN: f64 = 0.9;

/// Refusals within this time have one reason.
const DECREASE_INTERVAL: Duration = Duration::from_secs(1);

/// Growth in a second: quick far below the rate that was refused, gentle near it.
const GROWTH_FAR: f64 = 0.03;
const GROWTH_NEAR: f64 = 0.005;
const NEAR: f64 = 0.9;

/// The first refusal tells that a limit was overrun by far: this long nothing is sent.
const FIRST_REST: Duration = Duration::from_secs(1);

/// After this time without a refusal nothing is known any more.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// An endpoint that refuses nearly everything is still asked now and then.
const PER_SECOND_MIN: f64 = 0.2;

/// The learned rate of one endpoint; it has none until it refuses.
#[derive(Debug, Clone)]
pub struct LearnedRate {
    limit: Option<Limit>,
    accepted: Counter,
}

#[derive(Debug, Clone)]
struct Limit {
    per_second: f64,
    /// The rate that was last refused.
    refused_per_second: f64,
    refused_at: Instant,
    decreased_at: Instant,
    grown_at: Instant,
}

impl LearnedRate {
    pub const fn new(now: Instant) -> Self {
        Self {
            limit: None,
            accepted: Counter::new(now),
        }
    }

    /// As it was learned before.
    pub fn with(per_second: f64, now: Instant) -> Self {
        let per_second = per_second.max(PER_SECOND_MIN);
        let limit = per_second.is_finite().then_some(Limit {
            per_second,
            refused_per_second: per_second,
            refused_at: now,
            decreased_at: now,
            grown_at: now,
        });
        Self {
            limit,
            ..Self::new(now)
        }
    }

    pub fn accepted(&mut self, now: Instant) {
        self.accepted.count(now);
    }

    /// The endpoint answered 429. Answers with a rest, when one is due.
    pub fn refused(&mut self, now: Instant) -> Option<Duration> {
        let borne = self.accepted.per_second(now);
        let Some(limit) = &mut self.limit else {
            let per_second = (borne * DECREASE_MIN).max(PER_SECOND_MIN);
            self.limit = Some(Limit {
                per_second,
                refused_per_second: borne.max(per_second),
                refused_at: now,
                decreased_at: now + FIRST_REST,
                grown_at: now + FIRST_REST,
            });
            return Some(FIRST_REST);
        };
        limit.refused_at = now;
        if now.saturating_duration_since(limit.decreased_at) < DECREASE_INTERVAL {
            return None;
        }
        limit.grow(now);
        limit.refused_per_second = limit.per_second;
        limit.decreased_at = now;
        limit.per_second = borne
            .clamp(
                limit.per_second * DECREASE_MAX,
                limit.per_second * DECREASE_MIN,
            )
            .max(PER_SECOND_MIN);
        None
    }

    pub(super) const fn is_known(&self) -> bool {
        self.limit.is_some()
    }

    /// Requests a second, if there is a limit to it.
    pub fn per_second(&mut self, now: Instant) -> Option<f64> {
        let limit = self.limit.as_mut()?;
        if now.saturating_duration_since(limit.refused_at) >= FORGOTTEN_AFTER {
            self.limit = None;
            return None;
        }
        limit.grow(now);
        Some(limit.per_second)
    }
}

impl Limit {
    fn grow(&mut self, now: Instant) {
        // Never faster than in steps that can be seen, so that near and far are told apart.
        let passed = now.saturating_duration_since(self.grown_at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let growth = if self.per_second < self.refused_per_second * NEAR {
            GROWTH_FAR
        } else {
            GROWTH_NEAR
        };
        self.per_second += self.refused_per_second.max(1.0) * growth * passed.min(10.0);
        self.grown_at = now;
    }
}

/// Counts over about the last second.
#[derive(Debug, Clone)]
struct Counter {
    begun_at: Instant,
    before: u32,
    current: u32,
}

const WINDOW: Duration = Duration::from_secs(1);

impl Counter {
    const fn new(now: Instant) -> Self {
        Self {
            begun_at: now,
            before: 0,
            current: 0,
        }
    }

    fn count(&mut self, now: Instant) {
        self.turn(now);
        self.current = self.current.saturating_add(1);
    }

    fn per_second(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let part = now.saturating_duration_since(self.begun_at).as_secs_f64();
        f64::from(self.before) * (1.0 - part).max(0.0) + f64::from(self.current)
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.begun_at);
        if passed >= WINDOW * 2 {
            *self = Self::new(now);
        } else if passed >= WINDOW {
            self.before = std::mem::take(&mut self.current);
            self.begun_at += WINDOW;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::RateLimit;
    use crate::pace::Bucket;

    const MS: Duration = Duration::from_millis(1);

    /// An endpoint that takes so many in each second by its own clock and refuses the rest.
    struct Endpoint {
        per_second: u32,
        second: u64,
        taken: u32,
    }

    impl Endpoint {
        fn takes(&mut self, at_ms: u64, offset_ms: u64) -> bool {
            let second = (at_ms + offset_ms) / 1_000;
            if second != self.second {
                (self.second, self.taken) = (second, 0);
            }
            self.taken += 1;
            self.taken <= self.per_second
        }
    }

    /// Sends as fast as allowed for so many seconds; answers with what was taken and refused.
    fn drain(per_second: u32, seconds: u64, offset_ms: u64) -> (u32, u32) {
        let begin = Instant::now();
        let mut endpoint = Endpoint {
            per_second,
            second: u64::MAX,
            taken: 0,
        };
        let mut rate = LearnedRate::new(begin);
        let mut bucket = Bucket::new(1.0, begin);
        let (mut taken, mut refused, mut rest_until) = (0, 0, begin);
        for ms in 0..seconds * 1_000 {
            let now = begin + MS * u32::try_from(ms).unwrap();
            // Without a limit some five each millisecond, as a fast endpoint would be sent.
            for _ in 0..5 {
                if now < rest_until {
                    break;
                }
                if let Some(per_second) = rate.per_second(now)
                    && !bucket.take(RateLimit::evenly(per_second), now)
                {
                    break;
                }
                if endpoint.takes(ms, offset_ms) {
                    taken += 1;
                    rate.accepted(now);
                } else {
                    refused += 1;
                    if let Some(rest) = rate.refused(now) {
                        rest_until = now + rest;
                    }
                }
            }
        }
        (taken, refused)
    }

    #[test]
    fn under_two_in_a_hundred_are_refused_and_most_of_what_it_bears_is_used() {
        for offset_ms in [0, 250, 500, 990] {
            for (per_second, seconds) in [(200, 30), (200, 300), (20, 120), (1_000, 60)] {
                let (taken, refused) = drain(per_second, seconds, offset_ms);
                let all = f64::from(taken + refused);
                assert!(
                    f64::from(refused) / all < 0.02,
                    "{refused} of {all} refused at {per_second}/s"
                );
                let borne = f64::from(per_second) * f64::from(u32::try_from(seconds).unwrap());
                assert!(
                    f64::from(taken) > borne * 0.75,
                    "{taken} of {borne} at {per_second}/s"
                );
            }
        }
    }

    #[test]
    fn a_limit_that_falls_is_found_again_soon() {
        let begin = Instant::now();
        let mut rate = LearnedRate::with(200.0, begin);
        for second in 2..12 {
            let now = begin + Duration::from_secs(second);
            for _ in 0..20 {
                rate.accepted(now);
            }
            rate.refused(now + MS);
        }
        let now = begin + Duration::from_secs(12);
        assert!(rate.per_second(now).unwrap() < 30.0, "{rate:?}");
    }

    #[test]
    fn an_endpoint_that_never_refuses_has_no_limit_and_an_old_refusal_is_forgotten() {
        let begin = Instant::now();
        let mut rate = LearnedRate::new(begin);
        rate.accepted(begin);
        assert_eq!(rate.per_second(begin), None);
        rate.refused(begin);
        assert!(rate.per_second(begin).is_some());
        assert_eq!(rate.per_second(begin + FORGOTTEN_AFTER), None);
    }
}
