//! Records of what happened, between `domain` and the envelope.

use std::fmt::{self, Write as _};
use std::time::Duration;

use domain::delivery::{ErrorClass, Status};
use domain::id::{DeliveryId, EventId};
use domain::record::{Attempted, HeaderLines, Matched, Record, Settled};

use crate::event::{ConvertError, id_bytes, invalid, parse, uuid};
use crate::time::{duration_micros, from_micros, to_micros};
use crate::wire::v1 as wire;
use crate::wire::v1::record::Fact;

impl From<&Record> for wire::Record {
    fn from(record: &Record) -> Self {
        let fact = match record {
            Record::Matched(matched) => Fact::Matched(wire::Matched {
                event: Some((&matched.event).into()),
                targets: matched.targets.iter().map(Into::into).collect(),
            }),
            Record::Attempted(attempted) => Fact::Attempted(attempted.as_ref().into()),
            Record::Settled(settled) => Fact::Settled(settled.into()),
        };
        Self { fact: Some(fact) }
    }
}

impl TryFrom<wire::Record> for Record {
    type Error = ConvertError;

    fn try_from(record: wire::Record) -> Result<Self, ConvertError> {
        let fact = record.fact.ok_or(ConvertError::Missing {
            field: "record.fact",
        })?;
        Ok(match fact {
            Fact::Matched(matched) => {
                let event = matched.event.ok_or(ConvertError::Missing {
                    field: "matched.event",
                })?;
                let targets = matched.targets.into_iter().map(TryInto::try_into);
                Self::Matched(Matched {
                    event: event.try_into()?,
                    targets: targets.collect::<Result<_, _>>()?,
                })
            }
            Fact::Attempted(attempted) => Self::Attempted(Box::new(attempted.try_into()?)),
            Fact::Settled(settled) => Self::Settled(settled.try_into()?),
        })
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn status(text: &str) -> Result<Status, ConvertError> {
    Status::parse(text).ok_or_else(|| invalid("status", text))
}

impl From<&Attempted> for wire::Attempted {
    fn from(attempted: &Attempted) -> Self {
        let mut wire = Self::default();
        fill(&mut wire, attempted);
        wire
    }
}

/// Makes `wire` say what was attempted, whatever it said before; its texts keep their memory.
fn fill(wire: &mut wire::Attempted, attempted: &Attempted) {
    let error_class = attempted.error_class.map(ErrorClass::as_str);
    for (text, value) in [
        (&mut wire.project, attempted.project.as_str()),
        (&mut wire.trigger, attempted.trigger.as_str()),
        (&mut wire.url, &attempted.url),
        (&mut wire.error_class, error_class.unwrap_or_default()),
        (
            &mut wire.error,
            attempted.error.as_deref().unwrap_or_default(),
        ),
        (
            &mut wire.request_headers,
            attempted.request_headers.as_str(),
        ),
        (
            &mut wire.response_headers,
            attempted.response_headers.as_str(),
        ),
        (&mut wire.worker, &attempted.worker),
        (
            &mut wire.traceparent,
            attempted.traceparent.as_deref().unwrap_or_default(),
        ),
        (&mut wire.status, attempted.status.as_str()),
        (
            &mut wire.remark,
            attempted.remark.as_deref().unwrap_or_default(),
        ),
    ] {
        text.clear();
        text.push_str(value);
    }
    wire.function.clear();
    // Writing into a text does not fail.
    let _written: fmt::Result = write!(wire.function, "{}", attempted.function);
    wire.eid = id_bytes(attempted.event.uuid());
    wire.delivery_id = id_bytes(attempted.delivery.uuid());
    wire.number = attempted.number;
    wire.generation = attempted.generation;
    wire.started_at_us = to_micros(attempted.started_at);
    wire.duration_us = duration_micros(attempted.duration);
    wire.response_status = attempted.response_status.map_or(0, u32::from);
    wire.response_body = attempted.response_body.clone();
    wire.response_truncated = attempted.is_response_truncated;
    wire.request_bytes = attempted.request_bytes;
    wire.next_attempt_at_us = attempted.next_attempt_at.map(to_micros);
}

/// Writes records one after the other through the same memory: each attempt has a dozen texts, and
/// no copy of them is needed for longer than it takes to write it.
#[derive(Debug, Default)]
pub(crate) struct Writer(wire::Record);

impl Writer {
    /// The record as it is written.
    pub(crate) fn wire(&mut self, record: &Record) -> &wire::Record {
        match (record, &mut self.0.fact) {
            (Record::Attempted(attempted), Some(Fact::Attempted(wire))) => fill(wire, attempted),
            (record, _) => self.0 = record.into(),
        }
        &self.0
    }
}

impl TryFrom<wire::Attempted> for Attempted {
    type Error = ConvertError;

    fn try_from(attempted: wire::Attempted) -> Result<Self, ConvertError> {
        let error_class = match attempted.error_class.as_str() {
            "" => None,
            text => Some(ErrorClass::parse(text).ok_or_else(|| invalid("error_class", text))?),
        };
        Ok(Self {
            project: parse("attempted.project", &attempted.project)?,
            event: EventId::from_uuid(uuid("attempted.eid", &attempted.eid)?),
            delivery: DeliveryId::from_uuid(uuid("attempted.delivery_id", &attempted.delivery_id)?),
            trigger: parse("attempted.trigger", &attempted.trigger)?,
            function: parse("attempted.function", &attempted.function)?,
            number: attempted.number,
            generation: attempted.generation,
            started_at: from_micros(attempted.started_at_us),
            duration: Duration::from_micros(attempted.duration_us),
            url: attempted.url,
            response_status: u16::try_from(attempted.response_status)
                .ok()
                .filter(|code| *code != 0),
            error_class,
            error: non_empty(attempted.error),
            request_headers: HeaderLines::from_text(attempted.request_headers),
            request_bytes: attempted.request_bytes,
            response_headers: HeaderLines::from_text(attempted.response_headers),
            response_body: attempted.response_body,
            is_response_truncated: attempted.response_truncated,
            worker: attempted.worker,
            traceparent: non_empty(attempted.traceparent),
            status: status(&attempted.status)?,
            remark: non_empty(attempted.remark),
            next_attempt_at: attempted.next_attempt_at_us.map(from_micros),
        })
    }
}

impl From<&Settled> for wire::Settled {
    fn from(settled: &Settled) -> Self {
        Self {
            project: settled.project.to_string(),
            eid: id_bytes(settled.event.uuid()),
            delivery_id: id_bytes(settled.delivery.uuid()),
            trigger: settled.trigger.to_string(),
            function: settled.function.to_string(),
            generation: settled.generation,
            status: settled.status.as_str().to_owned(),
            remark: settled.remark.clone(),
            at_us: to_micros(settled.at),
        }
    }
}

impl TryFrom<wire::Settled> for Settled {
    type Error = ConvertError;

    fn try_from(settled: wire::Settled) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("settled.project", &settled.project)?,
            event: EventId::from_uuid(uuid("settled.eid", &settled.eid)?),
            delivery: DeliveryId::from_uuid(uuid("settled.delivery_id", &settled.delivery_id)?),
            trigger: parse("settled.trigger", &settled.trigger)?,
            function: parse("settled.function", &settled.function)?,
            generation: settled.generation,
            status: status(&settled.status)?,
            remark: settled.remark,
            at: from_micros(settled.at_us),
        })
    }
}
