//! What an event says of the thing it is about: by its data first, else by its subject.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::{Data, Members};
use crate::event::Event;
use crate::pattern::{decode, segments};

/// An event's data and subject, taken apart.
pub(super) struct About<'a> {
    event: &'a Event,
    members: Option<Members<'a>>,
    /// Decoded, one after the other.
    segments: Vec<Cow<'a, str>>,
}

impl<'a> About<'a> {
    pub(super) fn of(event: &'a Event, data: &Data<'a>) -> Self {
        let members = match data {
            Data::Json(json) => Members::of(json),
            Data::Absent | Data::Text(_) | Data::Binary(_) => None,
        };
        Self::with_members(event, members)
    }

    /// With an object that stands for the data.
    pub(super) fn with_members(event: &'a Event, members: Option<Members<'a>>) -> Self {
        let subject = event.subject.as_deref().unwrap_or_default();
        Self {
            event,
            members,
            segments: segments(subject, '/').map(decode).collect(),
        }
    }

    /// A member of the data as it was written; null counts as well as any other.
    pub(super) fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.members.as_ref()?.get(name)
    }

    /// The first of these members of the data that is there and is not null.
    pub(super) fn first(&self, names: &[&str]) -> Option<&'a RawValue> {
        let mut found = names.iter().filter_map(|name| self.member(name));
        found.find(|value| value.get() != "null")
    }

    /// The first of these members that can be read as text: a string, or a number's digits.
    pub(super) fn text(&self, names: &[&str]) -> Option<String> {
        names
            .iter()
            .find_map(|name| self.member(name).and_then(as_text))
    }

    /// The first of these attributes that the event carries beside the standard's own.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.event.extensions.get(name).cloned()
    }

    /// The id that follows a collection's name in the subject: `…/buckets/ID/…`.
    pub(super) fn id_in(&self, collection: &str) -> Option<&str> {
        let mut pairs = self.segments.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [name, id] if name == collection => Some(id.as_ref()),
            _ => None,
        })
    }

    /// The first segment of the subject; empty where there is none.
    pub(super) fn root(&self) -> &str {
        self.segments.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// All segments of the subject after the first `count`, with `/` between them.
    pub(super) fn rest(&self, count: usize) -> Option<String> {
        let rest = self.segments.get(count..)?;
        (!rest.is_empty()).then(|| rest.join("/"))
    }

    /// The segment at a place, from 0.
    pub(super) fn segment(&self, place: usize) -> Option<&str> {
        self.segments.get(place).map(AsRef::as_ref)
    }

    /// The last segment of the subject.
    pub(super) fn last(&self) -> Option<&str> {
        self.segments.last().map(AsRef::as_ref)
    }
}

/// A string's text, or a number as it is written.
pub(super) fn as_text(value: &RawValue) -> Option<String> {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok(),
        Some(b'-' | b'0'..=b'9') => Some(json.to_owned()),
        _ => None,
    }
}
