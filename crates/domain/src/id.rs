//! Identifiers of events and deliveries: 128 bits, in time order, with a prefixed text form.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What is wrong with a text that should have been an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not an id: expected {prefix}_ and 26 letters or digits of Crockford's base 32"
)]
pub struct ParseIdError {
    pub prefix: &'static str,
    pub value: String,
}

/// An accepted event, given once at the door: a `UUIDv7`, so ids sort by acceptance time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

/// The duty to bring one event to one trigger's function. Derived, so any hop may run again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(Uuid);

/// One order to deliver again, as an operator gave it: a `UUIDv7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedriveId(Uuid);

/// Several deliveries in one request. Derived, so that a receiver knows the same request again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(Uuid);

impl RedriveId {
    pub const PREFIX: &'static str = "rdv";

    /// `random` fills what the 48 bits of time leave free.
    pub fn new(ordered_at: Timestamp, random: [u8; 10]) -> Self {
        Self(EventId::new(ordered_at, random).0)
    }
}

impl BatchId {
    pub const PREFIX: &'static str = "bat";

    /// The first delivery's 48-bit time, followed by a hash of all in their order. The same
    /// deliveries, each in the same generation, always give the same id, however often they are sent.
    pub fn derive(deliveries: &[(DeliveryId, u32)]) -> Self {
        let mut hash = Sha256::new();
        for (delivery, generation) in deliveries {
            hash.update(delivery.0.as_bytes());
            hash.update(generation.to_be_bytes());
        }
        let first = deliveries.first();
        let at = first.map_or(Timestamp::UNIX_EPOCH, |(first, _)| first.accepted_at());
        Self(EventId::new(at, first_of(&hash.finalize())).0)
    }
}

impl EventId {
    pub const PREFIX: &'static str = "evt";

    /// `random` fills what the 48 bits of time leave free.
    pub fn new(accepted_at: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(accepted_at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// An event that follows from a delivery of `event`: its 48-bit time, followed by a hash.
    ///
    /// The same delivery, generation and kind always give the same id, so whatever tells of it
    /// twice leads to the same deliveries.
    pub fn derive(event: Self, delivery: DeliveryId, generation: u32, kind: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(delivery.0.as_bytes())
            .chain_update(generation.to_be_bytes())
            .chain_update(kind)
            .finalize();
        Self::new(event.accepted_at(), first_of(&digest))
    }

    /// An event about something that happened: its time, followed by a hash of what it was, part
    /// by part. The same time and parts always give the same id.
    pub fn about(at: Timestamp, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
            hash.update([0]);
        }
        Self::new(at, first_of(&hash.finalize()))
    }

    /// When the event was accepted, to the millisecond.
    pub fn accepted_at(self) -> Timestamp {
        time_of(self.0)
    }
}

impl DeliveryId {
    pub const PREFIX: &'static str = "dlv";

    /// The event's 48-bit time, followed by a hash of the event and the trigger, as a `UUIDv8`.
    ///
    /// The same event and trigger always give the same id, and ids sort by the event's time.
    pub fn derive(event: EventId, trigger: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(event.0.as_bytes())
            .chain_update(trigger)
            .finalize();
        let mut bytes = [0_u8; 16];
        for (target, source) in bytes.iter_mut().zip(digest.iter()) {
            *target = *source;
        }
        for (target, source) in bytes.iter_mut().zip(event.0.as_bytes().iter().take(6)) {
            *target = *source;
        }
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// When the delivery's event was accepted, to the millisecond.
    pub fn accepted_at(self) -> Timestamp {
        time_of(self.0)
    }
}

/// The smallest identifier of a given millisecond: where a range of ids begins.
pub fn first_id_at(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.as_millisecond()).unwrap_or(0);
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}

fn first_of(digest: &[u8]) -> [u8; 10] {
    let mut hash = [0_u8; 10];
    for (target, source) in hash.iter_mut().zip(digest) {
        *target = *source;
    }
    hash
}

fn time_of(id: Uuid) -> Timestamp {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(0);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The digits of an id, without an allocation: every attempt writes several.
fn encode(id: Uuid) -> [u8; 26] {
    let mut value = id.as_u128();
    let mut digits = [b'0'; 26];
    for place in digits.iter_mut().rev() {
        let digit = usize::try_from(value & 31).unwrap_or(0);
        *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
        value >>= 5;
    }
    digits
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET
            .iter()
            .position(|known| *known == byte.to_ascii_uppercase())?;
        // 26 digits hold 130 bits: the first may only use three of its five.
        if place == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | u128::try_from(digit).ok()?;
    }
    Some(Uuid::from_u128(value))
}

macro_rules! text_form {
    ($id:ident) => {
        impl $id {
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                formatter.write_str(Self::PREFIX)?;
                formatter.write_str("_")?;
                formatter.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $id {
            type Err = ParseIdError;

            /// Takes `PREFIX_…` as printed, or a plain UUID.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(Self::PREFIX)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .and_then(decode)
                    .or_else(|| Uuid::try_parse(text).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        prefix: Self::PREFIX,
                        value: text.to_owned(),
                    })
            }
        }
    };
}

