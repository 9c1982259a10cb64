//! Patterns over resource paths and type names: `users/{user}/**`, `storage.row.*`.
//!
//! ```text
//! pattern  = [sep] segment *(sep segment) [sep]     sep is "/" in paths, "." in type names
//! segment  = "**"                ; any number of segments
//!          / "{" name "}"        ; one segment, captured; "{name=*}" is the same
//!          / "{" name "=**}"     ; any number of segments, captured
//!          / "{" name "=+}"      ; one or more segments, captured
//!          / "{" name "=" glob "}"
//!          / glob                ; one segment: literal, or with "*" for any characters
//! ```
//!
//! A pattern has at most one element of many segments, so matching takes one pass and captures
//! are unambiguous. Literals compare, and captures are given, after percent-decoding.

mod compile;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::event::ATTRIBUTE_BYTES_MAX;

/// A pattern may be this long.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern may have this many segments.
pub const PATTERN_SEGMENTS_MAX: usize = 64;

/// What is wrong with a pattern, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}, byte {position}: {fault}")]
pub struct PatternError {
    /// The text as written, cut at [`PATTERN_BYTES_MAX`].
    pub pattern: String,
    /// Where the fault is, in bytes from the beginning.
    pub position: usize,
    pub fault: PatternFault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    #[error("the pattern is empty")]
    Empty,
    #[error("a pattern has at most {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("a pattern has at most {PATTERN_SEGMENTS_MAX} segments")]
    TooManySegments,
    #[error("a segment is empty")]
    EmptySegment,
    #[error("control characters are not allowed")]
    ControlCharacter,
    #[error("only one of `**`, `{{name=**}}` and `{{name=+}}` is allowed in a pattern")]
    SecondMany,
    #[error("`**` is not allowed as a part of a segment")]
    ManyInSegment,
    #[error("braces are allowed only around a whole segment")]
    BraceInSegment,
    #[error("`{{` without its `}}` in the same segment")]
    UnterminatedBrace,
    #[error(
        "{name:?} is not a capture's name: letters, digits and '_', not beginning with a digit"
    )]
    BadName { name: String },
    #[error("the name {name:?} is used twice")]
    DuplicateName { name: String },
    #[error("nothing follows the `=`")]
    EmptyCapture,
}

/// What a pattern's named segments stood for, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(BTreeMap<String, String>);

impl Captures {
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over the other's captures; of two with one name, the other's stays.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl FromIterator<(String, String)> for Captures {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(captures: I) -> Self {
        Self(captures.into_iter().collect())
    }
}

/// A pattern over resource paths; its separator is `/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PathPattern(Pattern);

/// A pattern over type names; its separator is `.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TypePattern(Pattern);

impl PathPattern {
    const SEPARATOR: char = '/';

    /// What the pattern captures from the path, or `None` when the path does not match.
    pub fn matches(&self, path: &str) -> Option<Captures> {
        self.0.matches(path)
    }

    /// How special the pattern is among others that match the same path.
    pub fn specificity(&self) -> Specificity {
        self.0.specificity()
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        self.0.shape()
    }
}

impl TypePattern {
    const SEPARATOR: char = '.';

    /// What the pattern captures from the type name, or `None` when it does not match.
    pub fn matches(&self, type_name: &str) -> Option<Captures> {
        self.0.matches(type_name)
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        self.0.shape()
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        compile::pattern(text, Self::SEPARATOR).map(Self)
    }
}

impl FromStr for TypePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        compile::pattern(text, Self::SEPARATOR).map(Self)
    }
}

/// The text as written.
impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.text)
    }
}

/// The text as written.
impl fmt::Display for TypePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.text)
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0.text)
    }
}

impl fmt::Debug for TypePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0.text)
    }
}

/// Orders patterns from generic to special: fewer elements of many segments, then more literal
/// segments, then fewer captures. Of equals, the one registered first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    many_elements: Reverse<usize>,
    literals: usize,
    captures: Reverse<usize>,
}

/// A compiled pattern: segments that stand for one each, around at most one for many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pattern {
    text: String,
    separator: char,
    head: Vec<Single>,
    many: Option<Many>,
    /// What follows the element of many segments; empty without one.
    tail: Vec<Single>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Single {
    name: Option<String>,
    glob: Glob,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Many {
    name: Option<String>,
    segments_min: usize,
}

/// What one segment may be, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Glob {
    Any,
    Literal(String),
    /// Begins with the first, ends with the last, has the others in between, in order.
    Parts {
        first: String,
        between: Vec<String>,
        last: String,
    },
}

/// What an index needs to know: for each segment its decoded literal, or `None`.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) head: Vec<Option<&'a str>>,
    /// `None` where the pattern has no element of many segments.
    pub(crate) tail: Option<Vec<Option<&'a str>>>,
}

