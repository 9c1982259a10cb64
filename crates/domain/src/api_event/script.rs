//! What makes a trigger a script of API calls: the event it is bound to, and what it may do there.

use sha2::{Digest as _, Sha256};

use super::name::{Call, EventName, Phase, Verb};
use crate::event::Event;
use crate::name::TriggerName;
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

/// The one name that a script of this event can have as a trigger: so there is one for each event and
/// phase, whoever makes it and whenever.
pub fn trigger_name(event: &EventName) -> TriggerName {
    let mut readable = String::new();
    for char in event.as_str().chars().take(READABLE_CHARS_MAX) {
        let char = char.to_ascii_lowercase();
        if char.is_ascii_alphanumeric() {
            readable.push(char);
        } else if !readable.is_empty() && !readable.ends_with('-') {
            readable.push('-');
        }
    }
    let hash: String = Sha256::digest(event.as_str())
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let readable = readable.trim_end_matches('-');
    let name = format!("script-{readable}-{hash}").replace("--", "-");
    #[expect(
        clippy::expect_used,
        reason = "made of allowed characters, and short enough"
    )]
    name.parse().expect("the name of a script")
}

/// As much of an event's name stands in the name of its trigger.
const READABLE_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;
    use crate::event_type::EventType;
    use crate::trigger::Trigger;

    fn queued(event: &str) -> Trigger {
        Trigger {
            on: vec!["api.call.done".parse().unwrap()],
            script: Some(Box::new(Script {
                event: event.parse().unwrap(),
                priority: 0,
                allow_event_modification: false,
                on_error: OnError::Fail,
            })),
            ..sample::trigger("queued")
        }
    }

    fn done(subject: &str, verb: &str) -> Event {
        let mut event = sample::event(1);
        event.event_type = EventType::parse("api.call.done").unwrap();
        event.subject = Some(subject.to_owned());
        event
            .extensions
            .insert(VERB_ATTRIBUTE.to_owned(), verb.to_owned());
        event
    }

    #[test]
    fn s5_27_there_is_one_name_for_each_event_and_phase() {
        let name = |event: &str| trigger_name(&event.parse().unwrap()).to_string();
        let first = name("db._table.{table_name}.get.pre_process");
        assert_eq!(first, name("db._table.{table_name}.get.pre_process"));
        assert_eq!(
            first,
            "script-db-table-table-name-get-pre-process-4502d1c70475"
        );
        assert_ne!(first, name("db._table.{table_name}.get.post_process"));
        // What looks alike once it is readable is still told apart.
        assert_ne!(name("db.a-b.get.queued"), name("db.a.b.get.queued"));
        for odd in ["*.*.queued", "*.get.queued", "0.get.queued"] {
            assert!(name(odd).starts_with("script-"), "{odd}");
        }
        let long = name(&format!("db.{}.get.queued", "x".repeat(500)));
        assert!(long.len() <= 63, "{long}");
    }

    #[test]
    fn s5_24_a_queued_script_matches_calls_that_were_answered() {
        let trigger = queued("db._table.{table_name}.get.queued");
        let captures = trigger
            .matches(&done("api/db/_table/contact", "get"))
            .unwrap();
        assert_eq!(captures.get("table_name"), Some("contact"));
        assert!(
            trigger
                .matches(&done("api/db/_table/contact", "post"))
                .is_none()
        );
        assert!(trigger.matches(&done("api/db/_table", "get")).is_none());
        assert!(
            trigger
                .matches(&done("elsewhere/db/_table/contact", "get"))
                .is_none()
        );
        let mut pre = done("api/db/_table/contact", "get");
        pre.event_type = EventType::parse("api.call.pre").unwrap();
        assert!(trigger.matches(&pre).is_none());
        let folder = queued("files.{folder_path}.get.queued");
        assert!(folder.matches(&done("api/files/docs/", "get")).is_some());
        assert!(folder.matches(&done("api/files/docs", "get")).is_none());
    }

    #[test]
    fn scripts_before_and_after_calls_are_called_by_no_event() {
        for phase in [Phase::PreProcess, Phase::PostProcess] {
            let mut trigger = queued(&format!("db.*.{}", phase.as_str()));
            trigger.on = vec![phase.event_type().parse().unwrap()];
            let mut event = done("api/db/_table", "get");
            event.event_type = EventType::parse(phase.event_type()).unwrap();
            assert!(trigger.matches(&event).is_none());
        }
    }

    #[test]
    fn subjects_lead_back_to_their_calls() {
        for (path, subject) in [
            ("", "api/db"),
            ("_table/a%2Fb", "api/db/_table/a%2Fb"),
            ("docs/", "api/db/docs/"),
        ] {
            let call = Call {
                service: "db",
                path,
                verb: Verb::Put,
            };
            assert_eq!(subject_of(&call), subject);
            let event = done(subject, "put");
            let read = call_of(&event).unwrap();
            assert_eq!(
                (read.service, read.path, read.verb),
                ("db", path, Verb::Put)
            );
        }
    }
}
