//! Envelopes of `protocol` as messages, so that every service writes them alike.

use protocol::envelope::{Envelope, SCHEMA_VERSION};

use crate::batch::Encoding;
use crate::publish::Message;

impl Message {
    /// The message that carries these items, in their order.
    pub fn of<T: Envelope>(items: &[T]) -> Self {
        let traceparent = match items {
            [item] => item.traceparent().map(ToOwned::to_owned),
            _ => None,
        };
        Self {
            body: T::write(items),
            kind: T::KIND,
            schema_version: SCHEMA_VERSION,
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            traceparent,
        }
    }
}

impl<T: Envelope> Encoding<T> {
    /// Batches written as envelopes.
    pub fn of_envelope() -> Self {
        Self {
            bytes_of: T::bytes,
            encode: Message::of,
        }
    }
}
