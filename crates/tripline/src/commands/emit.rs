//! `tripline emit`: sends an event and says under which id it was accepted.

use protocol::events::v1::{EmitEventRequest, NewEvent, Reply};
use serde::Serialize;

use super::read_data;
use crate::command_line::{Connection, Emit};
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Serialize)]
struct Accepted {
    id: String,
    eid: String,
    duplicate: bool,
    /// Of an event that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<ShownReply>,
}

/// What a function answered, as printed.
#[derive(Debug, Serialize)]
struct ShownReply {
    function: String,
    status: u32,
    content_type: String,
    body: String,
    truncated: bool,
}

impl From<Reply> for ShownReply {
    fn from(reply: Reply) -> Self {
        Self {
            function: reply.function,
            status: reply.status,
            content_type: reply.content_type,
            body: String::from_utf8_lossy(&reply.body).into_owned(),
            truncated: reply.truncated,
        }
    }
}

pub(crate) async fn run(options: Emit, connection: &Connection) -> Result<(), Failure> {
    let data = options
        .data
        .as_deref()
        .map(read_data)
        .transpose()?
        .unwrap_or_default();
    let event = NewEvent {
        id: options.id.unwrap_or_default(),
        source: options.source.unwrap_or_default(),
        r#type: options.event_type,
        subject: options.subject.unwrap_or_default(),
        data_content_type: options.content_type.unwrap_or_default(),
        data: data.into(),
        actor_id: options.actor.unwrap_or_default(),
        deliver_at: options.deliver_at.map(protocol::to_timestamp),
        delay: options.delay.map(protocol::to_duration),
        is_synchronous: options.sync,
        wait: options.wait.map(protocol::to_duration),
        ..NewEvent::default()
    };
    let idempotency_key = options.idempotency_key.unwrap_or_default();
    let request = EmitEventRequest {
        event: Some(event),
        idempotency_key,
    };
    let answer = connection.events()?.emit_event(request).await?.into_inner();
    let accepted = answer.accepted.unwrap_or_default();
    let accepted = Accepted {
        id: accepted.id,
        eid: accepted.eid,
        duplicate: accepted.duplicate,
        reply: answer.reply.map(Into::into),
    };
    let state = if accepted.duplicate {
        "accepted before"
    } else {
        "accepted"
    };
    let mut fields = vec![
        ("event", accepted.eid.clone()),
        (
            "id",
            if accepted.id == accepted.eid {
                String::new()
            } else {
                accepted.id.clone()
            },
        ),
        ("state", state.to_owned()),
    ];
    if let Some(reply) = &accepted.reply {
        let (function, status) = (&reply.function, reply.status);
        fields.push(("answered by", format!("{function}, {status}")));
        fields.push(("answer", reply.body.clone()));
    }
    output::one(connection.output, &accepted, &fields)
}
