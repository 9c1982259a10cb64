//! One request for several deliveries, and what waits for others to share it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::delivery::WaitReason;
use domain::function::Function;
use domain::trigger::{Ordering, Trigger};
use futures::future::join_all;
use tokio::time::sleep_until;
use tracing::debug;

use super::hand_back::wait;
use super::request::{LEASE_MARGIN, Ticket};
use super::{Engine, Job};
use crate::compose::batch_format;
use crate::lanes::{LEAVES_AFTER, Started};
use crate::metrics;

impl Job {
    /// Takes over how its function gathers, as things are now.
    pub(super) fn gathers_as(&mut self, function: &Function, trigger: Option<&Trigger>) {
        self.batch = trigger.and_then(|trigger| batch_format(function, trigger));
        let ordered = trigger.filter(|trigger| trigger.ordering == Ordering::Key);
        self.order = ordered.and_then(|trigger| {
            let key = self.event.ordering_key()?;
            Some((trigger.name.clone(), key.to_owned()))
        });
        if self.batch.is_some() {
            // It waits for others, and not because this process is behind.
            drop(self.queued.take());
        }
    }
}

impl Engine {
    /// Brings several deliveries in one request. They have one slot; each is settled by itself.
    pub(super) async fn request_batch(self: Arc<Self>, started: Started<Job>) {
        let Started {
            job,
            others,
            line,
            is_probe,
        } = started;
        let format = job.batch;
        let mut jobs = vec![job];
        jobs.extend(others);
        // As they were accepted, however many shards they came by.
        jobs.sort_by_key(|job| job.event.eid);
        for job in &mut jobs {
            drop(job.queued.take());
        }
        let mut ticket = Ticket::new(&self, line, is_probe);
        let Some(format) = format.filter(|_| !self.is_off_or_paused(&jobs)) else {
            ticket.give_back(None);
            let paused = jobs.into_iter().map(|job| (job, WaitReason::Paused));
            return Arc::clone(&self).hand_back(paused.collect()).await;
        };
        let begun_at = Instant::now();
        let deliveries: Vec<_> = jobs
            .iter()
            .map(|job| (Arc::clone(&job.event), job.target.clone()))
            .collect();
        let deliveries: Vec<_> = deliveries
            .iter()
            .map(|(event, target)| (event.as_ref(), target))
            .collect();
        let mut delivering = pin!(self.deliverer.deliver_batch(format, &deliveries));
        let staying = jobs.iter().filter(|job| !job.has_left);
        let leaves_at = staying.map(|job| job.read_at + LEAVES_AFTER).min();
        let in_time = tokio::select! {
            biased;
            batched = &mut delivering => Some(batched),
            () = sleep_until(leaves_at.unwrap_or(begun_at).into()), if leaves_at.is_some() => None,
        };
        let batched = match in_time {
            Some(batched) => {
                ticket.give_back(batched.exchange.as_ref());
                batched
            }
            None => {
                let left = jobs.iter().map(|job| self.time_left(job, begun_at)).max();
                let left = left.unwrap_or_default();
                ticket.is_overdue(Instant::now() + left);
                let ending = async {
                    let batched = delivering.await;
                    ticket.give_back(batched.exchange.as_ref());
                    batched
                };
                // The rows are durable before anything that replaces or ends them is sent.
                let leaving = self.leave_together(&mut jobs, left);
                let (batched, ()) = tokio::join!(ending, leaving);
                batched
            }
        };
        let settling = jobs.iter_mut().zip(batched.settlements);
        let settling = settling.map(|(job, settlement)| {
            let has_left = job.has_left;
            self.settle(job, Box::new(settlement), has_left)
        });
        join_all(settling).await;
    }

    /// Whether the function was switched off or paused while its deliveries waited for each other.
    pub(super) fn is_off_or_paused(&self, jobs: &[Job]) -> bool {
        let Some(job) = jobs.first() else {
            return false;
        };
        let registry = self.deliverer.registry.read();
        let is_paused = registry.is_paused(&job.event.project, &job.target.function);
        drop(registry);
        is_paused || self.is_off(job)
    }

    /// Lets what waits for others leave its message, and puts it in line again.
    pub(super) async fn leave_gathering(self: Arc<Self>, mut jobs: Vec<Job>) {
        let now = Instant::now();
        let gathers = jobs.first().map_or(Duration::ZERO, |job| {
            let registry = self.deliverer.registry.read();
            let function = registry.function(&job.event.project, &job.target.function);
            let batching = function.and_then(|function| function.settings.batching);
            batching.map_or(Duration::ZERO, |batching| batching.cutoff)
        });
        let request = jobs.iter().map(|job| self.time_left(job, now)).max();
        // It may be handed back as late as that; then its row is replaced.
        let left = gathers + LEAVES_AFTER + request.unwrap_or_default();
        self.leave_together(&mut jobs, left).await;
        // What could not leave is dropped with its message, which is given again.
        jobs.retain(|job| job.has_left);
        if let Some(shard) = jobs.first().map(|job| job.shard) {
            self.offer(jobs, shard);
        }
    }

    /// Gives each delivery that is still in its message a row that answers for it.
    async fn leave_together(self: &Arc<Self>, jobs: &mut [Job], left: Duration) {
        self.announce(jobs.iter()).await;
        let since = Timestamp::now();
        let staying = jobs.iter().filter(|job| !job.has_left);
        let rows = staying.map(|job| wait(job, WaitReason::InFlight, since, left + LEASE_MARGIN));
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return;
        }
        match self.settler.notices.push_until_durable(rows).await {
            Ok(()) => {
                for job in jobs.iter_mut().filter(|job| !job.has_left) {
                    metrics::left();
                    self.moved_on(job, None);
                    job.has_left = true;
                    drop(job.open.take());
                }
            }
            Err(reason) => debug!(%reason, "not left; it comes again"),
        }
    }
}
