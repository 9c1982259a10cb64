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
    pub request_headers: Vec<(String, String)>,
    pub request_bytes: u64,
    pub response_headers: Vec<(String, String)>,
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

impl Record {
    pub fn project(&self) -> &ProjectName {
        match self {
            Self::Matched(matched) => &matched.event.project,
            Self::Attempted(attempted) => &attempted.project,
            Self::Settled(settled) => &settled.project,
        }
    }
}
