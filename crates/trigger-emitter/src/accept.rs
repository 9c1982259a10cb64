//! Decides whether a draft is an event: every field is checked here, once, and nowhere later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::event::{AHEAD_MAX, ATTRIBUTE_BYTES_MAX, Actor, Event, is_json};
use domain::event_type::EventType;
use domain::id::EventId;
use domain::lineage::Lineage;
use domain::name::ProjectName;
use domain::pattern::check_subject;
use domain::session::Session;
use protocol::fault::{Fault, FaultKind};
use serde::de::IgnoredAny;
use telemetry::trace::TraceParent;

use crate::draft::{Dialect, Draft, Field};

pub use domain::json_text::{DEPTH_MAX as JSON_DEPTH_MAX, depth as json_depth};

/// Enough for every extension there is; they are copied into every request.
pub const EXTENSIONS_MAX: usize = 64;

const MEDIA_TYPE_BYTES_MAX: usize = 255;
const DEFAULT_MEDIA_TYPE: &str = "application/json";
const DEFAULT_ACTOR_KIND: &str = "user";

const ALLOWED_ID: &str = "text that no other event of the same source has, as CloudEvents requires";
const ALLOWED_SOURCE: &str = "a URI reference, such as /projects/shop or https://shop.example";

/// What tripline works out for every event it sends; a client's copy of it is not kept.
const DERIVED_EXTENSIONS: [&str; 3] = ["eventname", "eventnumber", "params"];

/// Attributes with a field of their own, which an extension cannot replace.
const OWN_ATTRIBUTES: [&str; 17] = [
    "actorid",
    "actorkind",
    "causationid",
    "correlationid",
    "data",
    "datacontenttype",
    "delay",
    "deliverat",
    "depth",
    "id",
    "partitionkey",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "type",
];

/// Who emits, and how the events are written.
#[derive(Debug, Clone)]
pub struct Call {
    pub project: ProjectName,
    /// Whoever calls with a session acts for its user, because of its event.
    pub session: Option<Arc<Session>>,
    pub dialect: Dialect,
    /// Trace context as it was received; a broken one is as good as none.
    pub traceparent: Option<String>,
    /// What the function that calls passed on of the event it was called for.
    pub lineage: Option<Lineage>,
}

impl Call {
    /// What is known of the calls that led to this one; what the caller passed on counts where it
    /// tells of more than the session it calls with.
    fn lineage(&self) -> Option<&Lineage> {
        let of_session = self.session.as_ref().map(|session| &session.lineage);
        let told = [of_session, self.lineage.as_ref()];
        told.into_iter()
            .flatten()
            .max_by_key(|lineage| (lineage.depth, lineage.ancestry.len()))
    }
}

/// What an event is given besides what the client says of it.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub now: Timestamp,
    /// For the event's id.
    pub random: [u8; 10],
    /// For an event that names no trace of its own.
    pub traceparent: String,
    pub data_bytes_max: usize,
}

/// Makes an event of a draft.
///
/// # Errors
/// Names the field at fault, its value and what is allowed.
pub fn accept(draft: Draft, call: &Call, at: Circumstances) -> Result<Event, Fault> {
    let check = Check {
        dialect: call.dialect,
    };
    let event_type = check.event_type(draft.event_type)?;
    let eid = EventId::new(at.now, at.random);
    let id = check.identity(Field::Id, draft.id, ALLOWED_ID)?;
    let id = id.unwrap_or_else(|| eid.to_string());
    let source = check.source(draft.source)?;
    let source = source.unwrap_or_else(|| format!("/projects/{}", call.project));
    if let Some(subject) = &draft.subject {
        check_subject(subject).map_err(|error| {
            let allowed = "a path of segments separated by '/', each percent-encoded";
            check.fault(Field::Subject, subject, error.to_string(), allowed)
        })?;
    }
    let data_content_type = check.media_type(draft.data_content_type, !draft.data.is_empty())?;
    let is_json = data_content_type.as_deref().is_some_and(is_json);
    check.data(
        &draft.data,
        at.data_bytes_max,
        is_json && !draft.is_data_known_json,
    )?;
    let actor = check.actor(draft.actor_id, draft.actor_kind)?;
    let traceparent = check
        .traceparent(draft.traceparent)?
        .unwrap_or(at.traceparent);
    let mut event = Event {
        eid,
        project: call.project.clone(),
        id,
        source,
        event_type,
        subject: draft.subject,
        time: draft.time.unwrap_or(at.now),
        accepted_at: at.now,
        data_content_type,
        data: draft.data,
        actor,
        partition_key: check.text(Field::PartitionKey, draft.partition_key)?,
        correlation_id: check.text(Field::CorrelationId, draft.correlation_id)?,
        causation_id: check.text(Field::CausationId, draft.causation_id)?,
        depth: check.depth(draft.depth)?,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: check.deliver_at(draft.deliver_at, draft.delay, at.now)?,
        traceparent: Some(traceparent),
        extensions: check.extensions(draft.extensions)?,
    };
    if let Some(session) = &call.session {
        check.act_for(session, &mut event)?;
    }
    if let Some(lineage) = call.lineage() {
        lineage.clone().give_to(&mut event);
    }
    Ok(event)
}

