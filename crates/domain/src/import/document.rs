//! A JSON document of which every value knows its place, and every object all of its members.
//!
//! A reader of JSON that makes maps keeps the last of two members of one name and forgets that
//! there were two. Here a level is read when it is asked for, so nothing is nested deeper than the
//! reader looks.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::finding::{At, Report};
use super::{FILE_BYTES_MAX, Plan, Reading, Target};

/// A value as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    raw: &'a str,
    pub(crate) at: At,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) name: String,
    /// Where its name stands.
    pub(crate) at: At,
    pub(crate) value: Node<'a>,
}

/// The file's text: no longer than allowed, and UTF-8.
///
/// # Errors
/// What is wrong with it, and at which byte.
pub(crate) fn text(file: &[u8]) -> Result<&str, (usize, String)> {
    if file.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file has {} bytes: at most {FILE_BYTES_MAX}",
            file.len()
        );
        return Err((0, message));
    }
    std::str::from_utf8(file)
        .map_err(|error| (error.valid_up_to(), "the file is not UTF-8 here".to_owned()))
}

/// Reads a file that is JSON: what `read_root` makes of it, where nothing in it is an error.
pub(crate) fn read(
    file: &[u8],
    target: &Target,
    code: &'static str,
    read_root: impl FnOnce(&Node<'_>, &mut Report<'_>) -> Plan,
) -> Reading {
    let text = match text(file) {
        Ok(text) => text,
        Err(fault) => return no_text(code, file, fault),
    };
    let mut report = Report::new(text);
    let blanked = target.is_lenient.then(|| without_comments(text));
    let json = blanked.as_deref().unwrap_or(text);
    let mut plan = Plan::default();
    match check(json) {
        Ok(()) => plan = read_root(&Node::root(json), &mut report),
        Err((offset, message)) => report.error(code, &At::offset(offset), message),
    }
    if report.has_errors {
        plan = Plan::default();
    }
    Reading {
        plan,
        findings: report.finish(),
    }
}

/// The findings of a file that is no text at all.
pub(crate) fn no_text(code: &'static str, file: &[u8], fault: (usize, String)) -> Reading {
    let (offset, message) = fault;
    let readable = file.get(..offset).unwrap_or_default();
    let readable = String::from_utf8_lossy(readable);
    let mut report = Report::new(&readable);
    report.error(code, &At::offset(offset), message);
    Reading {
        findings: report.finish(),
        ..Reading::default()
    }
}

/// Where a text is no JSON, and why.
///
/// # Errors
/// The byte and the reason.
pub(crate) fn check(text: &str) -> Result<(), (usize, String)> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(drop)
        .map_err(|error| {
            let before = text
                .split_inclusive('\n')
                .take(error.line().saturating_sub(1));
            let offset = before.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            (
                offset.min(text.len()),
                format!("this is not JSON: {reason}"),
            )
        })
}

impl<'a> Node<'a> {
    /// The whole of a text that was checked.
    pub(crate) fn root(text: &'a str) -> Self {
        let raw = text.trim_start_matches([' ', '\t', '\n', '\r']);
        Self {
            raw: raw.trim_end_matches([' ', '\t', '\n', '\r']),
            at: At::offset(text.len() - raw.len()),
        }
    }

    /// The members in their order, repeated ones included; `None` when it is no object.
    pub(crate) fn members(&self) -> Option<Vec<Member<'a>>> {
        let Members(members) = serde_json::from_str(self.raw).ok()?;
        // Behind the opening brace.
        let mut end = 1;
        let read = members.into_iter().map(|(name, value)| {
            let start = self.start_of(value);
            let gap = self.raw.get(end..start).unwrap_or_default();
            let name_start = end + gap.find('"').unwrap_or(0);
            end = start + value.len();
            let pointer = format!("{}/{}", self.at.pointer, escaped(&name));
            Member {
                at: At {
                    pointer: pointer.clone(),
                    offset: self.at.offset + name_start,
                },
                value: Node {
                    raw: value,
                    at: At {
                        pointer,
                        offset: self.at.offset + start,
                    },
                },
                name,
            }
        });
        Some(read.collect())
    }

    /// The elements; `None` when it is no array.
    pub(crate) fn elements(&self) -> Option<Vec<Self>> {
        if !self.raw.starts_with('[') {
            return None;
        }
        let elements: Vec<&'a RawValue> = serde_json::from_str(self.raw).ok()?;
        let read = elements
            .into_iter()
            .enumerate()
            .map(|(place, element)| Self {
                raw: element.get(),
                at: At {
                    pointer: format!("{}/{place}", self.at.pointer),
                    offset: self.at.offset + self.start_of(element.get()),
                },
            });
        Some(read.collect())
    }

    /// `None` when it is no string.
    pub(crate) fn text(&self) -> Option<String> {
        serde_json::from_str(self.raw).ok()
    }

    /// `None` when it is neither true nor false.
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.raw.parse().ok()
    }

    /// A whole number, also when it stands in quotes.
    pub(crate) fn whole_number(&self) -> Option<i64> {
        let text = self.text();
        text.as_deref().unwrap_or(self.raw).trim().parse().ok()
    }

    pub(crate) fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub(crate) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    pub(crate) fn is_number(&self) -> bool {
        self.raw
            .starts_with(|first: char| first.is_ascii_digit() || first == '-')
    }

    /// As it stands in the file.
    pub(crate) fn raw(&self) -> &'a str {
        self.raw
    }

    /// As a message can show it.
    pub(crate) fn shown(&self) -> Cow<'a, str> {
        const CHARS_MAX: usize = 60;
        if self.raw.chars().nth(CHARS_MAX).is_none() {
            return Cow::Borrowed(self.raw);
        }
        let cut: String = self.raw.chars().take(CHARS_MAX).collect();
        Cow::Owned(format!("{cut}…"))
    }

    /// Where a part of this value begins, in bytes from its own beginning.
    fn start_of(&self, part: &str) -> usize {
        part.as_ptr().addr() - self.raw.as_ptr().addr()
    }
}

