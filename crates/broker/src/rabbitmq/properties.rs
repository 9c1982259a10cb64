//! What stands in the properties and headers of an AMQP message.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use uuid::Uuid;

use crate::consume::SetAside;
use crate::packing::Packed;
use crate::publish::Message;

const SCHEMA_VERSION: &str = "schema_version";
const ITEMS: &str = "items";
const TRACEPARENT: &str = "traceparent";
const SET_ASIDE_FROM: &str = "set_aside_from";
const SET_ASIDE_REASON: &str = "set_aside_reason";
/// Written by the broker when it sets a message aside itself.
const DEAD_LETTER_QUEUE: &str = "x-first-death-queue";
const DEAD_LETTER_REASON: &str = "x-first-death-reason";

/// A reason may quote what could not be read; it need not quote all of it.
const REASON_BYTES_MAX: usize = 1024;

const PERSISTENT: u8 = 2;

/// A message with everything its properties say.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) body: Packed,
    pub(super) kind: Cow<'static, str>,
    pub(super) schema_version: u32,
    pub(super) items: u32,
    pub(super) traceparent: Option<String>,
    pub(super) set_aside: Option<SetAside>,
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        let Message {
            body,
            kind,
            schema_version,
            items,
            traceparent,
        } = message;
        let kind = Cow::Borrowed(kind);
        Self {
            body: Packed::of(body),
            kind,
            schema_version,
            items,
            traceparent,
            set_aside: None,
        }
    }
}

impl Outgoing {
    pub(super) fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(
            SCHEMA_VERSION.into(),
            AMQPValue::LongLongInt(self.schema_version.into()),
        );
        headers.insert(ITEMS.into(), AMQPValue::LongLongInt(self.items.into()));
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT.into(), text(traceparent));
        }
        if let Some(SetAside { queue, reason }) = &self.set_aside {
            headers.insert(SET_ASIDE_FROM.into(), text(queue));
            headers.insert(SET_ASIDE_REASON.into(), text(shorten(reason)));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/protobuf".into())
            .with_message_id(Uuid::now_v7().to_string().into())
            .with_timestamp(Timestamp::now().as_second().unsigned_abs())
            .with_headers(headers);
        let properties = match self.body.encoding.as_deref().map(ShortString::try_new) {
            Some(Ok(encoding)) => properties.with_content_encoding(encoding),
            Some(Err(_)) | None => properties,
        };
        // A kind too long for its field says nothing anybody knows.
        match ShortString::try_new(self.kind.as_ref()) {
            Ok(kind) => properties.with_type(kind),
            Err(_too_long) => properties,
        }
    }
}

/// What the properties of a received message say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headers<'a>(pub(super) &'a BasicProperties);

impl Headers<'_> {
    pub(super) fn kind(self) -> String {
        self.0
            .kind()
            .as_ref()
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default()
    }

    pub(super) fn message_id(self) -> String {
        let id = self.0.message_id().as_ref();
        id.map(|id| id.as_str().to_owned()).unwrap_or_default()
    }

    /// The body as it was before it was packed.
    pub(super) fn unpack(self, body: Bytes) -> Bytes {
        self.packed(body).unpack()
    }

    pub(super) fn packed(self, body: Bytes) -> Packed {
        let encoding = self.0.content_encoding().as_ref();
        Packed {
            body,
            encoding: encoding.map(|encoding| Cow::Owned(encoding.as_str().to_owned())),
        }
    }

    pub(super) fn schema_version(self) -> u32 {
        self.number(SCHEMA_VERSION).unwrap_or_default()
    }

    pub(super) fn items(self) -> u32 {
        self.number(ITEMS).unwrap_or_default()
    }

    pub(super) fn traceparent(self) -> Option<String> {
        self.text(TRACEPARENT)
    }

    pub(super) fn set_aside(self) -> Option<SetAside> {
        if let Some(reason) = self.text(SET_ASIDE_REASON) {
            return Some(SetAside {
                queue: self.text(SET_ASIDE_FROM).unwrap_or_default(),
                reason,
            });
        }
        let reason = self.text(DEAD_LETTER_REASON)?;
        Some(SetAside {
            queue: self.text(DEAD_LETTER_QUEUE).unwrap_or_default(),
            reason,
        })
    }

    fn value(&self, name: &str) -> Option<&AMQPValue> {
        self.0.headers().as_ref()?.inner().get(name)
    }

    fn text(self, name: &str) -> Option<String> {
        match self.value(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            _ => None,
        }
    }

    fn number(self, name: &str) -> Option<u32> {
        match self.value(name)? {
            AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
            AMQPValue::LongInt(number) => u32::try_from(*number).ok(),
            AMQPValue::LongUInt(number) => Some(*number),
            _ => None,
        }
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn shorten(reason: &str) -> &str {
    reason
        .get(..reason.floor_char_boundary(REASON_BYTES_MAX))
        .unwrap_or_default()
}
