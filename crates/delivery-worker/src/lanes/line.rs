//! One function's line: what waits for its turn, and the function's own limits.

use std::collections::VecDeque;
use std::time::Instant;

use domain::delivery::WaitReason;
use domain::function::{Batching, Function, RateLimit};
use domain::name::{FunctionName, ProjectName};
use domain::pace::Bucket;

use super::allowing::Told;
use super::endpoint::Endpoint;
use super::{EndpointId, Load, QUEUED_BYTES_MAX, QUEUED_MAX, QUEUED_UNKNOWN_MAX, Slots, WAIT_MAX};

#[derive(Debug)]
pub(super) struct Line<J> {
    pub(super) project: ProjectName,
    pub(super) function: FunctionName,
    pub(super) revision: u64,
    pub(super) endpoint: EndpointId,
    pub(super) queue: VecDeque<J>,
    pub(super) bytes: usize,
    pub(super) in_flight: u32,
    pub(super) concurrency_max: u32,
    pub(super) batching: Option<Batching>,
    pub(super) rate: Option<RateLimit>,
    pub(super) bucket: Bucket,
    pub(super) is_ringed: bool,
    pub(super) used_at: Instant,
    /// What the waiting room was told last.
    pub(super) told: Told,
}

impl<J: Load> Line<J> {
    pub(super) fn new(function: &Function, endpoint: EndpointId, now: Instant) -> Self {
        let mut line = Self {
            project: function.project.clone(),
            function: function.name.clone(),
            revision: 0,
            endpoint,
            queue: VecDeque::new(),
            bytes: 0,
            in_flight: 0,
            concurrency_max: u32::MAX,
            batching: None,
            rate: None,
            bucket: Bucket::new(0.0, now),
            is_ringed: false,
            used_at: now,
            told: Told::default(),
        };
        line.configure(function, now);
        line
    }

    /// Takes over what is set about the function.
    pub(super) fn configure(&mut self, function: &Function, now: Instant) {
        let settings = &function.settings;
        self.revision = function.revision;
        self.concurrency_max = settings.concurrency_max.map_or(u32::MAX, u32::from);
        self.batching = settings.batching;
        if self.rate != settings.rate {
            self.rate = settings.rate;
            if let Some(rate) = settings.rate {
                self.bucket = Bucket::full(rate, now);
            }
            self.told.has_news = true;
        }
    }

    /// Requests under way; those of the endpoint's last owner may have been this function's.
    pub(super) fn under_way(&self, endpoint: &Endpoint, now: Instant) -> u32 {
        self.in_flight + endpoint.under_way(now).saturating_sub(endpoint.in_flight)
    }

    /// Requests that could start at this moment, beside those that are queued already.
    pub(super) fn free(
        &self,
        endpoint: &Endpoint,
        slots: &Slots,
        slow_in_flight: u32,
        now: Instant,
    ) -> usize {
        let of_endpoint = endpoint.pace.concurrency.limit(slots.of_endpoint);
        let mut free = of_endpoint.saturating_sub(endpoint.under_way(now)).min(
            self.concurrency_max
                .saturating_sub(self.under_way(endpoint, now)),
        );
        if endpoint.is_counted_slow {
            free = free.min(slots.of_slow.saturating_sub(slow_in_flight));
        }
        usize::try_from(free).unwrap_or(usize::MAX)
    }

    /// Why one more would not be started within a short time, if there is a reason.
    pub(super) fn refusal(
        &mut self,
        endpoint: &mut Endpoint,
        slots: &Slots,
        slow_in_flight: u32,
        now: Instant,
    ) -> Option<WaitReason> {
        let queued = self.queue.len();
        if queued >= QUEUED_MAX || self.bytes >= QUEUED_BYTES_MAX {
            return Some(self.why_waiting(endpoint, now));
        }
        if let Some(rate) = self.rate
            && as_float(queued) + 1.0 > self.bucket.tokens(rate, now)
            && waits_too_long(queued + 1, rate.per_second)
        {
            return Some(WaitReason::Rate);
        }
        if endpoint.pace.closed_until(now).is_some() {
            return Some(WaitReason::Rate);
        }
        // Several may go in one request.
        let requests = endpoint.queued / self.size_max();
        if requests < self.free(endpoint, slots, slow_in_flight, now) {
            return None;
        }
        let is_slow = endpoint.is_proven && endpoint.is_slow();
        let has_room = if is_slow || endpoint.is_stalled(now) {
            false
        } else {
            let limit_max = slots.of_endpoint.min(self.concurrency_max).max(1);
            match endpoint.per_second(limit_max, now) {
                Some(per_second) => !waits_too_long(requests, per_second),
                None => requests < QUEUED_UNKNOWN_MAX,
            }
        };
        (!has_room).then(|| {
            if endpoint.pace.is_rate_known() {
                WaitReason::Rate
            } else {
                WaitReason::Concurrency
            }
        })
    }

    /// What holds the first of the line.
    pub(super) fn why_waiting(&self, endpoint: &Endpoint, now: Instant) -> WaitReason {
        if !endpoint.pace.breaker.is_closed() {
            return WaitReason::Breaker;
        }
        let is_rate = endpoint.pace.closed_until(now).is_some()
            || self
                .rate
                .is_some_and(|rate| !self.bucket.clone().has(rate, now));
        if is_rate {
            WaitReason::Rate
        } else {
            WaitReason::Concurrency
        }
    }
}

/// Whether the last of so many would wait longer than is worth it.
fn waits_too_long(queued: usize, per_second: f64) -> bool {
    as_float(queued) > per_second * WAIT_MAX.as_secs_f64()
}

fn as_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
