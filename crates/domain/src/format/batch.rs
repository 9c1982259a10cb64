//! Bodies that carry several events: each is rendered alone, then they are put together.

use bytes::Bytes;

use super::{JSON, RenderError, RenderInput, Rendered, cloudevents, yandex};

const CLOUDEVENTS_BATCH: &str = "application/cloudevents-batch+json";

/// A format whose requests may carry more than one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchFormat {
    /// A JSON array of events.
    CloudEvents,
    /// An object with the array `messages`.
    Yandex,
}

impl BatchFormat {
    /// One event's part of a body. The same input always gives the same bytes.
    ///
    /// # Errors
    /// The event cannot be expressed in this format, however often it is tried.
    pub fn part(self, input: &RenderInput<'_>) -> Result<Bytes, RenderError> {
        let part = match self {
            Self::CloudEvents => cloudevents::structured(input)?,
            Self::Yandex => yandex::message(input)?,
        };
        Ok(Bytes::from(part))
    }

    /// The request that carries these parts, in this order.
    pub fn whole(self, parts: &[Bytes]) -> Rendered {
        let (content_type, begin, end) = match self {
            Self::CloudEvents => (CLOUDEVENTS_BATCH, &b"["[..], &b"]"[..]),
            Self::Yandex => (JSON, &b"{\"messages\":["[..], &b"]}"[..]),
        };
        let bytes: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut body = Vec::with_capacity(bytes + 32);
        body.extend_from_slice(begin);
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            body.extend_from_slice(part);
        }
        body.extend_from_slice(end);
        Rendered {
            content_type: Some(content_type.to_owned()),
            headers: Vec::new(),
            body: Bytes::from(body),
        }
    }
}
