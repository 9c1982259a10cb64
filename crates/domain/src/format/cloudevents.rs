//! `CloudEvents` 1.0 over HTTP, in structured and in binary mode.

use std::borrow::Cow;

use bytes::Bytes;

use super::header_value::encode_header_value;
use super::json::{Data, ObjectWriter};
use super::{RenderError, RenderInput, Rendered};

const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json";

/// Attributes that a client's extension of the same name cannot replace.
const RESERVED: [&str; 20] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "database64",
    "eventnumber",
    "eventname",
    "actorid",
    "actorkind",
    "correlationid",
    "causationid",
    "depth",
    "partitionkey",
    "traceparent",
    "params",
];

enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(u32),
}

pub(super) fn render_structured(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    Ok(Rendered {
        content_type: Some(STRUCTURED_CONTENT_TYPE.to_owned()),
        headers: Vec::new(),
        body: Bytes::from(structured(input)?),
    })
}

/// The document; several of them make a batch.
pub(super) fn structured(input: &RenderInput<'_>) -> Result<Vec<u8>, RenderError> {
    let event = input.event;
    let mut body = ObjectWriter::with_capacity(event.data.len() + 1024);
    for (name, value) in attributes(input)? {
        match value {
            Value::Text(text) => body.text(name, &text)?,
            Value::Integer(number) => body.number(name, number)?,
        }
    }
    if let Some(content_type) = &event.data_content_type {
        body.text("datacontenttype", content_type)?;
    }
    match Data::of(event) {
        Data::Absent => {}
        Data::Json(json) => body.raw("data", json.get())?,
        Data::Text(text) => body.text("data", text)?,
        Data::Binary(bytes) => body.base64("data_base64", bytes)?,
    }
    Ok(body.finish())
}

pub(super) fn render_binary(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let event = input.event;
    if let Some(content_type) = &event.data_content_type {
        let is_sendable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if content_type.is_empty() || !content_type.bytes().all(is_sendable) {
            return Err(RenderError::ContentType(content_type.clone()));
        }
    }
    let headers = attributes(input)?
        .into_iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Text(text) => encode_header_value(&text),
                Value::Integer(number) => number.to_string(),
            };
            (header_name(name), value)
        })
        .collect();
    Ok(Rendered {
        content_type: event.data_content_type.clone(),
        headers,
        body: event.data.clone(),
    })
}

/// The header of an attribute; that of most is known.
fn header_name(attribute: &str) -> Cow<'static, str> {
    let known = match attribute {
        "specversion" => "ce-specversion",
        "id" => "ce-id",
        "source" => "ce-source",
        "type" => "ce-type",
        "subject" => "ce-subject",
        "time" => "ce-time",
        "eventnumber" => "ce-eventnumber",
        "eventname" => "ce-eventname",
        "actorid" => "ce-actorid",
        "actorkind" => "ce-actorkind",
        "depth" => "ce-depth",
        "partitionkey" => "ce-partitionkey",
        "traceparent" => "ce-traceparent",
        other => return Cow::Owned(format!("ce-{other}")),
    };
    Cow::Borrowed(known)
}

/// All attributes but the data's media type, which each mode puts somewhere else.
fn attributes<'a>(input: &RenderInput<'a>) -> Result<Vec<(&'a str, Value<'a>)>, RenderError> {
    let event = input.event;
    let mut attributes = Attributes(Vec::with_capacity(16 + event.extensions.len()));
    attributes.text("specversion", Some("1.0"));
    attributes.text("id", Some(&event.id));
    attributes.text("source", Some(&event.source));
    attributes.text("type", Some(event.event_type.as_str()));
    attributes.text("subject", event.subject.as_deref());
    attributes.push("time", Value::Text(event.time.to_string().into()));
    if let Some(number) = event.event_type.number() {
        attributes.push("eventnumber", Value::Integer(number));
    }
    attributes.text("eventname", event.event_type.event_name());
    attributes.text(
        "actorid",
        event.actor.as_ref().map(|actor| actor.id.as_str()),
    );
    attributes.text(
        "actorkind",
        event.actor.as_ref().map(|actor| actor.kind.as_str()),
    );
    attributes.text("correlationid", event.correlation_id.as_deref());
    attributes.text("causationid", event.causation_id.as_deref());
    attributes.push(
        "depth",
        Value::Integer(event.depth.min(i32::MAX.unsigned_abs())),
    );
    attributes.text("partitionkey", event.partition_key.as_deref());
    attributes.text("traceparent", event.traceparent.as_deref());
    if let Some(params) = params(input)? {
        attributes.push("params", Value::Text(params.into()));
    }
    for (name, value) in &event.extensions {
        if is_extension_name(name) {
            attributes.text(name, Some(value));
        }
    }
    Ok(attributes.0)
}

struct Attributes<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Attributes<'a> {
    fn push(&mut self, name: &'a str, value: Value<'a>) {
        self.0.push((name, value));
    }

    /// An attribute without a value is left out: the standard knows no empty ones.
    fn text(&mut self, name: &'a str, value: Option<&'a str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.push(name, Value::Text(value.into()));
        }
    }
}

fn is_extension_name(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !RESERVED.contains(&name)
}

/// Captures as a JSON string: an extension's value cannot be an object.
fn params(input: &RenderInput<'_>) -> Result<Option<String>, RenderError> {
    let mut params = ObjectWriter::with_capacity(64);
    let mut any = false;
    for (name, value) in input.captures.iter() {
        params.text(name, value)?;
        any = true;
    }
    if !any {
        return Ok(None);
    }
    let params = params.finish();
    Ok(Some(String::from_utf8_lossy(&params).into_owned()))
}
