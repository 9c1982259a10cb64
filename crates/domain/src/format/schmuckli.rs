//! schmuckliCloud's body: a flat object of event number, fields, secret and session.

use std::borrow::Cow;

use bytes::Bytes;

use super::about::About;
use super::json::{Data, Members, ObjectWriter, unquote_number};
use super::{RenderError, RenderInput, Rendered};
use crate::event_type::EventType;

const EVENT_ID: &str = "_event_id";
const EVENT_NAME: &str = "_event_name";
const SECRET: &str = "_secret";
const FUNCTION_SESSION: &str = "_function_session";

pub(super) fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let RenderInput {
        event,
        secret,
        function_session,
        ..
    } = *input;
    let mut body = ObjectWriter::with_capacity(event.data.len() + 256);
    match event.event_type.number() {
        Some(number) => body.number(EVENT_ID, number)?,
        None => body.raw(EVENT_ID, "null")?,
    }
    body.text(EVENT_NAME, event_name(&event.event_type))?;
    match fields(event.event_type.number()) {
        Some(fields) => {
            let about = About::of(event, &Data::of(event));
            write_fields(&mut body, fields, &about)?;
        }
        None => write_data(&mut body, &Data::of(event))?,
    }
    body.text(SECRET, secret)?;
    match function_session {
        Some(session) => body.text(FUNCTION_SESSION, session)?,
        None => body.raw(FUNCTION_SESSION, "null")?,
    }
    Ok(Rendered {
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Bytes::from(body.finish()),
    })
}

/// The name of a built-in type; other types are called what they are.
fn event_name(event_type: &EventType) -> &str {
    event_type
        .event_name()
        .unwrap_or_else(|| event_type.as_str())
}

/// The fields of the five events of schmuckliCloud: exactly these are sent.
const fn fields(number: Option<u32>) -> Option<&'static [&'static str]> {
    match number {
        Some(1000..=1002) => Some(&["row_id", "container", "bucket", "dataset"]),
        Some(2000) => Some(&["user_id", "email"]),
        Some(2001) => Some(&["user_id", "email", "lang"]),
        _ => None,
    }
}

/// A field that neither data nor subject has is sent as null, so that receivers find every key.
fn write_fields(
    body: &mut ObjectWriter,
    fields: &[&str],
    about: &About<'_>,
) -> Result<(), RenderError> {
    for field in fields {
        let by_subject = || about.id_in(collection_of(field)).map(serde_json::to_string);
        let value = match about.member(field) {
            Some(value) => Cow::Borrowed(value.get()),
            None => by_subject()
                .transpose()?
                .map_or(Cow::Borrowed("null"), Cow::Owned),
        };
        let value = match *field {
            "row_id" | "bucket" => unquote_number(&value),
            _ => &value,
        };
        body.raw(field, value)?;
    }
    Ok(())
}

/// Where the subject says it.
const fn collection_of(field: &str) -> &'static str {
    match field.as_bytes() {
        b"row_id" => "rows",
        b"container" => "containers",
        b"bucket" => "buckets",
        b"dataset" => "datasets",
        b"user_id" => "users",
        _ => "",
    }
}

/// Other types carry their data as it is: an object's members beside ours, else under `data`.
fn write_data(body: &mut ObjectWriter, data: &Data<'_>) -> Result<(), RenderError> {
    match data {
        Data::Absent => Ok(()),
        Data::Json(json) => match Members::of(json) {
            Some(Members(members)) => {
                for (name, value) in members.iter().filter(|(name, _)| !is_ours(name)) {
                    body.raw(name, value.get())?;
                }
                Ok(())
            }
            None => body.raw("data", json.get()),
        },
        Data::Text(text) => body.text("data", text),
        Data::Binary(bytes) => body.base64("data_base64", bytes),
    }
}

/// Data must not pass for what only we may say.
fn is_ours(name: &str) -> bool {
    matches!(name, EVENT_ID | EVENT_NAME | SECRET | FUNCTION_SESSION)
}
