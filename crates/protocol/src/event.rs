//! Events, targets and what waits, between `domain` and the envelopes.

use std::collections::HashMap;

use bytes::Bytes;
use domain::delivery::{Allowance, Consignment, Disable, Ended, Target, WaitReason, Waiting};
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use uuid::Uuid;

use crate::time::{from_micros, to_micros};
use crate::wire::v1 as wire;

/// What about a message could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is {value:?}, which is not understood")]
    Invalid { field: &'static str, value: String },
}

pub(crate) fn invalid(field: &'static str, value: impl Into<String>) -> ConvertError {
    ConvertError::Invalid {
        field,
        value: value.into(),
    }
}

/// Parses a field of text, naming it when it cannot be read.
pub(crate) fn parse<T: std::str::FromStr>(
    field: &'static str,
    text: &str,
) -> Result<T, ConvertError> {
    text.parse().map_err(|_unreadable| invalid(field, text))
}

pub(crate) fn uuid(field: &'static str, bytes: &[u8]) -> Result<Uuid, ConvertError> {
    Uuid::from_slice(bytes)
        .map_err(|_wrong_length| invalid(field, format!("{} bytes", bytes.len())))
}

pub(crate) fn id_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

impl From<&Event> for wire::Event {
    fn from(event: &Event) -> Self {
        Self {
            eid: id_bytes(event.eid.uuid()),
            project: event.project.to_string(),
            id: event.id.clone(),
            source: event.source.clone(),
            r#type: event.event_type.as_str().to_owned(),
            subject: event.subject.clone(),
            time_us: to_micros(event.time),
            accepted_at_us: to_micros(event.accepted_at),
            data_content_type: event.data_content_type.clone(),
            data: event.data.clone(),
            actor: event.actor.as_ref().map(|actor| wire::Actor {
                id: actor.id.clone(),
                kind: actor.kind.clone(),
            }),
            partition_key: event.partition_key.clone(),
            correlation_id: event.correlation_id.clone(),
            causation_id: event.causation_id.clone(),
            depth: event.depth,
            ancestry: event.ancestry.clone(),
            deliver_at_us: event.deliver_at.map(to_micros),
            traceparent: event.traceparent.clone(),
            reply_to: event
                .reply_to
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            extensions: event
                .extensions
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        }
    }
}

impl TryFrom<wire::Event> for Event {
    type Error = ConvertError;

