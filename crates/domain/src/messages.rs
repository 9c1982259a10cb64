//! Messages of Yandex Cloud's triggers, as extremum's packages take them in: each becomes an event.
//!
//! Each message is understood by itself, whatever stands before it. What is in it is kept as it was
//! written, also what nobody knows.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::event_type::EventType;
use crate::invocation::CallError;
use crate::json_text;

/// One request brings so many at most.
pub const MESSAGES_MAX: usize = 1_000;

/// Everything but what a path segment may hold unencoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const ALLOWED: &str = r#"{"messages": [{"event_metadata": {…}, "details": {…}}, … ]}"#;
const ALLOWED_TYPES: &str = "yandex.cloud.events.storage.ObjectCreate, …ObjectUpdate, …ObjectDelete, \
     yandex.cloud.events.messagequeue.QueueMessage, \
     yandex.cloud.events.serverless.triggers.TimerMessage, yandex.cloud.events.iot.IoTMessage";

/// An event that a message tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub event_type: EventType,
    /// `event_id`: the same when it is sent again.
    pub id: String,
    pub source: String,
    pub subject: String,
    /// `created_at`, else when a queue's message was sent.
    pub time: Option<Timestamp>,
    /// W3C trace context with the message's trace id, padded from the left.
    pub traceparent: Option<String>,
    /// `exchange` of a queue's message whose body has one.
    pub extensions: BTreeMap<String, String>,
    /// The message as it was written.
    pub data: Bytes,
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Messages {
    /// In their order.
    pub messages: Vec<Message>,
    /// How many were passed over.
    pub ignored: u32,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    event_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    event_id: Option<String>,
    event_type: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    tracing_context: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct Details {
    bucket_id: Option<String>,
    object_id: Option<String>,
    queue_id: Option<String>,
    message: Option<QueueMessage>,
    trigger_id: Option<String>,
    registry_id: Option<String>,
    device_id: Option<String>,
    payload: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct QueueMessage {
    body: Option<serde_json::Value>,
    #[serde(default)]
    attributes: serde_json::Map<String, serde_json::Value>,
}

/// Reads a request's body, `{"messages": [ … ]}`; all of it or none. Messages of queues whose body
/// has no `exchange` are passed over where `requires_exchange` says so.
///
/// # Errors
/// Names the message and the member that is not as it should be.
pub fn read(body: &Bytes, requires_exchange: bool) -> Result<Messages, CallError> {
    let whole = |value: &str, message: String, allowed: &str| {
        Err(fault("messages".to_owned(), value, message, allowed))
    };
    if json_text::depth(body) > json_text::DEPTH_MAX {
        let message = "the JSON is nested too deeply".to_owned();
        return whole("", message, "at most 100 levels");
    }
    let read = serde_json::from_slice::<Envelope<'_>>(body);
    let messages = match read.map(|envelope| envelope.messages) {
        Ok(Some(messages)) => messages,
        Ok(None) => return whole("", "messages is missing".to_owned(), ALLOWED),
        Err(error) => return whole("", format!("the body cannot be read: {error}"), ALLOWED),
    };
    let messages: Vec<&RawValue> = match serde_json::from_str(messages.get()) {
        Ok(messages) => messages,
        Err(error) => return whole(messages.get(), format!("is no array: {error}"), ALLOWED),
    };
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        let count = messages.len().to_string();
        let allowed = format!("1 to {MESSAGES_MAX} messages");
        return whole(
            &count,
            "a request cannot bring this many".to_owned(),
            &allowed,
        );
    }
    let mut taken = Messages::default();
    for (number, message) in messages.into_iter().enumerate() {
        let place = Place(number);
        let read = place.message(message, body)?;
        let is_signal = read.event_type.number() == Some(QUEUE_MESSAGE);
        if requires_exchange && is_signal && !read.extensions.contains_key(EXCHANGE) {
            taken.ignored += 1;
        } else {
            taken.messages.push(read);
        }
    }
    Ok(taken)
}

const QUEUE_MESSAGE: u32 = 4000;
const EXCHANGE: &str = "exchange";

fn fault(field: String, value: &str, message: impl Into<String>, allowed: &str) -> CallError {
    CallError {
        field,
        value: value.to_owned(),
        message: message.into(),
        allowed: allowed.to_owned(),
    }
}

/// The place of a message in its request.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    fn fault(self, member: &str, value: &str, message: &str, allowed: &str) -> CallError {
        fault(
            format!("messages[{}]{member}", self.0),
            value,
            message,
            allowed,
        )
    }

    fn missing(self, member: &str, allowed: &str) -> CallError {
        self.fault(member, "", "is missing", allowed)
    }

    fn part<'a, T: Deserialize<'a>>(
        self,
        member: &str,
        part: Option<&'a RawValue>,
    ) -> Result<T, CallError> {
        let allowed = "an object as Yandex Cloud sends it";
        let part = part.ok_or_else(|| self.missing(member, allowed))?;
        serde_json::from_str(part.get()).map_err(|error| {
            self.fault(
                member,
                part.get(),
                &format!("cannot be read: {error}"),
                allowed,
            )
        })
    }

    fn message(self, message: &RawValue, body: &Bytes) -> Result<Message, CallError> {
        let parts: Parts<'_> = self.part("", Some(message))?;
        let metadata: Metadata = self.part(".event_metadata", parts.event_metadata)?;
        let details: Details = self.part(".details", parts.details)?;
        let id = metadata.event_id.filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| {
            let allowed = "text that no other event of the same source has";
            self.missing(".event_metadata.event_id", allowed)
        })?;
        let event_type = self.event_type(metadata.event_type.as_deref())?;
        let about = self.about(&event_type, &details)?;
        let created_at = metadata.created_at.as_deref();
        let created_at = created_at.map(|text| self.created_at(text)).transpose()?;
        let traceparent = metadata
            .tracing_context
            .as_ref()
            .and_then(|context| traceparent(context, &id));
        Ok(Message {
            event_type,
            id,
            source: format!("/yandex/{}", about.source),
            subject: about.subject,
            time: created_at.or(about.sent_at),
            traceparent,
            extensions: about.extensions,
            // What stands in the body is not copied.
            data: body.slice_ref(message.get().as_bytes()),
        })
    }

    fn event_type(self, name: Option<&str>) -> Result<EventType, CallError> {
        const MEMBER: &str = ".event_metadata.event_type";
        let name = name.ok_or_else(|| self.missing(MEMBER, ALLOWED_TYPES))?;
        let known = EventType::parse(name).ok();
        let known = known.filter(|known| name.starts_with("yandex.") && known.is_built_in());
        known.ok_or_else(|| {
            let message = "is not a message that is taken in";
            self.fault(MEMBER, name, message, ALLOWED_TYPES)
        })
    }

    fn created_at(self, text: &str) -> Result<Timestamp, CallError> {
        text.parse().map_err(|_no_time| {
            let allowed = "RFC 3339, such as 2019-12-19T14:17:47.847365Z";
            self.fault(".event_metadata.created_at", text, "is not a time", allowed)
        })
    }

    /// What the message is about, and where it comes from.
    fn about(self, event_type: &EventType, details: &Details) -> Result<About, CallError> {
        let named = |member: &str, value: &Option<String>| {
            let value = value.as_deref().filter(|value| !value.is_empty());
            value.map(segment).ok_or_else(|| {
                self.missing(&format!(".details.{member}"), "text that is not empty")
            })
        };
        match event_type.number() {
            Some(1100..=1102) => {
                let bucket = named("bucket_id", &details.bucket_id)?;
                let object = named("object_id", &details.object_id)?;
                Ok(About::new(
                    format!("object-storage/{bucket}"),
                    format!("object-storage/{bucket}/{object}"),
                ))
            }
            Some(QUEUE_MESSAGE) => {
                named("queue_id", &details.queue_id)?;
                let queue = details.queue_id.as_deref().unwrap_or_default();
                let tail = queue.rsplit(':').next().filter(|tail| !tail.is_empty());
                let tail = tail.map(segment).ok_or_else(|| {
                    let allowed = "a name behind the last ':'";
                    self.fault(".details.queue_id", queue, "names no queue", allowed)
                })?;
                let path = format!("queues/{tail}");
                let mut about = About::new(path.clone(), path);
                let message = details.message.as_ref();
                let message = message
                    .ok_or_else(|| self.missing(".details.message", "the message of the queue"))?;
                about.sent_at = self.sent_at(message)?;
                about.extensions.extend(exchange(message));
                Ok(about)
            }
            Some(4001) => {
                let registry = named("registry_id", &details.registry_id)?;
                let device = named("device_id", &details.device_id)?;
                self.check_payload(details.payload.as_ref())?;
                Ok(About::new(
                    format!("iot/{registry}"),
                    format!("iot/{registry}/{device}"),
                ))
            }
            _ => {
                let trigger = named("trigger_id", &details.trigger_id)?;
                let path = format!("schedules/{trigger}");
                Ok(About::new(path.clone(), path))
            }
        }
    }

    /// A number of milliseconds, or text of one.
    fn sent_at(self, message: &QueueMessage) -> Result<Option<Timestamp>, CallError> {
        use serde_json::Value;
        let Some(sent) = message.attributes.get("SentTimestamp") else {
            return Ok(None);
        };
        let millis = match sent {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let sent_at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        sent_at.map(Some).ok_or_else(|| {
            self.fault(
                ".details.message.attributes.SentTimestamp",
                &sent.to_string(),
                "is not a time",
                "milliseconds since 1970, a number or text of one",
            )
        })
    }

    /// A device's payload is base 64.
    fn check_payload(self, payload: Option<&serde_json::Value>) -> Result<(), CallError> {
        let text = payload.map(|payload| payload.as_str());
        let is_base64 = |text: &str| STANDARD.decode(text).is_ok();
        match text {
            None => Ok(()),
            Some(Some(text)) if is_base64(text) => Ok(()),
            Some(text) => Err(self.fault(
                ".details.payload",
                text.unwrap_or_default(),
                "is not base 64",
                "text in base 64",
            )),
        }
    }
}

