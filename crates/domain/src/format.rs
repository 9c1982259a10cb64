//! The shapes in which one and the same event is sent to functions.

mod about;
mod batch;
mod cloudevents;
mod dreamfactory;
mod extremum;
pub mod header_value;
mod json;
mod kii;
mod schmuckli;
mod space_cloud;
mod yandex;

use std::borrow::Cow;

use bytes::Bytes;

pub use self::batch::BatchFormat;
pub use self::kii::PARAMS_BYTES_MAX as KII_PARAMS_BYTES_MAX;
use crate::event::Event;
use crate::id::DeliveryId;
use crate::name::FunctionName;
use crate::pattern::Captures;

const JSON: &str = "application/json";

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
    /// An array of such documents; of one, unless the function has batching.
    CloudEventsBatch,
    /// Space Cloud's document in plain JSON, under its names, with `db`, `col`, `doc` and so on.
    SpaceCloud,
    /// Yandex Cloud's `messages`, as extremum's functions take storage events and signals.
    Yandex,
    /// extremum's direct call: `parameters` and `context`.
    Extremum,
    /// Kii's `params` by the kind of thing, and a `context`.
    Kii,
    /// `DreamFactory`'s event object: `request`, `response`, `resource`.
    DreamFactory,
}

impl Format {
    pub const ALL: [Self; 9] = [
        Self::Schmuckli,
        Self::CloudEventsStructured,
        Self::CloudEventsBinary,
        Self::CloudEventsBatch,
        Self::SpaceCloud,
        Self::Yandex,
        Self::Extremum,
        Self::Kii,
        Self::DreamFactory,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schmuckli => "schmuckli",
            Self::CloudEventsStructured => "cloudevents-structured",
            Self::CloudEventsBinary => "cloudevents-binary",
            Self::CloudEventsBatch => "cloudevents-batch",
            Self::SpaceCloud => "space-cloud",
            Self::Yandex => "yandex",
            Self::Extremum => "extremum",
            Self::Kii => "kii",
            Self::DreamFactory => "dreamfactory",
        }
    }

    /// How several events go into one request, where the format has a way.
    pub const fn batch(self) -> Option<BatchFormat> {
        match self {
            Self::CloudEventsBatch => Some(BatchFormat::CloudEvents),
            Self::Yandex => Some(BatchFormat::Yandex),
            Self::Schmuckli
            | Self::CloudEventsStructured
            | Self::CloudEventsBinary
            | Self::SpaceCloud
            | Self::Extremum
            | Self::Kii
            | Self::DreamFactory => None,
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
    pub headers: Vec<(Cow<'static, str>, String)>,
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
    /// The function that is called.
    pub function: &'a FunctionName,
    /// Its second name, by which Kii's hooks know it.
    pub endpoint: Option<&'a str>,
    pub delivery: DeliveryId,
    /// The name of whoever calls, as Space Cloud's `source` says it.
    pub node: &'a str,
    /// What a direct call's sender wants its function to see in extremum's `context.headers`.
    pub call_headers: &'a [(String, String)],
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
    #[error("payload_too_large: {what} has {bytes} bytes: at most {bytes_max}")]
    TooLarge {
        what: &'static str,
        bytes: usize,
        bytes_max: usize,
    },
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
        Format::SpaceCloud => space_cloud::render(input),
        Format::Extremum => extremum::render(input),
        Format::Kii => kii::render(input),
        Format::DreamFactory => dreamfactory::render(input),
        Format::CloudEventsBatch => alone(BatchFormat::CloudEvents, input),
        Format::Yandex => alone(BatchFormat::Yandex, input),
    }
}

/// A batch of one.
fn alone(format: BatchFormat, input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    Ok(format.whole(&[format.part(input)?]))
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
