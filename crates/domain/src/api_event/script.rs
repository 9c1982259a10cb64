//! What makes a trigger a script of API calls: the event it is bound to, and what it may do there.

use super::name::{Call, EventName, Phase, Verb};
use crate::event::Event;
use crate::pattern::Captures;

/// A trigger's binding to calls of the API. Its name has a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub event: EventName,
    /// Lower ones run first; of equals the generic before the special.
    pub priority: i32,
    /// Whether request and response may be changed. Refusing a call needs no leave.
    pub allow_event_modification: bool,
    pub on_error: OnError,
}

/// What a script that does not answer as it should does to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The client gets 500 `script_failed`.
    #[default]
    Fail,
    /// As if the script were not there.
    Ignore,
}

impl OnError {
    pub const ALL: [Self; 2] = [Self::Fail, Self::Ignore];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Ignore => "ignore",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The event's attribute that says what a call asked for; the path is its subject.
pub const VERB_ATTRIBUTE: &str = "verb";

/// Subjects of calls begin so; service and path follow.
pub const SUBJECT_ROOT: &str = "api/";

impl Script {
    pub fn phase(&self) -> Phase {
        // A name without a phase is refused when the script is made.
        self.event.phase().unwrap_or(Phase::Queued)
    }

    /// What the name captures where it means the call and the phase.
    pub fn matches(&self, call: &Call<'_>, phase: Phase) -> Option<Captures> {
        if self.phase() == phase {
            self.event.matches(call)
        } else {
            None
        }
    }

    /// Whether the event is a call that has been answered and that this script is queued for.
    pub(crate) fn is_queued_for(&self, event: &Event) -> Option<Captures> {
        if event.event_type.as_str() != Phase::Queued.event_type() {
            return None;
        }
        self.matches(&call_of(event)?, Phase::Queued)
    }
}

/// The call that an event of the API tells of.
pub fn call_of(event: &Event) -> Option<Call<'_>> {
    let subject = event.subject.as_deref()?.strip_prefix(SUBJECT_ROOT)?;
    let (service, path) = subject.split_once('/').unwrap_or((subject, ""));
    let verb = Verb::parse(event.extensions.get(VERB_ATTRIBUTE)?)?;
    Some(Call {
        service,
        path,
        verb,
    })
}

/// The subject of events of a call.
pub fn subject_of(call: &Call<'_>) -> String {
    let path = call.path.strip_prefix('/').unwrap_or(call.path);
    if path.is_empty() {
        format!("{SUBJECT_ROOT}{}", call.service)
    } else {
        format!("{SUBJECT_ROOT}{}/{path}", call.service)
    }
}
