//! A trigger: the rule that says which events call a function, and how often it is tried.

use jiff::Timestamp;

use crate::event::Event;
use crate::event_type::TypeSelector;
use crate::format::Format;
use crate::name::{FunctionName, ProjectName, TriggerName};
use crate::pattern::{Captures, PathPattern};
use crate::retry::RetryPolicy;

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
    /// Overrides the function's own format.
    pub format: Option<Format>,
    pub retry: RetryPolicy,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The registry's revision that last changed this trigger.
    pub revision: u64,
}

impl Trigger {
    /// Whether the event calls this trigger's function, and what the patterns captured.
    ///
    /// This is the rule itself; [`crate::matching`] finds the candidates among many triggers.
    pub fn matches(&self, event: &Event) -> Option<Captures> {
        if !self.is_enabled || self.project != event.project {
            return None;
        }
        let mut captures = Captures::default();
        if !self.on.is_empty() {
            captures = self
                .on
                .iter()
                .find_map(|selector| selector.matches(&event.event_type))?;
        }
        let subject = event.subject.as_deref().unwrap_or_default();
        if let Some(pattern) = &self.subject {
            captures.extend(pattern.matches(subject)?);
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
}
