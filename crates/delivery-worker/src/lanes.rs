//! Whose turn it is: deliveries in hand, by endpoint and function, and when each may start.
//!
//! An endpoint is an origin within a project; functions at one origin share its limits, and each
//! function has a line of its own. What cannot start soon is handed back instead of waiting here.
//!
//! **Invariant:** no async, no I/O; time is an argument.

mod allowing;
mod endpoint;
mod gathering;
mod learning;
mod line;
mod starting;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use domain::delivery::WaitReason;
use domain::format::BatchFormat;
use domain::function::{Function, origin};
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::pace::{Permit, Start};
use domain::shard;

use self::endpoint::Endpoint;
use self::line::Line;
pub use self::starting::Turn;

/// What is in hand leaves its message after this time, whether or not its request has begun.
pub const LEAVES_AFTER: Duration = Duration::from_secs(2);

/// A line may be as long as what its endpoint does in this time …
const WAIT_MAX: Duration = Duration::from_secs(1);
/// … or this long, while nobody knows how much that is …
const QUEUED_UNKNOWN_MAX: usize = 128;
/// … and never longer than this, whatever it does.
const QUEUED_MAX: usize = 2_000;
const QUEUED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An endpoint that has answered nothing for this long while asked is waited for by nobody else.
const STALLED_AFTER: Duration = Duration::from_millis(400);

/// Endpoints whose answers take this long share a part of the slots.
const SLOW_FROM: Duration = Duration::from_secs(1);

/// An endpoint may have this part of all slots …
const PART_OF_ENDPOINT: u16 = 10;
/// … but at least so many.
const SLOTS_OF_ENDPOINT_MIN: u16 = 30;

/// Requests that a line starts before it is the next one's turn.
const QUANTUM: u32 = 4;

/// An endpoint nobody called for this long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// What waits in a line.
pub trait Load {
    /// When its message was read.
    fn read_at(&self) -> Instant;
    /// About how much memory it holds.
    fn bytes(&self) -> usize;

    /// How it shares a request with others, where it may; most go alone.
    fn batch(&self) -> Option<BatchFormat> {
        None
    }

    /// What it must be the only one of in a request: those that are kept in order.
    fn order(&self) -> Option<&Order> {
        None
    }

    /// Its message no longer waits for it: a row in the waiting room stands for it.
    fn has_left(&self) -> bool {
        false
    }

    /// Smaller for what was read before.
    fn place(&self) -> u64 {
        0
    }
}

/// A trigger that keeps an order, and the key that it keeps it by.
pub type Order = (TriggerName, String);

/// How many requests may be under way.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    pub all: u32,
    pub of_endpoint: u32,
    /// Of the slow ones together, and of those nobody knows yet.
    pub of_slow: u32,
}

impl Slots {
    pub fn new(in_flight_max: u16) -> Self {
        Self {
            all: in_flight_max.into(),
            of_endpoint: of_endpoint_max(in_flight_max).into(),
            of_slow: u32::from(in_flight_max / 2).max(1),
        }
    }
}

