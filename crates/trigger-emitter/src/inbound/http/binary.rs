//! `CloudEvents` in binary mode: attributes in `ce-*` headers, the body is the data.

use bytes::Bytes;
use domain::format::header_value::decode_header_value;
use http::header::{self, HeaderMap, HeaderValue};
use protocol::fault::Fault;
use serde::de::IgnoredAny;

use super::attributes::{check_version, set};
use super::structured::BYTES;
use crate::draft::{Dialect, Draft};

const PREFIX: &str = "ce-";
const SPEC_VERSION: &str = "ce-specversion";

/// # Errors
/// When a header holds no text or no value of its kind.
pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<Draft, Fault> {
    let version = headers
        .get(SPEC_VERSION)
        .map(|value| decode(SPEC_VERSION, value))
        .transpose()?;
    check_version(SPEC_VERSION, version.as_deref())?;
    let mut draft = Draft {
        data: body,
        ..Draft::default()
    };
    let mut last = None;
    for (name, value) in headers {
        let name = name.as_str();
        let Some(attribute) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if name == SPEC_VERSION {
            continue;
        }
        if last == Some(name) {
            return Err(Fault::invalid(
                name,
                "",
                "the header is there twice",
                "one of a name",
            ));
        }
        last = Some(name);
        if attribute == "datacontenttype" {
            let message = "the data's media type stands in another header";
            return Err(Fault::invalid(
                name,
                decode(name, value)?,
                message,
                "content-type",
            ));
        }
        set(
            &mut draft,
            Dialect::CloudEventsHeaders,
            attribute,
            decode(name, value)?,
        )?;
    }
    draft.data_content_type = match headers.get(header::CONTENT_TYPE) {
        Some(value) => Some(decode_plain("content-type", value)?.to_owned()),
        // Libraries send bytes without saying of which type.
        None if serde_json::from_slice::<IgnoredAny>(&draft.data).is_err() => {
            Some(BYTES.to_owned())
        }
        None => None,
    };
    Ok(draft)
}

fn decode(name: &str, value: &HeaderValue) -> Result<String, Fault> {
    decode_header_value(decode_plain(name, value)?).map_err(|error| not_text(name, value, &error))
}

/// Headers are bytes; senders that do not encode what is not ASCII write UTF-8.
fn decode_plain<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, Fault> {
    std::str::from_utf8(value.as_bytes()).map_err(|error| not_text(name, value, &error))
}

fn not_text(name: &str, value: &HeaderValue, error: &dyn std::error::Error) -> Fault {
    let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
    Fault::invalid(name, shown, error.to_string(), "UTF-8, percent-encoded")
}
