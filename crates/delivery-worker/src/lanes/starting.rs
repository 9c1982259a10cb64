//! Starting requests in turn, and what their ends teach.

use std::time::{Duration, Instant};

use domain::pace::{Exchange, Reaction, Start};

use super::{Lanes, LineId, Load, QUANTUM, Started};

/// What changed about an endpoint by the end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Opened,
    Closed,
}

/// A timer is no finer than this.
const SOON: Duration = Duration::from_millis(1);

/// Why a line starts nothing at the moment.
enum Held {
    /// By something of its own: others may go on.
    Itself,
    /// All slots are taken.
    Everybody,
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl<J: Load> Lanes<J> {
    /// Starts what may start, at most so many, the lines in turn.
    pub fn start(&mut self, most: usize, now: Instant) -> Vec<Started<J>> {
        let mut started = Vec::new();
        // Each line has its turn until nobody can start any more.
        while started.len() < most
            && let Some(id) = self.ring.pop_front()
        {
            if let Some(line) = self.lines.get_mut(&id) {
                line.is_ringed = false;
            }
            let mut is_held = false;
            for _ in 0..QUANTUM {
                if started.len() >= most {
                    break;
                }
                match self.start_one(id, now) {
                    Ok(one) => started.push(one),
                    Err(Held::Itself) => {
                        is_held = true;
                        break;
                    }
                    Err(Held::Everybody) => {
                        // It keeps its turn.
                        if let Some(line) = self.lines.get_mut(&id) {
                            line.is_ringed = true;
                            self.ring.push_front(id);
                        }
                        return started;
                    }
                }
            }
            if !is_held {
                self.ring(id);
            }
        }
        started
    }

    /// When the first line that a rate holds may go on; what else holds lines ends by an answer.
    pub fn wakes_at(&mut self, now: Instant) -> Option<Instant> {
        let ceiling = self.slots.of_endpoint;
        let mut earliest: Option<Instant> = None;
        for id in &self.waiting {
            let Some(line) = self.lines.get_mut(id).filter(|line| !line.is_ringed) else {
                continue;
            };
            if !self.is_flushing && line.is_gathering(now) {
                earliest = sooner(earliest, line.gathers_until());
                continue;
            }
            let Some(endpoint) = self.endpoints.get_mut(&line.endpoint) else {
                continue;
            };
            let is_full = endpoint.is_counted_slow && self.slow_in_flight >= self.slots.of_slow;
            let under_way = endpoint.under_way(now);
            let is_at_limit = line.under_way(endpoint, now) >= line.concurrency_max;
            if is_full || is_at_limit || endpoint.is_held(now) {
                continue;
            }
            let by_endpoint = match endpoint.pace.may_start(under_way, ceiling, now) {
                Start::TooFast { until } => Some(until),
                Start::Broken { until } => until,
                Start::AtLimit => None,
                Start::Now { .. } => Some(now),
            };
            let by_function = line
                .rate
                .map_or(Some(now), |rate| Some(line.bucket.next_at(rate, now)));
            let both = by_endpoint.zip(by_function);
            let at = both.map(|(one, other)| one.max(other));
            earliest = sooner(earliest, at);
        }
        earliest.map(|at| at.max(now + SOON))
    }

    /// A request is unanswered and leaves its message; it ends at `until` at the latest.
    pub fn is_overdue(&mut self, id: LineId, until: Instant) {
        if let Some(line) = self.lines.get(&id)
            && let Some(endpoint) = self.endpoints.get_mut(&line.endpoint)
        {
            endpoint.overdue += 1;
            endpoint.busy_until = endpoint.busy_until.max(until);
            self.reclass(id);
        }
    }

    /// A request has ended.
    pub fn ended(
        &mut self,
        id: LineId,
        exchange: &Exchange,
        was_overdue: bool,
        now: Instant,
    ) -> Option<Turn> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let line = self.lines.get_mut(&id)?;
        line.in_flight = line.in_flight.saturating_sub(1);
        line.used_at = now;
        let endpoint = self.endpoints.get_mut(&line.endpoint)?;
        let was_closed = endpoint.pace.breaker.is_closed();
        let limit_max = self.slots.of_endpoint;
        endpoint
            .pace
            .ended(exchange, endpoint.in_flight, limit_max, now);
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        endpoint.overdue = endpoint.overdue.saturating_sub(u32::from(was_overdue));
        endpoint.moved_at = now;
        endpoint.used_at = now;
        endpoint.is_proven |= exchange.reaction != Reaction::Unsent;
        if endpoint.is_counted_slow {
            self.slow_in_flight = self.slow_in_flight.saturating_sub(1);
        }
        let is_closed = endpoint.pace.breaker.is_closed();
        let turn = match (was_closed, is_closed) {
            (true, false) => Some(Turn::Opened),
            (false, true) => Some(Turn::Closed),
            (true, true) | (false, false) => None,
        };
        self.is_urgent |= turn.is_some();
        // Nearly every endpoint has one line.
        let count = endpoint.lines.len();
        self.reclass(id);
        for number in 0..count {
            let other = self
                .lines
                .get(&id)
                .and_then(|line| self.endpoints.get(&line.endpoint))
                .and_then(|endpoint| endpoint.lines.get(number).copied());
            let Some(other) = other else { break };
            if let Some(line) = self.lines.get_mut(&other) {
                line.told.has_news = true;
                line.told.is_urgent |= turn.is_some();
            }
            if turn == Some(Turn::Opened) {
                self.hand_back_what_waits_too_long(other, now);
            }
            self.ring(other);
        }
        turn
    }

