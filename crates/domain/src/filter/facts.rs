//! What a filter may look at, made at most once for each event and only as far as it is asked for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::objects::Key;
use serde_json::Value as Json;

use crate::event::Event;
use crate::pattern::Captures;

type Boxed = Box<dyn Val>;

/// An event, as filters see it.
#[derive(Debug)]
pub struct Facts<'a> {
    event: &'a Event,
    json: OnceLock<Json>,
    longest: OnceLock<usize>,
    attributes: OnceLock<Boxed>,
    data: OnceLock<Boxed>,
    old: OnceLock<Boxed>,
    new: OnceLock<Boxed>,
}

impl<'a> Facts<'a> {
    pub const fn of(event: &'a Event) -> Self {
        Self {
            event,
            json: OnceLock::new(),
            longest: OnceLock::new(),
            attributes: OnceLock::new(),
            data: OnceLock::new(),
            old: OnceLock::new(),
            new: OnceLock::new(),
        }
    }

    /// The event's data; null where it is no JSON.
    fn json(&self) -> &Json {
        self.json.get_or_init(|| {
            if !self.event.has_json_data() {
                return Json::Null;
            }
            serde_json::from_slice(&self.event.data).unwrap_or(Json::Null)
        })
    }

    /// How many elements the longest list or object of the data has.
    pub(super) fn longest(&self) -> usize {
        *self.longest.get_or_init(|| longest(self.json()))
    }

    fn variable(&self, name: &str) -> Option<&Boxed> {
        let of_data = |key: &str| val(self.json().get(key).unwrap_or(&Json::Null));
        Some(match name {
            "event" => self.attributes.get_or_init(|| attributes(self.event)),
            "data" => self.data.get_or_init(|| val(self.json())),
            "old" => self.old.get_or_init(|| of_data("old")),
            "new" => self.new.get_or_init(|| of_data("new")),
            _ => return None,
        })
    }
}

/// An event's facts together with what one trigger captured.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    facts: &'a Facts<'a>,
    captures: &'a Captures,
    params: OnceLock<Boxed>,
}

impl<'a> Scope<'a> {
    pub(super) const fn new(facts: &'a Facts<'a>, captures: &'a Captures) -> Self {
        Self {
            facts,
            captures,
            params: OnceLock::new(),
        }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let found = if name == "params" {
            self.params.get_or_init(|| {
                let pairs = self.captures.iter();
                map(pairs.map(|(name, value)| (name.to_owned(), text(value))))
            })
        } else {
            self.facts.variable(name)?
        };
        Some(CowVal::Borrowed(found.as_ref()))
    }
}

fn longest(json: &Json) -> usize {
    match json {
        Json::Array(elements) => {
            let inner = elements.iter().map(longest).max();
            elements.len().max(inner.unwrap_or(0))
        }
        Json::Object(fields) => {
            let inner = fields.values().map(longest).max();
            fields.len().max(inner.unwrap_or(0))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
    }
}

/// The event's attributes by their `CloudEvents` names; what is absent is an empty text.
fn attributes(event: &Event) -> Boxed {
    let optional = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
    let actor: Boxed = match &event.actor {
        Some(actor) => map([
            ("id".to_owned(), text(&actor.id)),
            ("kind".to_owned(), text(&actor.kind)),
        ]),
        None => Box::new(CelNull),
    };
    let number: Boxed = match event.event_type.number() {
        Some(number) => Box::new(CelInt::from(i64::from(number))),
        None => Box::new(CelNull),
    };
    let ours = [
        ("id", text(&event.id)),
        ("source", text(&event.source)),
        ("type", text(event.event_type.as_str())),
        ("number", number),
        ("subject", optional(&event.subject)),
        ("time", text(&event.time.to_string())),
        ("datacontenttype", optional(&event.data_content_type)),
        ("actor", actor),
        ("partitionkey", optional(&event.partition_key)),
        ("correlationid", optional(&event.correlation_id)),
        ("causationid", optional(&event.causation_id)),
        ("depth", Box::new(CelInt::from(i64::from(event.depth)))),
    ];
    let ours = ours
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let extensions = event.extensions.iter();
    map(extensions
        .map(|(name, value)| (name.clone(), text(value)))
        .chain(ours))
}

fn val(json: &Json) -> Boxed {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => {
            if let Some(whole) = number.as_i64() {
                Box::new(CelInt::from(whole))
            } else if let Some(whole) = number.as_u64() {
                Box::new(CelUInt::from(whole))
            } else {
                Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
            }
        }
        Json::String(value) => text(value),
        Json::Array(elements) => {
            let elements: Vec<Boxed> = elements.iter().map(val).collect();
            Box::new(CelList::from(elements))
        }
        Json::Object(fields) => map(fields
            .iter()
            .map(|(name, value)| (name.clone(), val(value)))),
    }
}

fn text(value: &str) -> Boxed {
    Box::new(CelString::from(value.to_owned()))
}

fn map(pairs: impl IntoIterator<Item = (String, Boxed)>) -> Boxed {
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| (CelMapKey::from(Key::String(Arc::new(name))), value));
    let pairs: HashMap<CelMapKey<'static>, Boxed> = pairs.collect();
    Box::new(CelMap::from(pairs))
}
