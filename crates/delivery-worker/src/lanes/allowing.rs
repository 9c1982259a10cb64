//! What the waiting room is told: how fast it may send on what waits for a function.

use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::delivery::Allowance;
use domain::pace::whole;

use super::{Lanes, LineId, Load};

/// A function's allowance is told at most this often, unless its endpoint broke or came back.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// A change by less than this part is not worth telling …
const NOTICEABLE: f64 = 0.25;
/// … unless a rate is kept, which goes up and down by less.
const NOTICEABLE_OF_RATE: f64 = 0.03;

/// A rate is kept here. So that there is always something to send, a little more than that is sent
/// on while what lies here is worth less than this time, and else a little less.
const IN_HAND_S: f64 = 0.25;
const A_LITTLE: f64 = 0.1;

/// After this long without deliveries nobody is told of changes any more.
const TOLD_FOR: Duration = Duration::from_mins(1);

/// While a probe is under way: its answer is told at once, so this only bounds what is lost if not.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// An endpoint nobody has heard of answers in about this time.
const LATENCY_GUESS_S: f64 = 0.1;

/// As much goes at once as goes in this part of a second.
const BURST_PART: f64 = 0.1;

/// What was told about one function last.
#[derive(Debug, Default)]
pub(super) struct Told {
    per_second: f64,
    closed_until: Option<Instant>,
    at: Option<Instant>,
    pub(super) has_news: bool,
    pub(super) is_urgent: bool,
}

impl<J: Load> Lanes<J> {
    /// Whether something is to be told at once.
    pub const fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// What is worth telling now; both clocks of the same moment.
    pub fn allowances(&mut self, now: Instant, time: Timestamp) -> Vec<Allowance> {
        self.is_urgent = false;
        let mut allowances = Vec::new();
        let mut silent = Vec::new();
        let telling: Vec<LineId> = self.telling.iter().copied().collect();
        for id in telling {
            let Some(line) = self.lines.get(&id) else {
                silent.push(id);
                continue;
            };
            if now.saturating_duration_since(line.used_at) >= TOLD_FOR {
                silent.push(id);
            } else if line.told.has_news
                && let Some(allowance) = self.allowance(id, now, time)
            {
                allowances.push(allowance);
            }
        }
        for id in silent {
            self.telling.remove(&id);
        }
        allowances
    }

    fn allowance(&mut self, id: LineId, now: Instant, time: Timestamp) -> Option<Allowance> {
        let line = self.lines.get_mut(&id)?;
        let is_too_soon = line
            .told
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < TELL_INTERVAL);
        if is_too_soon && !line.told.is_urgent {
            return None;
        }
        let endpoint = self.endpoints.get_mut(&line.endpoint)?;
        // The slow share their slots evenly, as far as anybody can tell beforehand.
        let fair_share = match endpoint.is_counted_slow {
            true => f64::from(self.slots.of_slow) / f64::from(self.slow_endpoints.max(1)),
            false => f64::INFINITY,
        };
        let limit_max = self
            .slots
            .of_endpoint
            .min(line.concurrency_max)
            .min(whole(fair_share))
            .max(1);
        let limit = endpoint.pace.concurrency.limit(limit_max);
        let borne = endpoint
            .per_second(limit_max, now)
            .unwrap_or_else(|| f64::from(limit) / LATENCY_GUESS_S);
        // Where there are fewer slots than endpoints each has one only part of the time.
        let borne = borne * fair_share.min(1.0);
        // Each request carries several.
        let size_max = line.batching.map_or(1, |batching| batching.size_max);
        let borne = borne * f64::from(size_max);
        let limit = limit.saturating_mul(size_max);
        let per_second = line.rate.map_or(borne, |rate| rate.per_second.min(borne));
        let is_rate_kept = line.rate.is_some() || endpoint.pace.is_rate_known();
        let (per_second, noticeable) = match is_rate_kept {
            true => (supply(per_second, line.queue.len()), NOTICEABLE_OF_RATE),
            false => (per_second, NOTICEABLE),
        };
        let is_probed = !endpoint.pace.breaker.is_closed() && endpoint.in_flight > 0;
        let is_open = !endpoint.pace.breaker.is_closed();
        let told = &mut line.told;
        let probed_until = told
            .closed_until
            .filter(|until| *until > now)
            .unwrap_or(now + PROBE_TIME);
        let closed_until = endpoint
            .pace
            .closed_until(now)
            .or_else(|| is_probed.then_some(probed_until));
        told.has_news = false;
        let before = told.per_second;
        let is_same = told.at.is_some()
            && !told.is_urgent
            && told.closed_until == closed_until
            && (per_second - before).abs() <= before * noticeable;
        if is_same {
            return None;
        }
        told.is_urgent = false;
        told.per_second = per_second;
        told.closed_until = closed_until;
        told.at = Some(now);
        let burst = burst(per_second, limit, is_open);
        let wait = |until: Instant| {
            let left = until.saturating_duration_since(now);
            time.saturating_add(left).unwrap_or(time)
        };
        Some(Allowance {
            project: line.project.clone(),
            function: line.function.clone(),
            per_second: Some(per_second),
            burst: line.rate.map_or(burst, |rate| burst.min(rate.burst)).max(1),
            closed_until: closed_until.map(wait),
            at: time,
        })
    }
}

/// What is sent on where a rate is kept and so much is in hand.
fn supply(per_second: f64, in_hand: usize) -> f64 {
    let in_hand = u32::try_from(in_hand).map_or(f64::INFINITY, f64::from);
    let has_enough = in_hand > per_second * IN_HAND_S;
    let part = if has_enough { -A_LITTLE } else { A_LITTLE };
    per_second * (1.0 + part)
}

fn burst(per_second: f64, limit: u32, is_open: bool) -> u32 {
    if is_open {
        return 1;
    }
    let most = f64::from(limit.max(1));
    whole((per_second * BURST_PART).clamp(1.0, most))
}
