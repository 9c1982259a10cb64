//! The door: drafts become events, repeats are recognised, and the broker's confirm is the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{PublishError, Pushed};
use domain::Timestamp;
use domain::event::Event;
use domain::id::EventId;
use domain::reply::Verdict;
use futures::FutureExt as _;
use futures::future::{Shared, join_all};
use protocol::access::Caller;
use protocol::fault::{Fault, FaultKind};
use protocol::registry_feed::RegistryView;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::accept::{Call, Circumstances, accept};
use crate::deduplicate::{Decision, Deduplicator, Key, Settled, Ticket};
use crate::draft::{Draft, Field};
use crate::error;
use crate::metrics::Metrics;
use crate::outbound::events::Events;
use crate::wait_for_reply::Waiters;

/// What became of an event that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The `CloudEvents` id: the client's own, or the one given.
    pub id: String,
    pub eid: EventId,
    /// Whether the same event had been accepted before.
    pub is_duplicate: bool,
}

/// What the door allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DoorLimits {
    pub(crate) data_bytes_max: usize,
    pub(crate) request_events_max: usize,
    pub(crate) in_flight_bytes_max: u32,
}

/// Takes events in; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: RegistryView,
    keys_required: bool,
    limits: DoorLimits,
    room: Arc<Semaphore>,
    deduplicator: Deduplicator,
    events: Events,
    waiters: Waiters,
    metrics: Metrics,
}

/// What became of an event that somebody waits for.
#[derive(Debug)]
pub(crate) struct Waited {
    pub(crate) accepted: Accepted,
    pub(crate) came: Came,
}

/// What came of waiting.
#[derive(Debug)]
pub(crate) enum Came {
    /// The same event had been accepted before: nothing follows from this one.
    Duplicate,
    Verdict(Verdict),
    /// Nothing in time; the delivery goes on.
    Nothing,
}

/// An event on its way: in line at the broker, or found to be a repeat.
#[derive(Debug)]
pub(crate) enum Placed {
    /// In line; durable when the confirm comes.
    InLine {
        accepted: Accepted,
        ticket: Ticket,
    },
    Repeat(Accepted),
    /// Somebody else is bringing in the same event at this moment.
    Contested {
        event: Box<Event>,
        key: Key,
        eid: EventId,
    },
    Refused(PublishError),
}

impl Door {
    pub(crate) fn new(
        registry: RegistryView,
        keys_required: bool,
        limits: DoorLimits,
        deduplicator: Deduplicator,
        events: Events,
        waiters: Waiters,
    ) -> Self {
        let room =
            Semaphore::new(usize::try_from(limits.in_flight_bytes_max).unwrap_or(usize::MAX));
        Self(Arc::new(Inner {
            registry,
            keys_required,
            limits,
            room: Arc::new(room),
            deduplicator,
            events,
            waiters,
            metrics: Metrics::default(),
        }))
    }

    /// Asks `decide` who makes a call, from what is configured and whether keys are needed.
    pub(crate) fn admit(
        &self,
        decide: impl FnOnce(&RegistryView, bool) -> Result<Caller, Fault>,
    ) -> Result<Caller, Fault> {
        if !self.0.registry.is_filled() {
            let message = "which projects and keys there are is not known here yet";
            return Err(Fault::unavailable(message));
        }
        decide(&self.0.registry, self.0.keys_required)
    }

    /// Room for a request's bytes, as long as what is given back is held.
    ///
    /// # Errors
    /// When so much is under way that another request would only wait.
    pub(crate) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Fault> {
        // Small requests cost memory too.
        let bytes = u32::try_from(bytes.max(1024)).unwrap_or(u32::MAX);
        let bytes = bytes.min(self.0.limits.in_flight_bytes_max);
        Arc::clone(&self.0.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_none_left| {
                Fault::new(
                    FaultKind::Exhausted,
                    "too many events are being accepted at this moment",
                )
            })
    }

    /// Brings in one event; the answer means that it is durable.
    ///
    /// # Errors
    /// Nothing was stored when the fault lies with the event.
    pub(crate) async fn emit(
        &self,
        call: &Call,
        draft: Draft,
        idempotency_key: Option<&str>,
    ) -> Result<Accepted, Fault> {
        let candidate = self.check(call, draft, idempotency_key)?;
        let placed = self.place(vec![candidate]).await.pop();
        self.settle(placed.unwrap_or(Placed::Refused(PublishError::Unavailable)))
            .await
    }

