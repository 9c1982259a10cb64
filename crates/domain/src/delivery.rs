//! A delivery and its attempts: what is sent where, and what became of it.

use std::time::Duration;

use jiff::Timestamp;

use crate::event::Event;
use crate::id::DeliveryId;
use crate::name::{FunctionName, ProjectName, TriggerName};
use crate::pattern::Captures;
use crate::retry::RetryPolicy;

/// One delivery on its way: which trigger's function, and how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub delivery: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    /// What the trigger's patterns captured from type and subject.
    pub captures: Captures,
    /// The number the next attempt will have, from 1.
    pub next_attempt: u32,
    /// Raised by a redrive; the delivery's id stays.
    pub generation: u32,
    /// The registry's revision that decided for this delivery.
    pub revision: u64,
    /// A row in the waiting room stays for it until it has [`Ended`].
    pub is_held: bool,
}

/// An event with the deliveries it is owed in one shard; they share its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Consignment {
    pub event: Event,
    pub targets: Vec<Target>,
}

/// A delivery that must wait outside the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub event: Event,
    pub target: Target,
    pub reason: WaitReason,
    pub since: Timestamp,
    pub due_at: Timestamp,
}

/// How fast the waiting room may send on what waits for one function, by the worker that owns its
/// endpoint. The newest counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    pub project: ProjectName,
    pub function: FunctionName,
    /// Deliveries a second; `None` where nothing is known to limit it.
    pub per_second: Option<f64>,
    /// How many may go at once.
    pub burst: u32,
    /// None goes before: the breaker is open, or the endpoint asked for a rest.
    pub closed_until: Option<Timestamp>,
    pub at: Timestamp,
}

/// A delivery for which a row was held in the waiting room, because others of its key wait behind
/// it or because its request took long, is settled for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub project: ProjectName,
    pub delivery: DeliveryId,
    pub generation: u32,
}

/// A function is to be switched off, by the worker that calls it; see [`disable`](crate::disable).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disable {
    pub project: ProjectName,
    pub function: FunctionName,
    pub reason: String,
    pub at: Timestamp,
    /// The function's revision that was called: whoever changed it since has had the last word.
    pub revision: u64,
}

/// What the waiting room is told through its queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    Wait(Box<Waiting>),
    Allow(Allowance),
    End(Ended),
    Disable(Disable),
}

/// Why a delivery is in the waiting room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WaitReason {
    /// The last attempt failed and another is due later.
    Retry,
    /// Whoever emitted the event, or an operator, named a time.
    Scheduled,
    /// The endpoint has as many requests under way as it bears.
    Concurrency,
    /// The function is called as fast as it may be.
    Rate,
    /// The endpoint has failed so often that it is only probed.
    Breaker,
    /// The function or its project is paused.
    Paused,
    /// An earlier event of the same key is not settled yet.
    Order,
    /// Its request is under way and takes long, or it waits in its worker for others to share one;
    /// it is due when its worker must be dead.
    InFlight,
}

impl WaitReason {
    pub const ALL: [Self; 8] = [
        Self::Retry,
        Self::Scheduled,
        Self::Concurrency,
        Self::Rate,
        Self::Breaker,
        Self::Paused,
        Self::Order,
        Self::InFlight,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Scheduled => "scheduled",
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::Breaker => "breaker",
            Self::Paused => "paused",
            Self::Order => "order",
            Self::InFlight => "in_flight",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A delivery's state as people see it; Space Cloud's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Announced by a source whose operation has not finished yet.
    Intent,
    /// To be delivered, or to be tried again at `next_attempt_at`.
    Staged,
    /// The endpoint accepted it.
    Processed,
    /// Given up after the last attempt, or never possible.
    Failed,
    /// Ended without being sent; the remark says why.
    Cancel,
}

impl Status {
    pub const ALL: [Self; 5] = [
        Self::Intent,
        Self::Staged,
        Self::Processed,
        Self::Failed,
        Self::Cancel,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Staged => "staged",
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::Cancel => "cancel",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    pub const fn is_final(self) -> bool {
        match self {
            Self::Processed | Self::Failed | Self::Cancel => true,
            Self::Intent | Self::Staged => false,
        }
    }
}

/// What one attempt came to, before any rule looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this status.
    Answered { status: u16 },
    /// Nothing usable came back.
    Unreachable { class: ErrorClass, message: String },
    /// This can never work; no attempt will.
    Impossible { class: ErrorClass, message: String },
}

/// Kinds of failure, as shown in logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The endpoint answered with something other than 2xx.
    Status,
    /// The name could not be resolved.
    Dns,
    /// The connection was refused or reset.
    Connect,
    /// The certificate or handshake failed.
    Tls,
    /// No whole answer within the time allowed.
    Timeout,
    /// The answer broke off or was not HTTP.
    Protocol,
    /// The address may not be called from here.
    Egress,
    /// The request could not be made from the event.
    Render,
    /// The request would be larger than the receiver's format allows.
    TooLarge,
    /// The endpoint answered 2xx, and what it says is that it did not take the event.
    Answer,
}

