//! Lines, events and attempts as gRPC answers.

use std::time::Duration;

use domain::delivery::{ErrorClass, Status};
use domain::event::Event;
use domain::record::{Attempted, HeaderLines};
use protocol::logs::v1 as wire;
use protocol::to_timestamp;
use storage::log_store::{DeliveryLine, DeliveryState, EventHistory};

pub(crate) fn line(line: DeliveryLine) -> wire::DeliveryLine {
    let begun = wire::DeliveryLine {
        eid: line.eid.to_string(),
        event_id: line.event_id,
        r#type: line.event_type.as_str().to_owned(),
        subject: line.subject.unwrap_or_default(),
        accepted_at: Some(to_timestamp(line.accepted_at)),
        ..wire::DeliveryLine::default()
    };
    match line.delivery {
        Some(state) => with_state(begun, state),
        None => begun,
    }
}

fn with_state(line: wire::DeliveryLine, state: DeliveryState) -> wire::DeliveryLine {
    wire::DeliveryLine {
        delivery_id: state.id.to_string(),
        trigger: state.trigger.to_string(),
        function: state.function.to_string(),
        status: Status::as_str(state.status).to_owned(),
        remark: state.remark.unwrap_or_default(),
        attempts: state.attempts,
        generation: state.generation,
        next_attempt_at: state.next_attempt_at.map(to_timestamp),
        response_status: state.response_status.map_or(0, u32::from),
        duration_us: state.duration.map_or(0, micros),
        error_class: class(state.error_class),
        error: state.error.unwrap_or_default(),
        last_attempt_at: state.last_attempt_at.map(to_timestamp),
        ..line
    }
}

pub(crate) fn history(history: EventHistory) -> wire::GetEventResponse {
    let EventHistory { event, deliveries } = history;
    let deliveries = deliveries
        .into_iter()
        .map(|(state, attempts)| wire::DeliveryRecord {
            line: Some(line(line_of(&event, state))),
            attempts: attempts.into_iter().map(attempt).collect(),
        });
    let deliveries = deliveries.collect();
    wire::GetEventResponse {
        event: Some(event_record(event)),
        deliveries,
    }
}

/// A delivery's line, as a listing shows it.
pub(crate) fn line_of(event: &Event, state: DeliveryState) -> DeliveryLine {
    DeliveryLine {
        eid: event.eid,
        event_id: event.id.clone(),
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        accepted_at: event.accepted_at,
        delivery: Some(state),
    }
}

fn event_record(event: Event) -> wire::EventRecord {
    let (actor_id, actor_kind) = event
        .actor
        .map(|actor| (actor.id, actor.kind))
        .unwrap_or_default();
    wire::EventRecord {
        eid: event.eid.to_string(),
        id: event.id,
        source: event.source,
        r#type: event.event_type.as_str().to_owned(),
        number: event.event_type.number(),
        subject: event.subject.unwrap_or_default(),
        time: Some(to_timestamp(event.time)),
        accepted_at: Some(to_timestamp(event.accepted_at)),
        data_content_type: event.data_content_type.unwrap_or_default(),
        data: event.data,
        actor_id,
        actor_kind,
        partition_key: event.partition_key.unwrap_or_default(),
        correlation_id: event.correlation_id.unwrap_or_default(),
        causation_id: event.causation_id.unwrap_or_default(),
        depth: event.depth,
        traceparent: event.traceparent.unwrap_or_default(),
        extensions: event.extensions.into_iter().collect(),
    }
}

fn attempt(attempt: Attempted) -> wire::AttemptRecord {
    wire::AttemptRecord {
        number: attempt.number,
        generation: attempt.generation,
        started_at: Some(to_timestamp(attempt.started_at)),
        duration_us: micros(attempt.duration),
        url: attempt.url,
        response_status: attempt.response_status.map_or(0, u32::from),
        error_class: class(attempt.error_class),
        error: attempt.error.unwrap_or_default(),
        request_headers: headers(&attempt.request_headers),
        response_headers: headers(&attempt.response_headers),
        response_body: attempt.response_body,
        response_truncated: attempt.is_response_truncated,
        worker: attempt.worker,
        traceparent: attempt.traceparent.unwrap_or_default(),
        request_bytes: attempt.request_bytes,
    }
}

fn headers(lines: &HeaderLines) -> Vec<wire::Header> {
    let owned = |(name, value): (&str, &str)| wire::Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    lines.iter().map(owned).collect()
}

fn class(class: Option<ErrorClass>) -> String {
    class.map(ErrorClass::as_str).unwrap_or_default().to_owned()
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
