//! tripline's own short form: `{"type": …, "data": …}` and a few members more.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::fault::Fault;
use serde_json::value::RawValue;

use super::attributes::{moment, span, time};
use super::json::{Members, cut_out, number, string};
use super::structured::set_data;
use crate::draft::Draft;

const ALLOWED: &str = "type, data, data_base64, data_content_type, subject, id, source, time, \
    actor, partition_key, correlation_id, causation_id, depth, deliver_at, \
    delay, traceparent, extensions";

/// # Errors
/// When a member is not known, or has another type than its name asks for.
pub(super) fn read(members: &Members<'_>, body: &Bytes) -> Result<Draft, Fault> {
    let mut draft = Draft::default();
    let (mut data, mut encoded) = (None, None);
    for (name, value) in members.iter() {
        let slot = match name {
            "type" => &mut draft.event_type,
            "subject" => &mut draft.subject,
            "id" => &mut draft.id,
            "source" => &mut draft.source,
            "data_content_type" => &mut draft.data_content_type,
            "partition_key" => &mut draft.partition_key,
            "correlation_id" => &mut draft.correlation_id,
            "causation_id" => &mut draft.causation_id,
            "traceparent" => &mut draft.traceparent,
            "data" => {
                data = Some(value);
                continue;
            }
            "data_base64" => {
                encoded = Some(value);
                continue;
            }
            "time" => {
                draft.time = Some(time(name, &string(name, value)?)?);
                continue;
            }
            "deliver_at" => {
                draft.deliver_at = Some(moment(name, &text_or_number(name, value)?)?);
                continue;
            }
            "delay" => {
                draft.delay = Some(span(name, &text_or_number(name, value)?)?);
                continue;
            }
            "depth" => {
                draft.depth = number(name, value)?;
                continue;
            }
            "actor" => {
                read_actor(&mut draft, value, body)?;
                continue;
            }
            "extensions" => {
                draft.extensions = read_extensions(value)?;
                continue;
            }
            // The key and the path decide the project; what a body says of it is not heard.
            "project" => continue,
            other => {
                return Err(Fault::invalid(
                    other,
                    "",
                    "is not a member of an event",
                    ALLOWED,
                ));
            }
        };
        *slot = Some(string(name, value)?);
    }
    set_data(&mut draft, body, data, encoded)?;
    Ok(draft)
}

/// A string's content, or the digits of a number.
fn text_or_number(name: &str, value: &RawValue) -> Result<String, Fault> {
    if value.get().starts_with('"') {
        string(name, value)
    } else {
        Ok(value.get().to_owned())
    }
}

/// `"u1"`, or `{"id": "u1", "kind": "service"}`.
fn read_actor(draft: &mut Draft, value: &RawValue, body: &Bytes) -> Result<(), Fault> {
    if value.get().starts_with('"') {
        draft.actor_id = Some(string("actor", value)?);
        return Ok(());
    }
    let allowed = "a string, or an object with id and kind";
    let not_actor = || Fault::invalid("actor", value.get(), "is not an actor", allowed);
    let text = cut_out(body, value);
    let actor: Members<'_> = serde_json::from_slice(&text).map_err(|_other| not_actor())?;
    for (name, value) in actor.iter() {
        match name {
            "id" => draft.actor_id = Some(string("actor.id", value)?),
            "kind" => draft.actor_kind = Some(string("actor.kind", value)?),
            _ => return Err(not_actor()),
        }
    }
    if draft.actor_id.is_none() {
        return Err(Fault::missing("actor.id", "who acted"));
    }
    Ok(())
}

fn read_extensions(value: &RawValue) -> Result<BTreeMap<String, String>, Fault> {
    serde_json::from_str(value.get()).map_err(|error| {
        let message = format!("cannot be read: {error}");
        Fault::invalid("extensions", value.get(), message, "an object of strings")
    })
}
