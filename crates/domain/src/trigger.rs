//! A trigger: the rule that says which events call a function, and how often it is tried.

mod explain;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use self::explain::Condition;

use crate::api_event::Script;
use crate::event::Event;
use crate::event_type::TypeSelector;
use crate::filter::{Facts, Filter};
use crate::format::Format;
use crate::name::{FunctionName, ProjectName, TriggerName};
use crate::pattern::{Captures, PathPattern};
use crate::retry::RetryPolicy;
use crate::template::Template;

/// A trigger as configured. All its conditions must hold; one left out always holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    pub project: ProjectName,
    pub name: TriggerName,
    pub function: FunctionName,
    pub is_enabled: bool,
    /// Any of these types; empty means every type.
    pub on: Vec<TypeSelector>,
    /// The event's subject must match.
    pub subject: Option<PathPattern>,
    /// The last segment of the subject, decoded, must begin so.
    pub prefix: Option<String>,
    /// The last segment of the subject, decoded, must end so.
    pub suffix: Option<String>,
    /// Attributes the event must have; each value lists, between commas, what it may be.
    pub options: BTreeMap<String, String>,
    /// Must be true of the event and its data.
    pub filter: Option<Filter>,
    /// Overrides the function's own format.
    pub format: Option<Format>,
    /// Makes the body instead of the format, whose other headers stay.
    pub template: Option<Template>,
    pub retry: RetryPolicy,
    pub ordering: Ordering,
    /// What becomes of a backlog, where there is an order.
    pub backlog: Backlog,
    /// An event with more events than this behind it calls nobody: it is taken for a loop.
    pub depth_max: u32,
    /// Binds the trigger to calls of the API. Before and after them it is called at once, and no
    /// event is matched to it; queued for them it matches `api.call.done`.
    pub script: Option<Box<Script>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The registry's revision that last changed this trigger.
    pub revision: u64,
}

/// Events with more events behind them than this are taken for a loop, unless a trigger says else.
pub const DEPTH_MAX: u32 = 8;

/// Whether deliveries of one trigger wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Each goes when it can.
    #[default]
    None,
    /// Those whose events share an ordering key go one after the other, in the order in which the
    /// broker confirmed the events; a failing one holds up its own key alone.
    Key,
}

impl Ordering {
    pub const ALL: [Self; 2] = [Self::None, Self::Key];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Key => "key",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is delivered of the deliveries of one key that wait behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backlog {
    #[default]
    All,
    /// Only the newest; those before it end as `cancel` with the remark `superseded`.
    Latest,
}

impl Backlog {
    pub const ALL: [Self; 2] = [Self::All, Self::Latest];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Latest => "latest",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whether an event calls a trigger's function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    No,
    /// With what the patterns captured.
    Yes(Captures),
    /// All the rest holds, but the filter cannot be answered. Calls nobody; people are told why.
    FilterFailed(String),
}

impl Trigger {
    /// A trigger that calls the function for every event, with every default.
    pub fn new(
        project: ProjectName,
        name: TriggerName,
        function: FunctionName,
        at: Timestamp,
    ) -> Self {
        Self {
            project,
            name,
            function,
            is_enabled: true,
            on: Vec::new(),
            subject: None,
            prefix: None,
            suffix: None,
            options: BTreeMap::new(),
            filter: None,
            format: None,
            template: None,
            retry: RetryPolicy::default(),
            ordering: Ordering::default(),
            backlog: Backlog::default(),
            depth_max: DEPTH_MAX,
            created_at: at,
            updated_at: at,
            script: None,
            revision: 0,
        }
    }

    /// Whether the event calls this trigger's function, and what the patterns captured.
    pub fn matches(&self, event: &Event) -> Option<Captures> {
        match self.decide(event, &Facts::of(event)) {
            Decision::Yes(captures) => Some(captures),
            Decision::No | Decision::FilterFailed(_) => None,
        }
    }

    /// Whether the event calls this trigger's function; `facts` are the event's own.
    ///
    /// This is the rule itself; [`crate::matching`] finds the candidates among many triggers.
    pub fn decide(&self, event: &Event, facts: &Facts<'_>) -> Decision {
        let Some(captures) = self.captures(event) else {
            return Decision::No;
        };
        match &self.filter {
            None => Decision::Yes(captures),
            Some(filter) => match filter.holds(facts, &captures) {
                Ok(true) => Decision::Yes(captures),
                Ok(false) => Decision::No,
                Err(reason) => Decision::FilterFailed(reason),
            },
        }
    }

    /// What the patterns capture, where everything but the filter holds.
    pub(crate) fn captures(&self, event: &Event) -> Option<Captures> {
        if !self.is_enabled || self.project != event.project {
            return None;
        }
        let mut captures = self.of_type(event)?;
        if let Some(script) = &self.script {
            captures.extend(script.is_queued_for(event)?);
        }
        let subject = event.subject.as_deref().unwrap_or_default();
        if let Some(pattern) = &self.subject {
            captures.extend(pattern.matches(subject)?);
        }
        if !self.options.is_empty() && !self.has_options(event) {
            return None;
        }
        if self.prefix.is_some() || self.suffix.is_some() {
            let last = crate::pattern::decoded_last_segment(subject);
            let has_prefix = self
                .prefix
                .as_deref()
                .is_none_or(|prefix| last.starts_with(prefix));
            let has_suffix = self
                .suffix
                .as_deref()
                .is_none_or(|suffix| last.ends_with(suffix));
            if !has_prefix || !has_suffix {
                return None;
            }
        }
        Some(captures)
    }

    fn of_type(&self, event: &Event) -> Option<Captures> {
        if self.on.is_empty() {
            // Whoever means what the system tells of itself names it.
            let is_meant = !event.event_type.is_systems_own();
            return is_meant.then(Captures::default);
        }
        self.on
            .iter()
            .find_map(|selector| selector.matches(&event.event_type))
    }

    /// Whether the event has every attribute that is asked for, with one of the values listed.
    fn has_options(&self, event: &Event) -> bool {
        self.options.iter().all(|(name, listed)| {
            let value = event.extensions.get(name);
            value.is_some_and(|value| listed.split(',').any(|one| one.trim() == value))
        })
    }
}
