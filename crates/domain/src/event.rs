//! The canonical event: a `CloudEvents` 1.0 event with what tripline adds at the door.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::event_type::EventType;
use crate::id::EventId;
use crate::name::ProjectName;
use crate::reply::ReplyAddress;

/// An event may carry this many bytes of data unless the operator sets another limit.
pub const DATA_BYTES_MAX: usize = 256 * 1024;

/// Identifiers, sources, subjects and extension values are kept to this length.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// An event may be kept back for so long, and a delivery put off: a day less than logs are kept.
pub const AHEAD_MAX: Duration = Duration::from_hours(6 * 24);

/// An event as accepted. It never changes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Internal identity, given once at acceptance.
    pub eid: EventId,
    pub project: ProjectName,
    /// The `CloudEvents` id: the client's own, else the text form of `eid`.
    pub id: String,
    /// A URI reference; `/projects/{project}` when the client names none.
    pub source: String,
    pub event_type: EventType,
    /// Path of the resource the event is about; `/`-separated, segments percent-encoded.
    pub subject: Option<String>,
    /// When it happened, by the client's word; else when it was accepted.
    pub time: Timestamp,
    pub accepted_at: Timestamp,
    /// Media type of `data`; `None` when there is no data.
    pub data_content_type: Option<String>,
    pub data: Bytes,
    /// The user or service on whose behalf the event happened.
    pub actor: Option<Actor>,
    /// What events must share to be kept in order. The subject when the client names none.
    pub partition_key: Option<String>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    /// How many events led to this one, each caused by the call of the one before.
    pub depth: u32,
    /// Functions that were called on the way here, the latest last, as `[PACKAGE/]NAME`.
    pub ancestry: Vec<String>,
    /// Not to be delivered before; `None` means at once.
    pub deliver_at: Option<Timestamp>,
    /// W3C trace context of the emit call.
    pub traceparent: Option<String>,
    /// Where somebody waits for the answer of a function; nobody does when it comes again later.
    pub reply_to: Option<ReplyAddress>,
    /// Further `CloudEvents` attributes, as the client sent them; names are `[a-z0-9]{1,20}`.
    pub extensions: BTreeMap<String, String>,
}

/// Who caused an event. A function session is minted for this principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub id: String,
    /// `user` unless the client says otherwise.
    pub kind: String,
}

impl Event {
    /// An event of which no more is known than its type and its data, which is JSON; it happened
    /// at the moment its id tells.
    pub fn of_type(eid: EventId, project: ProjectName, event_type: EventType, data: Bytes) -> Self {
        let now = eid.accepted_at();
        Self {
            eid,
            id: eid.to_string(),
            source: format!("/projects/{project}"),
            project,
            event_type,
            subject: None,
            time: now,
            accepted_at: now,
            data_content_type: (!data.is_empty()).then(|| "application/json".to_owned()),
            data,
            actor: None,
            partition_key: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            ancestry: Vec::new(),
            deliver_at: None,
            traceparent: None,
            reply_to: None,
            extensions: BTreeMap::new(),
        }
    }

    /// What decides the event's shard and, where a trigger asks for order, its place in a line.
    pub fn ordering_key(&self) -> Option<&str> {
        self.partition_key.as_deref().or(self.subject.as_deref())
    }

    /// Whether `data` is JSON by its media type.
    pub fn has_json_data(&self) -> bool {
        self.data_content_type.as_deref().is_some_and(is_json)
    }
}

/// `application/json`, `text/json` and `…+json`, with or without parameters.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
pub(crate) mod sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/x+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["text/plain", "application/jsonl", ""] {
            assert!(!is_json(other), "{other}");
        }
    }
}
