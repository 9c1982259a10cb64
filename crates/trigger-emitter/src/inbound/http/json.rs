//! Reads JSON documents member by member, so that data is cut out untouched and each fault has a place.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use protocol::fault::Fault;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::accept::{JSON_DEPTH_MAX, check_depth};

/// An event's document and an array around it.
const DOCUMENT_DEPTH_MAX: usize = JSON_DEPTH_MAX + 2;

/// The members of an object as they were written; no name comes twice.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| *value)
    }

    /// Members that have a value: `null` says that there is none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0
            .iter()
            .filter(|(_, value)| value.get() != "null")
            .map(|(name, value)| (name.as_ref(), *value))
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
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(12);
                while let Some(Name(name)) = map.next_key()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        let message = format_args!("the member {name:?} is there twice");
                        return Err(A::Error::custom(message));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A member's name, borrowed unless it is written with escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Whether the document is an array, by its first character.
pub(super) fn is_array(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// The document, which has to be an object.
pub(super) fn object(body: &[u8]) -> Result<Members<'_>, Fault> {
    check_depth("body", body, DOCUMENT_DEPTH_MAX)?;
    serde_json::from_slice(body).map_err(|error| not_read(&error, "a JSON object"))
}

/// What `read` makes of each object of the document, which has to be an array.
pub(super) fn each<T>(
    body: &[u8],
    read: impl Fn(&Members<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    check_depth("body", body, DOCUMENT_DEPTH_MAX)?;
    let elements: Vec<Members<'_>> = serde_json::from_slice(body)
        .map_err(|error| not_read(&error, "a JSON array of objects"))?;
    let numbered = elements.iter().enumerate();
    numbered
        .map(|(number, members)| {
            read(members).map_err(|fault| fault.within(&format!("events[{number}]")))
        })
        .collect()
}

fn not_read(error: &serde_json::Error, allowed: &str) -> Fault {
    let message = if error.is_data() {
        format!("the body is not as expected: {error}")
    } else {
        format!("the body is not JSON: {error}")
    };
    Fault::invalid("body", "", message, allowed)
}

/// A member that has to be a string.
pub(super) fn string(name: &str, value: &RawValue) -> Result<String, Fault> {
    serde_json::from_str(value.get())
        .map_err(|_other| Fault::invalid(name, value.get(), "is not a string", "a JSON string"))
}

/// A member that has to be a whole number that is not negative.
pub(super) fn number(name: &str, value: &RawValue) -> Result<u32, Fault> {
    serde_json::from_str(value.get()).map_err(|_other| {
        Fault::invalid(
            name,
            value.get(),
            "is not such a number",
            "a whole number from 0",
        )
    })
}

/// A value's bytes as they stand in the body, without copying them.
pub(super) fn cut_out(body: &Bytes, value: &RawValue) -> Bytes {
    body.slice_ref(value.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_cut_out_as_it_was_written() {
        let body = Bytes::from_static(br#"{"data": {"n": 1.0, "n2": 12345678901234567890123}}"#);
        let members = object(&body).unwrap();
        let data = cut_out(&body, members.get("data").unwrap());
        assert_eq!(data, r#"{"n": 1.0, "n2": 12345678901234567890123}"#);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        for (bad, words) in [
            (
                "{nope",
                "the body is not JSON: key must be a string at line 1 column 2",
            ),
            ("", "the body is not JSON: EOF while parsing"),
            ("[1]", "the body is not as expected: invalid type"),
            (
                r#"{"a":1,"a":2}"#,
                "the body is not as expected: the member \"a\" is there twice",
            ),
        ] {
            let fault = object(bad.as_bytes()).unwrap_err();
            assert!(fault.message.starts_with(words), "{bad}: {}", fault.message);
            assert_eq!(fault.field.as_deref(), Some("body"));
        }
        object(b"{\"a\":\"\xff\"}").unwrap_err();
        let deep = "[".repeat(DOCUMENT_DEPTH_MAX + 1);
        let fault = object(deep.as_bytes()).unwrap_err();
        assert!(
            fault.message.contains("nested too deeply"),
            "{}",
            fault.message
        );
    }

    #[test]
    fn a_fault_in_an_array_says_in_which_event() {
        let fault = each(br#"[{"type":"a"},{"type":1}]"#, |members| {
            string("type", members.get("type").unwrap())
        });
        assert_eq!(fault.unwrap_err().field.as_deref(), Some("events[1].type"));
        let fault = each(br#"{"type":"a"}"#, |_| Ok(())).unwrap_err();
        assert_eq!(fault.allowed.as_deref(), Some("a JSON array of objects"));
    }
}
