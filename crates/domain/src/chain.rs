//! Events that a function's answer asks for: Space Cloud's way to let one event lead to others.
//!
//! `{"event": {…}}` or `{"events": [{…}, …]}` in the body of a 2xx answer. Each becomes an event that
//! was caused by the one delivered, under an id derived from the delivery: the same attempt, made once
//! more, leads to the same events.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{AHEAD_MAX, ATTRIBUTE_BYTES_MAX, Event, JSON_DEPTH_MAX, json_depth};
use crate::event_type::{Emitter, EventType};
use crate::function::Function;
use crate::id::{DeliveryId, EventId};
use crate::lineage::Lineage;
use crate::name::FunctionName;
use crate::registry::Registry;
use crate::trigger::Trigger;

/// One answer may ask for so many; the rest is told and left out.
pub const EVENTS_MAX: usize = 100;

/// Of the events that are refused so many are named.
const REFUSALS_SHOWN: usize = 5;

/// What the name of an attribute is, as everywhere.
const OPTION_NAME_BYTES_MAX: usize = 20;

/// An answer of 2xx, and to what.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub event: &'a Event,
    pub function: &'a FunctionName,
    pub delivery: DeliveryId,
    pub generation: u32,
    pub body: &'a [u8],
    /// Whether only the beginning of the body is there.
    pub is_truncated: bool,
    pub now: Timestamp,
}

/// What an answer asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chained {
    pub events: Vec<Event>,
    /// What of it is refused, and why.
    pub remark: Option<String>,
}

/// Whether answers of a function are looked into: where it is set, else in Space Cloud's format.
pub fn is_chaining(function: &Function, trigger: &Trigger) -> bool {
    let format = trigger.format.unwrap_or(function.format);
    let set = function.settings.events_in_answers;
    set.unwrap_or_else(|| format.as_str() == "space-cloud")
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Option<Vec<&'a RawValue>>,
}

/// As Space Cloud's clients queue it; other members are of no meaning here.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    /// Milliseconds.
    #[serde(default)]
    delay: Option<u64>,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    options: Option<BTreeMap<String, Value>>,
}

/// Reads what an answer asks for; an answer that asks for nothing is as good as any.
pub fn events_in(answer: &Answer<'_>, registry: &Registry) -> Chained {
    let Ok(body) = serde_json::from_slice::<Body<'_>>(answer.body) else {
        let text = String::from_utf8_lossy(answer.body);
        let may_ask = text.trim_start().starts_with('{') && text.contains("\"event");
        let is_cut = answer.is_truncated && may_ask;
        return Chained {
            remark: is_cut.then(|| "the answer is too long: no event in it is emitted".to_owned()),
            ..Chained::default()
        };
    };
    let one = body.event.map(|asked| ("event".to_owned(), asked));
    let many = body.events.unwrap_or_default();
    let many = many
        .into_iter()
        .enumerate()
        .map(|(place, asked)| (format!("events[{place}]"), asked));
    let asked: Vec<_> = one.into_iter().chain(many).collect();
    let surplus = asked.len().saturating_sub(EVENTS_MAX);
    let mut chained = Chained::default();
    let mut refusals = Vec::new();
    for (number, (place, asked)) in asked.into_iter().take(EVENTS_MAX).enumerate() {
        match answer.event_of(asked, number, registry) {
            Ok(event) => chained.events.push(event),
            Err(reason) => refusals.push(format!("{place} {reason}")),
        }
    }
    if surplus > 0 {
        refusals.insert(
            0,
            format!("{surplus} events beyond the first {EVENTS_MAX} are left out"),
        );
    }
    chained.remark = remark(&refusals);
    chained
}

fn remark(refusals: &[String]) -> Option<String> {
    if refusals.is_empty() {
        return None;
    }
    let shown: Vec<&str> = refusals
        .iter()
        .take(REFUSALS_SHOWN)
        .map(String::as_str)
        .collect();
    let more = refusals.len() - shown.len();
    let more = match more {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!(
        "not all events in the answer are emitted: {}{more}",
        shown.join("; ")
    ))
}