    /// Brings in one event and waits for the first success of a function, at most `wait` from the
    /// moment it is durable.
    ///
    /// # Errors
    /// As [`emit`](Self::emit); and an event for a later time is not waited for.
    pub(crate) async fn emit_and_wait(
        &self,
        call: &Call,
        draft: Draft,
        idempotency_key: Option<&str>,
        wait: Duration,
    ) -> Result<Waited, Fault> {
        let mut candidate = self.check(call, draft, idempotency_key)?;
        if let Some(deliver_at) = candidate.event.deliver_at {
            let field = call.dialect.name(Field::DeliverAt);
            let message = "is for later, and the answer is waited for now";
            let allowed = "nothing, where an event is synchronous";
            return Err(Fault::invalid(
                field,
                deliver_at.to_string(),
                message,
                allowed,
            ));
        }
        let waiters = &self.0.waiters;
        let mut waiting = waiters.wait_for(candidate.event.eid)?;
        candidate.event.reply_to = Some(waiters.address().clone());
        let placed = self.place(vec![candidate]).await.pop();
        let placed = placed.unwrap_or(Placed::Refused(PublishError::Unavailable));
        let accepted = self.settle(placed).await?;
        if accepted.is_duplicate {
            let came = Came::Duplicate;
            return Ok(Waited { accepted, came });
        }
        let came = match timeout(wait, waiting.verdict()).await {
            Ok(Some(verdict)) => Came::Verdict(verdict),
            Ok(None) | Err(_) => Came::Nothing,
        };
        Ok(Waited { accepted, came })
    }

    /// Brings in many events, all or none; the answer means that all are durable.
    ///
    /// # Errors
    /// Nothing was stored when the fault lies with one of the events. When the broker fails in the
    /// midst of it, some may be durable: those with an id of their own are not taken twice.
    pub(crate) async fn emit_all(
        &self,
        call: &Call,
        drafts: Vec<Draft>,
        idempotency_key: Option<&str>,
    ) -> Result<Vec<Accepted>, Fault> {
        let max = self.0.limits.request_events_max;
        if drafts.is_empty() || drafts.len() > max {
            let (count, allowed) = (drafts.len().to_string(), format!("1 to {max} events"));
            let message = "a request cannot bring this many events";
            let kind = if drafts.is_empty() {
                FaultKind::Invalid
            } else {
                FaultKind::TooLarge
            };
            return Err(Fault {
                kind,
                ..Fault::invalid("events", count, message, allowed)
            });
        }
        let mut candidates = Vec::with_capacity(drafts.len());
        for (number, draft) in drafts.into_iter().enumerate() {
            let candidate = self.candidate(call, draft);
            let mut candidate =
                candidate.map_err(|fault| fault.within(&format!("events[{number}]")))?;
            if let Some(key) = idempotency_key {
                candidate.key = Some(Key::of_idempotency(&call.project, key, number));
            }
            candidates.push(candidate);
        }
        let placed = self.place(candidates).await;
        // All of them are waited for: what is durable must be remembered, whatever became of the rest.
        let settled = join_all(placed.into_iter().map(|placed| self.settle(placed))).await;
        settled.into_iter().collect()
    }

    /// Checks a draft that stands for itself.
    pub(crate) fn check(
        &self,
        call: &Call,
        draft: Draft,
        idempotency_key: Option<&str>,
    ) -> Result<Candidate, Fault> {
        let mut candidate = self.candidate(call, draft)?;
        if let Some(key) = idempotency_key {
            candidate.key = Some(Key::of_idempotency(&call.project, key, 0));
        }
        Ok(candidate)
    }

    fn candidate(&self, call: &Call, draft: Draft) -> Result<Candidate, Fault> {
        let has_own_id = draft.id.is_some();
        let circumstances = Circumstances {
            now: Timestamp::now(),
            random: random()?,
            traceparent: telemetry::trace::outgoing(call.traceparent.as_deref()),
            data_bytes_max: self.0.limits.data_bytes_max,
        };
        let event = accept(draft, call, circumstances)?;
        let key = has_own_id.then(|| Key::of_event(&event));
        Ok(Candidate { event, key })
    }

    /// Puts events in line at the broker, in their order, unless they are repeats.
    pub(crate) async fn place(&self, candidates: Vec<Candidate>) -> Vec<Placed> {
        let decisions = self.0.deduplicator.decide(&candidates).await;
        let mut placed: Vec<Option<Placed>> = Vec::with_capacity(candidates.len());
        let mut shards: BTreeMap<u16, Vec<(usize, Candidate)>> = BTreeMap::new();
        let mut twins = Vec::new();
        for (number, (candidate, decision)) in candidates.into_iter().zip(decisions).enumerate() {
            placed.push(match (decision, candidate.key) {
                (Decision::TwinOf(first), _) => {
                    twins.push((number, first));
                    None
                }
                (Decision::Repeat(eid), _) => {
                    Some(Placed::Repeat(repeat_of(eid, &candidate.event)))
                }
                (Decision::Contested(eid), Some(key)) => Some(Placed::Contested {
                    event: Box::new(candidate.event),
                    key,
                    eid,
                }),
                (Decision::New | Decision::Contested(_), key) => {
                    let shard = self.0.events.shard_of(&candidate.event);
                    let candidate = Candidate {
                        event: candidate.event,
                        key,
                    };
                    shards.entry(shard).or_default().push((number, candidate));
                    None
                }
                (Decision::Unknown, _) => {
                    let shard = self.0.events.shard_of(&candidate.event);
                    let candidate = Candidate {
                        event: candidate.event,
                        key: None,
                    };
                    shards.entry(shard).or_default().push((number, candidate));
                    None
                }
            });
        }
        for (shard, candidates) in shards {
            for (number, one) in self.put(shard, candidates).await {
                if let Some(slot) = placed.get_mut(number) {
                    *slot = Some(one);
                }
            }
        }
        for (number, first) in twins {
            let twin = placed.get(first).and_then(Option::as_ref).map(Placed::twin);
            if let Some(slot) = placed.get_mut(number) {
                *slot = twin;
            }
        }
        let nothing = || Placed::Refused(PublishError::Unavailable);
        placed
            .into_iter()
            .map(|one| one.unwrap_or_else(nothing))
            .collect()
    }