struct Check {
    dialect: Dialect,
}

impl Check {
    fn fault(&self, field: Field, value: &str, message: impl Into<String>, allowed: &str) -> Fault {
        Fault::invalid(self.dialect.name(field), value, message, allowed)
    }

    fn event_type(&self, event_type: Option<String>) -> Result<EventType, Fault> {
        let name = self.dialect.name(Field::Type);
        let Some(text) = event_type.filter(|text| !text.is_empty()) else {
            return Err(Fault::missing(
                name,
                "a built-in type, an alias of one, or a custom name",
            ));
        };
        EventType::from_client(&text).map_err(|error| {
            let message = format!("is not an event type: {}", error.fault);
            Fault::invalid(name, text, message, error.allowed())
        })
    }

    /// Free text of limited length, as all attributes are.
    fn text(&self, field: Field, text: Option<String>) -> Result<Option<String>, Fault> {
        let Some(text) = text else { return Ok(None) };
        match fault_of_text(&text) {
            None => Ok(Some(text)),
            Some(message) => Err(self.fault(field, &text, message, &allowed_text())),
        }
    }

    /// Text that tells events apart: `CloudEvents` requires it, elsewhere it may be left out.
    fn identity(
        &self,
        field: Field,
        text: Option<String>,
        allowed: &str,
    ) -> Result<Option<String>, Fault> {
        let is_absent = text.as_deref().is_none_or(str::is_empty);
        if is_absent && self.dialect.is_cloud_event() {
            return Err(Fault::missing(self.dialect.name(field), allowed));
        }
        self.text(field, text)
    }

    fn source(&self, source: Option<String>) -> Result<Option<String>, Fault> {
        let source = self.identity(Field::Source, source, ALLOWED_SOURCE)?;
        if let Some(source) = &source
            && source.contains(char::is_whitespace)
        {
            let message = "contains white space";
            return Err(self.fault(Field::Source, source, message, ALLOWED_SOURCE));
        }
        Ok(source)
    }

    /// Data has a media type, and what has no data has none.
    fn media_type(&self, given: Option<String>, has_data: bool) -> Result<Option<String>, Fault> {
        let given = given.filter(|text| !text.is_empty());
        if let Some(text) = &given {
            let is_sendable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            let is_media_type = text.contains('/')
                && text.len() <= MEDIA_TYPE_BYTES_MAX
                && text.bytes().all(is_sendable);
            if !is_media_type {
                let allowed = "a media type of at most 255 ASCII characters, such as text/plain";
                return Err(self.fault(Field::DataContentType, text, "is no media type", allowed));
            }
        }
        Ok(has_data.then(|| given.unwrap_or_else(|| DEFAULT_MEDIA_TYPE.to_owned())))
    }

    fn data(&self, data: &[u8], bytes_max: usize, is_unread_json: bool) -> Result<(), Fault> {
        let name = self.dialect.name(Field::Data);
        if data.len() > bytes_max {
            let message = "the data is too large";
            let (value, allowed) = (
                format!("{} bytes", data.len()),
                format!("at most {bytes_max} bytes"),
            );
            let fault = Fault::invalid(name, value, message, allowed);
            return Err(Fault {
                kind: FaultKind::TooLarge,
                ..fault
            });
        }
        if !is_unread_json || data.is_empty() {
            return Ok(());
        }
        check_depth(name, data, JSON_DEPTH_MAX)?;
        serde_json::from_slice::<IgnoredAny>(data)
            .map(drop)
            .map_err(|error| {
                let message = format!("the data is not JSON, as its media type says: {error}");
                let start = String::from_utf8_lossy(data.get(..80).unwrap_or(data)).into_owned();
                Fault::invalid(name, start, message, "JSON, or another media type")
            })
    }