impl ErrorClass {
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Protocol,
        Self::Egress,
        Self::Render,
        Self::TooLarge,
        Self::Answer,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Egress => "egress",
            Self::Render => "render",
            Self::TooLarge => "too_large",
            Self::Answer => "answer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Accepted: the delivery is processed.
    Finish,
    /// Try again at this time.
    RetryAt(Timestamp),
    /// Give up: the delivery has failed.
    GiveUp(GiveUpReason),
}

/// Why a delivery is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUpReason {
    /// As many attempts as the policy allows.
    AttemptsUsedUp,
    /// The policy's total time does not last until the next attempt.
    TimeUsedUp,
    /// The endpoint's answer is one after which there is no further attempt.
    FinalStatus,
    /// The endpoint says that it is gone, and its function wants to be switched off then.
    Gone,
    /// It could never work.
    Impossible,
}

impl GiveUpReason {
    /// The remark shown beside the status.
    pub const fn remark(self) -> &'static str {
        match self {
            Self::AttemptsUsedUp => "attempts used up",
            Self::TimeUsedUp => "time used up",
            Self::FinalStatus => "the answer is final",
            Self::Gone => "the endpoint is gone",
            Self::Impossible => "can never work",
        }
    }
}

/// An attempt that came to its end.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    pub outcome: &'a Outcome,
    /// How long the endpoint asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The attempt's number, from 1.
    pub number: u32,
    /// From when the policy's total time counts; see [`begin_of`].
    pub began_at: Timestamp,
    pub ended_at: Timestamp,
}

/// From when the total time of a delivery's retry policy counts: when its event was accepted, or
/// was to be delivered. What was redriven is tried anew, and has no end but its attempts.
pub fn begin_of(event: &Event, target: &Target, now: Timestamp) -> Timestamp {
    if target.generation > 0 {
        return now;
    }
    let due_at = event.deliver_at.unwrap_or(event.accepted_at);
    due_at.max(event.accepted_at)
}

