//! A stand-in for the waiting room: keeps what is handed back, and sends it on as it is allowed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use broker::{Broker, Message, Queue};
use domain::Timestamp;
use domain::delivery::{Allowance, Consignment, Disable, Notice, WaitReason, Waiting};
use domain::function::origin;
use domain::id::DeliveryId;
use domain::shard;
use protocol::envelope::Envelope as _;
use protocol::registry_feed::RegistryView;
use tokio::task::JoinSet;

const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) rows: HashMap<DeliveryId, Waiting>,
    /// How often something was put in, by reason.
    pub(crate) reasons: BTreeMap<&'static str, usize>,
    pub(crate) allowances: Vec<Allowance>,
    pub(crate) ended: Vec<DeliveryId>,
    pub(crate) disables: Vec<Disable>,
}

/// The room; its loops end when it is dropped.
pub(crate) struct Room {
    kept: Arc<Mutex<Kept>>,
    loops: JoinSet<()>,
}

impl Room {
    pub(crate) fn open(broker: &Arc<dyn Broker>, registry: &RegistryView) -> Self {
        let mut room = Self::keeping(broker);
        let kept = Arc::clone(&room.kept);
        room.loops
            .spawn(send_on(Arc::clone(broker), registry.clone(), kept));
        room
    }

    /// A room that sends nothing on.
    pub(crate) fn keeping(broker: &Arc<dyn Broker>) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let mut loops = JoinSet::new();
        loops.spawn(take_in(Arc::clone(broker), Arc::clone(&kept)));
        Self { kept, loops }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    pub(crate) fn rows_of(&self, reason: WaitReason) -> Vec<Waiting> {
        let kept = self.kept();
        let of = kept.rows.values().filter(|row| row.reason == reason);
        of.cloned().collect()
    }
}

async fn take_in(broker: Arc<dyn Broker>, kept: Arc<Mutex<Kept>>) {
    let mut consumer = broker.consume(Queue::Waiting, 100);
    while let Some(received) = consumer.next().await {
        let notices = Notice::read(received.body).unwrap();
        {
            let mut kept = kept.lock().unwrap();
            for notice in notices {
                match notice {
                    Notice::Wait(waiting) => {
                        *kept.reasons.entry(waiting.reason.as_str()).or_default() += 1;
                        kept.rows.insert(waiting.target.delivery, *waiting);
                    }
                    Notice::Disable(disable) => kept.disables.push(disable),
                    Notice::Allow(allowance) => kept.allowances.push(allowance),
                    Notice::End(ended) => {
                        kept.rows.remove(&ended.delivery);
                        kept.ended.push(ended.delivery);
                    }
                }
            }
        }
        received.acknowledgement.ack();
    }
}

/// Like the scheduler: what is due goes, of each function as much as its newest allowance says.
async fn send_on(broker: Arc<dyn Broker>, registry: RegistryView, kept: Arc<Mutex<Kept>>) {
    let publisher = broker.publisher();
    let mut tokens: HashMap<String, f64> = HashMap::new();
    let mut before = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let passed = before.elapsed().as_secs_f64();
        before = Instant::now();
        let due = take_due(&mut kept.lock().unwrap(), &mut tokens, passed);
        for consignment in due {
            let shard = {
                let event = &consignment.event;
                let registry = registry.read();
                let name = &consignment.targets[0].function;
                let url = &registry.function(&event.project, name).unwrap().url;
                let shards = broker.topology().delivery_shards;
                shard::of_endpoint(&event.project, &origin(url), shards)
            };
            let message = Message::of(&[consignment]);
            if let Ok(confirm) = publisher.publish(Queue::Deliveries(shard), message).await {
                drop(confirm.await);
            }
        }
    }
}

fn take_due(kept: &mut Kept, tokens: &mut HashMap<String, f64>, passed: f64) -> Vec<Consignment> {
    let now = Timestamp::now();
    let mut due: Vec<DeliveryId> = Vec::new();
    let mut refilled = Vec::new();
    for (id, row) in &kept.rows {
        if row.due_at > now {
            continue;
        }
        let function = row.target.function.to_string();
        let allowance = kept
            .allowances
            .iter()
            .rfind(|allowance| allowance.function.to_string() == function);
        if let Some(allowance) = allowance
            && row.reason != WaitReason::InFlight
        {
            if allowance.closed_until.is_some_and(|until| now < until) {
                continue;
            }
            let burst = f64::from(allowance.burst);
            let tokens = tokens.entry(function.clone()).or_insert(burst);
            if !refilled.contains(&function) {
                refilled.push(function);
                let per_second = allowance.per_second.unwrap_or(f64::MAX);
                *tokens = (*tokens + per_second * passed).min(burst);
            }
            if *tokens < 1.0 {
                continue;
            }
            *tokens -= 1.0;
        }
        due.push(*id);
    }
    let take = |id: DeliveryId| {
        let row = kept.rows.remove(&id)?;
        Some(Consignment {
            event: row.event,
            targets: vec![row.target],
        })
    };
    due.into_iter().filter_map(take).collect()
}
