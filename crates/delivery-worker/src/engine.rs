//! The engine of one worker: deliveries come in by shard, requests go out by turn, and what comes
//! of them is made durable.
//!
//! Whoever reads messages puts deliveries in line; one loop starts what may start ([`drive`]), each
//! request in a small task of its own ([`request`]). What cannot start soon is handed back to the
//! waiting room, and what is unanswered two seconds after its message was read leaves the message,
//! so that no endpoint holds up a message, the prefetch or the others.

mod batch;
mod drive;
mod given_again;
mod hand_back;
mod hands;
mod memory;
mod note;
mod request;
mod shard;
mod watch;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coordination::EndpointMemory;
use domain::delivery::{Consignment, Target, WaitReason};
use domain::event::Event;
use domain::format::BatchFormat;
use tokio::sync::Notify;

use self::given_again::{First, GivenAgain};
use self::hands::Hands;
use self::note::Unnoted;
pub use self::shard::ShardWork;
use self::shard::{Open, Queued};
use self::watch::Watch;
use crate::deliver::Deliverer;
use crate::lanes::{Lanes, Load, Order, Slots};
use crate::metrics;
use crate::progress::{Mark, Progress, Repeatable};
use crate::recent::Recent;
use crate::settle::{InHand, Settler};

/// A delivery may be decided by a revision this worker has not heard of yet: it waits this long.
const REVISION_WAIT_MAX: Duration = Duration::from_secs(2);

/// An event and its target come to about this much beside the event's data.
const BYTES_OF_JOB: usize = 1_500;

/// What the engine is made of.
#[derive(Debug)]
pub struct Engine {
    deliverer: Deliverer,
    settler: Settler,
    recent: Recent,
    memory: Arc<dyn EndpointMemory>,
    watch: Watch,
    desk: Mutex<Desk>,
    hands: Hands,
    /// Something was put in line, or ended.
    wake: Notify,
    /// What was settled and is not noted down.
    unnoted: Mutex<Unnoted>,
    /// Whose turn it is to note down.
    noting: tokio::sync::Mutex<()>,
    /// Requests that would be made once more if this worker died now …
    repeatable: Arc<AtomicUsize>,
    /// … and how many there may be.
    in_flight_max: usize,
    /// Shards that are being served.
    serving: AtomicUsize,
    /// Deliveries that were read.
    read: AtomicU64,
}

/// What is shared between those who read and the loop that starts.
#[derive(Debug)]
struct Desk {
    lanes: Lanes<Job>,
    given_again: GivenAgain,
    /// When something was handed back last.
    handed_back_at: Instant,
    /// What else is to be done, each in a task of its own.
    chores: Vec<Chore>,
}

/// One delivery in hand.
#[derive(Debug)]
struct Job {
    event: Arc<Event>,
    target: Target,
    in_hand: Arc<InHand>,
    /// Its place among the deliveries of the message.
    position: usize,
    /// What became of this attempt at another worker, which has died since.
    known: Option<Mark>,
    read_at: Instant,
    /// Counts among the queued of its shard until its request starts …
    queued: Option<Queued>,
    /// … and among what its shard has open until it is settled or has left its message.
    open: Option<Open>,
    shard: u16,
    /// How many were read before it.
    place: u64,
    /// How it shares a request with others, where it may.
    batch: Option<BatchFormat>,
    /// Where it is kept in order with others.
    order: Option<Order>,
    /// It has left its message while it waited for others: its row answers for it.
    has_left: bool,
    /// Its request has begun, and would be made once more if this worker died now.
    repeatable: Option<Repeatable>,
    /// Its message is given again: the same attempt by another message waits for this one.
    first: Option<Box<First>>,
}

/// Something to be done that is no request.
#[derive(Debug)]
enum Chore {
    /// The registry is behind the delivery.
    Await(Job),
    /// Its function or trigger is gone, so it ends without a request.
    Settle(Job),
    /// Finished a short while ago.
    Spare(Job),
    HandBack(Vec<(Job, WaitReason)>),
    /// They waited for what became of the same attempts.
    Offer(Vec<Job>),
    /// They wait for others longer than their messages should.
    Leave(Vec<Job>),
}

impl Load for Job {
    fn read_at(&self) -> Instant {
        self.read_at
    }

    fn bytes(&self) -> usize {
        self.event.data.len() + BYTES_OF_JOB
    }

    fn batch(&self) -> Option<BatchFormat> {
        self.batch
    }

    fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    fn has_left(&self) -> bool {
        self.has_left
    }

    fn place(&self) -> u64 {
        self.place
    }
}

