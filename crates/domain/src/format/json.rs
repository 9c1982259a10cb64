//! Writing JSON objects member by member, so that data is passed through untouched.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::RenderError;
use crate::event::{Event, is_json};

/// An object under construction. Raw members are copied byte for byte: numbers keep their digits.
pub(super) struct ObjectWriter {
    buffer: Vec<u8>,
}

impl ObjectWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes);
        buffer.push(b'{');
        Self { buffer }
    }

    pub(super) fn raw(&mut self, name: &str, json: &str) -> Result<(), RenderError> {
        if self.buffer.len() > 1 {
            self.buffer.push(b',');
        }
        serde_json::to_writer(&mut self.buffer, name)?;
        self.buffer.push(b':');
        self.buffer.extend_from_slice(json.as_bytes());
        Ok(())
    }

    pub(super) fn text(&mut self, name: &str, value: &str) -> Result<(), RenderError> {
        self.raw(name, "")?;
        serde_json::to_writer(&mut self.buffer, value)?;
        Ok(())
    }

    pub(super) fn number(&mut self, name: &str, value: u32) -> Result<(), RenderError> {
        self.raw(name, &value.to_string())
    }

    /// A member that is an object itself.
    pub(super) fn object(&mut self, name: &str, value: Self) -> Result<(), RenderError> {
        self.raw(name, "")?;
        self.buffer.extend_from_slice(&value.finish());
        Ok(())
    }

    /// A member that is null where there is no text.
    pub(super) fn text_or_null(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), RenderError> {
        match value {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    /// An event's data as one member: JSON untouched, text as a string, bytes in base 64.
    pub(super) fn data(&mut self, name: &str, data: &Data<'_>) -> Result<(), RenderError> {
        match data {
            Data::Absent => self.raw(name, "null"),
            Data::Json(json) => self.raw(name, json.get()),
            Data::Text(text) => self.text(name, text),
            Data::Binary(bytes) => self.base64(name, bytes),
        }
    }

    pub(super) fn base64(&mut self, name: &str, bytes: &[u8]) -> Result<(), RenderError> {
        // The alphabet holds nothing that JSON would escape.
        self.raw(name, &format!("\"{}\"", STANDARD.encode(bytes)))
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.buffer.push(b'}');
        self.buffer
    }
}

/// `"42"` becomes `42`; what a 64-bit number cannot hold, or writes otherwise, stays a string.
pub(super) fn unquote_number(json: &str) -> &str {
    let Some(text) = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return json;
    };
    let is_number = text
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == text)
        || text
            .parse::<u64>()
            .is_ok_and(|number| number.to_string() == text);
    if is_number { text } else { json }
}

/// An event's data by what a JSON document can do with it.
pub(super) enum Data<'a> {
    Absent,
    /// Valid JSON, as the client wrote it.
    Json(&'a RawValue),
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Goes by the media type, and by the bytes where these do not keep its promise.
    pub(super) fn of(event: &'a Event) -> Self {
        if event.data.is_empty() {
            return Self::Absent;
        }
        let content_type = event.data_content_type.as_deref().unwrap_or_default();
        if is_json(content_type) {
            return match serde_json::from_slice(&event.data) {
                Ok(json) => Self::Json(json),
                Err(_) => Self::Binary(&event.data),
            };
        }
        let is_text = content_type
            .get(..5)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("text/"));
        match std::str::from_utf8(&event.data) {
            Ok(text) if is_text => Self::Text(text),
            _ => Self::Binary(&event.data),
        }
    }
}

/// The members of an object in the order they were written, values untouched.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// `None` when the value is not an object.
    pub(super) fn of(json: &'a RawValue) -> Option<Self> {
        serde_json::from_str(json.get()).ok()
    }

    /// The last member of that name counts, as in most readers of JSON.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .rev()
            .find(|(member, _)| member == name)
            .map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
