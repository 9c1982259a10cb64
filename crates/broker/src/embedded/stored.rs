//! A message as the embedded queue keeps it: the body, and a few lines of headers.

use std::borrow::Cow;

use bytes::Bytes;
use storage::queue::QueuedMessage;

use crate::consume::SetAside;
use crate::packing::Packed;
use crate::publish::{Message, PublishError};

/// In memory the body is as it was published; on disk it is packed. Headers on disk: kind, schema
/// version, items, traceparent and how the body is packed, one to a line.
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
        let kind = lines.next().unwrap_or_default().to_owned();
        let schema_version = number(lines.next());
        let items = number(lines.next());
        let mut text = || {
            lines
                .next()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let traceparent = text();
        let packed = Packed {
            encoding: text().map(Cow::Owned),
            body: message.body,
        };
        Self {
            kind,
            schema_version,
            items,
            traceparent,
            set_aside: message.set_aside.map(|aside| SetAside {
                queue: aside.queue,
                reason: aside.reason,
            }),
            body: packed.unpack(),
        }
    }
}

impl Stored {
    /// Headers and body as they go to disk.
    pub(super) fn to_disk(&self) -> (Bytes, Bytes) {
        let Self {
            kind,
            schema_version,
            items,
            traceparent,
            body,
            ..
        } = self;
        let traceparent = traceparent.as_deref().unwrap_or_default();
        let Packed { body, encoding } = Packed::of(body.clone());
        let encoding = encoding.as_deref().unwrap_or_default();
        let headers = format!("{kind}\n{schema_version}\n{items}\n{traceparent}\n{encoding}");
        (headers.into(), body)
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
