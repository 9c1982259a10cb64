//! Recognises repeats: a key is reserved before the event goes out and confirmed once it is durable.
//!
//! Only what a client named can repeat: by its id, or by an idempotency key. Losing coordination
//! may let a repeat through, and never holds up or loses an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::{PublishError, Pushed};
use coordination::{IdempotencyKeys, Reservation, Unavailable};
use domain::event::Event;
use domain::id::EventId;
use domain::name::ProjectName;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::stream::FuturesUnordered;
use lifecycle::Tasks;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::emit::Candidate;
use crate::metrics;

/// How long a repeat waits to hear of the first.
const UNHEARD_AFTER: Duration = Duration::from_secs(2);
const FIRST_LOOK_AFTER: Duration = Duration::from_millis(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// An event does not wait longer for coordination than this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Keys that wait to be confirmed; beyond, a repeat may be let through.
const CONFIRMATIONS_MAX: usize = 16_384;
const CONFIRMED_AT_ONCE_MAX: usize = 512;

/// One line about lost coordination in this time is enough.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What tells an event from all others of its project, as text of limited length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    /// By what the client named: source and id.
    pub(crate) fn of_event(event: &Event) -> Self {
        Self::hash(
            &event.project,
            "event",
            &[event.source.as_bytes(), event.id.as_bytes()],
        )
    }

    /// By the key of a request, and the event's place in it.
    pub(crate) fn of_idempotency(project: &ProjectName, key: &str, place: usize) -> Self {
        Self::hash(project, "key", &[key.as_bytes(), &place.to_be_bytes()])
    }

    fn hash(project: &ProjectName, kind: &str, parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let half: u128 = digest
            .finalize()
            .iter()
            .take(16)
            .fold(0, |number, byte| (number << 8) | u128::from(*byte));
        Self(format!("{project}:{kind}:{half:032x}"))
    }
}

/// What is to become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes out, and its key is confirmed then.
    New,
    /// It goes out; nothing is known of its key.
    Unknown,
    Repeat(EventId),
    /// The first is under way at this moment.
    Contested(EventId),
    /// The same as an earlier one of the same request.
    TwinOf(usize),
}

/// What was heard of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Confirmed(EventId),
    /// Nothing in time: it is to go out under this id.
    Unheard(EventId),
}

/// Keys, and the line of those that wait to be confirmed.
#[derive(Debug)]
pub(crate) struct Deduplicator {
    keys: Arc<dyn IdempotencyKeys>,
    line: mpsc::Sender<Confirmation>,
    warning: Warning,
}

/// A key whose event is durable, or may become so.
#[derive(Debug)]
struct Confirmation {
    key: (Key, EventId),
    confirm: Option<Shared<Pushed>>,
}

impl Deduplicator {
    pub(crate) fn start(keys: Arc<dyn IdempotencyKeys>, tasks: &Tasks) -> Self {
        let (line, waiting) = mpsc::channel(CONFIRMATIONS_MAX);
        let closing = tasks.closing();
        tasks.spawn_background(
            "confirm keys",
            confirm_keys(Arc::clone(&keys), waiting, closing),
        );
        Self {
            keys,
            line,
            warning: Warning::default(),
        }
    }