/// What a message is about.
struct About {
    source: String,
    subject: String,
    sent_at: Option<Timestamp>,
    extensions: BTreeMap<String, String>,
}

impl About {
    const fn new(source: String, subject: String) -> Self {
        Self {
            source,
            subject,
            sent_at: None,
            extensions: BTreeMap::new(),
        }
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// `exchange` of a body that is an object with one, or JSON text of such an object.
fn exchange(message: &QueueMessage) -> Option<(String, String)> {
    use serde_json::Value;
    let parsed;
    let body = message.body.as_ref()?;
    let body = if let Value::String(text) = body {
        parsed = serde_json::from_str::<Value>(text).ok()?;
        &parsed
    } else {
        body
    };
    let exchange = body.get(EXCHANGE)?.as_str()?;
    let is_attribute = (1..=crate::event::ATTRIBUTE_BYTES_MAX).contains(&exchange.len())
        && !exchange.contains(char::is_control);
    is_attribute.then(|| (EXCHANGE.to_owned(), exchange.to_owned()))
}

/// Trace context of a message's `tracing_context`; a trace id of 16 digits is padded from the
/// left. Where no span is named it is worked out from the event's id.
fn traceparent(context: &serde_json::Value, id: &str) -> Option<String> {
    let digits = |name: &str| {
        let text = context.get(name)?.as_str()?;
        let is_hex = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_id = is_hex && text.bytes().any(|byte| byte != b'0');
        is_id.then(|| text.to_ascii_lowercase())
    };
    let trace_id = digits("trace_id")?;
    let span_id = digits("span_id").filter(|span| span.len() <= 16);
    let span_id = span_id.unwrap_or_else(|| {
        let digest = Sha256::digest(id);
        let first = digest.iter().take(8);
        let number = first.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        format!("{:016x}", number.max(1))
    });
    Some(format!("00-{trace_id:0>32}-{span_id:0>16}-01"))
}

#[cfg(test)]
mod tests;
