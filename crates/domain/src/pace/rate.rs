//! How often an endpoint that answers 429 may be asked: a part less at each refusal, and more while
//! there is none.
//!
//! The growth is that of CUBIC (RFC 9438, section 4.2): steep far from the rate that was last
//! refused, flat around it, and steep again beyond, where the limit must have been raised. Only
//! time in which the rate was used counts.

use std::time::{Duration, Instant};

/// What is left of a rate that was refused.
const AFTER_REFUSAL: f64 = 0.9;

/// What is borne may be misjudged: no refusal takes more than this part.
const DECREASE_MAX: f64 = 0.5;

/// Refusals within this time have one reason.
const DECREASE_INTERVAL: Duration = Duration::from_secs(1);

/// The rate that was refused is reached again after this time …
const RECOVERY_MIN_S: f64 = 6.0;
/// … or after so many requests, so that few of them are refused, if that is later …
const RECOVERY_REQUESTS: f64 = 150.0;
/// … but after this time in any case.
const RECOVERY_MAX_S: f64 = 60.0;

/// … and much sooner until the second refusal: the first one came at the end of a burst, which
/// says little about what is borne for long.
const SEARCH_S: f64 = 2.0;

/// The first refusal tells that a limit was overrun by far: this long nothing is sent.
const FIRST_REST: Duration = Duration::from_secs(1);

/// A rate is used while at least this part of it is accepted.
const USED_FROM: f64 = 0.5;

/// No more time than this passes unseen while a rate is used.
const STEP_MAX_S: f64 = 1.0;

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
    /// The most that was borne when it was last refused.
    borne: f64,
    /// It was refused only once.
    is_searching: bool,
    /// For how long the rate was used since it was last refused.
    used_s: f64,
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
            borne: per_second,
            is_searching: false,
            used_s: recovery_s(per_second),
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
            self.limit = Some(Limit {
                per_second: (borne * AFTER_REFUSAL).max(PER_SECOND_MIN),
                borne: borne.max(PER_SECOND_MIN),
                is_searching: true,
                used_s: 0.0,
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
        limit.grow(borne, now);
        limit.decrease(borne, now);
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
        limit.grow(self.accepted.per_second(now), now);
        Some(limit.per_second)
    }
}

impl Limit {
    fn grow(&mut self, accepted: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.grown_at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        self.grown_at = now;
        if accepted < self.per_second * USED_FROM {
            return;
        }
        self.used_s += passed.min(STEP_MAX_S);
        let recovery_s = if self.is_searching {
            SEARCH_S
        } else {
            recovery_s(self.borne)
        };
        let distance = (self.used_s - recovery_s) / recovery_s;
        let depth = self.borne.max(1.0) * (1.0 - AFTER_REFUSAL);
        let grown = self.borne + depth * distance.powi(3);
        self.per_second = grown.max(self.per_second);
    }

    fn decrease(&mut self, borne: f64, now: Instant) {
        let at_least = self.per_second * DECREASE_MAX;
        self.borne = borne.clamp(at_least, self.per_second).max(PER_SECOND_MIN);
        self.per_second = (self.borne * AFTER_REFUSAL).max(PER_SECOND_MIN);
        self.is_searching = false;
        self.used_s = 0.0;
        self.decreased_at = now;
    }
}

fn recovery_s(per_second: f64) -> f64 {
    (RECOVERY_REQUESTS / per_second.max(PER_SECOND_MIN)).clamp(RECOVERY_MIN_S, RECOVERY_MAX_S)
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

    /// What an endpoint counts, each refusing the rest.
    enum Endpoint {
        /// So many in each second by its own clock.
        Window {
            per_second: u32,
            offset: Duration,
            second: u64,
            taken: u32,
        },
        /// Tokens, of which it has saved up some.
        Tokens(RateLimit, Bucket),
    }

    impl Endpoint {
        const fn window(per_second: u32, offset: Duration) -> Self {
            Self::Window {
                per_second,
                offset,
                second: u64::MAX,
                taken: 0,
            }
        }

        fn takes(&mut self, begin: Instant, now: Instant) -> bool {
            match self {
                Self::Window {
                    per_second,
                    offset,
                    second,
                    taken,
                } => {
                    let at = (now - begin + *offset).as_secs();
                    if at != *second {
                        (*second, *taken) = (at, 0);
                    }
                    *taken += 1;
                    *taken <= *per_second
                }
                Self::Tokens(limit, bucket) => bucket.take(*limit, now),
            }
        }
    }

    /// Sends as fast as allowed for so many seconds; answers with what was taken and refused.
    fn drain(mut endpoint: Endpoint, seconds: u32, begin: Instant) -> (u32, u32) {
        let mut rate = LearnedRate::new(begin);
        let mut bucket = Bucket::new(1.0, begin);
        let (mut taken, mut refused, mut rest_until) = (0, 0, begin);
        for ms in 0..seconds * 1_000 {
            let now = begin + MS * ms;
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
                if endpoint.takes(begin, now) {
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

    fn assert_drains(endpoint: Endpoint, per_second: u32, seconds: u32, used_min: f64, what: &str) {
        let begin = Instant::now();
        let (taken, refused) = drain(endpoint, seconds, begin);
        let all = f64::from(taken + refused);
        assert!(
            f64::from(refused) / all < 0.02,
            "{what}: {refused} of {all} refused at {per_second}/s"
        );
        let borne = f64::from(per_second * seconds);
        assert!(
            f64::from(taken) > borne * used_min,
            "{what}: {taken} of {borne} at {per_second}/s"
        );
    }

    const RUNS: [(u32, u32, f64); 5] = [
        (200, 30, 0.9),
        (200, 300, 0.95),
        (20, 120, 0.9),
        (20, 600, 0.9),
        (1_000, 60, 0.9),
    ];

    #[test]
    fn under_two_in_a_hundred_are_refused_and_nearly_all_that_it_bears_is_used() {
        for offset in [0, 250, 500, 990] {
            for (per_second, seconds, used_min) in RUNS {
                let endpoint = Endpoint::window(per_second, MS * offset);
                assert_drains(endpoint, per_second, seconds, used_min, "in each second");
            }
        }
    }

    #[test]
    fn an_endpoint_whose_first_refusal_ends_a_short_burst_is_soon_asked_as_often_as_it_bears() {
        for (per_second, seconds, used_min) in RUNS {
            let limit = RateLimit {
                per_second: f64::from(per_second),
                burst: per_second / 10,
            };
            let endpoint = Endpoint::Tokens(limit, Bucket::full(limit, Instant::now()));
            // The search takes some seconds.
            let used_min = used_min - 10.0 / f64::from(seconds);
            assert_drains(endpoint, per_second, seconds, used_min, "by tokens");
        }
    }

    #[test]
    fn a_limit_that_is_raised_is_found_within_a_minute_and_not_while_nobody_asks() {
        let begin = Instant::now();
        let after_a_minute = |asked: bool| {
            let mut rate = LearnedRate::with(50.0, begin);
            for ms in 0..60_000 {
                let now = begin + MS * ms;
                let per_second = rate.per_second(now).unwrap();
                if asked && f64::from(ms % 1_000) < per_second {
                    rate.accepted(now);
                }
            }
            rate.per_second(begin + Duration::from_mins(1)).unwrap()
        };
        assert!(after_a_minute(true) > 1_000.0);
        assert!(after_a_minute(false) < 51.0);
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
