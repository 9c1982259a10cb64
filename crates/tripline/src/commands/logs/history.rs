//! `tripline logs get`: one event with its deliveries and attempts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::logs::v1 as logs;
use serde::Serialize;
use serde_json::Value;

use super::ShownLine;
use crate::command_line::{Connection, Output};
use crate::commands::{show_micros, show_time};
use crate::failure::Failure;
use crate::output;

/// An event as printed.
#[derive(Debug, Serialize)]
struct ShownEvent {
    eid: String,
    id: String,
    source: String,
    r#type: String,
    number: Option<u32>,
    subject: String,
    time: String,
    accepted_at: String,
    data_content_type: String,
    /// The data itself when it is JSON, else text.
    data: Value,
    /// The data in base 64 when it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    actor_id: String,
    actor_kind: String,
    partition_key: String,
    correlation_id: String,
    causation_id: String,
    depth: u32,
    ancestry: Vec<String>,
    traceparent: String,
    extensions: std::collections::BTreeMap<String, String>,
    deliveries: Vec<ShownDelivery>,
}

#[derive(Debug, Serialize)]
struct ShownDelivery {
    #[serde(flatten)]
    line: ShownLine,
    /// By which orders it was made again.
    orders: Vec<ShownOrder>,
    attempt_list: Vec<ShownAttempt>,
}

#[derive(Debug, Serialize)]
struct ShownOrder {
    generation: u32,
    id: String,
    kind: String,
    ordered_at: String,
}

impl From<logs::OrderedAnew> for ShownOrder {
    fn from(order: logs::OrderedAnew) -> Self {
        Self {
            generation: order.generation,
            id: order.redrive_id,
            kind: order.kind,
            ordered_at: show_time(order.ordered_at.as_ref()),
        }
    }
}

#[derive(Debug, Serialize)]
struct ShownAttempt {
    number: u32,
    generation: u32,
    started_at: String,
    duration_us: u64,
    url: String,
    response_status: u32,
    error_class: String,
    error: String,
    request_headers: Vec<(String, String)>,
    request_bytes: u64,
    response_headers: Vec<(String, String)>,
    response_body: String,
    response_truncated: bool,
    worker: String,
    traceparent: String,
}

impl From<logs::AttemptRecord> for ShownAttempt {
    fn from(attempt: logs::AttemptRecord) -> Self {
        let pairs = |headers: Vec<logs::Header>| {
            headers
                .into_iter()
                .map(|header| (header.name, header.value))
                .collect()
        };
        Self {
            number: attempt.number,
            generation: attempt.generation,
            started_at: show_time(attempt.started_at.as_ref()),
            duration_us: attempt.duration_us,
            url: attempt.url,
            response_status: attempt.response_status,
            error_class: attempt.error_class,
            error: attempt.error,
            request_headers: pairs(attempt.request_headers),
            request_bytes: attempt.request_bytes,
            response_headers: pairs(attempt.response_headers),
            response_body: String::from_utf8_lossy(&attempt.response_body).into_owned(),
            response_truncated: attempt.response_truncated,
            worker: attempt.worker,
            traceparent: attempt.traceparent,
        }
    }
}

pub(super) async fn run(id: String, connection: &Connection) -> Result<(), Failure> {
    let answer = connection
        .logs()?
        .get_event(logs::GetEventRequest { id })
        .await?
        .into_inner();
    let event = shown(answer);
    match connection.output {
        Output::Json => output::object(&event),
        Output::Table => print(&event),
    }
}

fn shown(answer: logs::GetEventResponse) -> ShownEvent {
    let event = answer.event.unwrap_or_default();
    let deliveries = answer.deliveries.into_iter().map(|delivery| ShownDelivery {
        line: delivery.line.unwrap_or_default().into(),
        orders: delivery.orders.into_iter().map(Into::into).collect(),
        attempt_list: delivery.attempts.into_iter().map(Into::into).collect(),
    });
    let (data, data_base64) = match serde_json::from_slice(&event.data) {
        Ok(json) => (json, None),
        Err(_not_json) => match std::str::from_utf8(&event.data) {
            Ok("") => (Value::Null, None),
            Ok(text) => (Value::String(text.to_owned()), None),
            Err(_binary) => (Value::Null, Some(STANDARD.encode(&event.data))),
        },
    };
    ShownEvent {
        time: show_time(event.time.as_ref()),
        accepted_at: show_time(event.accepted_at.as_ref()),
        eid: event.eid,
        id: event.id,
        source: event.source,
        r#type: event.r#type,
        number: event.number,
        subject: event.subject,
        data_content_type: event.data_content_type,
        data,
        data_base64,
        actor_id: event.actor_id,
        actor_kind: event.actor_kind,
        partition_key: event.partition_key,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        depth: event.depth,
        ancestry: event.ancestry,
        traceparent: event.traceparent,
        extensions: event.extensions.into_iter().collect(),
        deliveries: deliveries.collect(),
    }
}

fn print(event: &ShownEvent) -> Result<(), Failure> {
    let data = event
        .data_base64
        .clone()
        .unwrap_or_else(|| match &event.data {
            Value::Null => String::new(),
            data => data.to_string(),
        });
    let number = event
        .number
        .map(|number| format!(" ({number})"))
        .unwrap_or_default();
    let fields = [
        ("event", event.eid.clone()),
        (
            "id",
            if event.id == event.eid {
                String::new()
            } else {
                event.id.clone()
            },
        ),
        ("type", format!("{}{number}", event.r#type)),
        ("source", event.source.clone()),
        ("subject", event.subject.clone()),
        ("time", event.time.clone()),
        ("accepted", event.accepted_at.clone()),
        ("actor", event.actor_id.clone()),
        ("trace", event.traceparent.clone()),
        ("data", data),
    ];
    output::one(Output::Table, event, &fields)?;
    if event.deliveries.is_empty() {
        return output::line("\nNo trigger asked for this event: nothing was sent.");
    }
    event.deliveries.iter().try_for_each(print_delivery)
}

impl ShownDelivery {
    /// By which order its attempts begin anew.
    fn ordered_anew(&self, generation: u32) -> String {
        let order = self
            .orders
            .iter()
            .find(|order| order.generation == generation);
        match order {
            Some(order) => format!("  {} {} of {}", order.kind, order.id, order.ordered_at),
            None => format!("  again, generation {generation}"),
        }
    }
}

fn print_delivery(delivery: &ShownDelivery) -> Result<(), Failure> {
    let line = &delivery.line;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let again = line
        .next_attempt_at
        .as_ref()
        .map(|next| format!(", again at {next}"));
    let remark = line.remark.as_ref().map(|remark| format!(" ({remark})"));
    output::line(&format!(
        "\n{} → {} by trigger {}: {}{}{}",
        text(&line.delivery_id),
        text(&line.function),
        text(&line.trigger),
        text(&line.status),
        remark.unwrap_or_default(),
        again.unwrap_or_default(),
    ))?;
    let mut generation = 0;
    for attempt in &delivery.attempt_list {
        if attempt.generation != generation {
            generation = attempt.generation;
            output::line(&delivery.ordered_anew(generation))?;
        }
        let outcome = match attempt.response_status {
            0 => format!("no answer: {}", attempt.error),
            status => status.to_string(),
        };
        let body = attempt.response_body.lines().next().unwrap_or_default();
        let body: String = body.chars().take(100).collect();
        output::line(&format!(
            "  {}. {}  {}  {}  {}  {body}",
            attempt.number,
            attempt.started_at,
            attempt.url,
            outcome,
            show_micros(attempt.duration_us),
        ))?;
    }
    Ok(())
}