    fn try_from(event: wire::Event) -> Result<Self, ConvertError> {
        Ok(Self {
            eid: EventId::from_uuid(uuid("event.eid", &event.eid)?),
            project: parse("event.project", &event.project)?,
            id: event.id,
            source: event.source,
            event_type: EventType::parse(&event.r#type)
                .map_err(|_refused| invalid("event.type", event.r#type))?,
            subject: event.subject,
            time: from_micros(event.time_us),
            accepted_at: from_micros(event.accepted_at_us),
            data_content_type: event.data_content_type,
            data: event.data,
            actor: event.actor.map(|actor| Actor {
                id: actor.id,
                kind: actor.kind,
            }),
            partition_key: event.partition_key,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            depth: event.depth,
            ancestry: event.ancestry,
            deliver_at: event.deliver_at_us.map(from_micros),
            traceparent: event.traceparent,
            // Where nobody can be reached nobody waits.
            reply_to: event.reply_to.parse().ok(),
            extensions: event.extensions.into_iter().collect(),
        })
    }
}

impl From<&Target> for wire::Target {
    fn from(target: &Target) -> Self {
        let captures: HashMap<_, _> = target
            .captures
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            delivery_id: id_bytes(target.delivery.uuid()),
            trigger: target.trigger.to_string(),
            function: target.function.to_string(),
            captures,
            next_attempt: target.next_attempt,
            generation: target.generation,
            revision: target.revision,
            is_held: target.is_held,
        }
    }
}

impl TryFrom<wire::Target> for Target {
    type Error = ConvertError;

    fn try_from(target: wire::Target) -> Result<Self, ConvertError> {
        Ok(Self {
            delivery: DeliveryId::from_uuid(uuid("target.delivery_id", &target.delivery_id)?),
            trigger: parse("target.trigger", &target.trigger)?,
            function: parse("target.function", &target.function)?,
            captures: target.captures.into_iter().collect(),
            next_attempt: target.next_attempt,
            generation: target.generation,
            revision: target.revision,
            is_held: target.is_held,
        })
    }
}

impl From<&Consignment> for wire::Consignment {
    fn from(consignment: &Consignment) -> Self {
        Self {
            event: Some((&consignment.event).into()),
            targets: consignment.targets.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::Consignment> for Consignment {
    type Error = ConvertError;

    fn try_from(consignment: wire::Consignment) -> Result<Self, ConvertError> {
        let event = consignment.event.ok_or(ConvertError::Missing {
            field: "consignment.event",
        })?;
        Ok(Self {
            event: event.try_into()?,
            targets: consignment
                .targets
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Waiting> for wire::Waiting {
    fn from(waiting: &Waiting) -> Self {
        Self {
            event: Some((&waiting.event).into()),
            target: Some((&waiting.target).into()),
            reason: waiting.reason.as_str().to_owned(),
            since_us: to_micros(waiting.since),
            due_at_us: to_micros(waiting.due_at),
        }
    }
}

impl TryFrom<wire::Waiting> for Waiting {
    type Error = ConvertError;

    fn try_from(waiting: wire::Waiting) -> Result<Self, ConvertError> {
        let event = waiting.event.ok_or(ConvertError::Missing {
            field: "waiting.event",
        })?;
        let target = waiting.target.ok_or(ConvertError::Missing {
            field: "waiting.target",
        })?;
        Ok(Self {
            event: event.try_into()?,
            target: target.try_into()?,
            reason: WaitReason::parse(&waiting.reason)
                .ok_or_else(|| invalid("waiting.reason", waiting.reason))?,
            since: from_micros(waiting.since_us),
            due_at: from_micros(waiting.due_at_us),
        })
    }
}

impl From<&Allowance> for wire::Allowance {
    fn from(allowance: &Allowance) -> Self {
        Self {
            project: allowance.project.to_string(),
            function: allowance.function.to_string(),
            per_second: allowance.per_second,
            burst: allowance.burst,
            closed_until_us: allowance.closed_until.map(to_micros),
            at_us: to_micros(allowance.at),
        }
    }
}

impl TryFrom<wire::Allowance> for Allowance {
    type Error = ConvertError;

    fn try_from(allowance: wire::Allowance) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("allowance.project", &allowance.project)?,
            function: parse("allowance.function", &allowance.function)?,
            per_second: allowance.per_second,
            burst: allowance.burst,
            closed_until: allowance.closed_until_us.map(from_micros),
            at: from_micros(allowance.at_us),
        })
    }
}

impl From<&Ended> for wire::Ended {
    fn from(ended: &Ended) -> Self {
        Self {
            project: ended.project.to_string(),
            delivery_id: id_bytes(ended.delivery.uuid()),
            generation: ended.generation,
        }
    }
}

impl TryFrom<wire::Ended> for Ended {
    type Error = ConvertError;

    fn try_from(ended: wire::Ended) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("ended.project", &ended.project)?,
            delivery: DeliveryId::from_uuid(uuid("ended.delivery_id", &ended.delivery_id)?),
            generation: ended.generation,
        })
    }
}

impl From<&Disable> for wire::Disable {
    fn from(disable: &Disable) -> Self {
        Self {
            project: disable.project.to_string(),
            function: disable.function.to_string(),
            reason: disable.reason.clone(),
            at_us: to_micros(disable.at),
            revision: disable.revision,
        }
    }
}

impl TryFrom<wire::Disable> for Disable {
    type Error = ConvertError;

    fn try_from(disable: wire::Disable) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("disable.project", &disable.project)?,
            function: parse("disable.function", &disable.function)?,
            reason: disable.reason,
            at: from_micros(disable.at_us),
            revision: disable.revision,
        })
    }
}
