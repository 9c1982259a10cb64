//! Lines, events and attempts as JSON, with the names of the gRPC fields; what is not there is null.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::delivery::{ErrorClass, Status};
use domain::event::Event;
use domain::record::{Attempted, HeaderLines};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::log_store::{DeliveryLine, EventHistory};

use super::as_grpc::{line_of, micros};

#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    pub(crate) deliveries: Vec<Line>,
    pub(crate) next_page_token: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    eid: String,
    event_id: String,
    r#type: String,
    subject: Option<String>,
    accepted_at: String,
    delivery_id: Option<String>,
    trigger: Option<String>,
    function: Option<String>,
    status: Option<&'static str>,
    remark: Option<String>,
    attempts: Option<u32>,
    generation: Option<u32>,
    next_attempt_at: Option<String>,
    response_status: Option<u16>,
    duration_us: Option<u64>,
    error_class: Option<&'static str>,
    error: Option<String>,
    last_attempt_at: Option<String>,
}

impl From<DeliveryLine> for Line {
    fn from(line: DeliveryLine) -> Self {
        let state = line.delivery.as_ref();
        Self {
            eid: line.eid.to_string(),
            event_id: line.event_id,
            r#type: line.event_type.as_str().to_owned(),
            subject: line.subject,
            accepted_at: line.accepted_at.to_string(),
            delivery_id: state.map(|state| state.id.to_string()),
            trigger: state.map(|state| state.trigger.to_string()),
            function: state.map(|state| state.function.to_string()),
            status: state.map(|state| Status::as_str(state.status)),
            remark: state.and_then(|state| state.remark.clone()),
            attempts: state.map(|state| state.attempts),
            generation: state.map(|state| state.generation),
            next_attempt_at: state
                .and_then(|state| state.next_attempt_at)
                .map(|time| time.to_string()),
            response_status: state.and_then(|state| state.response_status),
            duration_us: state.and_then(|state| state.duration).map(micros),
            error_class: state
                .and_then(|state| state.error_class)
                .map(ErrorClass::as_str),
            error: state.and_then(|state| state.error.clone()),
            last_attempt_at: state
                .and_then(|state| state.last_attempt_at)
                .map(|time| time.to_string()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Story {
    event: EventRecord,
    deliveries: Vec<Delivery>,
}

#[derive(Debug, Serialize)]
struct Delivery {
    line: Line,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
struct EventRecord {
    eid: String,
    id: String,
    source: String,
    r#type: String,
    number: Option<u32>,
    subject: Option<String>,
    time: String,
    accepted_at: String,
    data_content_type: Option<String>,
    /// JSON as it was sent, or text.
    data: Option<Data>,
    /// What is neither.
    data_base64: Option<String>,
    actor_id: Option<String>,
    actor_kind: Option<String>,
    partition_key: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    depth: u32,
    traceparent: Option<String>,
    extensions: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Json(Box<RawValue>),
    Text(String),
}

#[derive(Debug, Serialize)]
struct Attempt {
    number: u32,
    generation: u32,
    started_at: String,
    duration_us: u64,
    url: String,
    response_status: Option<u16>,
    error_class: Option<&'static str>,
    error: Option<String>,
    request_headers: Vec<Header>,
    response_headers: Vec<Header>,
    /// Bytes that are no text are replaced.
    response_body: String,
    response_truncated: bool,
    worker: String,
    traceparent: Option<String>,
    request_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Header {
    name: String,
    value: String,
}

impl From<EventHistory> for Story {
    fn from(EventHistory { event, deliveries }: EventHistory) -> Self {
        let deliveries = deliveries.into_iter().map(|(state, attempts)| Delivery {
            line: line_of(&event, state).into(),
            attempts: attempts.into_iter().map(Into::into).collect(),
        });
        let deliveries = deliveries.collect();
        Self {
            event: event.into(),
            deliveries,
        }
    }
}

impl From<Event> for EventRecord {
    fn from(event: Event) -> Self {
        let (data, data_base64) = data(&event);
        let (actor_id, actor_kind) = match event.actor {
            Some(actor) => (Some(actor.id), Some(actor.kind)),
            None => (None, None),
        };
        Self {
            eid: event.eid.to_string(),
            id: event.id,
            source: event.source,
            number: event.event_type.number(),
            r#type: event.event_type.as_str().to_owned(),
            subject: event.subject,
            time: event.time.to_string(),
            accepted_at: event.accepted_at.to_string(),
            data_content_type: event.data_content_type,
            data,
            data_base64,
            actor_id,
            actor_kind,
            partition_key: event.partition_key,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            depth: event.depth,
            traceparent: event.traceparent,
            extensions: event.extensions,
        }
    }
}

fn data(event: &Event) -> (Option<Data>, Option<String>) {
    if event.data.is_empty() {
        return (None, None);
    }
    if event.has_json_data()
        && let Ok(json) = serde_json::from_slice(&event.data)
    {
        return (Some(Data::Json(json)), None);
    }
    match std::str::from_utf8(&event.data) {
        Ok(text) => (Some(Data::Text(text.to_owned())), None),
        Err(_) => (None, Some(STANDARD.encode(&event.data))),
    }
}

impl From<Attempted> for Attempt {
    fn from(attempt: Attempted) -> Self {
        Self {
            number: attempt.number,
            generation: attempt.generation,
            started_at: attempt.started_at.to_string(),
            duration_us: micros(attempt.duration),
            url: attempt.url,
            response_status: attempt.response_status,
            error_class: attempt.error_class.map(ErrorClass::as_str),
            error: attempt.error,
            request_headers: headers(&attempt.request_headers),
            response_headers: headers(&attempt.response_headers),
            response_body: String::from_utf8_lossy(&attempt.response_body).into_owned(),
            response_truncated: attempt.is_response_truncated,
            worker: attempt.worker,
            traceparent: attempt.traceparent,
            request_bytes: attempt.request_bytes,
        }
    }
}

fn headers(lines: &HeaderLines) -> Vec<Header> {
    let owned = |(name, value): (&str, &str)| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    lines.iter().map(owned).collect()
}
