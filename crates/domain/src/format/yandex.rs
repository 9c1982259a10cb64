//! Yandex Cloud's envelopes: `messages` of object storage, queues, timers and devices.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::about::{About, as_text};
use super::json::{Data, Members, ObjectWriter};
use super::{RenderError, RenderInput};
use crate::event::Event;

/// What carries events that Yandex Cloud has no type for.
const QUEUE_MESSAGE: &str = "yandex.cloud.events.messagequeue.QueueMessage";

/// One message; several make a body.
pub(super) fn message(input: &RenderInput<'_>) -> Result<Vec<u8>, RenderError> {
    let event = input.event;
    let data = Data::of(event);
    // What came in as such a message goes out with all that was in it.
    let whole = About::of(event, &data);
    let inner = |name| whole.member(name).and_then(Members::of);
    let taken_in = inner("event_metadata").zip(inner("details"));
    let (metadata, about) = match taken_in {
        Some((metadata, details)) => {
            let details = About::with_members(event, Some(details));
            (Some(About::with_members(event, Some(metadata))), details)
        }
        None => (None, whole),
    };
    let details = match event.event_type.number() {
        Some(1100..=1102) => object(event, &about)?,
        Some(4001) => device(event, &about, &data)?,
        Some(5000) => timer(&about, &data)?,
        _ => signal(event, &about, &data)?,
    };
    let mut message = ObjectWriter::with_capacity(event.data.len() + 512);
    message.object("event_metadata", event_metadata(event, metadata.as_ref())?)?;
    message.object("details", details)?;
    Ok(message.finish())
}

fn event_metadata(event: &Event, given: Option<&About<'_>>) -> Result<ObjectWriter, RenderError> {
    let mut metadata = ObjectWriter::with_capacity(256);
    metadata.text("event_id", &event.id)?;
    let name = event.event_type.yandex_name();
    metadata.text("event_type", name.unwrap_or(QUEUE_MESSAGE))?;
    metadata.text("created_at", &event.time.to_string())?;
    match given.and_then(|given| given.first(&["tracing_context"])) {
        Some(context) => metadata.raw("tracing_context", context.get())?,
        None => {
            if let Some(trace_id) = trace_id(event) {
                let mut context = ObjectWriter::with_capacity(64);
                context.text("trace_id", trace_id)?;
                metadata.object("tracing_context", context)?;
            }
        }
    }
    for name in ["cloud_id", "folder_id"] {
        if let Some(id) = given.and_then(|given| given.first(&[name])) {
            metadata.raw(name, id.get())?;
        }
    }
    Ok(metadata)
}

/// Yandex Cloud's ids have 16 digits: where ours was padded for it, it is given back without.
fn trace_id(event: &Event) -> Option<&str> {
    let trace_id = event.traceparent.as_deref()?.split('-').nth(1)?;
    let short = trace_id.strip_prefix("0000000000000000");
    Some(short.filter(|id| !id.is_empty()).unwrap_or(trace_id))
}

fn object(event: &Event, about: &About<'_>) -> Result<ObjectWriter, RenderError> {
    let is_stored = about.root() == "object-storage";
    let bucket = about
        .text(&["bucket_id", "bucket"])
        .or_else(|| about.segment(1).filter(|_| is_stored).map(str::to_owned));
    let object = about
        .text(&["object_id", "path"])
        .or_else(|| about.rest(if is_stored { 2 } else { 1 }));
    let mut details = ObjectWriter::with_capacity(256);
    // Files outside object storage are all in one bucket, the project's.
    let bucket = bucket.as_deref().unwrap_or_else(|| event.project.as_str());
    details.text("bucket_id", bucket)?;
    details.text_or_null("object_id", object.as_deref())?;
    Ok(details)
}