    fn start_one(&mut self, id: LineId, now: Instant) -> Result<Started<J>, Held> {
        let Some(line) = self.lines.get_mut(&id) else {
            return Err(Held::Itself);
        };
        let is_gathering = !self.is_flushing && line.is_gathering(now);
        if line.queue.is_empty() || is_gathering {
            return Err(Held::Itself);
        }
        if self.in_flight >= self.slots.all {
            return Err(Held::Everybody);
        }
        let Some(endpoint) = self.endpoints.get_mut(&line.endpoint) else {
            return Err(Held::Itself);
        };
        let no_slow_slot = endpoint.is_counted_slow && self.slow_in_flight >= self.slots.of_slow;
        let is_at_limit = line.under_way(endpoint, now) >= line.concurrency_max;
        if no_slow_slot || is_at_limit || endpoint.is_held(now) {
            return Err(Held::Itself);
        }
        let limit_max = self.slots.of_endpoint;
        let under_way = endpoint.under_way(now);
        let start = endpoint.pace.may_start(under_way, limit_max, now);
        let Start::Now { is_probe } = start else {
            return Err(Held::Itself);
        };
        if line.rate.is_some_and(|rate| !line.bucket.take(rate, now)) {
            return Err(Held::Itself);
        }
        endpoint.pace.started(is_probe, now);
        if endpoint.in_flight == 0 {
            endpoint.moved_at = now;
        }
        endpoint.in_flight += 1;
        line.in_flight += 1;
        self.in_flight += 1;
        self.slow_in_flight += u32::from(endpoint.is_counted_slow);
        match self.dequeue(id) {
            Some(job) => Ok(Started {
                others: self.dequeue_others(id, &job, now),
                job,
                line: id,
                is_probe,
            }),
            // Cannot be: the line was not empty.
            None => Err(Held::Itself),
        }
    }

    /// Counts an endpoint's requests where they belong now.
    fn reclass(&mut self, id: LineId) {
        let Some(endpoint) = self
            .lines
            .get(&id)
            .and_then(|line| self.endpoints.get_mut(&line.endpoint))
        else {
            return;
        };
        let is_slow = endpoint.is_slow();
        if is_slow == endpoint.is_counted_slow {
            return;
        }
        endpoint.is_counted_slow = is_slow;
        if is_slow {
            self.slow_in_flight += endpoint.in_flight;
            self.slow_endpoints += 1;
        } else {
            self.slow_in_flight = self.slow_in_flight.saturating_sub(endpoint.in_flight);
            self.slow_endpoints = self.slow_endpoints.saturating_sub(1);
        }
    }
}
