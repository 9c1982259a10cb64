//! `CloudEvents` attributes by name: the same in JSON documents and in headers.

use std::time::Duration;

use domain::Timestamp;
use protocol::fault::Fault;

use crate::draft::{Dialect, Draft, Field};

const SPEC_VERSION: &str = "1.0";

/// Puts one attribute where it belongs; one without a field of its own becomes an extension.
pub(super) fn set(
    draft: &mut Draft,
    dialect: Dialect,
    name: &str,
    value: String,
) -> Result<(), Fault> {
    let slot = match name {
        "id" => &mut draft.id,
        "source" => &mut draft.source,
        "type" => &mut draft.event_type,
        "subject" => &mut draft.subject,
        "datacontenttype" => &mut draft.data_content_type,
        "actorid" => &mut draft.actor_id,
        "actorkind" => &mut draft.actor_kind,
        "partitionkey" => &mut draft.partition_key,
        "correlationid" => &mut draft.correlation_id,
        "causationid" => &mut draft.causation_id,
        "traceparent" => &mut draft.traceparent,
        "time" => {
            draft.time = Some(time(dialect.name(Field::Time), &value)?);
            return Ok(());
        }
        "deliverat" => {
            draft.deliver_at = Some(moment(dialect.name(Field::DeliverAt), &value)?);
            return Ok(());
        }
        "delay" => {
            draft.delay = Some(span(dialect.name(Field::Delay), &value)?);
            return Ok(());
        }
        "depth" => {
            draft.depth = value.parse().map_err(|_no_number| {
                let allowed = "a whole number from 0";
                Fault::invalid(
                    dialect.name(Field::Depth),
                    &value,
                    "is not such a number",
                    allowed,
                )
            })?;
            return Ok(());
        }
        other => {
            draft.extensions.insert(other.to_owned(), value);
            return Ok(());
        }
    };
    *slot = Some(value);
    Ok(())
}

/// # Errors
/// When the time is not written as RFC 3339 says.
pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_unreadable| {
        Fault::invalid(
            field,
            text,
            "is not a time",
            "RFC 3339, such as 2026-11-22T01:15:31.123Z",
        )
    })
}

/// A time, or milliseconds since 1970.
///
/// # Errors
/// When it is neither.
pub(super) fn moment(field: &str, text: &str) -> Result<Timestamp, Fault> {
    let millis = text.parse().ok().map(Timestamp::from_millisecond);
    let moment = match millis {
        Some(millis) => millis.ok(),
        None => text.parse().ok(),
    };
    moment.ok_or_else(|| {
        let allowed = "RFC 3339, such as 2026-11-22T01:15:31.123Z, or milliseconds since 1970";
        Fault::invalid(field, text, "is not a time", allowed)
    })
}

/// A time span, or a number of milliseconds.
///
/// # Errors
/// When it is neither.
pub(super) fn span(field: &str, text: &str) -> Result<Duration, Fault> {
    let millis = text.parse().ok().map(Duration::from_millis);
    let span = millis.or_else(|| Some(text.parse::<settings::Duration>().ok()?.get()));
    span.ok_or_else(|| {
        let allowed = "a time span such as 30s or 2h, or a number of milliseconds";
        Fault::invalid(field, text, "is not a time span", allowed)
    })
}

/// # Errors
/// When it is another version of the standard, or none is given.
pub(super) fn check_version(field: &str, version: Option<&str>) -> Result<(), Fault> {
    match version {
        Some(SPEC_VERSION) => Ok(()),
        Some(other) => {
            let message = "this version of CloudEvents is not understood";
            Err(Fault::invalid(field, other, message, SPEC_VERSION))
        }
        None => Err(Fault::missing(field, SPEC_VERSION)),
    }
}
