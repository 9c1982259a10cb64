//! Days, by which the log is divided: UTC, told from the time in an id.

use std::fmt;
use std::time::Duration;

use domain::record::Record;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const SECONDS: i64 = 24 * 60 * 60;

/// A day, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(i64);

impl Day {
    pub(crate) fn of(time: Timestamp) -> Self {
        Self(time.as_second().div_euclid(SECONDS))
    }

    /// The oldest day of which something is younger than `retention`.
    pub(crate) fn oldest_kept(now: Timestamp, retention: Duration) -> Self {
        Self::of(
            now.saturating_sub(retention)
                .unwrap_or(Timestamp::UNIX_EPOCH),
        )
    }

    pub(crate) const fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    pub(crate) fn start(self) -> Timestamp {
        Timestamp::from_second(self.0.saturating_mul(SECONDS)).unwrap_or(Timestamp::MAX)
    }

    /// Reads `20261123`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let date = Date::strptime("%Y%m%d", text).ok()?;
        Some(Self::of(date.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    }
}

/// As `20261123`.
impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.start().strftime("%Y%m%d"))
    }
}

/// The day of a record's event.
pub(crate) fn day_of(record: &Record) -> Day {
    Day::of(match record {
        Record::Matched(matched) => matched.event.eid.accepted_at(),
        Record::Attempted(attempted) => attempted.delivery.accepted_at(),
        Record::Settled(settled) => settled.delivery.accepted_at(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_and_read() {
        let time: Timestamp = "2026-11-23T23:59:59.999Z".parse().unwrap();
        let day = Day::of(time);
        assert_eq!(day.to_string(), "20261123");
        assert_eq!(Day::parse("20261123"), Some(day));
        assert_eq!(day.start().to_string(), "2026-11-23T00:00:00Z");
        assert_eq!(day.plus(8).to_string(), "20261201");
        assert_eq!(Day::parse("2026112x"), None);
    }

    #[test]
    fn s1_19_x_12_a_day_is_kept_while_its_last_moment_is_young_enough() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let oldest = |hours| Day::oldest_kept(now, Duration::from_hours(hours)).to_string();
        assert_eq!(oldest(12), "20261123");
        assert_eq!(oldest(13), "20261122");
        assert_eq!(oldest(7 * 24), "20261116");
    }
}
