//! Switching a function off: what an attempt says of it, when it is enough, and what is told.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::delivery::{Disable, Outcome};
use crate::event::Event;
use crate::event_type::EventType;
use crate::function::{Function, FunctionSettings};
use crate::id::EventId;
use crate::name::FunctionName;

/// What an attempt says of the function as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Works,
    Fails,
    /// It fails, and says that it will for ever.
    Gone,
}

impl Sign {
    /// `None` for an outcome that says something of the event alone, since nobody was called.
    pub const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Answered { status: 200..=299 } => Some(Self::Works),
            Outcome::Answered { status: 410 } => Some(Self::Gone),
            Outcome::Answered { .. } | Outcome::Unreachable { .. } => Some(Self::Fails),
            Outcome::Impossible { .. } => None,
        }
    }
}

/// Whether anybody has to watch the function to know when it is to be switched off.
pub const fn is_watched(settings: &FunctionSettings) -> bool {
    settings.disable_on_gone || settings.disable_after.is_some()
}

/// Since when the function only fails, as it counts: a change to the function, which may have
/// mended it, begins anew. So does resuming it.
pub fn fails_since(function: &Function, first_failure: Timestamp) -> Timestamp {
    first_failure.max(function.updated_at)
}

/// Why the function is to be switched off after an attempt, if it is.
///
/// `failing_since` is when the first of its failures was after which nothing succeeded.
pub fn reason_to_disable(
    function: &Function,
    sign: Sign,
    failing_since: Timestamp,
    now: Timestamp,
) -> Option<String> {
    let settings = &function.settings;
    if sign == Sign::Works {
        return None;
    }
    if sign == Sign::Gone && settings.disable_on_gone {
        return Some("the endpoint answered 410, which says that it is gone".to_owned());
    }
    let since = fails_since(function, failing_since);
    let until = since.saturating_add(settings.disable_after?).ok()?;
    (until <= now).then(|| format!("it has failed since {since}, without a success"))
}

/// The data of the event.
#[derive(Serialize)]
struct Told<'a> {
    function: String,
    reason: &'a str,
    at: String,
    url: &'a str,
}

/// The event that tells of it. Its id is derived, so that the same order, followed again, leads to
/// the same deliveries.
pub fn event_about(function: &Function, disable: &Disable) -> Event {
    let name = disable.function.to_string();
    let revision = disable.revision.to_string();
    let eid = EventId::about(
        disable.at,
        &[disable.project.as_str(), &name, &revision, "disabled"],
    );
    let FunctionName { package, name } = &disable.function;
    let told = Told {
        function: disable.function.to_string(),
        reason: &disable.reason,
        at: disable.at.to_string(),
        url: function.url.as_str(),
    };
    // All of it is text.
    let data = Bytes::from(serde_json::to_vec(&told).unwrap_or_default());
    Event {
        eid,
        project: disable.project.clone(),
        id: eid.to_string(),
        source: format!("/projects/{}/functions", disable.project),
        event_type: EventType::function_disabled(),
        subject: Some(format!("functions/{package}/{name}")),
        time: disable.at,
        accepted_at: disable.at,
        data_content_type: Some("application/json".to_owned()),
        data,
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: std::collections::BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
