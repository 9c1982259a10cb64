//! The circuit breaker: an endpoint that only fails is left alone, and probed with one request
//! at growing intervals.

use std::time::{Duration, Instant};

/// So many failures one after the other open it …
const CONSECUTIVE_MAX: u32 = 10;

/// … or half of at least so many within a window.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_REQUESTS_MIN: u32 = 40;

/// How long it stays open: doubled each time, up to the most.
const OPEN_MIN: Duration = Duration::from_secs(1);
const OPEN_MAX: Duration = Duration::from_secs(30);

/// So many successes one after the other make it forget how often it was open.
const TRUSTED_AFTER: u32 = 20;

/// The breaker of one endpoint.
#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    failures_in_row: u32,
    successes_in_row: u32,
    /// How often it opened since the endpoint was last trusted.
    opened: u32,
    window_at: Instant,
    window_failed: u32,
    window_all: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// The one request that decides is under way.
    Probing,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Yes,
    /// One, to see whether the endpoint is back.
    Probe,
    /// Not before then; `None` while a probe is under way.
    No {
        until: Option<Instant>,
    },
}

impl Breaker {
    pub const fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            failures_in_row: 0,
            successes_in_row: 0,
            opened: 0,
            window_at: now,
            window_failed: 0,
            window_all: 0,
        }
    }

    /// As it was when its endpoint was handed on.
    pub const fn with(opened: u32, open_until: Option<Instant>, now: Instant) -> Self {
        let state = match open_until {
            Some(until) => State::Open { until },
            None => State::Closed,
        };
        Self {
            state,
            opened,
            ..Self::new(now)
        }
    }

    pub fn permit(&self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Yes,
            State::Open { until } if now < until => Permit::No { until: Some(until) },
            State::Open { .. } => Permit::Probe,
            State::Probing => Permit::No { until: None },
        }
    }

    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// How often it opened since the endpoint was last trusted, and until when it is open.
    pub const fn learned(&self) -> (u32, Option<Instant>) {
        match self.state {
            State::Open { until } => (self.opened, Some(until)),
            State::Closed | State::Probing => (self.opened, None),
        }
    }

    /// The probe is sent.
    pub const fn probe(&mut self) {
        self.state = State::Probing;
    }

    /// The probe came to nothing that says anything: another may go.
    pub fn probe_is_lost(&mut self) {
        if self.state == State::Probing {
            self.state = State::Open {
                until: self.window_at,
            };
        }
    }

    pub fn succeeded(&mut self, is_probe: bool, now: Instant) {
        match self.state {
            State::Probing if is_probe => {
                self.state = State::Closed;
                self.begin_window(now);
                self.failures_in_row = 0;
                self.successes_in_row = 1;
            }
            State::Closed => {
                self.failures_in_row = 0;
                self.successes_in_row = self.successes_in_row.saturating_add(1);
                if self.successes_in_row >= TRUSTED_AFTER {
                    self.opened = 0;
                }
                self.count(false, now);
            }
            // What was sent before it opened says nothing about now.
            State::Open { .. } | State::Probing => {}
        }
    }

    pub fn failed(&mut self, is_probe: bool, now: Instant) {
        match self.state {
            State::Probing if is_probe => self.open(now),
            State::Closed => {
                self.successes_in_row = 0;
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.count(true, now);
                let half_failed = self.window_all >= WINDOW_REQUESTS_MIN
                    && self.window_failed >= self.window_all / 2;
                if self.failures_in_row >= CONSECUTIVE_MAX || half_failed {
                    self.open(now);
                }
            }
            State::Open { .. } | State::Probing => {}
        }
    }

    fn open(&mut self, now: Instant) {
        let doubled = OPEN_MIN * 2_u32.saturating_pow(self.opened.min(10));
        self.opened = self.opened.saturating_add(1);
        self.failures_in_row = 0;
        self.successes_in_row = 0;
        self.begin_window(now);
        self.state = State::Open {
            until: now + doubled.min(OPEN_MAX),
        };
    }

    fn count(&mut self, has_failed: bool, now: Instant) {
        if now.saturating_duration_since(self.window_at) >= WINDOW {
            self.begin_window(now);
        }
        self.window_all += 1;
        self.window_failed += u32::from(has_failed);
    }

    const fn begin_window(&mut self, now: Instant) {
        self.window_at = now;
        self.window_failed = 0;
        self.window_all = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_for(breaker: &Breaker, now: Instant) -> Option<Duration> {
        match breaker.permit(now) {
            Permit::No { until } => until.map(|until| until - now),
            Permit::Yes | Permit::Probe => None,
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        for _ in 0..CONSECUTIVE_MAX {
            assert_eq!(breaker.permit(now), Permit::Yes);
            breaker.failed(false, now);
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_one_probe_decides() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        assert_eq!(open_for(&breaker, begin), Some(OPEN_MIN));
        let later = begin + OPEN_MIN;
        assert_eq!(breaker.permit(later), Permit::Probe);
        breaker.probe();
        assert_eq!(
            breaker.permit(later),
            Permit::No { until: None },
            "only one"
        );
        breaker.succeeded(false, later);
        assert!(!breaker.is_closed(), "an old answer does not decide");
        breaker.succeeded(true, later);
        assert_eq!(breaker.permit(later), Permit::Yes);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_half_a_minute() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = open_for(&breaker, now).unwrap();
            waits.push(wait.as_secs());
            now += wait;
            breaker.probe();
            breaker.failed(true, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn one_failure_in_twenty_never_opens_it_and_one_in_two_does() {
        let begin = Instant::now();
        let mut rare = Breaker::new(begin);
        let mut often = Breaker::new(begin);
        for number in 0..1_000_u32 {
            let now = begin + Duration::from_millis(10) * number;
            for (breaker, each) in [(&mut rare, 20), (&mut often, 2)] {
                if number % each == 0 {
                    breaker.failed(false, now);
                } else {
                    breaker.succeeded(false, now);
                }
            }
        }
        assert!(rare.is_closed());
        assert!(!often.is_closed());
    }

    #[test]
    fn a_probe_that_was_never_sent_leaves_room_for_another() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        breaker.probe();
        breaker.probe_is_lost();
        assert_eq!(breaker.permit(begin), Permit::Probe);
    }
}
