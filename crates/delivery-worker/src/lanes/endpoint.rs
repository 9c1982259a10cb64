//! One endpoint: what was learned about it, and how much it has in hand.

use std::time::{Duration, Instant};

use domain::name::ProjectName;
use domain::pace::Pace;

use super::{LineId, SLOW_FROM, STALLED_AFTER};

/// What others learned is waited for so long.
const HELD_FOR: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) project: ProjectName,
    pub(super) origin: String,
    /// The shard whose owner keeps its limits.
    pub(super) shard: u16,
    pub(super) pace: Pace,
    pub(super) in_flight: u32,
    pub(super) queued: usize,
    /// Requests that have left their message and are still unanswered.
    pub(super) overdue: u32,
    pub(super) lines: Vec<LineId>,
    pub(super) is_proven: bool,
    /// Whether its requests count among those of the slow.
    pub(super) is_counted_slow: bool,
    /// When it was last asked after a rest, or last answered.
    pub(super) moved_at: Instant,
    pub(super) used_at: Instant,
    /// What its next owner would read at the moment.
    pub(super) kept: String,
    /// Nothing starts before it is known what others learned, or that nobody says in time.
    pub(super) held_until: Option<Instant>,
    /// When everything that has left its message must have ended.
    pub(super) busy_until: Instant,
    /// Requests that its last owner may still have under way, and until when.
    pub(super) inherited: Option<(u32, Instant)>,
    /// Somebody else owns its shard: what is under way here is all that is left.
    pub(super) is_handed_on: bool,
}

impl Endpoint {
    pub(super) fn new(project: ProjectName, origin: String, shard: u16, now: Instant) -> Self {
        Self {
            project,
            origin,
            shard,
            pace: Pace::new(now),
            in_flight: 0,
            queued: 0,
            overdue: 0,
            lines: Vec::new(),
            is_proven: false,
            is_counted_slow: true,
            moved_at: now,
            used_at: now,
            kept: String::new(),
            held_until: Some(now + HELD_FOR),
            busy_until: now,
            inherited: None,
            is_handed_on: false,
        }
    }

    /// Requests under way, also those of its last owner.
    pub(super) fn under_way(&self, now: Instant) -> u32 {
        let inherited = self.inherited.filter(|(_, until)| now < *until);
        self.in_flight + inherited.map_or(0, |(count, _)| count)
    }

    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Its answers take long, or nobody knows how long they take.
    pub(super) fn is_slow(&self) -> bool {
        let is_known_slow = self
            .pace
            .concurrency
            .latency()
            .is_some_and(|latency| latency >= SLOW_FROM);
        !self.is_proven || self.overdue > 0 || is_known_slow
    }

    /// It was asked and has answered nothing for a while.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.in_flight > 0 && now.saturating_duration_since(self.moved_at) >= STALLED_AFTER
    }

    /// Nothing is queued or under way.
    pub(super) const fn is_unused(&self) -> bool {
        self.in_flight == 0 && self.queued == 0
    }

    pub(super) fn is_idle_since(&self, now: Instant, time: Duration) -> bool {
        self.is_unused() && now.saturating_duration_since(self.used_at) >= time
    }

    /// Requests a second that it bears, with what it has not answered yet taken into account.
    pub(super) fn per_second(&mut self, limit_max: u32, now: Instant) -> Option<f64> {
        let borne = self.pace.per_second(limit_max, now);
        if !self.is_stalled(now) {
            return borne;
        }
        let silent = now.saturating_duration_since(self.moved_at).as_secs_f64();
        let at_most = f64::from(self.pace.concurrency.limit(limit_max)) / silent;
        Some(borne.map_or(at_most, |borne| borne.min(at_most)))
    }
}
