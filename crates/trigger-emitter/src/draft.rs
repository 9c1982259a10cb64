//! An event as a client sends it, whichever way it came, and how that way names its fields.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;

/// What a client says of an event. Nothing is checked yet but that values have the right form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub id: Option<String>,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub subject: Option<String>,
    pub time: Option<Timestamp>,
    pub data_content_type: Option<String>,
    pub data: Bytes,
    /// Whether the data was part of a JSON document that has been parsed.
    pub is_data_known_json: bool,
    pub actor_id: Option<String>,
    pub actor_kind: Option<String>,
    pub partition_key: Option<String>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    pub depth: u32,
    pub traceparent: Option<String>,
    pub deliver_at: Option<Timestamp>,
    pub delay: Option<Duration>,
    pub extensions: BTreeMap<String, String>,
}

/// A field of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    Data,
    ActorId,
    ActorKind,
    PartitionKey,
    CorrelationId,
    CausationId,
    Depth,
    Traceparent,
    DeliverAt,
    Delay,
}

/// A way to write events; each has its own names for the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Grpc,
    PlainJson,
    CloudEventsJson,
    CloudEventsHeaders,
    SpaceCloud,
}

impl Dialect {
    /// The field as the client wrote it, so that a fault points at what was sent.
    pub const fn name(self, field: Field) -> &'static str {
        match self {
            Self::Grpc => field.grpc(),
            Self::PlainJson => field.plain(),
            Self::CloudEventsJson => field.attribute(),
            Self::CloudEventsHeaders => field.header(),
            Self::SpaceCloud => field.space_cloud(),
        }
    }

    /// Whether the events are `CloudEvents`, so that its rules hold.
    pub const fn is_cloud_event(self) -> bool {
        matches!(self, Self::CloudEventsJson | Self::CloudEventsHeaders)
    }

    /// Where an extension of that name stands.
    pub fn extension(self, name: &str) -> String {
        match self {
            Self::Grpc | Self::PlainJson => format!("extensions.{name}"),
            Self::CloudEventsJson => name.to_owned(),
            Self::CloudEventsHeaders => format!("ce-{name}"),
            Self::SpaceCloud => format!("options.{name}"),
        }
    }
}

impl Field {
    const fn space_cloud(self) -> &'static str {
        match self {
            Self::Data => "payload",
            Self::DeliverAt => "timestamp",
            other => other.grpc(),
        }
    }

    const fn plain(self) -> &'static str {
        match self {
            Self::ActorId => "actor.id",
            Self::ActorKind => "actor.kind",
            other => other.grpc(),
        }
    }

    const fn grpc(self) -> &'static str {
        match self {
            Self::DataContentType => "data_content_type",
            Self::ActorId => "actor_id",
            Self::ActorKind => "actor_kind",
            Self::PartitionKey => "partition_key",
            Self::CorrelationId => "correlation_id",
            Self::CausationId => "causation_id",
            Self::DeliverAt => "deliver_at",
            other => other.attribute(),
        }
    }

    /// The `CloudEvents` attribute.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::DataContentType => "datacontenttype",
            Self::Data => "data",
            Self::ActorId => "actorid",
            Self::ActorKind => "actorkind",
            Self::PartitionKey => "partitionkey",
            Self::CorrelationId => "correlationid",
            Self::CausationId => "causationid",
            Self::Depth => "depth",
            Self::Traceparent => "traceparent",
            Self::DeliverAt => "deliverat",
            Self::Delay => "delay",
        }
    }

    const fn header(self) -> &'static str {
        match self {
            Self::Id => "ce-id",
            Self::Source => "ce-source",
            Self::Type => "ce-type",
            Self::Subject => "ce-subject",
            Self::Time => "ce-time",
            Self::DataContentType => "content-type",
            Self::Data => "body",
            Self::ActorId => "ce-actorid",
            Self::ActorKind => "ce-actorkind",
            Self::PartitionKey => "ce-partitionkey",
            Self::CorrelationId => "ce-correlationid",
            Self::CausationId => "ce-causationid",
            Self::Depth => "ce-depth",
            Self::Traceparent => "ce-traceparent",
            Self::DeliverAt => "ce-deliverat",
            Self::Delay => "ce-delay",
        }
    }
}
