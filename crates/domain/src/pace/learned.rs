//! What was learned about an endpoint, as a text that its next owner reads.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Breaker, Concurrency, LearnedRate, Pace};

/// What is worth handing on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    pub concurrency: f64,
    pub per_second: Option<f64>,
    /// How often the breaker opened since the endpoint was last trusted.
    pub opened: u32,
    pub open_until: Option<Timestamp>,
    /// Requests that its last owner still had under way, and when they must have ended.
    pub busy: Option<(u32, Timestamp)>,
}

/// A text nobody of ours wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not say what was learned about an endpoint")]
pub struct ParseLearnedError {
    text: String,
}

impl fmt::Display for Learned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tenths are more than anybody needs, and a text that changes less is written less.
        write!(formatter, "concurrency={:.0}", self.concurrency)?;
        if let Some(per_second) = self.per_second {
            write!(formatter, " rate={per_second:.1}")?;
        }
        if self.opened > 0 {
            write!(formatter, " opened={}", self.opened)?;
        }
        if let Some(until) = self.open_until {
            write!(formatter, " until={}", until.as_millisecond())?;
        }
        if let Some((count, until)) = self.busy {
            let until = until.as_millisecond();
            write!(formatter, " busy={count} busy-until={until}")?;
        }
        Ok(())
    }
}

impl FromStr for Learned {
    type Err = ParseLearnedError;

    fn from_str(text: &str) -> Result<Self, ParseLearnedError> {
        let wrong = || ParseLearnedError {
            text: text.to_owned(),
        };
        let mut learned = Self {
            concurrency: f64::NAN,
            per_second: None,
            opened: 0,
            open_until: None,
            busy: None,
        };
        let (mut busy, mut busy_until) = (0, None);
        for field in text.split_whitespace() {
            let (name, value) = field.split_once('=').ok_or_else(wrong)?;
            let number = || value.parse::<f64>().ok().filter(|number| *number >= 0.0);
            match name {
                "concurrency" => learned.concurrency = number().ok_or_else(wrong)?,
                "rate" => learned.per_second = Some(number().ok_or_else(wrong)?),
                "opened" => learned.opened = value.parse().map_err(|_not_a_number| wrong())?,
                "until" => learned.open_until = Some(time(value).ok_or_else(wrong)?),
                "busy" => busy = value.parse().map_err(|_not_a_number| wrong())?,
                "busy-until" => busy_until = Some(time(value).ok_or_else(wrong)?),
                // A later release may know more.
                _ => {}
            }
        }
        if learned.concurrency.is_nan() {
            return Err(wrong());
        }
        learned.busy = busy_until.map(|until| (busy, until));
        Ok(learned)
    }
}

fn time(milliseconds: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()
}

impl Pace {
    /// What is worth handing on; both clocks of the same moment.
    pub fn learned(&mut self, now: Instant, time: Timestamp) -> Learned {
        let (opened, open_until) = self.breaker.learned();
        let until = |until: Instant| {
            time.saturating_add(until.saturating_duration_since(now))
                .unwrap_or(time)
        };
        Learned {
            concurrency: self.concurrency.learned(),
            per_second: self.rate.per_second(now),
            opened,
            open_until: open_until.map(until),
            busy: None,
        }
    }

    /// An endpoint that somebody else knew before; both clocks of the same moment.
    pub fn resume(learned: &Learned, now: Instant, time: Timestamp) -> Self {
        let until = |until: Timestamp| {
            let wait = Duration::try_from(until.duration_since(time)).unwrap_or_default();
            now + wait.min(super::REST_MAX)
        };
        let mut pace = Self::new(now);
        pace.concurrency = Concurrency::with_limit(learned.concurrency);
        pace.breaker = Breaker::with(learned.opened, learned.open_until.map(until), now);
        if let Some(per_second) = learned.per_second {
            pace.rate = LearnedRate::with(per_second, now);
        }
        pace
    }
}
