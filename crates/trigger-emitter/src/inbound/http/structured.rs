//! One `CloudEvents` document: an object whose members are attributes, beside `data`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::event::is_json;
use protocol::fault::Fault;
use serde_json::value::RawValue;

use super::attributes::{check_version, set};
use super::json::{Members, cut_out, string};
use crate::draft::{Dialect, Draft, Field};

const SPEC_VERSION: &str = "specversion";
const DATA: &str = "data";
const DATA_BASE64: &str = "data_base64";

/// The media type of what is only known to be bytes.
pub(super) const BYTES: &str = "application/octet-stream";

/// # Errors
/// When a member has another type than its name asks for.
pub(super) fn read(members: &Members<'_>, body: &Bytes) -> Result<Draft, Fault> {
    let version = members
        .get(SPEC_VERSION)
        .map(|value| string(SPEC_VERSION, value))
        .transpose()?;
    check_version(SPEC_VERSION, version.as_deref())?;
    let mut draft = Draft::default();
    let (mut data, mut encoded) = (None, None);
    for (name, value) in members.iter() {
        match name {
            SPEC_VERSION => {}
            DATA => data = Some(value),
            DATA_BASE64 => encoded = Some(value),
            _ => {
                let text = attribute(name, value)?;
                set(&mut draft, Dialect::CloudEventsJson, name, text)?;
            }
        }
    }
    set_data(&mut draft, body, data, encoded)?;
    Ok(draft)
}

/// The data, which stands in one of two members.
pub(super) fn set_data(
    draft: &mut Draft,
    body: &Bytes,
    data: Option<&RawValue>,
    encoded: Option<&RawValue>,
) -> Result<(), Fault> {
    match (data, encoded) {
        (None, None) => {}
        (Some(_), Some(_)) => {
            let message = "data is there twice, also as data_base64";
            return Err(Fault::invalid(DATA_BASE64, "", message, "one of the two"));
        }
        (Some(data), None) => {
            let is_json = draft.data_content_type.as_deref().is_none_or(is_json);
            if !is_json && data.get().starts_with('"') {
                draft.data = string(DATA, data)?.into();
            } else {
                draft.data = cut_out(body, data);
                draft.is_data_known_json = true;
            }
        }
        (None, Some(encoded)) => {
            let text = string(DATA_BASE64, encoded)?;
            let bytes = STANDARD.decode(&text).map_err(|_unreadable| {
                Fault::invalid(DATA_BASE64, &text, "is not base64", "base64 with padding")
            })?;
            draft.data = bytes.into();
            // Whoever encodes bytes and names no type does not mean JSON.
            draft
                .data_content_type
                .get_or_insert_with(|| BYTES.to_owned());
        }
    }
    Ok(())
}

/// An attribute is a string, a number or a boolean; kept as it was written.
fn attribute(name: &str, value: &RawValue) -> Result<String, Fault> {
    let written = value.get();
    match written.as_bytes().first() {
        Some(b'"') => string(name, value),
        Some(b't' | b'f' | b'-' | b'0'..=b'9') if !is_text(name) => Ok(written.to_owned()),
        _ => {
            let allowed = if is_text(name) {
                "a string"
            } else {
                "a string, number or boolean"
            };
            Err(Fault::invalid(
                name,
                written,
                "cannot be an attribute's value",
                allowed,
            ))
        }
    }
}

/// Whether the standard, or tripline, wants a string under this name.
fn is_text(name: &str) -> bool {
    [
        Field::Id,
        Field::Source,
        Field::Type,
        Field::Subject,
        Field::Time,
        Field::DataContentType,
        Field::ActorId,
        Field::ActorKind,
        Field::PartitionKey,
        Field::CorrelationId,
        Field::CausationId,
        Field::Traceparent,
    ]
    .into_iter()
    .any(|field| field.attribute() == name)
}
