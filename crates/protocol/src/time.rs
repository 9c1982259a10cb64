//! Times and durations, to and from what the contracts use.

use std::time::Duration;

use jiff::Timestamp;

/// For answers; nanoseconds are kept.
pub fn to_timestamp(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i64::from(time.subsec_nanosecond());
    let (seconds, nanos) = if nanos < 0 {
        (time.as_second() - 1, nanos + 1_000_000_000)
    } else {
        (time.as_second(), nanos)
    };
    prost_types::Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// `None` when out of range.
pub fn from_timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

pub fn to_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// `None` when negative.
pub fn from_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(duration.nanos).ok()?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}

/// Microseconds since 1970, as envelopes carry time.
pub(crate) fn to_micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn duration_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_read_back() {
        for text in [
            "1969-12-31T23:59:59.25Z",
            "2026-11-22T01:15:31.123456Z",
            "1970-01-01T00:00:00Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(from_timestamp(&to_timestamp(time)), Some(time), "{text}");
        }
    }

    #[test]
    fn negative_durations_are_refused() {
        assert_eq!(
            from_duration(&prost_types::Duration {
                seconds: -1,
                nanos: 0
            }),
            None
        );
        let duration = Duration::from_millis(1500);
        assert_eq!(from_duration(&to_duration(duration)), Some(duration));
    }
}
