//! How long to wait between two messages, from how fast items come.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::BatchLimits;

/// Long enough to count on, short enough to follow a burst.
const WINDOW: Duration = Duration::from_millis(100);

/// Nothing came for so long: those who would send more may be waiting for what they sent.
const QUIET: Duration = Duration::from_millis(2);

/// How fast items come to all lines of one stream together; clones share the count. One line may
/// have nearly all of them, so no line can tell by itself how busy the stream is.
#[derive(Clone, Default)]
pub struct StreamRate(Arc<Mutex<Window>>);

/// What arrived lately, in windows of [`WINDOW`].
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    arrived: u32,
    per_second: f64,
}

impl StreamRate {
    /// So many were put in line.
    pub(super) fn count(&self, arrived: u32, now: Instant) {
        let mut window = self.window();
        let began = *window.began.get_or_insert(now);
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= WINDOW {
            window.per_second = f64::from(window.arrived) / elapsed.as_secs_f64();
            window.began = Some(now);
            window.arrived = 0;
        }
        window.arrived = window.arrived.saturating_add(arrived);
    }

    fn per_second(&self) -> f64 {
        self.window().per_second
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StreamRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StreamRate({:.0}/s)", self.per_second())
    }
}

/// When one line may send its next message.
#[derive(Debug)]
pub(super) struct Pace {
    published_at: Option<Instant>,
    arrived_at: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            published_at: None,
            arrived_at: now,
        }
    }

    pub(super) const fn arrived(&mut self, now: Instant) {
        self.arrived_at = now;
    }

    pub(super) const fn published(&mut self, now: Instant) {
        self.published_at = Some(now);
    }

    /// Not before the interval of this rate is over; while more keeps coming, not before the long
    /// one is.
    pub(super) fn next_at(&self, limits: &BatchLimits) -> Option<Instant> {
        let published_at = self.published_at?;
        let (interval, long) = intervals(limits, limits.stream.per_second());
        let quiet_at = self.arrived_at + QUIET;
        Some((published_at + interval).max(quiet_at.min(published_at + long)))
    }
}

/// The shortest time between two messages, and the longest that more is waited for: nothing while
/// things are calm.
fn intervals(limits: &BatchLimits, per_second: f64) -> (Duration, Duration) {
    let share = |from: u32, full_at: u32| {
        let (from, full_at) = (f64::from(from), f64::from(full_at.max(from + 1)));
        ((per_second - from) / (full_at - from)).clamp(0.0, 1.0)
    };
    let interval = limits
        .interval_max
        .mul_f64(share(limits.interval_from, limits.interval_full_at));
    let more = limits
        .long_interval_max
        .saturating_sub(limits.interval_max)
        .mul_f64(share(limits.interval_full_at, limits.long_interval_at));
    (interval, interval + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The intervals of a stream with this rate.
    fn at(per_second: u32) -> (Duration, Duration) {
        let limits = BatchLimits::default();
        let began = Instant::now();
        for number in 0..per_second {
            let after = Duration::from_secs(1) * number / per_second;
            limits.stream.count(1, began + after);
        }
        intervals(&limits, limits.stream.per_second())
    }

    #[test]
    fn the_interval_grows_with_the_rate() {
        assert_eq!(at(10).0, Duration::ZERO);
        assert_eq!(at(900).0, Duration::ZERO);
        let half = at(1_500).0;
        assert!(half > MS * 2 && half < MS * 3, "{half:?}");
        assert_eq!(at(2_100).0, MS * 5);
        assert_eq!(at(20_000).0, MS * 5);
    }

    #[test]
    fn while_more_keeps_coming_a_busy_stream_waits_longer() {
        assert_eq!(at(900).1, Duration::ZERO);
        let half = at(5_000).1;
        assert!(half > MS * 11 && half < MS * 14, "{half:?}");
        assert_eq!(at(8_100).1, MS * 20);
        assert_eq!(at(80_000).1, MS * 20);
    }

    #[test]
    fn a_line_that_falls_quiet_sends_what_it_has() {
        let limits = BatchLimits::default();
        let began = Instant::now();
        for number in 0..10_000_u32 {
            limits.stream.count(1, began + MS / 10 * number);
        }
        let mut pace = Pace::new(began);
        assert_eq!(pace.next_at(&limits), None, "the first goes at once");
        pace.published(began);
        pace.arrived(began + MS);
        assert_eq!(pace.next_at(&limits), Some(began + MS * 5));
        pace.arrived(began + MS * 9);
        assert_eq!(pace.next_at(&limits), Some(began + MS * 11));
        pace.arrived(began + MS * 19);
        assert_eq!(pace.next_at(&limits), Some(began + MS * 20));
    }

    #[test]
    fn after_idle_there_is_no_interval() {
        let limits = BatchLimits::default();
        let began = Instant::now();
        for number in 0..1_000_u32 {
            limits.stream.count(1, began + MS / 10 * number);
        }
        limits.stream.count(1, began + MS * 150);
        assert!(intervals(&limits, limits.stream.per_second()).0 > Duration::ZERO);
        limits.stream.count(1, began + Duration::from_secs(5));
        let calm = intervals(&limits, limits.stream.per_second());
        assert_eq!(calm, (Duration::ZERO, Duration::ZERO));
    }
}
