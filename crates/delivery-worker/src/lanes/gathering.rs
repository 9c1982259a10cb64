//! Deliveries that go together: how long they wait for each other, and which make one request.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use domain::format::BatchFormat;
use domain::function::Batching;

use super::line::Line;
use super::{LEAVES_AFTER, Lanes, LineId, Load};

/// A request carries no more than this, and one delivery more: what Yandex Cloud's functions take.
const BATCH_BYTES_MAX: usize = 3_500_000;

/// What has gathered for this long leaves its message, if it may go on for as long again.
const GATHERS_IN_MESSAGE: Duration = Duration::from_millis(500);

impl<J: Load> Line<J> {
    /// How many deliveries one request carries at most.
    pub(super) fn size_max(&self) -> usize {
        let size = self.batching.map_or(1, |batching| batching.size_max);
        usize::try_from(size).unwrap_or(usize::MAX).max(1)
    }

    /// Puts a delivery where it belongs: at the end, unless the line gathers. Then what goes alone
    /// is first, so that it waits for no others, and the rest is in the order in which it came.
    pub(super) fn put(&mut self, job: J) {
        if self.batching.is_none() {
            self.queue.push_back(job);
            return;
        }
        let alone = self.queue.partition_point(|other| other.batch().is_none());
        let at = match job.batch() {
            None => alone,
            Some(_) => self
                .queue
                .partition_point(|other| other.batch().is_none() || other.place() < job.place()),
        };
        self.queue.insert(at, job);
    }

    /// Whether the first of the line waits for others to share its request.
    pub(super) fn is_gathering(&self, now: Instant) -> bool {
        let (Some(batching), Some(first)) = (self.batching, self.queue.front()) else {
            return false;
        };
        match first.batch() {
            None => false,
            Some(format) => now < gathers_until(first, batching) && !self.is_full(format, batching),
        }
    }

    /// When the first of the line goes, whoever else is there.
    pub(super) fn gathers_until(&self) -> Option<Instant> {
        Some(gathers_until(self.queue.front()?, self.batching?))
    }

    fn is_full(&self, format: BatchFormat, batching: Batching) -> bool {
        let size_max = usize::try_from(batching.size_max).unwrap_or(usize::MAX);
        if self.queue.len() < size_max && self.bytes < BATCH_BYTES_MAX {
            return false;
        }
        let same = self.queue.iter().filter(|job| job.batch() == Some(format));
        let (count, bytes) = same.fold((0, 0), |(count, bytes), job| {
            (count + 1, bytes + job.bytes())
        });
        count >= size_max || bytes >= BATCH_BYTES_MAX
    }

    /// When a delivery has waited too long. What has left its message may gather before that.
    pub(super) fn late_at(&self, job: &J) -> Instant {
        let gathers = match (job.has_left(), self.batching) {
            (true, Some(batching)) => batching.cutoff,
            (true, None) | (false, _) => Duration::ZERO,
        };
        job.read_at() + gathers + LEAVES_AFTER
    }

    /// Takes what goes in one request with a delivery, as many as the rate allows.
    fn take_others(&mut self, first: &J, now: Instant) -> Vec<J> {
        let most = self.size_max() - 1;
        let Some(format) = first.batch().filter(|_| most > 0) else {
            return Vec::new();
        };
        let mut others = Vec::new();
        let mut bytes = first.bytes();
        let mut keys: HashSet<_> = first.order().cloned().into_iter().collect();
        let mut kept = std::collections::VecDeque::new();
        while let Some(job) = self.queue.pop_front() {
            if others.len() >= most || bytes >= BATCH_BYTES_MAX {
                self.queue.push_front(job);
                break;
            }
            let is_apart = job.batch() != Some(format)
                || job.order().is_some_and(|order| keys.contains(order))
                || self.rate.is_some_and(|rate| !self.bucket.take(rate, now));
            if is_apart {
                // Of a key nothing overtakes what stays.
                keys.extend(job.order().cloned());
                kept.push_back(job);
                continue;
            }
            keys.extend(job.order().cloned());
            bytes += job.bytes();
            others.push(job);
        }
        kept.append(&mut self.queue);
        self.queue = kept;
        others
    }
}

fn gathers_until<J: Load>(first: &J, batching: Batching) -> Instant {
    first.read_at() + batching.cutoff
}

impl<J: Load> Lanes<J> {
    /// What is to leave its message since this was last asked; it is to come back.
    pub fn take_leaving(&mut self) -> Vec<J> {
        std::mem::take(&mut self.leaving)
    }

    /// Takes back what has left its message.
    pub fn rejoin(&mut self, function: &domain::function::Function, job: J, now: Instant) {
        let id = self.line_of(function, now);
        self.enqueue(id, job);
    }

    /// From now on nothing waits for others.
    pub fn flush(&mut self) {
        self.is_flushing = true;
        let waiting: Vec<LineId> = self.waiting.iter().copied().collect();
        for id in waiting {
            self.ring(id);
        }
    }

    /// Whether nothing gathers any more.
    pub const fn is_flushing(&self) -> bool {
        self.is_flushing
    }

    /// Whether a line starts nothing because it gathers.
    pub(super) fn gathers(&self, line: &Line<J>, now: Instant) -> bool {
        !self.is_flushing && line.is_gathering(now)
    }

    /// Takes what goes with the delivery that was taken out of a line.
    pub(super) fn dequeue_others(&mut self, id: LineId, first: &J, now: Instant) -> Vec<J> {
        let Some(line) = self.lines.get_mut(&id) else {
            return Vec::new();
        };
        let others = line.take_others(first, now);
        self.count_out(id, &others);
        others
    }

    pub(super) fn leave_what_gathers_long(&mut self, id: LineId, now: Instant) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let goes_on = line
            .gathers_until()
            .is_some_and(|until| until.saturating_duration_since(now) > GATHERS_IN_MESSAGE);
        if !goes_on || !self.gathers(line, now) {
            return;
        }
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let is_leaving = |job: &J| {
            !job.has_left() && now.saturating_duration_since(job.read_at()) >= GATHERS_IN_MESSAGE
        };
        let queue = std::mem::take(&mut line.queue);
        let (leaving, staying): (Vec<J>, Vec<J>) = queue.into_iter().partition(is_leaving);
        line.queue = staying.into();
        self.count_out(id, &leaving);
        self.leaving.extend(leaving);
    }

    /// Counts what was taken out of a line besides its first.
    fn count_out(&mut self, id: LineId, jobs: &[J]) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let bytes: usize = jobs.iter().map(Load::bytes).sum();
        line.bytes = line.bytes.saturating_sub(bytes);
        let is_empty = line.queue.is_empty();
        if let Some(endpoint) = self.endpoints.get_mut(&line.endpoint) {
            endpoint.queued = endpoint.queued.saturating_sub(jobs.len());
        }
        self.queued = self.queued.saturating_sub(jobs.len());
        if is_empty {
            self.waiting.remove(&id);
        }
    }
}
