//! Lines, events and attempts as gRPC answers.

use std::time::Duration;

use domain::delivery::{ErrorClass, Status};
use domain::event::Event;
use domain::record::{Attempted, HeaderLines};
use protocol::logs::v1 as wire;
use protocol::redrive::v1 as redrive_wire;
use protocol::to_timestamp;
use storage::log_store::{
    DeliveryFilter, DeliveryLine, DeliveryState, EventHistory, EventReference,
};
use storage::redrives::{Candidate, Redrive, Redriven};

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

/// `ordered` are the orders by which deliveries of the event were made again.
pub(crate) fn history(history: EventHistory, ordered: &[Redriven]) -> wire::GetEventResponse {
    let EventHistory { event, deliveries } = history;
    let deliveries = deliveries.into_iter().map(|(state, attempts)| {
        let orders = ordered.iter().filter(|order| order.delivery == state.id);
        wire::DeliveryRecord {
            orders: orders.map(ordered_anew).collect(),
            line: Some(line(line_of(&event, state))),
            attempts: attempts.into_iter().map(attempt).collect(),
        }
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
        ancestry: event.ancestry,
    }
}

fn ordered_anew(order: &Redriven) -> wire::OrderedAnew {
    wire::OrderedAnew {
        generation: order.generation,
        redrive_id: order.redrive.to_string(),
        kind: order.kind.as_str().to_owned(),
        ordered_at: Some(to_timestamp(order.ordered_at)),
    }
}

/// What an order is about, as a line of the log.
pub(crate) fn candidate(candidate: Candidate) -> wire::DeliveryLine {
    let event = candidate.event;
    let begun = line(DeliveryLine {
        eid: event.eid,
        event_id: event.id,
        event_type: event.event_type,
        subject: event.subject,
        accepted_at: event.accepted_at,
        delivery: None,
    });
    match candidate.delivery {
        Some(delivery) => wire::DeliveryLine {
            delivery_id: delivery.id.to_string(),
            trigger: delivery.trigger.to_string(),
            function: delivery.function.to_string(),
            status: delivery.status.as_str().to_owned(),
            generation: delivery.generation,
            ..begun
        },
        None => begun,
    }
}

pub(crate) fn redrive(redrive: Redrive) -> redrive_wire::Redrive {
    let Redrive { order, .. } = redrive;
    redrive_wire::Redrive {
        id: redrive.id.to_string(),
        kind: order.kind.as_str().to_owned(),
        state: redrive.state.as_str().to_owned(),
        total: redrive.total,
        sent: redrive.sent,
        skipped: redrive.skipped,
        reason: redrive.reason.unwrap_or_default(),
        to_function: order
            .to_function
            .map(|function| function.to_string())
            .unwrap_or_default(),
        per_second: order.per_second.unwrap_or_default(),
        filter: Some(filter(order.filter)),
        created_at: Some(to_timestamp(redrive.created_at)),
        updated_at: Some(to_timestamp(redrive.updated_at)),
        ended_at: redrive.ended_at.map(to_timestamp),
    }
}

fn filter(filter: DeliveryFilter) -> wire::DeliveryFilter {
    let event = filter.event.map(|event| match event {
        EventReference::Internal(id) => id.to_string(),
        EventReference::Delivery(id) => id.to_string(),
        EventReference::Client(id) => id,
    });
    let statuses = filter.statuses.iter();
    wire::DeliveryFilter {
        event: event.unwrap_or_default(),
        r#type: filter
            .event_type
            .map(|event_type| event_type.to_string())
            .unwrap_or_default(),
        function: filter
            .function
            .map(|function| function.to_string())
            .unwrap_or_default(),
        trigger: filter
            .trigger
            .map(|trigger| trigger.to_string())
            .unwrap_or_default(),
        statuses: statuses.map(|status| status.as_str().to_owned()).collect(),
        since: filter.since.map(to_timestamp),
        until: filter.until.map(to_timestamp),
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