/// A queue's message. Its body is passed on untouched.
fn signal(event: &Event, about: &About<'_>, data: &Data<'_>) -> Result<ObjectWriter, RenderError> {
    let is_message = event.event_type.number() == Some(4000);
    let given = about.member("message").filter(|_| is_message);
    let given = given.and_then(Members::of);
    let given = given.map(|members| About::with_members(event, Some(members)));
    let queue = about
        .text(&["queue_id"])
        .filter(|_| is_message)
        .or_else(|| about.id_in("queues").map(str::to_owned));
    // What was no message comes from a queue that is named after its type.
    let queue = queue
        .as_deref()
        .unwrap_or_else(|| event.event_type.as_str());
    let mut message = ObjectWriter::with_capacity(event.data.len() + 256);
    let id = given.as_ref().and_then(|given| given.text(&["message_id"]));
    message.text("message_id", id.as_deref().unwrap_or(&event.id))?;
    let body = match &given {
        Some(given) => given.first(&["body"]).map(|body| body.get()),
        None => about
            .first(&["body"])
            .filter(|_| is_message)
            .map(|body| body.get()),
    };
    match body {
        Some(body) if body.starts_with('"') => {
            text_body(&mut message, &serde_json::from_str::<String>(body)?)?;
        }
        // Some senders put JSON where there should be a string.
        Some(body) => {
            message.text("md5_of_body", &md5_of(body.as_bytes()))?;
            message.raw("body", body)?;
        }
        None => match data {
            Data::Absent => text_body(&mut message, "")?,
            Data::Json(json) => text_body(&mut message, json.get())?,
            Data::Text(text) => text_body(&mut message, text)?,
            Data::Binary(bytes) => text_body(&mut message, &STANDARD.encode(bytes))?,
        },
    }
    message.object("attributes", attributes(event, given.as_ref())?)?;
    for name in ["message_attributes", "md5_of_message_attributes"] {
        if let Some(value) = given.as_ref().and_then(|given| given.first(&[name])) {
            message.raw(name, value.get())?;
        }
    }
    let mut details = ObjectWriter::with_capacity(event.data.len() + 512);
    details.text("queue_id", queue)?;
    details.object("message", message)?;
    Ok(details)
}

fn text_body(message: &mut ObjectWriter, body: &str) -> Result<(), RenderError> {
    message.text("md5_of_body", &md5_of(body.as_bytes()))?;
    message.text("body", body)
}

/// When it was sent is a text of milliseconds, whatever it was before.
fn attributes(event: &Event, given: Option<&About<'_>>) -> Result<ObjectWriter, RenderError> {
    const SENT: &str = "SentTimestamp";
    let given = given.and_then(|given| given.first(&["attributes"]));
    let given = given.and_then(Members::of);
    let sent_at = given
        .as_ref()
        .and_then(|members| members.get(SENT))
        .and_then(as_text)
        .unwrap_or_else(|| event.time.as_millisecond().to_string());
    let mut attributes = ObjectWriter::with_capacity(128);
    attributes.text(SENT, &sent_at)?;
    for (name, value) in given.map(|members| members.0).unwrap_or_default() {
        if name != SENT {
            attributes.raw(&name, value.get())?;
        }
    }
    Ok(attributes)
}

fn timer(about: &About<'_>, data: &Data<'_>) -> Result<ObjectWriter, RenderError> {
    let trigger = about
        .text(&["trigger_id"])
        .or_else(|| about.id_in("schedules").map(str::to_owned));
    let mut details = ObjectWriter::with_capacity(256);
    details.text_or_null("trigger_id", trigger.as_deref())?;
    match about.first(&["payload", "parameters"]) {
        Some(payload) if payload.get().starts_with('"') => {
            details.raw("payload", payload.get())?;
        }
        Some(payload) => details.text("payload", payload.get())?,
        None => match data {
            Data::Text(text) => details.text("payload", text)?,
            Data::Absent | Data::Json(_) | Data::Binary(_) => details.text("payload", "")?,
        },
    }
    Ok(details)
}

/// A device's message. Its payload is base 64 in the data already, unless the data is the payload.
fn device(event: &Event, about: &About<'_>, data: &Data<'_>) -> Result<ObjectWriter, RenderError> {
    let registry = about.text(&["registry_id"]);
    let device = about
        .text(&["device_id"])
        .or_else(|| about.id_in("things").map(str::to_owned));
    let topic = about.text(&["mqtt_topic"]);
    let mut details = ObjectWriter::with_capacity(event.data.len() * 2 + 256);
    details.text_or_null("registry_id", registry.as_deref())?;
    details.text_or_null("device_id", device.as_deref())?;
    details.text_or_null("mqtt_topic", topic.as_deref())?;
    match (about.first(&["payload"]), data) {
        (Some(payload), _) => match as_text(payload) {
            Some(text) if STANDARD.decode(&text).is_ok() => details.text("payload", &text)?,
            Some(text) => details.base64("payload", text.as_bytes())?,
            None => details.base64("payload", payload.get().as_bytes())?,
        },
        (None, _) => details.base64("payload", &event.data)?,
    }
    Ok(details)
}

/// In hexadecimal digits.
fn md5_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(bytes) {
        // Writing to a text cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}
