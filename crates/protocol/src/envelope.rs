//! The envelopes in the queues: a version and a batch of what was waiting.

use bytes::Bytes;
use domain::delivery::{Consignment, Notice, Waiting};
use domain::event::Event;
use domain::record::Record;
use prost::{EncodeError, Message};

use crate::event::ConvertError;
use crate::record::Writer;
use crate::wire::v1 as wire;

/// The version that is written, and the newest that is read.
pub const SCHEMA_VERSION: u32 = 1;

/// Why a message's body could not be read. It will not be readable later either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the body is not a {kind}: {reason}")]
    NotProtobuf { kind: &'static str, reason: String },
    #[error("the {kind} has schema version {found}; this release reads 1 to {SCHEMA_VERSION}")]
    Version { kind: &'static str, found: u32 },
    #[error("the {kind} cannot be understood")]
    Content {
        kind: &'static str,
        #[source]
        source: ConvertError,
    },
}

/// What a queue carries many of.
pub trait Envelope: Sized {
    /// The batch's name, for the message's `type` header.
    const KIND: &'static str;

    /// Encodes a batch.
    fn write(items: &[Self]) -> Bytes;

    /// About how many bytes the item adds to a batch.
    fn bytes(&self) -> usize;

    /// The trace the item belongs to, if it belongs to one alone.
    fn traceparent(&self) -> Option<&str>;

    /// Reads a batch of this version or an older one.
    ///
    /// # Errors
    /// When it is no such batch, too new, or names things that cannot be.
    fn read(body: Bytes) -> Result<Vec<Self>, ReadError>;
}

macro_rules! envelope {
    ($item:ty, $batch:ident, $items:ident [$($beside:ident),*], $bytes:expr, $traceparent:expr) => {
        impl Envelope for $item {
            const KIND: &'static str = concat!("tripline.wire.v1.", stringify!($batch));

            fn write(items: &[Self]) -> Bytes {
                let $items = items.iter().map(Into::into).collect();
                let batch = wire::$batch {
                    schema_version: SCHEMA_VERSION,
                    $items,
                    $($beside: Vec::new(),)*
                };
                batch.encode_to_vec().into()
            }

            fn bytes(&self) -> usize {
                let bytes: fn(&Self) -> usize = $bytes;
                bytes(self)
            }

            fn traceparent(&self) -> Option<&str> {
                let traceparent: fn(&Self) -> Option<&str> = $traceparent;
                traceparent(self)
            }

            fn read(body: Bytes) -> Result<Vec<Self>, ReadError> {
                let kind = Self::KIND;
                let batch: wire::$batch = decode(kind, body)?;
                check_version(kind, batch.schema_version)?;
                read_all(kind, batch.$items)
            }
        }
    };
}

envelope!(Event, EventBatch, events [], bytes_of_event, |event| event
    .traceparent
    .as_deref());
envelope!(
    Consignment,
    DeliveryBatch,
    consignments [],
    |consignment| bytes_of_event(&consignment.event) + consignment.targets.len() * BYTES_OF_TARGET,
    |consignment| consignment.event.traceparent.as_deref()
);
envelope!(
    Waiting,
    WaitingBatch,
    waiting [allowances, ended, disables],
    |waiting| bytes_of_event(&waiting.event) + BYTES_OF_TARGET,
    |waiting| waiting.event.traceparent.as_deref()
);
impl Envelope for Record {
    const KIND: &'static str = "tripline.wire.v1.RecordBatch";

    fn write(items: &[Self]) -> Bytes {
        let head = wire::RecordBatch {
            schema_version: SCHEMA_VERSION,
            records: Vec::new(),
        };
        let bytes = items.iter().map(bytes_of_record).sum();
        let mut body = Vec::with_capacity(bytes);
        // A vector has room for everything.
        let _written: Result<(), EncodeError> = head.encode(&mut body);
        let mut writer = Writer::default();
        for item in items {
            body.push(RECORDS_KEY);
            let wire = writer.wire(item);
            let _written: Result<(), EncodeError> = wire.encode_length_delimited(&mut body);
        }
        body.into()
    }

    fn bytes(&self) -> usize {
        bytes_of_record(self)
    }

    fn traceparent(&self) -> Option<&str> {
        None
    }

    fn read(body: Bytes) -> Result<Vec<Self>, ReadError> {
        let kind = Self::KIND;
        let batch: wire::RecordBatch = decode(kind, body)?;
        check_version(kind, batch.schema_version)?;
        read_all(kind, batch.records)
    }
}

/// What goes before each of a batch's records: field 2, of a length that follows.
const RECORDS_KEY: u8 = 2 << 3 | 2;

/// The same envelope as [`Waiting`]'s, with what else the waiting room is told beside it.
impl Envelope for Notice {
    const KIND: &'static str = Waiting::KIND;

    fn write(items: &[Self]) -> Bytes {
        let mut batch = wire::WaitingBatch {
            schema_version: SCHEMA_VERSION,
            ..wire::WaitingBatch::default()
        };
        for item in items {
            match item {
                Self::Wait(waiting) => batch.waiting.push(waiting.as_ref().into()),
                Self::Allow(allowance) => batch.allowances.push(allowance.into()),
                Self::End(ended) => batch.ended.push(ended.into()),
                Self::Disable(disable) => batch.disables.push(disable.into()),
            }
        }
        batch.encode_to_vec().into()
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Wait(waiting) => waiting.bytes(),
            Self::Allow(_) | Self::End(_) => BYTES_OF_TARGET,
            Self::Disable(disable) => disable.reason.len() + BYTES_OF_TARGET,
        }
    }

    fn traceparent(&self) -> Option<&str> {
        match self {
            Self::Wait(waiting) => waiting.traceparent(),
            Self::Allow(_) | Self::End(_) | Self::Disable(_) => None,
        }
    }

    /// What waits comes first, then what is allowed, what has ended, and who is switched off.
    fn read(body: Bytes) -> Result<Vec<Self>, ReadError> {
        let kind = Self::KIND;
        let batch: wire::WaitingBatch = decode(kind, body)?;
        check_version(kind, batch.schema_version)?;
        let waiting: Vec<Waiting> = read_all(kind, batch.waiting)?;
        let mut notices: Vec<Self> = waiting
            .into_iter()
            .map(|waiting| Self::Wait(Box::new(waiting)))
            .collect();
        notices.extend(
            read_all(kind, batch.allowances)?
                .into_iter()
                .map(Self::Allow),
        );
        notices.extend(read_all(kind, batch.ended)?.into_iter().map(Self::End));
        let disables = read_all(kind, batch.disables)?;
        notices.extend(disables.into_iter().map(Self::Disable));
        Ok(notices)
    }
}

