//! Which way a request writes its events, by its headers alone.

use http::header::{self, HeaderMap};
use protocol::fault::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `CloudEvents`: attributes in headers, data in the body.
    Binary,
    /// `CloudEvents`: one JSON document.
    Structured,
    /// `CloudEvents`: a JSON array of documents.
    Batch,
    /// tripline's own short form, one object or an array of them.
    Plain,
}

const ALLOWED: &str = "application/json, application/cloudevents+json, \
    application/cloudevents-batch+json, or any with the CloudEvents headers ce-…";

/// # Errors
/// The media type is none of those that are understood.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Fault> {
    let content_type = match headers.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().unwrap_or("not ASCII"),
        None => "",
    };
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        // Other formats of the standard would be misread as data.
        other if other.starts_with("application/cloudevents") => Err(refused(content_type)),
        _ if has_attributes(headers) => Ok(Mode::Binary),
        // Nothing else is meant by a body without a type that begins like JSON.
        "application/json" | "text/json" | "" => Ok(Mode::Plain),
        _ => Err(refused(content_type)),
    }
}

fn has_attributes(headers: &HeaderMap) -> bool {
    ["ce-specversion", "ce-type", "ce-id", "ce-source"]
        .into_iter()
        .any(|name| headers.contains_key(name))
}

fn refused(content_type: &str) -> Fault {
    Fault::invalid(
        "content-type",
        content_type,
        "the media type is not understood",
        ALLOWED,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)]) -> Option<Mode> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        mode(&headers.collect()).ok()
    }

    #[test]
    fn the_media_type_decides_and_attributes_in_headers_mean_binary() {
        let of = |content_type| check(&[("content-type", content_type)]);
        assert_eq!(
            of("application/cloudevents+json; charset=utf-8"),
            Some(Mode::Structured)
        );
        assert_eq!(of("Application/CloudEvents-Batch+JSON"), Some(Mode::Batch));
        assert_eq!(of("application/json"), Some(Mode::Plain));
        assert_eq!(check(&[]), Some(Mode::Plain));
        assert_eq!(
            check(&[
                ("content-type", "application/json"),
                ("ce-specversion", "1.0")
            ]),
            Some(Mode::Binary)
        );
        assert_eq!(check(&[("ce-type", "x")]), Some(Mode::Binary));
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/cloudevents",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(
            check(&[
                ("content-type", "application/cloudevents+avro"),
                ("ce-type", "x")
            ]),
            None
        );
    }
}