    /// Reserves the keys of all candidates in one round trip.
    pub(crate) async fn decide(&self, candidates: &[Candidate]) -> Vec<Decision> {
        let mut decisions = vec![Decision::New; candidates.len()];
        let mut wanted: Vec<(String, EventId)> = Vec::new();
        let mut places = Vec::new();
        let mut first_of: HashMap<&Key, usize> = HashMap::new();
        for (place, (candidate, decision)) in candidates.iter().zip(&mut decisions).enumerate() {
            let Some(key) = &candidate.key else { continue };
            match first_of.get(key) {
                Some(first) => *decision = Decision::TwinOf(*first),
                None => {
                    first_of.insert(key, place);
                    wanted.push((key.0.clone(), candidate.event.eid));
                    places.push(place);
                }
            }
        }
        if wanted.is_empty() {
            return decisions;
        }
        let reservations = self.reserve(&wanted).await;
        for (number, place) in places.into_iter().enumerate() {
            if let Some(decision) = decisions.get_mut(place) {
                *decision = match reservations.as_ref().and_then(|all| all.get(number)) {
                    Some(Reservation::Reserved) => Decision::New,
                    Some(Reservation::Pending(eid)) => Decision::Contested(*eid),
                    Some(Reservation::Confirmed(eid)) => Decision::Repeat(*eid),
                    None => Decision::Unknown,
                };
            }
        }
        decisions
    }

    /// `None` when coordination is away.
    async fn reserve(&self, wanted: &[(String, EventId)]) -> Option<Vec<Reservation>> {
        match timeout(ANSWER_TIMEOUT, self.keys.reserve(wanted)).await {
            Ok(Ok(reservations)) => Some(reservations),
            Ok(Err(error)) => {
                self.lost(wanted.len(), Some(&error));
                None
            }
            Err(_elapsed) => {
                self.lost(wanted.len(), None);
                None
            }
        }
    }

    fn lost(&self, events: usize, error: Option<&Unavailable>) {
        metrics::not_deduplicated(events);
        if self.warning.is_due() {
            let cause = error
                .and_then(std::error::Error::source)
                .map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| "no answer in time".to_owned());
            tracing::warn!(
                cause,
                "coordination is away: events are accepted, repeats included"
            );
        }
    }

    /// What follows the event's way to the broker and confirms its key.
    pub(crate) fn ticket(&self, confirm: Shared<Pushed>, key: Option<(Key, EventId)>) -> Ticket {
        Ticket {
            confirm,
            key,
            line: self.line.clone(),
        }
    }

    /// Gives back keys of events that certainly did not go out.
    pub(crate) async fn release(&self, keys: Vec<(Key, EventId)>) {
        if keys.is_empty() {
            return;
        }
        let keys: Vec<_> = keys.into_iter().map(|(key, eid)| (key.0, eid)).collect();
        // Kept, they expire by themselves.
        if !matches!(
            timeout(ANSWER_TIMEOUT, self.keys.release(&keys)).await,
            Ok(Ok(()))
        ) {
            tracing::debug!(keys = keys.len(), "keys could not be given back");
        }
    }

    /// Looks again and again whether the first has been confirmed.
    pub(crate) async fn watch(&self, key: &Key, eid: EventId) -> Settled {
        let deadline = Instant::now() + UNHEARD_AFTER;
        let mut wait = FIRST_LOOK_AFTER;
        let mut wanted = [(key.0.clone(), eid)];
        while Instant::now() < deadline {
            sleep(wait).await;
            wait = (wait * 2).min(LOOK_AGAIN_AFTER);
            match self.reserve(&wanted).await.as_deref() {
                Some([Reservation::Confirmed(eid)]) => return Settled::Confirmed(*eid),
                Some([Reservation::Pending(eid)]) => wanted = [(key.0.clone(), *eid)],
                // The first gave up, or coordination did.
                Some(_) | None => break,
            }
        }
        let [(_, eid)] = wanted;
        Settled::Unheard(eid)
    }
}

/// Follows one event to its confirm. When a caller goes away in the midst of it, the event may
/// still become durable, and its key is confirmed all the same.
#[derive(Debug)]
pub(crate) struct Ticket {
    confirm: Shared<Pushed>,
    key: Option<(Key, EventId)>,
    line: mpsc::Sender<Confirmation>,
}

impl Ticket {
    pub(crate) async fn confirmed(mut self) -> Result<(), PublishError> {
        let outcome = self.confirm.clone().await;
        // A key whose event failed stays reserved: nothing is known of it, and a repeat within
        // half a minute goes out under the same id.
        if let Some(key) = self.key.take().filter(|_| outcome.is_ok()) {
            put_in_line(&self.line, Confirmation { key, confirm: None });
        }
        outcome
    }