fn decode<Batch: Message + Default>(kind: &'static str, body: Bytes) -> Result<Batch, ReadError> {
    Batch::decode(body).map_err(|error| ReadError::NotProtobuf {
        kind,
        reason: error.to_string(),
    })
}

fn check_version(kind: &'static str, found: u32) -> Result<(), ReadError> {
    if (1..=SCHEMA_VERSION).contains(&found) {
        Ok(())
    } else {
        Err(ReadError::Version { kind, found })
    }
}

fn read_all<Wire, Item: TryFrom<Wire, Error = ConvertError>>(
    kind: &'static str,
    items: Vec<Wire>,
) -> Result<Vec<Item>, ReadError> {
    let read = |item: Wire| {
        item.try_into()
            .map_err(|source| ReadError::Content { kind, source })
    };
    items.into_iter().map(read).collect()
}

/// Ids, names and times of an event come to about this much beside its data.
const BYTES_OF_ATTRIBUTES: usize = 300;
const BYTES_OF_TARGET: usize = 100;

fn bytes_of_event(event: &Event) -> usize {
    let extensions: usize = event
        .extensions
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    event.data.len()
        + event.subject.as_ref().map_or(0, String::len)
        + extensions
        + BYTES_OF_ATTRIBUTES
}

fn bytes_of_record(record: &Record) -> usize {
    match record {
        Record::Matched(matched) => {
            bytes_of_event(&matched.event) + matched.targets.len() * BYTES_OF_TARGET
        }
        Record::Attempted(attempted) => {
            let headers = [&attempted.request_headers, &attempted.response_headers];
            let headers: usize = headers.iter().map(|lines| lines.as_str().len()).sum();
            attempted.response_body.len() + headers + BYTES_OF_ATTRIBUTES
        }
        Record::Settled(_) => BYTES_OF_ATTRIBUTES,
    }
}
