//! How much an endpoint bears: what it answers decides how many requests it has at a time, how
//! many a second, and whether it is called at all.
//!
//! Time is an argument everywhere; who calls these rules keeps the clock.

pub mod breaker;
pub mod bucket;
pub mod concurrency;
pub mod rate;

mod learned;

use std::time::{Duration, Instant};

pub use self::breaker::{Breaker, Permit};
pub use self::bucket::Bucket;
pub use self::concurrency::{Concurrency, whole};
pub use self::learned::{Learned, ParseLearnedError};
pub use self::rate::LearnedRate;
use crate::delivery::{ErrorClass, Outcome};
use crate::function::RateLimit;

/// An endpoint that asks for a rest is left alone for so long at most.
pub const REST_MAX: Duration = Duration::from_secs(60);

/// What an attempt's outcome says about the endpoint, whatever it says about the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It answered, and not for want of strength.
    Answered,
    /// 429: it is asked too often.
    Refused,
    /// 503, or no answer in time: it has more to do than it can.
    Overloaded,
    /// Any other fault of its own, or it cannot be reached.
    Failed,
    /// Nothing was sent.
    Unsent,
}

impl Reaction {
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answered { status: 429 } => Self::Refused,
            Outcome::Answered { status: 503 }
            | Outcome::Unreachable {
                class: ErrorClass::Timeout,
                ..
            } => Self::Overloaded,
            Outcome::Answered { status: 500..=599 } | Outcome::Unreachable { .. } => Self::Failed,
            Outcome::Answered { .. } => Self::Answered,
            Outcome::Impossible { .. } => Self::Unsent,
        }
    }
}

/// One request that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    pub reaction: Reaction,
    pub took: Duration,
    /// What the endpoint asked for by `Retry-After`.
    pub rest: Option<Duration>,
    /// It was the one that is let through to see whether the endpoint is back.
    pub is_probe: bool,
}

/// Everything that is learned about one endpoint.
#[derive(Debug, Clone)]
pub struct Pace {
    pub concurrency: Concurrency,
    pub rate: LearnedRate,
    pub breaker: Breaker,
    bucket: Bucket,
    /// The endpoint asked not to be called before.
    rest_until: Option<Instant>,
}

/// Whether a request may start now, and if not why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Now {
        is_probe: bool,
    },
    /// As many requests as it bears are under way.
    AtLimit,
    /// It may be asked again from then on.
    TooFast {
        until: Instant,
    },
    /// The breaker is open, or a probe is under way.
    Broken {
        until: Option<Instant>,
    },
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self {
            concurrency: Concurrency::default(),
            rate: LearnedRate::new(now),
            breaker: Breaker::new(now),
            bucket: Bucket::new(1.0, now),
            rest_until: None,
        }
    }

    /// Whether one more request may start beside the `in_flight` others.
    pub fn may_start(&mut self, in_flight: u32, ceiling: u32, now: Instant) -> Start {
        let is_probe = match self.breaker.permit(now) {
            Permit::Yes => false,
            Permit::Probe => true,
            Permit::No { until } => return Start::Broken { until },
        };
        if let Some(until) = self.rest_until {
            if now < until {
                return Start::TooFast { until };
            }
            self.rest_until = None;
        }
        if in_flight >= self.concurrency.limit(ceiling) {
            return Start::AtLimit;
        }
        match self.learned_limit(now) {
            Some(limit) if !self.bucket.has(limit, now) => Start::TooFast {
                until: self.bucket.next_at(limit, now),
            },
            Some(_) | None => Start::Now { is_probe },
        }
    }

    /// A request starts, as [`may_start`](Self::may_start) allowed.
    pub fn started(&mut self, is_probe: bool, now: Instant) {
        if let Some(limit) = self.learned_limit(now) {
            self.bucket.take(limit, now);
        }
        if is_probe {
            self.breaker.probe();
        }
    }

    /// A request has ended; `in_flight` counts it still.
    pub fn ended(&mut self, ended: &Exchange, in_flight: u32, ceiling: u32, now: Instant) {
        match ended.reaction {
            Reaction::Unsent => {
                if ended.is_probe {
                    self.breaker.probe_is_lost();
                }
                return;
            }
            Reaction::Answered => {
                self.rate.accepted(now);
                self.concurrency
                    .answered(ended.took, in_flight, ceiling, now);
                self.breaker.succeeded(ended.is_probe, now);
            }
            Reaction::Refused => {
                if let Some(rest) = self.rate.refused(now) {
                    self.rest(rest, now);
                }
                self.concurrency.overloaded(now);
                self.breaker.succeeded(ended.is_probe, now);
            }
            Reaction::Overloaded => {
                self.concurrency.overloaded(now);
                self.concurrency.took_at_least(ended.took);
                self.breaker.failed(ended.is_probe, now);
            }
            Reaction::Failed => self.breaker.failed(ended.is_probe, now),
        }
        if let Some(rest) = ended.rest
            && matches!(ended.reaction, Reaction::Refused | Reaction::Overloaded)
        {
            self.rest(rest.min(REST_MAX), now);
        }
    }

    /// Requests a second that it bears, as far as that is known.
    pub fn per_second(&mut self, ceiling: u32, now: Instant) -> Option<f64> {
        let by_concurrency = self
            .concurrency
            .latency()
            .map(|latency| f64::from(self.concurrency.limit(ceiling)) / latency.as_secs_f64());
        match (by_concurrency, self.rate.per_second(now)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Whether it has said how often it may be asked.
    pub const fn is_rate_known(&self) -> bool {
        self.rate.is_known()
    }

    /// Until when nothing is sent, if anything is known to forbid it.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        let broken = match self.breaker.permit(now) {
            Permit::No { until } => until,
            Permit::Yes | Permit::Probe => None,
        };
        let resting = self.rest_until.filter(|until| now < *until);
        broken.max(resting)
    }

    fn rest(&mut self, rest: Duration, now: Instant) {
        self.rest_until = self.rest_until.max(Some(now + rest));
    }

    fn learned_limit(&mut self, now: Instant) -> Option<RateLimit> {
        self.rate.per_second(now).map(RateLimit::evenly)
    }
}

impl RateLimit {
    /// So many a second, spread out: at once only what one twentieth of a second is worth.
    pub fn evenly(per_second: f64) -> Self {
        Self {
            per_second,
            burst: whole(per_second / 20.0).max(1),
        }
    }
}

#[cfg(test)]
mod tests;