/// What an engine needs.
#[derive(Debug)]
pub struct Parts {
    pub deliverer: Deliverer,
    pub settler: Settler,
    pub memory: Arc<dyn EndpointMemory>,
    pub in_flight_max: u16,
    pub delivery_shards: u16,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let slots = Slots::new(parts.in_flight_max);
        let lanes = Lanes::new(slots, parts.delivery_shards, Instant::now());
        Self {
            deliverer: parts.deliverer,
            settler: parts.settler,
            recent: Recent::default(),
            watch: Watch::new(Arc::clone(&parts.memory)),
            memory: parts.memory,
            desk: Mutex::new(Desk {
                lanes,
                given_again: GivenAgain::default(),
                handed_back_at: Instant::now(),
                chores: Vec::new(),
            }),
            hands: Hands::default(),
            wake: Notify::new(),
            unnoted: Mutex::default(),
            noting: tokio::sync::Mutex::default(),
            repeatable: Arc::default(),
            in_flight_max: parts.in_flight_max.into(),
            serving: AtomicUsize::new(0),
            read: AtomicU64::new(0),
        }
    }

    /// Takes what a message of a shard carries in hand. `again` says that it was given before, and
    /// what another worker noted down of it.
    pub fn take(
        &self,
        consignments: Vec<Consignment>,
        again: Option<&str>,
        in_hand: &Arc<InHand>,
        work: &ShardWork,
    ) {
        let read_at = Instant::now();
        let mut jobs = Vec::new();
        let mut positions = 0_usize..;
        for consignment in consignments {
            let mut event = consignment.event;
            // What is left of a message must not keep all of it in memory.
            event.data = bytes::Bytes::copy_from_slice(&event.data);
            let event = Arc::new(event);
            let placed = consignment.targets.into_iter().zip(&mut positions);
            jobs.extend(placed.map(|(target, position)| Job {
                event: Arc::clone(&event),
                target,
                in_hand: Arc::clone(in_hand),
                position,
                known: again.and_then(|note| Progress::read(note, position)),
                read_at,
                queued: Some(work.queue()),
                open: Some(work.open()),
                shard: work.shard(),
                place: self.read.fetch_add(1, Ordering::Relaxed),
                batch: None,
                order: None,
                has_left: false,
                repeatable: None,
                first: None,
            }));
        }
        if again.is_some() {
            let mut desk = self.desk();
            for job in jobs.iter_mut().filter(|job| job.known.is_none()) {
                desk.given_again.expect(job);
            }
        }
        self.offer(jobs, work.shard());
    }

    /// Puts deliveries in line, or to where they belong instead.
    fn offer(&self, jobs: Vec<Job>, shard: u16) {
        let now = Instant::now();
        let registry = self.deliverer.registry.read();
        let mut desk = self.desk();
        let Desk {
            lanes,
            given_again,
            chores,
            handed_back_at: _,
        } = &mut *desk;
        for job in jobs {
            let Some(mut job) = given_again.admit(job) else {
                continue;
            };
            let function = registry.function(&job.event.project, &job.target.function);
            if job.known == Some(Mark::Leaves) {
                lanes.refuse(job, WaitReason::Concurrency);
            } else if job.known.is_some() || self.recent.has_finished(&job.target).is_some() {
                chores.push(Chore::Spare(job));
            } else if registry.revision < job.target.revision && !is_late(&job, now) {
                chores.push(Chore::Await(job));
            } else if registry.is_paused(&job.event.project, &job.target.function) {
                lanes.refuse(job, WaitReason::Paused);
            } else if let Some(function) = function {
                if function.settings.batching.is_some() {
                    let rule = registry.rule_of(&job.event.project, &job.target);
                    job.gathers_as(function, rule.as_deref());
                }
                if job.has_left {
                    lanes.rejoin(function, job, now);
                } else {
                    lanes.offer(function, shard, job, now);
                }
            } else {
                chores.push(Chore::Settle(job));
            }
        }
        drop(desk);
        drop(registry);
        self.wake.notify_one();
    }

    /// Puts in line what has waited for the same attempts.
    fn offer_freed(&self, jobs: Vec<Job>) {
        for job in jobs {
            let shard = job.shard;
            self.offer(vec![job], shard);
        }
    }

    /// A shard is served from now on.
    pub fn begin_serving(&self) {
        self.serving.fetch_add(1, Ordering::AcqRel);
    }

    /// A shard is served no more.
    pub fn end_serving(&self) {
        self.serving.fetch_sub(1, Ordering::AcqRel);
        self.wake.notify_one();
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(desk: &Desk) {
        metrics::lanes(
            desk.lanes.in_flight(),
            desk.lanes.queued(),
            desk.lanes.endpoints(),
        );
    }
}

/// In time or not: what is known then decides.
fn is_late(job: &Job, now: Instant) -> bool {
    now.saturating_duration_since(job.read_at) >= REVISION_WAIT_MAX
}
