//! Why an event does or does not call a trigger's function, condition by condition.

use super::Trigger;
use crate::api_event::script::call_of;
use crate::event::Event;
use crate::filter::Facts;

/// One condition of a trigger, and what an event has to say to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The trigger's field.
    pub what: &'static str,
    pub wanted: String,
    pub found: String,
    pub holds: bool,
}

impl Trigger {
    /// Every condition there is, those that hold too. The event calls the function where all do.
    pub fn explain(&self, event: &Event) -> Vec<Condition> {
        let subject = event.subject.as_deref().unwrap_or_default();
        let last = crate::pattern::decoded_last_segment(subject);
        let mut conditions = vec![Condition {
            what: "enabled",
            wanted: "true".to_owned(),
            found: self.is_enabled.to_string(),
            holds: self.is_enabled,
        }];
        if !self.on.is_empty() || event.event_type.is_systems_own() {
            let wanted: Vec<String> = self.on.iter().map(ToString::to_string).collect();
            conditions.push(Condition {
                what: "on",
                wanted: if wanted.is_empty() {
                    "every type that clients emit".to_owned()
                } else {
                    wanted.join(", ")
                },
                found: event.event_type.to_string(),
                holds: self.of_type(event).is_some(),
            });
        }
        conditions.extend(self.of_script(event));
        if let Some(pattern) = &self.subject {
            conditions.push(Condition {
                what: "subject",
                wanted: pattern.to_string(),
                found: subject.to_owned(),
                holds: pattern.matches(subject).is_some(),
            });
        }
        if let Some(prefix) = &self.prefix {
            conditions.push(Condition {
                what: "prefix",
                wanted: prefix.clone(),
                found: last.to_string(),
                holds: last.starts_with(prefix.as_str()),
            });
        }
        if let Some(suffix) = &self.suffix {
            conditions.push(Condition {
                what: "suffix",
                wanted: suffix.clone(),
                found: last.to_string(),
                holds: last.ends_with(suffix.as_str()),
            });
        }
        for (name, listed) in &self.options {
            let value = event.extensions.get(name);
            conditions.push(Condition {
                what: "options",
                wanted: format!("{name}={listed}"),
                found: value.cloned().unwrap_or_default(),
                holds: value.is_some_and(|value| listed.split(',').any(|one| one.trim() == value)),
            });
        }
        if let Some(filter) = &self.filter {
            // Captures are there where all the rest holds; else none are.
            let captures = self.captures(event).unwrap_or_default();
            let answer = filter.holds(&Facts::of(event), &captures);
            conditions.push(Condition {
                what: "filter",
                wanted: filter.as_str().to_owned(),
                found: match &answer {
                    Ok(holds) => holds.to_string(),
                    Err(reason) => format!("failed: {reason}"),
                },
                holds: answer == Ok(true),
            });
        }
        conditions
    }

    /// Of a script of API calls: which calls it is for.
    fn of_script(&self, event: &Event) -> Option<Condition> {
        let script = self.script.as_ref()?;
        let call = call_of(event);
        Some(Condition {
            what: "api_event",
            wanted: script.event.to_string(),
            found: call.map_or_else(
                || "no call of the API that was answered".to_owned(),
                |call| format!("{} {}/{}", call.verb.as_str(), call.service, call.path),
            ),
            holds: script.is_queued_for(event).is_some(),
        })
    }
}

#[cfg(test)]
mod tests;