    /// Puts the events of one shard in line; they are confirmed together.
    async fn put(&self, shard: u16, candidates: Vec<(usize, Candidate)>) -> Vec<(usize, Placed)> {
        let mut events = Vec::with_capacity(candidates.len());
        let mut waiting = Vec::with_capacity(candidates.len());
        for (number, Candidate { event, key }) in candidates {
            let accepted = Accepted {
                id: event.id.clone(),
                eid: event.eid,
                is_duplicate: false,
            };
            waiting.push((number, accepted, key));
            events.push(event);
        }
        match self.0.events.put(shard, events).await {
            Ok(pushed) => {
                let confirm: Shared<Pushed> = pushed.shared();
                let placed = waiting.into_iter().map(|(number, accepted, key)| {
                    let key = key.map(|key| (key, accepted.eid));
                    let ticket = self.0.deduplicator.ticket(confirm.clone(), key);
                    (number, Placed::InLine { accepted, ticket })
                });
                placed.collect()
            }
            Err(error) => {
                // They never stood in line, so another try may have their keys.
                let keys = waiting
                    .iter()
                    .filter_map(|(_, accepted, key)| key.clone().map(|key| (key, accepted.eid)));
                self.0.deduplicator.release(keys.collect()).await;
                let refused = |number| (number, Placed::Refused(error.clone()));
                waiting
                    .into_iter()
                    .map(|(number, ..)| refused(number))
                    .collect()
            }
        }
    }

    /// Waits until an event is durable, or known to be.
    pub(crate) async fn settle(&self, placed: Placed) -> Result<Accepted, Fault> {
        let outcome = match placed {
            Placed::InLine { accepted, ticket } => ticket.confirmed().await.map(|()| accepted),
            Placed::Repeat(accepted) => Ok(accepted),
            Placed::Contested { event, key, eid } => self.settle_contested(*event, key, eid).await,
            Placed::Refused(error) => Err(error),
        };
        match &outcome {
            Ok(accepted) if accepted.is_duplicate => self.0.metrics.repeated(),
            Ok(_) => self.0.metrics.accepted(),
            Err(_) => self.0.metrics.not_durable(),
        }
        outcome.map_err(|error| error::of_publish(&error))
    }

    /// Waits for whoever was first. If nothing is heard, the event goes out under the id that was
    /// given then: all that follows is derived from it, so that nothing is done twice.
    async fn settle_contested(
        &self,
        mut event: Event,
        key: Key,
        eid: EventId,
    ) -> Result<Accepted, PublishError> {
        let eid = match self.0.deduplicator.watch(&key, eid).await {
            Settled::Confirmed(eid) => return Ok(repeat_of(eid, &event)),
            Settled::Unheard(eid) => eid,
        };
        if event.id == event.eid.to_string() {
            event.id = eid.to_string();
        }
        event.eid = eid;
        event.accepted_at = eid.accepted_at();
        let shard = self.0.events.shard_of(&event);
        let candidate = Candidate {
            event,
            key: Some(key),
        };
        match self.put(shard, vec![(0, candidate)]).await.pop() {
            Some((_, Placed::InLine { accepted, ticket })) => {
                ticket.confirmed().await.map(|()| accepted)
            }
            Some((_, Placed::Refused(error))) => Err(error),
            _ => Err(PublishError::Unavailable),
        }
    }
}

/// An event that was checked, and what it is deduplicated by.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) event: Event,
    pub(crate) key: Option<Key>,
}

impl Placed {
    /// The same event once more in one request.
    fn twin(&self) -> Self {
        let repeated = |accepted: &Accepted| Accepted {
            is_duplicate: true,
            ..accepted.clone()
        };
        match self {
            Self::InLine { accepted, ticket } => Self::InLine {
                accepted: repeated(accepted),
                ticket: ticket.twin(),
            },
            Self::Repeat(accepted) => Self::Repeat(repeated(accepted)),
            Self::Contested { event, key, eid } => Self::Contested {
                event: event.clone(),
                key: key.clone(),
                eid: *eid,
            },
            Self::Refused(error) => Self::Refused(error.clone()),
        }
    }
}

fn repeat_of(eid: EventId, event: &Event) -> Accepted {
    // An event without an id of its own has the text of its eid.
    let id = if event.id == event.eid.to_string() {
        eid.to_string()
    } else {
        event.id.clone()
    };
    Accepted {
        id,
        eid,
        is_duplicate: true,
    }
}

fn random() -> Result<[u8; 10], Fault> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_unsupported| {
        Fault::new(FaultKind::Internal, "the system gave no random bytes")
    })?;
    Ok(random)
}
