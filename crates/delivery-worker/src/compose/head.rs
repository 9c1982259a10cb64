//! The head of a request while it is put together.

use std::fmt::{Display, Write as _};

use bytes::BytesMut;
use domain::delivery::{ErrorClass, Outcome};
use http::{HeaderName, HeaderValue};

use super::impossible;

/// Most heads fit: some twenty values of some twenty to seventy bytes.
const TEXT_BYTES: usize = 1024;
const FIELDS: usize = 24;

/// Fields whose values share one piece of memory, since every attempt has some twenty of them, and
/// each is copied when it is sent.
#[derive(Debug)]
pub(super) struct Head {
    /// Room for what is written next.
    text: BytesMut,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

impl Head {
    pub(super) fn new() -> Self {
        Self {
            text: BytesMut::with_capacity(TEXT_BYTES),
            fields: Vec::with_capacity(FIELDS),
        }
    }

    /// # Errors
    /// The outcome of the attempt, when the value cannot stand in a head.
    pub(super) fn push(&mut self, name: HeaderName, value: &str) -> Result<(), Outcome> {
        match self.try_push(name, value) {
            Ok(()) => Ok(()),
            Err(error) => Err(impossible(ErrorClass::Render, error.to_string())),
        }
    }

    /// # Errors
    /// The value cannot stand in a head.
    pub(super) fn try_push(
        &mut self,
        name: HeaderName,
        value: &str,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        self.text.extend_from_slice(value.as_bytes());
        let value = HeaderValue::from_maybe_shared(self.text.split().freeze())?;
        self.fields.push((name, value));
        Ok(())
    }

    /// What is shown as it is written, a number or an id.
    pub(super) fn push_display(
        &mut self,
        name: HeaderName,
        value: impl Display,
    ) -> Result<(), Outcome> {
        let unwritable = |error: String| impossible(ErrorClass::Render, error);
        write!(self.text, "{value}").map_err(|error| unwritable(error.to_string()))?;
        let value = HeaderValue::from_maybe_shared(self.text.split().freeze());
        let value = value.map_err(|error| unwritable(error.to_string()))?;
        self.fields.push((name, value));
        Ok(())
    }
}

/// A name that many heads have, or any other that can be one.
pub(super) fn name_of(name: &str) -> Option<HeaderName> {
    let known = match name {
        "ce-specversion" => HeaderName::from_static("ce-specversion"),
        "ce-id" => HeaderName::from_static("ce-id"),
        "ce-source" => HeaderName::from_static("ce-source"),
        "ce-type" => HeaderName::from_static("ce-type"),
        "ce-subject" => HeaderName::from_static("ce-subject"),
        "ce-time" => HeaderName::from_static("ce-time"),
        "ce-eventnumber" => HeaderName::from_static("ce-eventnumber"),
        "ce-eventname" => HeaderName::from_static("ce-eventname"),
        "ce-actorid" => HeaderName::from_static("ce-actorid"),
        "ce-actorkind" => HeaderName::from_static("ce-actorkind"),
        "ce-depth" => HeaderName::from_static("ce-depth"),
        "ce-traceparent" => HeaderName::from_static("ce-traceparent"),
        _ => return HeaderName::try_from(name).ok(),
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_they_were_pushed_and_what_would_begin_another_field_is_refused() {
        let mut head = Head::new();
        head.push(name_of("ce-id").unwrap(), "a b").unwrap();
        head.push_display(HeaderName::from_static("x-attempt"), 7_u32)
            .unwrap();
        let long = "x".repeat(3 * TEXT_BYTES);
        head.push(HeaderName::from_static("x-long"), &long).unwrap();
        let evil = head.push(HeaderName::from_static("x-evil"), "a\r\nx-b: c");
        assert!(matches!(evil, Err(Outcome::Impossible { .. })), "{evil:?}");
        head.push_display(HeaderName::from_static("x-at"), -1_i64)
            .unwrap();
        let fields: Vec<_> = head
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("ce-id", "a b"),
            ("x-attempt", "7"),
            ("x-long", long.as_str()),
            ("x-at", "-1"),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn known_names_are_the_names_they_stand_for() {
        for name in [
            "ce-specversion",
            "ce-id",
            "ce-subject",
            "ce-traceparent",
            "ce-mine",
        ] {
            assert_eq!(name_of(name).unwrap().as_str(), name);
        }
        assert_eq!(name_of("no name"), None);
    }
}
