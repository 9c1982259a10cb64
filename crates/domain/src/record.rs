//! What is recorded for people to read: that an event was matched, each attempt, each ending.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::delivery::{ErrorClass, Status, Target};
use crate::event::Event;
use crate::id::{DeliveryId, EventId};
use crate::name::{FunctionName, ProjectName, TriggerName};

/// An endpoint's answer is kept up to this many bytes and flagged as cut beyond.
pub const RESPONSE_BODY_BYTES_MAX: usize = 64 * 1024;

/// One recorded fact. Recording the same fact twice changes nothing.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most records are of the large kind"
)]
pub enum Record {
    Matched(Matched),
    Attempted(Box<Attempted>),
    Settled(Settled),
}

/// An event was matched: these deliveries are owed; none when nothing matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    pub event: Event,
    pub targets: Vec<Target>,
}

/// An attempt was made, and what follows from it. Secrets are masked already.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    pub project: ProjectName,
    pub event: EventId,
    pub delivery: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    /// From 1.
    pub number: u32,
    pub generation: u32,
    pub started_at: Timestamp,
    pub duration: Duration,
    pub url: String,
    /// `None` when there was no answer.
    pub response_status: Option<u16>,
    pub error_class: Option<ErrorClass>,
    pub error: Option<String>,
    pub request_headers: HeaderLines,
    pub request_bytes: u64,
    pub response_headers: HeaderLines,
    pub response_body: Bytes,
    pub is_response_truncated: bool,
    /// Which worker made it.
    pub worker: String,
    /// Trace context sent to the endpoint.
    pub traceparent: Option<String>,
    /// The delivery's state after this attempt.
    pub status: Status,
    pub remark: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
}

/// A delivery ended without an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub project: ProjectName,
    pub event: EventId,
    pub delivery: DeliveryId,
    pub trigger: TriggerName,
    pub function: FunctionName,
    pub generation: u32,
    pub status: Status,
    pub remark: String,
    pub at: Timestamp,
}

/// Header fields as lines `name: value`, as they stand in a message's head: one text for many
/// fields, since every attempt carries some twenty of them through three processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderLines(String);

impl HeaderLines {
    /// The lines as [`as_str`](Self::as_str) gave them.
    pub const fn from_text(text: String) -> Self {
        Self(text)
    }

    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Adds a field. What would end its line becomes a space.
    pub fn push(&mut self, name: &str, value: &str) {
        self.push_part(name);
        self.0.push_str(": ");
        self.push_part(value);
        self.0.push('\n');
    }

    fn push_part(&mut self, part: &str) {
        if part.contains(['\r', '\n']) {
            self.0.push_str(&part.replace(['\r', '\n'], " "));
        } else {
            self.0.push_str(part);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once(": "))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for HeaderLines {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut lines = Self(String::with_capacity(512));
        for (name, value) in fields {
            lines.push(name.as_ref(), value.as_ref());
        }
        lines
    }
}

impl Record {
    pub fn project(&self) -> &ProjectName {
        match self {
            Self::Matched(matched) => &matched.event.project,
            Self::Attempted(attempted) => &attempted.project,
            Self::Settled(settled) => &settled.project,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_read_back_and_a_value_never_makes_a_second_line() {
        let fields = [("x-a", "1: 2"), ("x-b", ""), ("x-c", "one\r\nx-d: two")];
        let lines: HeaderLines = fields.into_iter().collect();
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(
            read,
            [("x-a", "1: 2"), ("x-b", ""), ("x-c", "one  x-d: two")]
        );
        assert_eq!(HeaderLines::from_text(lines.as_str().to_owned()), lines);
    }
}
