//! The envelopes in the queues: a version and a batch of what was waiting.

use bytes::Bytes;
use domain::delivery::{Consignment, Waiting};
use domain::event::Event;
use domain::record::Record;
use prost::Message;

use crate::event::ConvertError;
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
    ($item:ty, $batch:ident, $items:ident, $bytes:expr, $traceparent:expr) => {
        impl Envelope for $item {
            const KIND: &'static str = concat!("tripline.wire.v1.", stringify!($batch));

            fn write(items: &[Self]) -> Bytes {
                let $items = items.iter().map(Into::into).collect();
                wire::$batch {
                    schema_version: SCHEMA_VERSION,
                    $items,
                }
                .encode_to_vec()
                .into()
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
                let batch = wire::$batch::decode(body).map_err(|error| ReadError::NotProtobuf {
                    kind,
                    reason: error.to_string(),
                })?;
                if !(1..=SCHEMA_VERSION).contains(&batch.schema_version) {
                    return Err(ReadError::Version {
                        kind,
                        found: batch.schema_version,
                    });
                }
                batch
                    .$items
                    .into_iter()
                    .map(|item| {
                        item.try_into()
                            .map_err(|source| ReadError::Content { kind, source })
                    })
                    .collect()
            }
        }
    };
}

envelope!(Event, EventBatch, events, bytes_of_event, |event| event
    .traceparent
    .as_deref());
envelope!(
    Consignment,
    DeliveryBatch,
    consignments,
    |consignment| bytes_of_event(&consignment.event) + consignment.targets.len() * BYTES_OF_TARGET,
    |consignment| consignment.event.traceparent.as_deref()
);
envelope!(
    Waiting,
    WaitingBatch,
    waiting,
    |waiting| bytes_of_event(&waiting.event) + BYTES_OF_TARGET,
    |waiting| waiting.event.traceparent.as_deref()
);
envelope!(Record, RecordBatch, records, bytes_of_record, |_record| {
    None
});

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
