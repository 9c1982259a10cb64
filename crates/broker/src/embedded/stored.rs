//! A message as the embedded queue keeps it: the body, and a few lines of headers.

use bytes::Bytes;
use storage::queue::QueuedMessage;

use crate::consume::SetAside;
use crate::publish::{Message, PublishError};

/// Headers on disk: kind, schema version, items and traceparent, one to a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stored {
    pub(super) body: Bytes,
    pub(super) kind: String,
    pub(super) schema_version: u32,
    pub(super) items: u32,
    pub(super) traceparent: Option<String>,
    pub(super) set_aside: Option<SetAside>,
}

impl From<Message> for Stored {
    fn from(message: Message) -> Self {
        let Message {
            body,
            kind,
            schema_version,
            items,
            traceparent,
        } = message;
        Self {
            body,
            kind: kind.to_owned(),
            schema_version,
            items,
            traceparent,
            set_aside: None,
        }
    }
}

impl From<QueuedMessage> for Stored {
    /// What is missing in the headers stays empty, for whoever reads the message to judge.
    fn from(message: QueuedMessage) -> Self {
        let headers = String::from_utf8_lossy(&message.headers);
        let mut lines = headers.lines();
        Self {
            kind: lines.next().unwrap_or_default().to_owned(),
            schema_version: number(lines.next()),
            items: number(lines.next()),
            traceparent: lines
                .next()
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            set_aside: message.set_aside.map(|aside| SetAside {
                queue: aside.queue,
                reason: aside.reason,
            }),
            body: message.body,
        }
    }
}

impl Stored {
    pub(super) fn headers(&self) -> Bytes {
        let Self {
            kind,
            schema_version,
            items,
            traceparent,
            ..
        } = self;
        let traceparent = traceparent.as_deref().unwrap_or_default();
        format!("{kind}\n{schema_version}\n{items}\n{traceparent}").into()
    }
}

pub(super) fn publish_error(error: &storage::Error) -> PublishError {
    match error {
        storage::Error::Full { .. } => PublishError::Refused,
        _ => PublishError::Unavailable,
    }
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
