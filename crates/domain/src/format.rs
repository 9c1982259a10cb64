//! The shapes in which one and the same event is sent to functions.

mod cloudevents;
pub mod header_value;
mod json;
mod schmuckli;

use bytes::Bytes;

use crate::event::Event;
use crate::pattern::Captures;

/// Shape of a request's body and headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A flat JSON object with the event's number and fields, and the function's secret.
    Schmuckli,
    /// One JSON document that holds attributes and data.
    #[default]
    CloudEventsStructured,
    /// Attributes in `ce-*` headers, the data alone as the body.
    CloudEventsBinary,
}

impl Format {
    pub const ALL: [Self; 3] = [
        Self::Schmuckli,
        Self::CloudEventsStructured,
        Self::CloudEventsBinary,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schmuckli => "schmuckli",
            Self::CloudEventsStructured => "cloudevents-structured",
            Self::CloudEventsBinary => "cloudevents-binary",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

/// What of a request follows from event, trigger and function.
///
/// Headers that are the same in every format (ids, attempt, signature) are not among these.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `None` when the event has no data and the format puts nothing around it.
    pub content_type: Option<String>,
    /// Names in lower case; values printable ASCII without spaces at the ends.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// The body may hold a secret; its length has to do.
impl std::fmt::Debug for Rendered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Rendered")
            .field("content_type", &self.content_type)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// What a request is made of.
#[derive(Clone, Copy)]
pub struct RenderInput<'a> {
    pub event: &'a Event,
    /// What the trigger's patterns captured.
    pub captures: &'a Captures,
    /// The function's `_secret`.
    pub secret: &'a str,
    /// Token by which the function acts for the event's actor; `None` without an actor.
    pub function_session: Option<&'a str>,
}

/// Secrets are left out.
impl std::fmt::Debug for RenderInput<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RenderInput")
            .field("eid", &self.event.eid)
            .finish_non_exhaustive()
    }
}

/// Why no request can be made of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the data's media type {0:?} cannot be sent as a header")]
    ContentType(String),
    #[error("the event cannot be written as JSON: {0}")]
    Json(String),
}

impl From<serde_json::Error> for RenderError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// Renders an event for one delivery. The same input always gives the same bytes.
///
/// # Errors
/// The event cannot be expressed in this format, however often it is tried.
pub fn render(format: Format, input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    match format {
        Format::Schmuckli => schmuckli::render(input),
        Format::CloudEventsStructured => cloudevents::render_structured(input),
        Format::CloudEventsBinary => cloudevents::render_binary(input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_formats_read_back() {
        for format in Format::ALL {
            assert_eq!(Format::parse(format.as_str()), Some(format));
        }
        assert_eq!(Format::parse("xml"), None);
        assert_eq!(Format::default(), Format::CloudEventsStructured);
    }
}
