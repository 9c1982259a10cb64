//! A clock that is set back must not give a session a second life.

use jiff::Timestamp;

use super::{LIFETIME_MAX, SKEW};

/// What a process has seen of its own clock. While the hour (or whatever it was) that was lived
/// through once comes a second time, a session made in the last minutes before the jump would be in
/// force again: what was made then is not believed until it is over for good.
#[derive(Debug, Clone, Default)]
pub struct ClockWatch {
    latest: Option<Timestamp>,
    set_back_from: Option<Timestamp>,
}

impl ClockWatch {
    /// Notes what the clock shows.
    pub fn observe(&mut self, now: Timestamp) {
        let Some(latest) = self.latest else {
            self.latest = Some(now);
            return;
        };
        if now.saturating_add(SKEW).unwrap_or(now) < latest {
            // The furthest of several jumps counts.
            self.set_back_from = self.set_back_from.max(Some(latest));
            self.latest = Some(now);
        } else {
            self.latest = Some(latest.max(now));
        }
        let is_over = |from: Timestamp| {
            let over = from.saturating_add(LIFETIME_MAX).unwrap_or(from);
            now > over
        };
        self.set_back_from = self.set_back_from.filter(|from| !is_over(*from));
    }

    /// Whether what was made at this time may be from before the clock was set back.
    pub fn doubts(&self, issued_at: Timestamp) -> bool {
        self.set_back_from.is_some_and(|from| {
            let earliest = from.saturating_sub(LIFETIME_MAX).unwrap_or(from);
            (earliest..=from).contains(&issued_at)
        })
    }
}