/// How many requests one endpoint may have under way.
pub fn of_endpoint_max(in_flight_max: u16) -> u16 {
    (in_flight_max / PART_OF_ENDPOINT)
        .max(SLOTS_OF_ENDPOINT_MIN)
        .min(in_flight_max)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

/// All lines of one worker.
#[derive(Debug)]
pub struct Lanes<J> {
    slots: Slots,
    delivery_shards: u16,
    endpoints: HashMap<EndpointId, Endpoint>,
    endpoint_ids: HashMap<(ProjectName, String), EndpointId>,
    lines: HashMap<LineId, Line<J>>,
    line_ids: HashMap<(ProjectName, FunctionName), LineId>,
    next_id: u64,
    /// Lines that may start something, in turn.
    ring: VecDeque<LineId>,
    /// Lines in which something waits.
    waiting: BTreeSet<LineId>,
    /// Lines whose allowance the waiting room wants to know.
    telling: BTreeSet<LineId>,
    /// Something of this is to be told at once.
    is_urgent: bool,
    /// What does not wait here, and why.
    handed_back: Vec<(J, WaitReason)>,
    /// What gathers for so long that its message should not wait for it.
    leaving: Vec<J>,
    /// Nothing gathers any more: what is there goes.
    is_flushing: bool,
    unrecalled: Vec<EndpointId>,
    in_flight: u32,
    slow_in_flight: u32,
    slow_endpoints: u32,
    queued: usize,
    forgotten_at: Instant,
}

/// A request that starts now.
#[derive(Debug)]
pub struct Started<J> {
    pub job: J,
    /// What goes in the same request, in the order in which it came.
    pub others: Vec<J>,
    pub line: LineId,
    pub is_probe: bool,
}

impl<J: Load> Lanes<J> {
    pub fn new(slots: Slots, delivery_shards: u16, now: Instant) -> Self {
        Self {
            slots,
            delivery_shards,
            endpoints: HashMap::new(),
            endpoint_ids: HashMap::new(),
            lines: HashMap::new(),
            line_ids: HashMap::new(),
            next_id: 0,
            ring: VecDeque::new(),
            waiting: BTreeSet::new(),
            telling: BTreeSet::new(),
            is_urgent: false,
            handed_back: Vec::new(),
            leaving: Vec::new(),
            is_flushing: false,
            unrecalled: Vec::new(),
            in_flight: 0,
            slow_in_flight: 0,
            slow_endpoints: 0,
            queued: 0,
            forgotten_at: now,
        }
    }

    /// Puts a delivery into its function's line, or among what is handed back.
    pub fn offer(&mut self, function: &Function, shard: u16, job: J, now: Instant) {
        let id = self.line_of(function, now);
        match self.refusal(id, function, shard, now) {
            Some(reason) => self.hand_back(id, job, reason, now),
            None => self.enqueue(id, job),
        }
    }

    /// Puts what has no line among what is handed back.
    pub fn refuse(&mut self, job: J, reason: WaitReason) {
        self.handed_back.push((job, reason));
    }

    /// How much is to be handed back.
    pub const fn going_back(&self) -> usize {
        self.handed_back.len()
    }

    /// What is to be handed back since this was last asked.
    pub fn take_handed_back(&mut self) -> Vec<(J, WaitReason)> {
        std::mem::take(&mut self.handed_back)
    }

    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub const fn queued(&self) -> usize {
        self.queued
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether time alone may change anything.
    pub fn needs_ticks(&self) -> bool {
        self.queued > 0 || !self.telling.is_empty() || !self.handed_back.is_empty()
    }

    /// What time alone changes: what waited too long is handed back, whom a limit held may be
    /// asked again, and what is long idle is forgotten.
    pub fn tick(&mut self, now: Instant) {
        let waiting: Vec<LineId> = self.waiting.iter().copied().collect();
        for id in waiting {
            self.hand_back_what_waits_too_long(id, now);
            self.leave_what_gathers_long(id, now);
            self.ring(id);
        }
        if now.saturating_duration_since(self.forgotten_at) >= FORGOTTEN_AFTER / 10 {
            self.forgotten_at = now;
            self.forget(|endpoint| endpoint.is_idle_since(now, FORGOTTEN_AFTER));
        }
    }

    /// Somebody else owns a shard from now on: what is still under way to its endpoints ends here.
    pub fn forget_shard(&mut self, shard: u16) {
        let of_shard = |endpoint: &&mut Endpoint| endpoint.shard == shard;
        for endpoint in self.endpoints.values_mut().filter(of_shard) {
            endpoint.is_handed_on = true;
        }
        self.forget(|endpoint| endpoint.shard == shard && endpoint.is_unused());
    }

    fn line_of(&mut self, function: &Function, now: Instant) -> LineId {
        let key = (function.project.clone(), function.name.clone());
        if let Some(id) = self.line_ids.get(&key)
            && let Some(line) = self.lines.get_mut(id)
            && self.endpoints.contains_key(&line.endpoint)
        {
            if line.revision == function.revision {
                return *id;
            }
            let origin = origin(&function.url);
            let is_there = self
                .endpoints
                .get(&line.endpoint)
                .is_some_and(|endpoint| endpoint.origin == origin);
            if is_there {
                line.configure(function, now);
                return *id;
            }
        }
        // Somebody new, or one that has moved: what it has under way stays with the old line.
        let endpoint = self.endpoint_of(function, now);
        let id = LineId(self.new_id());
        self.lines.insert(id, Line::new(function, endpoint, now));
        if let Some(endpoint) = self.endpoints.get_mut(&endpoint) {
            endpoint.lines.push(id);
        }
        self.line_ids.insert(key, id);
        id
    }

    fn endpoint_of(&mut self, function: &Function, now: Instant) -> EndpointId {
        let key = (function.project.clone(), origin(&function.url));
        if let Some(id) = self.endpoint_ids.get(&key) {
            return *id;
        }
        let id = EndpointId(self.new_id());
        let shard = shard::of_endpoint(&key.0, &key.1, self.delivery_shards);
        let endpoint = Endpoint::new(key.0.clone(), key.1.clone(), shard, now);
        self.slow_endpoints += u32::from(endpoint.is_counted_slow);
        self.endpoints.insert(id, endpoint);
        self.endpoint_ids.insert(key, id);
        self.unrecalled.push(id);
        id
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Why a delivery should not wait in this line, if there is a reason.
    fn refusal(
        &mut self,
        id: LineId,
        function: &Function,
        shard: u16,
        now: Instant,
    ) -> Option<WaitReason> {
        if function.settings.is_paused || function.settings.disabled.is_some() {
            return Some(WaitReason::Paused);
        }
        let line = self.lines.get_mut(&id)?;
        let endpoint = self.endpoints.get_mut(&line.endpoint)?;
        line.used_at = now;
        endpoint.used_at = now;
        if endpoint.shard != shard {
            // Its function has moved: another shard's owner keeps its limits.
            return Some(WaitReason::Concurrency);
        }
        let limit_max = self.slots.of_endpoint;
        endpoint.is_handed_on = false;
        let under_way = endpoint.under_way(now);
        let start = endpoint.pace.may_start(under_way, limit_max, now);
        if matches!(start, Start::Broken { .. }) {
            return Some(WaitReason::Breaker);
        }
        if endpoint.pace.breaker.is_closed() {
            return line.refusal(endpoint, &self.slots, self.slow_in_flight, now);
        }
        // It is to be probed, by one.
        (endpoint.queued > 0).then_some(WaitReason::Breaker)
    }

    fn enqueue(&mut self, id: LineId, job: J) {
        let Some(line) = self.lines.get_mut(&id) else {
            // Cannot be: lines are forgotten only when they are unused.
            self.handed_back.push((job, WaitReason::Concurrency));
            return;
        };
        line.bytes += job.bytes();
        line.put(job);
        if let Some(endpoint) = self.endpoints.get_mut(&line.endpoint) {
            endpoint.queued += 1;
        }
        self.queued += 1;
        self.waiting.insert(id);
        self.ring(id);
    }

    /// Takes the first of a line.
    fn dequeue(&mut self, id: LineId) -> Option<J> {
        let line = self.lines.get_mut(&id)?;
        let job = line.queue.pop_front()?;
        line.bytes = line.bytes.saturating_sub(job.bytes());
        let is_empty = line.queue.is_empty();
        if let Some(endpoint) = self.endpoints.get_mut(&line.endpoint) {
            endpoint.queued = endpoint.queued.saturating_sub(1);
        }
        self.queued = self.queued.saturating_sub(1);
        if is_empty {
            self.waiting.remove(&id);
        }
        Some(job)
    }

    fn hand_back(&mut self, id: LineId, job: J, reason: WaitReason, now: Instant) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.told.has_news = true;
            line.used_at = now;
            self.telling.insert(id);
        }
        self.handed_back.push((job, reason));
    }

    fn hand_back_what_waits_too_long(&mut self, id: LineId, now: Instant) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let Some(endpoint) = self.endpoints.get(&line.endpoint) else {
            return;
        };
        let reason = line.why_waiting(endpoint, now);
        // Nobody waits behind what hangs; what may still start is the first of the line.
        let stays = if !endpoint.pace.breaker.is_closed() {
            usize::from(endpoint.pace.breaker.permit(now) == Permit::Probe)
        } else if endpoint.is_stalled(now) {
            let free = line.free(endpoint, &self.slots, self.slow_in_flight, now);
            free.saturating_mul(line.size_max())
        } else {
            usize::MAX
        };
        loop {
            let Some(line) = self.lines.get(&id) else {
                return;
            };
            let first = line.queue.front();
            let is_late = first.is_some_and(|first| now >= line.late_at(first));
            if line.queue.is_empty() || (!is_late && line.queue.len() <= stays) {
                return;
            }
            let Some(job) = self.dequeue(id) else {
                return;
            };
            self.hand_back(id, job, reason, now);
        }
    }

    fn ring(&mut self, id: LineId) {
        if let Some(line) = self.lines.get_mut(&id)
            && !line.is_ringed
            && !line.queue.is_empty()
        {
            line.is_ringed = true;
            self.ring.push_back(id);
        }
    }

    fn forget(&mut self, is_forgotten: impl Fn(&Endpoint) -> bool) {
        let Self {
            endpoints,
            endpoint_ids,
            lines,
            line_ids,
            telling,
            slow_endpoints,
            ..
        } = self;
        endpoints.retain(|_, endpoint| {
            let is_forgotten = is_forgotten(endpoint);
            if is_forgotten {
                *slow_endpoints -= u32::from(endpoint.is_counted_slow);
                endpoint_ids.remove(&(endpoint.project.clone(), endpoint.origin.clone()));
                for id in &endpoint.lines {
                    lines.remove(id);
                    telling.remove(id);
                }
            }
            !is_forgotten
        });
        line_ids.retain(|_, id| lines.contains_key(id));
    }
}

#[cfg(test)]
mod tests;