    fn actor(&self, id: Option<String>, kind: Option<String>) -> Result<Option<Actor>, Fault> {
        let kind = self.text(Field::ActorKind, kind)?;
        let Some(id) = self.text(Field::ActorId, id)? else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(Fault::missing(
                    self.dialect.name(Field::ActorId),
                    "who acted, where a kind of actor is given",
                )),
            };
        };
        Ok(Some(Actor {
            id,
            kind: kind.unwrap_or_else(|| DEFAULT_ACTOR_KIND.to_owned()),
        }))
    }

    /// Makes the event one of the session's user, caused by the session's event. Who says that somebody
    /// else acted is refused.
    fn act_for(&self, session: &Session, event: &mut Event) -> Result<(), Fault> {
        if let Some(claimed) = &event.actor
            && *claimed != session.actor
        {
            let message = "a function session acts for its own user only";
            let value = format!("{} {}", claimed.kind, claimed.id);
            let allowed = format!("{} {}, or nobody", session.actor.kind, session.actor.id);
            return Err(Fault {
                kind: FaultKind::SessionScope,
                ..self.fault(Field::ActorId, &value, message, &allowed)
            });
        }
        event.actor = Some(session.actor.clone());
        event.causation_id = Some(session.event.to_string());
        Ok(())
    }

    fn depth(&self, depth: u32) -> Result<u32, Fault> {
        if i32::try_from(depth).is_ok() {
            return Ok(depth);
        }
        Err(self.fault(
            Field::Depth,
            &depth.to_string(),
            "is too large",
            "0 to 2147483647",
        ))
    }

    /// A time that has passed means at once.
    fn deliver_at(
        &self,
        deliver_at: Option<Timestamp>,
        delay: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Fault> {
        const ALLOWED: &str = "at most 6 days ahead, a day less than logs are kept";
        let (field, value, time) = match (deliver_at, delay) {
            (None, None) => return Ok(None),
            (Some(_), Some(delay)) => {
                let value = settings::Duration::from(delay).to_string();
                let other = self.dialect.name(Field::DeliverAt);
                let message = format!("is there beside {other}");
                return Err(self.fault(Field::Delay, &value, message, "one of the two"));
            }
            (Some(time), None) => (Field::DeliverAt, time.to_string(), Some(time)),
            (None, Some(delay)) => {
                let value = settings::Duration::from(delay).to_string();
                (Field::Delay, value, now.saturating_add(delay).ok())
            }
        };
        let latest = now.saturating_add(AHEAD_MAX).unwrap_or(Timestamp::MAX);
        match time {
            Some(time) if time <= latest => Ok(Some(time).filter(|time| *time > now)),
            Some(_) | None => Err(self.fault(field, &value, "is too far ahead", ALLOWED)),
        }
    }

    fn traceparent(&self, text: Option<String>) -> Result<Option<String>, Fault> {
        let Some(text) = text else { return Ok(None) };
        if text.parse::<TraceParent>().is_ok() {
            return Ok(Some(text));
        }
        let allowed = "W3C trace context: 00-32 hex digits-16 hex digits-2 hex digits";
        Err(self.fault(Field::Traceparent, &text, "is no trace context", allowed))
    }

    fn extensions(
        &self,
        extensions: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Fault> {
        if extensions.len() > EXTENSIONS_MAX {
            let (value, allowed) = (extensions.len().to_string(), format!("{EXTENSIONS_MAX}"));
            let allowed = format!("at most {allowed}");
            return Err(Fault::invalid(
                "extensions",
                value,
                "too many extensions",
                allowed,
            ));
        }
        let mut kept = BTreeMap::new();
        for (name, value) in extensions {
            let place = || self.dialect.extension(name.get(..40).unwrap_or(&name));
            if !is_extension_name(&name) {
                let message = "the extension's name is not allowed";
                let allowed = "names of 1 to 20 lower-case letters and digits";
                return Err(Fault::invalid(place(), name.clone(), message, allowed));
            }
            if OWN_ATTRIBUTES.contains(&name.as_str()) {
                let message = "has a field of its own, so it cannot be an extension";
                return Err(Fault::invalid(
                    place(),
                    value,
                    message,
                    "the field of that name",
                ));
            }
            // The standard knows no attribute without a value.
            if value.is_empty() || DERIVED_EXTENSIONS.contains(&name.as_str()) {
                continue;
            }
            if let Some(message) = fault_of_text(&value) {
                return Err(Fault::invalid(place(), value, message, allowed_text()));
            }
            kept.insert(name, value);
        }
        Ok(kept)
    }
}

/// # Errors
/// When the brackets of the JSON are nested deeper than `depth_max`.
pub fn check_depth(field: &str, json: &[u8], depth_max: usize) -> Result<(), Fault> {
    let depth = json_depth(json);
    if depth <= depth_max {
        return Ok(());
    }
    let (value, allowed) = (
        format!("{depth} levels"),
        format!("at most {depth_max} levels"),
    );
    Err(Fault::invalid(
        field,
        value,
        "the JSON is nested too deeply",
        allowed,
    ))
}

fn allowed_text() -> String {
    format!("1 to {ATTRIBUTE_BYTES_MAX} bytes without control characters")
}

fn fault_of_text(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > ATTRIBUTE_BYTES_MAX {
        Some("is too long")
    } else if text.contains(char::is_control) {
        Some("contains a control character")
    } else {
        None
    }
}

fn is_extension_name(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