text_form!(EventId);
text_form!(BatchId);
text_form!(DeliveryId);
text_form!(RedriveId);

#[cfg(test)]
mod tests {
    use super::*;

    fn event_at(millis: i64, random: u8) -> EventId {
        EventId::new(Timestamp::from_millisecond(millis).unwrap(), [random; 10])
    }

    #[test]
    fn text_form_reads_back() {
        let event = event_at(1_795_000_000_123, 0xa5);
        assert_eq!(event.to_string().parse::<EventId>().unwrap(), event);
        assert_eq!(event.uuid().to_string().parse::<EventId>().unwrap(), event);
        let delivery = DeliveryId::derive(event, "welcome");
        assert_eq!(
            delivery.to_string().parse::<DeliveryId>().unwrap(),
            delivery
        );
        assert!(delivery.to_string().starts_with("dlv_"));
    }

    #[test]
    fn refuses_a_text_of_another_kind_and_says_what_is_expected() {
        let event = event_at(1_795_000_000_123, 1).to_string();
        let error = event.parse::<DeliveryId>().unwrap_err();
        assert_eq!(error.prefix, "dlv");
        assert_eq!(error.value, event);
        assert!(
            "evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<EventId>().is_err(),
            "over 128 bits"
        );
    }

    #[test]
    fn the_same_event_and_trigger_give_the_same_delivery() {
        let event = event_at(1_795_000_000_123, 7);
        assert_eq!(
            DeliveryId::derive(event, "a"),
            DeliveryId::derive(event, "a")
        );
        assert_ne!(
            DeliveryId::derive(event, "a"),
            DeliveryId::derive(event, "b")
        );
        assert_ne!(
            DeliveryId::derive(event, "a"),
            DeliveryId::derive(event_at(1_795_000_000_123, 8), "a")
        );
    }

    #[test]
    fn what_follows_from_a_delivery_has_the_same_id_each_time_and_its_events_time() {
        let event = event_at(1_795_000_000_123, 7);
        let delivery = DeliveryId::derive(event, "a");
        let derived = EventId::derive(event, delivery, 0, "dead");
        assert_eq!(derived, EventId::derive(event, delivery, 0, "dead"));
        assert_eq!(derived.accepted_at(), event.accepted_at());
        assert_eq!(derived.uuid().get_version_num(), 7);
        let others = [
            event,
            EventId::derive(event, delivery, 1, "dead"),
            EventId::derive(event, delivery, 0, "dlq"),
            EventId::derive(event, DeliveryId::derive(event, "b"), 0, "dead"),
        ];
        assert!(!others.contains(&derived));
    }

    #[test]
    fn deliveries_sort_by_the_time_of_their_event() {
        let earlier = DeliveryId::derive(event_at(1_795_000_000_123, 255), "z");
        let later = DeliveryId::derive(event_at(1_795_000_000_124, 0), "a");
        assert!(earlier < later);
        assert_eq!(earlier.accepted_at().as_millisecond(), 1_795_000_000_123);
        assert!(first_id_at(later.accepted_at()) <= later.uuid());
        assert!(first_id_at(later.accepted_at()) > earlier.uuid());
    }
}