impl Pattern {
    fn matches(&self, text: &str) -> Option<Captures> {
        let segments: Vec<&str> = segments(text, self.separator).collect();
        let (front, rest) = segments.split_at_checked(self.head.len())?;
        let (middle, back) = rest.split_at_checked(rest.len().checked_sub(self.tail.len())?)?;
        let is_middle_allowed = match &self.many {
            Some(many) => middle.len() >= many.segments_min,
            None => middle.is_empty(),
        };
        if !is_middle_allowed {
            return None;
        }
        let mut captures = Captures::default();
        for (single, segment) in self
            .head
            .iter()
            .zip(front)
            .chain(self.tail.iter().zip(back))
        {
            let decoded = decode(segment);
            if !single.glob.matches(&decoded) {
                return None;
            }
            if let Some(name) = &single.name {
                captures.insert(name, decoded);
            }
        }
        if let Some(Many {
            name: Some(name), ..
        }) = &self.many
        {
            let decoded: Vec<_> = middle.iter().map(|segment| decode(segment)).collect();
            captures.insert(name, decoded.join(self.separator.encode_utf8(&mut [0; 4])));
        }
        Some(captures)
    }

    fn specificity(&self) -> Specificity {
        let singles = || self.head.iter().chain(&self.tail);
        let many_names = self.many.iter().filter(|many| many.name.is_some()).count();
        Specificity {
            many_elements: Reverse(usize::from(self.many.is_some())),
            literals: singles()
                .filter(|single| single.literal().is_some())
                .count(),
            captures: Reverse(
                many_names + singles().filter(|single| single.name.is_some()).count(),
            ),
        }
    }

    fn shape(&self) -> Shape<'_> {
        let tail = self
            .many
            .as_ref()
            .map(|_| self.tail.iter().map(Single::literal).collect());
        Shape {
            head: self.head.iter().map(Single::literal).collect(),
            tail,
        }
    }
}

impl Single {
    fn literal(&self) -> Option<&str> {
        match &self.glob {
            Glob::Literal(literal) => Some(literal),
            Glob::Any | Glob::Parts { .. } => None,
        }
    }
}

impl Glob {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Any => !segment.is_empty(),
            Self::Literal(literal) => segment == literal,
            Self::Parts {
                first,
                between,
                last,
            } => {
                let Some(rest) = segment.strip_prefix(first.as_str()) else {
                    return false;
                };
                let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
                    return false;
                };
                // The leftmost place of each part leaves the most room for the parts after it.
                between
                    .iter()
                    .all(|part| match rest.split_once(part.as_str()) {
                        Some((_, after)) => {
                            rest = after;
                            true
                        }
                        None => false,
                    })
            }
        }
    }
}

/// The segments of a path or type name; one separator at each end does not count.
pub(crate) fn segments(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix(separator).unwrap_or(text);
    let text = text.strip_suffix(separator).unwrap_or(text);
    text.split(separator).filter(move |_| !text.is_empty())
}

/// The last segment of a resource path, decoded; empty for an empty path.
pub fn decoded_last_segment(path: &str) -> Cow<'_, str> {
    segments(path, PathPattern::SEPARATOR)
        .last()
        .map(decode)
        .unwrap_or_default()
}

/// Percent-decodes a segment; what does not decode to UTF-8 stays as it is written.
pub(crate) fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut decoded = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some(position) = rest.find('%') {
        let (plain, escapes) = rest.split_at(position);
        decoded.push_str(plain);
        let bytes: Vec<u8> = escapes.as_bytes().chunks(3).map_while(unescape).collect();
        let mut written = escapes.get(..bytes.len() * 3).unwrap_or_default();
        for chunk in bytes.utf8_chunks() {
            let (_, after) = written.split_at(chunk.valid().len() * 3);
            let (undecodable, after) = after.split_at(chunk.invalid().len() * 3);
            decoded.push_str(chunk.valid());
            decoded.push_str(undecodable);
            written = after;
        }
        rest = escapes.get(bytes.len() * 3..).unwrap_or_default();
        if bytes.is_empty() {
            decoded.push('%');
            rest = escapes.get(1..).unwrap_or_default();
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// The byte that `%XX` stands for.
fn unescape(escape: &[u8]) -> Option<u8> {
    let [b'%', high, low] = *escape else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What is wrong with the subject of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("the subject is empty: leave it out where the event has none")]
    Empty,
    #[error("the subject has {bytes} bytes: at most {ATTRIBUTE_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error(
        "the subject has an empty segment at byte {position}: segments are separated by one '/'"
    )]
    EmptySegment { position: usize },
    #[error("the subject has a control character at byte {position}: write it percent-encoded")]
    ControlCharacter { position: usize },
}

/// Checks a concrete resource path as an event may carry it.
pub fn check_subject(subject: &str) -> Result<(), SubjectError> {
    if subject.len() > ATTRIBUTE_BYTES_MAX {
        return Err(SubjectError::TooLong {
            bytes: subject.len(),
        });
    }
    if let Some((position, _)) = subject.char_indices().find(|(_, char)| char.is_control()) {
        return Err(SubjectError::ControlCharacter { position });
    }
    let mut position = usize::from(subject.starts_with(PathPattern::SEPARATOR));
    let mut is_empty = true;
    for segment in segments(subject, PathPattern::SEPARATOR) {
        if segment.is_empty() {
            return Err(SubjectError::EmptySegment { position });
        }
        position += segment.len() + 1;
        is_empty = false;
    }
    if is_empty {
        Err(SubjectError::Empty)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