    /// Another that waits for the same confirm.
    pub(crate) fn twin(&self) -> Self {
        Self {
            confirm: self.confirm.clone(),
            key: None,
            line: self.line.clone(),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let confirm = Some(self.confirm.clone());
            put_in_line(&self.line, Confirmation { key, confirm });
        }
    }
}

fn put_in_line(line: &mpsc::Sender<Confirmation>, confirmation: Confirmation) {
    if line.try_send(confirmation).is_err() {
        metrics::key_not_confirmed(1);
    }
}

/// Confirms keys, as many at once as have come in meanwhile.
async fn confirm_keys(
    keys: Arc<dyn IdempotencyKeys>,
    mut line: mpsc::Receiver<Confirmation>,
    mut closing: impl Future<Output = ()> + Send + Unpin,
) -> anyhow::Result<()> {
    let mut outstanding: FuturesUnordered<BoxFuture<'static, Option<(Key, EventId)>>> =
        FuturesUnordered::new();
    let mut is_closing = false;
    loop {
        let mut durable = Vec::new();
        tokio::select! {
            Some(settled) = outstanding.next() => durable.extend(settled),
            confirmation = line.recv() => match confirmation {
                Some(confirmation) => sort(confirmation, &mut durable, &outstanding),
                None => return Ok(()),
            },
            () = &mut closing, if !is_closing => {
                is_closing = true;
                line.close();
            }
        }
        while durable.len() < CONFIRMED_AT_ONCE_MAX
            && let Ok(confirmation) = line.try_recv()
        {
            sort(confirmation, &mut durable, &outstanding);
        }
        if durable.is_empty() {
            continue;
        }
        let durable: Vec<_> = durable.into_iter().map(|(key, eid)| (key.0, eid)).collect();
        if !matches!(
            timeout(ANSWER_TIMEOUT, keys.confirm(&durable)).await,
            Ok(Ok(()))
        ) {
            metrics::key_not_confirmed(durable.len());
        }
    }
}

fn sort(
    Confirmation { key, confirm }: Confirmation,
    durable: &mut Vec<(Key, EventId)>,
    outstanding: &FuturesUnordered<BoxFuture<'static, Option<(Key, EventId)>>>,
) {
    match confirm {
        None => durable.push(key),
        Some(confirm) => {
            outstanding.push(
                confirm
                    .map(|outcome| outcome.is_ok().then_some(key))
                    .boxed(),
            );
        }
    }
}

/// Says when a line may be logged again.
#[derive(Debug)]
struct Warning {
    began: Instant,
    next_ms: AtomicU64,
}

impl Default for Warning {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            next_ms: AtomicU64::new(0),
        }
    }
}

impl Warning {
    fn is_due(&self) -> bool {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(0);
        let now = milliseconds(self.began.elapsed());
        let next = self.next_ms.load(Ordering::Relaxed);
        let after = now.saturating_add(milliseconds(WARN_EVERY));
        now >= next
            && self
                .next_ms
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_things_differ() {
        let project: ProjectName = "acme".parse().unwrap();
        let key = |parts: &[&[u8]]| Key::hash(&project, "event", parts);
        assert_eq!(key(&[b"a", b"b"]), key(&[b"a", b"b"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        let other: ProjectName = "other".parse().unwrap();
        assert_ne!(key(&[b"a"]), Key::hash(&other, "event", &[b"a"]));
        assert_ne!(
            Key::of_idempotency(&project, "k", 0),
            Key::of_idempotency(&project, "k", 1)
        );
    }

    #[test]
    fn a_warning_is_due_once_in_a_while() {
        let warning = Warning::default();
        assert!(warning.is_due());
        assert!(!warning.is_due());
    }
}
