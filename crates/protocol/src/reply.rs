//! Replies to who waits for the answer of a function, between `domain` and what is sent.

use bytes::Bytes;
use domain::id::EventId;
use domain::reply::{Answered, Reply, Said};
use prost::Message as _;

use crate::envelope::{ReadError, SCHEMA_VERSION};
use crate::event::{ConvertError, id_bytes, invalid, parse, uuid};
use crate::events::v1 as events;
use crate::wire::v1 as wire;
use crate::wire::v1::reply::Said as WireSaid;

/// What the message is, for its header.
pub const KIND: &str = "tripline.wire.v1.Reply";

/// Encodes a reply.
pub fn write(reply: &Reply) -> Bytes {
    let said = match &reply.said {
        Said::Matched { deliveries } => WireSaid::Matched(*deliveries),
        Said::Failed => WireSaid::Failed(true),
        Said::Answered(answered) => WireSaid::Answered(wire::Answered {
            function: answered.function.to_string(),
            status: answered.status.into(),
            content_type: answered.content_type.clone().unwrap_or_default(),
            body: answered.body.clone(),
            truncated: answered.is_truncated,
        }),
    };
    let reply = wire::Reply {
        schema_version: SCHEMA_VERSION,
        eid: id_bytes(reply.event.uuid()),
        said: Some(said),
    };
    reply.encode_to_vec().into()
}

/// Reads what [`write()`] encoded.
///
/// # Errors
/// When it is something else, or from a release that is too new.
pub fn read(body: Bytes) -> Result<Reply, ReadError> {
    let kind = KIND;
    let reply = wire::Reply::decode(body).map_err(|error| ReadError::NotProtobuf {
        kind,
        reason: error.to_string(),
    })?;
    if !(1..=SCHEMA_VERSION).contains(&reply.schema_version) {
        let found = reply.schema_version;
        return Err(ReadError::Version { kind, found });
    }
    convert(reply).map_err(|source| ReadError::Content { kind, source })
}

fn convert(reply: wire::Reply) -> Result<Reply, ConvertError> {
    let said = reply.said.ok_or(ConvertError::Missing {
        field: "reply.said",
    })?;
    let said = match said {
        WireSaid::Matched(deliveries) => Said::Matched { deliveries },
        WireSaid::Failed(_) => Said::Failed,
        WireSaid::Answered(answered) => Said::Answered(Answered {
            function: parse("answered.function", &answered.function)?,
            status: u16::try_from(answered.status)
                .map_err(|_none| invalid("answered.status", answered.status.to_string()))?,
            content_type: Some(answered.content_type).filter(|text| !text.is_empty()),
            body: answered.body,
            is_truncated: answered.truncated,
        }),
    };
    Ok(Reply {
        event: EventId::from_uuid(uuid("reply.eid", &reply.eid)?),
        said,
    })
}

impl From<Answered> for events::Reply {
    fn from(answered: Answered) -> Self {
        Self {
            function: answered.function.to_string(),
            status: answered.status.into(),
            content_type: answered.content_type.unwrap_or_default(),
            body: answered.body,
            truncated: answered.is_truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_reads_back() {
        let answered = Answered {
            function: "my-package/hook".parse().unwrap(),
            status: 201,
            content_type: Some("application/json".to_owned()),
            body: Bytes::from_static(b"{}"),
            is_truncated: true,
        };
        for said in [
            Said::Matched { deliveries: 0 },
            Said::Matched { deliveries: 3 },
            Said::Failed,
            Said::Answered(answered),
        ] {
            let event = EventId::new(domain::Timestamp::UNIX_EPOCH, [7; 10]);
            let reply = Reply { event, said };
            assert_eq!(read(write(&reply)).unwrap(), reply);
        }
        assert!(read(Bytes::from_static(b"nope")).is_err());
    }
}