/// Decides what follows an attempt: the one place that turns an outcome into a fate.
///
/// `disable_on_gone` is the function's own wish; `random` in `0.0..1.0` spreads waits.
pub fn next_step(
    policy: &RetryPolicy,
    disable_on_gone: bool,
    tried: &Tried<'_>,
    random: f64,
) -> Step {
    match tried.outcome {
        Outcome::Answered { status: 200..=299 } => return Step::Finish,
        Outcome::Impossible { .. } => return Step::GiveUp(GiveUpReason::Impossible),
        Outcome::Answered { status: 410 } if disable_on_gone => {
            return Step::GiveUp(GiveUpReason::Gone);
        }
        Outcome::Answered { status } if policy.final_statuses.contains(*status) => {
            return Step::GiveUp(GiveUpReason::FinalStatus);
        }
        Outcome::Answered { .. } | Outcome::Unreachable { .. } => {}
    }
    let Some(wait) = policy.wait_after(tried.number, random) else {
        return Step::GiveUp(GiveUpReason::AttemptsUsedUp);
    };
    let asked = tried.retry_after.unwrap_or_default();
    let wait = wait.max(asked.min(policy.retry_after_max));
    let due_at = tried.ended_at.saturating_add(wait);
    let last_at = tried.began_at.saturating_add(policy.total_max);
    match (due_at, last_at) {
        (Ok(due_at), Ok(last_at)) if due_at <= last_at => Step::RetryAt(due_at),
        _ => Step::GiveUp(GiveUpReason::TimeUsedUp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(outcome: &Outcome, number: u32) -> Tried<'_> {
        Tried {
            outcome,
            retry_after: None,
            number,
            began_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn step(outcome: &Outcome, attempt: u32) -> Step {
        let policy = RetryPolicy::default();
        next_step(&policy, false, &tried(outcome, attempt), 0.5)
    }

    fn seconds_on(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn only_2xx_finishes_a_delivery() {
        for status in [200, 201, 204, 299] {
            assert_eq!(step(&Outcome::Answered { status }, 1), Step::Finish);
        }
        let five_seconds_on = Timestamp::UNIX_EPOCH + Duration::from_secs(5);
        for status in [100, 199, 301, 302, 304, 400, 404, 410, 429, 500, 503] {
            assert_eq!(
                step(&Outcome::Answered { status }, 1),
                Step::RetryAt(five_seconds_on)
            );
        }
    }

    #[test]
    fn three_retries_make_four_attempts() {
        let refused = Outcome::Answered { status: 500 };
        assert!(matches!(step(&refused, 3), Step::RetryAt(_)));
        assert_eq!(
            step(&refused, 4),
            Step::GiveUp(GiveUpReason::AttemptsUsedUp)
        );
    }

    #[test]
    fn what_can_never_work_is_not_tried_again() {
        let outcome = Outcome::Impossible {
            class: ErrorClass::Egress,
            message: "refused".to_owned(),
        };
        assert_eq!(step(&outcome, 1), Step::GiveUp(GiveUpReason::Impossible));
    }

    #[test]
    fn a_rest_that_is_asked_for_is_given_up_to_the_cap() {
        let outcome = Outcome::Answered { status: 429 };
        let policy = RetryPolicy {
            retry_after_max: Duration::from_secs(60),
            ..RetryPolicy::default()
        };
        let after = |asked: u64| {
            let tried = Tried {
                retry_after: Some(Duration::from_secs(asked)),
                ..tried(&outcome, 1)
            };
            next_step(&policy, false, &tried, 0.5)
        };
        assert_eq!(after(0), Step::RetryAt(seconds_on(5)), "never sooner");
        assert_eq!(after(30), Step::RetryAt(seconds_on(30)));
        assert_eq!(after(3600), Step::RetryAt(seconds_on(60)));
    }

    #[test]
    fn the_total_time_ends_a_delivery_that_has_attempts_left() {
        let outcome = Outcome::Answered { status: 500 };
        let policy = RetryPolicy {
            retries_max: 100,
            total_max: Duration::from_secs(12),
            ..RetryPolicy::default()
        };
        let at = |second: u64| {
            let tried = Tried {
                ended_at: seconds_on(second),
                ..tried(&outcome, 2)
            };
            next_step(&policy, false, &tried, 0.5)
        };
        assert_eq!(at(7), Step::RetryAt(seconds_on(12)));
        assert_eq!(at(8), Step::GiveUp(GiveUpReason::TimeUsedUp));
    }

    #[test]
    fn a_final_status_ends_at_once_and_no_other() {
        let policy = RetryPolicy {
            final_statuses: "400-404,410".parse().unwrap(),
            ..RetryPolicy::default()
        };
        let after = |status: u16| {
            let outcome = Outcome::Answered { status };
            next_step(&policy, false, &tried(&outcome, 1), 0.5)
        };
        for status in [400, 404, 410] {
            assert_eq!(after(status), Step::GiveUp(GiveUpReason::FinalStatus));
        }
        for status in [405, 409, 429, 500] {
            assert!(matches!(after(status), Step::RetryAt(_)), "{status}");
        }
        assert_eq!(after(200), Step::Finish);
    }

    #[test]
    fn gone_ends_and_disables_only_where_it_is_wished() {
        let outcome = Outcome::Answered { status: 410 };
        let policy = RetryPolicy::default();
        let after = |wish| next_step(&policy, wish, &tried(&outcome, 1), 0.5);
        assert_eq!(after(true), Step::GiveUp(GiveUpReason::Gone));
        assert!(matches!(after(false), Step::RetryAt(_)));
    }

    #[test]
    fn s2_19_names_of_states_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::parse(class.as_str()), Some(class));
        }
        for reason in WaitReason::ALL {
            assert_eq!(WaitReason::parse(reason.as_str()), Some(reason));
        }
    }
}