/// The last member of that name.
pub(crate) fn last<'m, 'a>(members: &'m [Member<'a>], name: &str) -> Option<&'m Member<'a>> {
    members.iter().rev().find(|member| member.name == name)
}

/// Members whose name was there before, each with its place.
pub(crate) fn repeated<'m, 'a>(members: &'m [Member<'a>]) -> Vec<&'m Member<'a>> {
    let mut seen = std::collections::BTreeSet::new();
    let repeated = members.iter().filter(|member| !seen.insert(&member.name));
    repeated.collect()
}

/// A name as a JSON pointer writes it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

struct Members<'a>(Vec<(String, &'a str)>);

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
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The text with spaces where comments and trailing commas stood, so that all else keeps its place.
pub(crate) fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = bytes.to_vec();
    let mut comma = None;
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        let next = bytes.get(place + 1);
        let end = match (byte, next) {
            (b'"', _) => end_of_string(bytes, place),
            (b'/', Some(b'/')) => end_of(bytes, place, b"\n"),
            (b'/', Some(b'*')) => end_of(bytes, place + 2, b"*/") + 2,
            _ => place + 1,
        };
        let is_comment = *byte == b'/' && end > place + 1;
        if is_comment {
            for byte in kept.iter_mut().take(end).skip(place) {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        } else {
            match byte {
                b',' => comma = Some(place),
                b'}' | b']' => {
                    if let Some(byte) = comma.take().and_then(|place: usize| kept.get_mut(place)) {
                        *byte = b' ';
                    }
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => comma = None,
            }
        }
        place = end;
    }
    // Only whole characters were replaced.
    String::from_utf8(kept).unwrap_or_else(|_broken| text.to_owned())
}

/// Behind the closing quote.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    loop {
        match bytes.get(place) {
            None => return bytes.len(),
            Some(b'\\') => place += 2,
            Some(b'"') => return place + 1,
            Some(_) => place += 1,
        }
    }
}

/// Where the next of these bytes begin, or the end.
fn end_of(bytes: &[u8], start: usize, what: &[u8]) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let found = rest.windows(what.len()).position(|window| window == what);
    found.map_or(bytes.len(), |place| start + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_kept_and_every_value_knows_its_place() {
        let text = "\n { \"a\" : [1, {\"x/~\": \"ä\"}],\"a\":2 , \"\\u0062\": null }";
        check(text).unwrap();
        let members = Node::root(text).members().unwrap();
        let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
        assert_eq!(names, ["a", "a", "b"]);
        let shown = |at: &At| text[at.offset..].chars().take(3).collect::<String>();
        assert_eq!(shown(&members[0].at), "\"a\"");
        assert_eq!(shown(&members[1].at), "\"a\"");
        assert_eq!(shown(&members[2].value.at), "nul");
        let inner = &members[0].value.elements().unwrap()[1];
        assert_eq!(inner.at.pointer, "/a/1");
        let deep = &inner.members().unwrap()[0];
        assert_eq!(deep.at.pointer, "/a/1/x~1~0");
        assert_eq!(deep.value.text().unwrap(), "ä");
        assert_eq!(repeated(&members).len(), 1);
        assert_eq!(last(&members, "a").unwrap().value.whole_number(), Some(2));
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let (offset, reason) = check("{\"a\": 1,\n  /* no */ \"b\": 2}").unwrap_err();
        assert_eq!(offset, 11);
        assert!(reason.contains("not JSON"), "{reason}");
        assert_eq!(check("").unwrap_err().0, 0);
        assert!(check("{\"a\": 1,}").is_err());
    }

    #[test]
    fn comments_and_trailing_commas_make_room_without_moving_anything() {
        let text = "{ // ä\n \"a/*\": [1, /* , */ 2, ], /* x */\n}";
        let blanked = without_comments(text);
        assert_eq!(blanked.len(), text.len());
        check(&blanked).unwrap();
        let members = Node::root(&blanked).members().unwrap();
        assert_eq!(members[0].name, "a/*");
        assert_eq!(members[0].value.elements().unwrap().len(), 2);
        for odd in ["\"", "/*", "//", "\"\\", "/", ",", "[,]", "{,}"] {
            assert_eq!(without_comments(odd).len(), odd.len(), "{odd}");
        }
    }
}