impl Answer<'_> {
    fn event_of(
        &self,
        asked: &RawValue,
        number: usize,
        registry: &Registry,
    ) -> Result<Event, String> {
        let asked: Asked<'_> = serde_json::from_str(asked.get())
            .map_err(|error| format!("is not understood: {error}"))?;
        let event_type =
            EventType::from_client(&asked.event_type).map_err(|error| error.to_string())?;
        let data = asked.payload.or(asked.data);
        let data = data.map(|data| Bytes::copy_from_slice(data.get().as_bytes()));
        let data = data
            .filter(|data| data.as_ref() != b"null")
            .unwrap_or_default();
        if json_depth(&data) > JSON_DEPTH_MAX {
            return Err(format!("has data deeper than {JSON_DEPTH_MAX} levels"));
        }
        let parent = self.event;
        let eid = EventId::derive(
            parent.eid,
            self.delivery,
            self.generation,
            &format!("chained {number}"),
        );
        let FunctionName { package, name } = self.function;
        let mut event = Event {
            eid,
            project: parent.project.clone(),
            id: eid.to_string(),
            source: format!("/projects/{}/functions/{package}/{name}", parent.project),
            event_type,
            subject: None,
            time: self.now,
            accepted_at: self.now,
            data_content_type: (!data.is_empty()).then(|| "application/json".to_owned()),
            data,
            // The function acts for whom it was called.
            actor: parent.actor.clone(),
            partition_key: None,
            correlation_id: parent.correlation_id.clone(),
            causation_id: Some(parent.eid.to_string()),
            depth: 0,
            ancestry: Vec::new(),
            deliver_at: self.deliver_at(asked.timestamp.as_ref(), asked.delay)?,
            traceparent: parent.traceparent.clone(),
            extensions: extensions(asked.options.unwrap_or_default())?,
        };
        Lineage::of_call(parent, self.function).give_to(&mut event);
        let allowed = registry.may_emit(&event.project, &event.event_type, Emitter::Session);
        let custom = allowed.map_err(|refusal| format!("({}) {refusal}", event.event_type))?;
        if let Some(custom) = custom {
            custom
                .check(&event)
                .map_err(|refusal| format!("({}) {refusal}", event.event_type))?;
        }
        Ok(event)
    }

    /// `delay` is added to the time that is given, or to now; what has passed means at once.
    fn deliver_at(
        &self,
        timestamp: Option<&Value>,
        delay: Option<u64>,
    ) -> Result<Option<Timestamp>, String> {
        let from = match timestamp {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => text.parse::<Timestamp>().ok(),
            Some(Value::Number(millis)) => millis
                .as_i64()
                .and_then(|millis| Timestamp::from_millisecond(millis).ok()),
            Some(_) => None,
        };
        let is_given = timestamp.is_some_and(|given| !given.is_null());
        if is_given && from.is_none() {
            let allowed = "RFC 3339 or milliseconds since 1970";
            return Err(format!("has a timestamp that is none: {allowed}"));
        }
        if !is_given && delay.is_none() {
            return Ok(None);
        }
        let delay = Duration::from_millis(delay.unwrap_or(0));
        let due = from.unwrap_or(self.now).saturating_add(delay).ok();
        let latest = self.now.saturating_add(AHEAD_MAX).unwrap_or(Timestamp::MAX);
        match due {
            Some(due) if due <= latest => Ok(Some(due).filter(|due| *due > self.now)),
            Some(_) | None => Err("is for a time more than 6 days ahead".to_owned()),
        }
    }
}

/// Space Cloud's options are attributes of the event.
fn extensions(options: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, String> {
    let mut extensions = BTreeMap::new();
    for (name, value) in options {
        let is_name = (1..=OPTION_NAME_BYTES_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let text = match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let text = text.filter(|text| {
            (1..=ATTRIBUTE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
        });
        let (true, Some(text)) = (is_name, text) else {
            return Err(format!(
                "has the option {name:?}: names are 1 to 20 lower-case letters and digits, values text"
            ));
        };
        extensions.insert(name, text);
    }
    Ok(extensions)
}

#[cfg(test)]
mod tests;
