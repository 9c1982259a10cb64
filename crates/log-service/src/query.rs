//! What may be asked of the log: conditions, pages, and one event by any of its names.

mod of_session;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::delivery::Status;
use domain::event::ATTRIBUTE_BYTES_MAX;
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use protocol::fault::Fault;
use storage::LogStore;
use storage::log_store::{Cursor, DeliveryFilter, DeliveryLine, EventHistory, EventReference};
use uuid::Uuid;

use crate::error;

pub(crate) const PAGE_SIZE_DEFAULT: u32 = 100;
pub(crate) const PAGE_SIZE_MAX: u32 = 1_000;

/// Conditions as they were written; an empty one always holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) function: String,
    pub(crate) trigger: String,
    pub(crate) statuses: Vec<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl Conditions {
    /// # Errors
    /// Names the condition that cannot be understood.
    pub(crate) fn read(self) -> Result<DeliveryFilter, Fault> {
        let event = match self.event.as_str() {
            "" => None,
            text => Some(reference("event", text)?),
        };
        Ok(DeliveryFilter {
            event,
            event_type: event_type(&self.event_type)?,
            function: name("function", &self.function)?,
            trigger: name("trigger", &self.trigger)?,
            statuses: self
                .statuses
                .iter()
                .map(|text| status(text))
                .collect::<Result<_, _>>()?,
            since: self.since,
            until: self.until,
        })
    }
}

/// An event by what people have in hand of it.
pub(crate) fn reference(field: &str, text: &str) -> Result<EventReference, Fault> {
    if text.is_empty() || text.len() > ATTRIBUTE_BYTES_MAX {
        let allowed = "evt_…, dlv_… or the event's own id";
        return Err(Fault::invalid(field, text, "is no id", allowed));
    }
    // A plain UUID is more likely to be a client's id than one of ours.
    if text.starts_with(EventId::PREFIX)
        && let Ok(id) = text.parse()
    {
        return Ok(EventReference::Internal(id));
    }
    if text.starts_with(DeliveryId::PREFIX)
        && let Ok(id) = text.parse()
    {
        return Ok(EventReference::Delivery(id));
    }
    Ok(EventReference::Client(text.to_owned()))
}

fn event_type(text: &str) -> Result<Option<EventType>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = text.parse()
        && let Some(known) = EventType::from_number(number)
    {
        return Ok(Some(known));
    }
    EventType::parse(text).map(Some).map_err(|error| {
        let allowed = "a type's name, an alias of it, or its number";
        Fault::invalid(
            "type",
            text,
            format!("is not an event type: {}", error.fault),
            allowed,
        )
    })
}

fn name<T: std::str::FromStr>(field: &str, text: &str) -> Result<Option<T>, Fault>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    let allowed = "a name of 3 to 63 lower-case letters, digits and '-'";
    let parsed = text.parse().map(Some);
    parsed.map_err(|error: T::Err| Fault::invalid(field, text, error.to_string(), allowed))
}

fn status(text: &str) -> Result<Status, Fault> {
    Status::parse(text).ok_or_else(|| {
        let allowed = Status::ALL.map(Status::as_str).join(", ");
        Fault::invalid("status", text, "is not a status", allowed)
    })
}

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) lines: Vec<DeliveryLine>,
    /// Where the next page begins; empty at the end.
    pub(crate) next: String,
}

/// Answers questions from the store.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) store: Arc<dyn LogStore>,
}

impl Reader {
    pub(crate) async fn list(
        &self,
        project: &ProjectName,
        filter: &DeliveryFilter,
        page_size: u32,
        page_token: &str,
    ) -> Result<Page, Fault> {
        let size = match page_size {
            0 => PAGE_SIZE_DEFAULT,
            1..=PAGE_SIZE_MAX => page_size,
            _ => {
                let (value, allowed) = (page_size.to_string(), format!("1 to {PAGE_SIZE_MAX}"));
                return Err(Fault::invalid("page_size", value, "is too large", allowed));
            }
        };
        let before = read_token(page_token)?;
        // One more than asked for tells whether there is another page.
        let found = self
            .store
            .deliveries(project, filter, before, size + 1)
            .await;
        let mut lines = found.map_err(|error| error::of_storage(&error))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let has_more = lines.len() > size;
        lines.truncate(size);
        let last = lines.last().filter(|_| has_more);
        let next = last
            .map(|line| write_token(cursor(line)))
            .unwrap_or_default();
        Ok(Page { lines, next })
    }

    pub(crate) async fn event(
        &self,
        project: &ProjectName,
        id: &str,
    ) -> Result<EventHistory, Fault> {
        let reference = reference("id", id)?;
        let found = self.store.event(project, &reference).await;
        let found = found.map_err(|error| error::of_storage(&error))?;
        found.ok_or_else(|| Fault::not_found("the event", id))
    }
}

/// Where a line stands in a listing.
pub(crate) fn cursor(line: &DeliveryLine) -> Cursor {
    Cursor {
        event: line.eid,
        delivery: line.delivery.as_ref().map(|delivery| delivery.id),
    }
}

fn write_token(cursor: Cursor) -> String {
    let mut bytes = cursor.event.uuid().into_bytes().to_vec();
    bytes.extend(
        cursor
            .delivery
            .iter()
            .flat_map(|delivery| delivery.uuid().into_bytes()),
    );
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_token(token: &str) -> Result<Option<Cursor>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    let cursor = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| {
        let (event, delivery) = bytes.split_at_checked(16)?;
        let delivery = match delivery {
            [] => None,
            bytes => Some(DeliveryId::from_uuid(Uuid::from_slice(bytes).ok()?)),
        };
        Some(Cursor {
            event: EventId::from_uuid(Uuid::from_slice(event).ok()?),
            delivery,
        })
    });
    let Some(cursor) = cursor else {
        let allowed = "next_page_token of the page before";
        return Err(Fault::invalid(
            "page_token",
            token,
            "is no page's token",
            allowed,
        ));
    };
    Ok(Some(cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let event = EventId::new(Timestamp::UNIX_EPOCH, [3; 10]);
        let delivery = DeliveryId::derive(event, "welcome");
        for delivery in [None, Some(delivery)] {
            let cursor = Cursor { event, delivery };
            assert_eq!(read_token(&write_token(cursor)).unwrap(), Some(cursor));
        }
        assert_eq!(read_token("").unwrap(), None);
        for bad in ["x", "!!!!", &URL_SAFE_NO_PAD.encode([0; 20])] {
            let fault = read_token(bad).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("page_token"), "{bad}");
        }
    }

    #[test]
    fn an_event_is_known_by_any_of_its_names() {
        let event = EventId::new(Timestamp::UNIX_EPOCH, [3; 10]);
        let check = |text: &str| reference("id", text).unwrap();
        assert_eq!(check(&event.to_string()), EventReference::Internal(event));
        let delivery = DeliveryId::derive(event, "welcome");
        assert_eq!(
            check(&delivery.to_string()),
            EventReference::Delivery(delivery)
        );
        for own in ["order-17", "evt_short", &event.uuid().to_string()] {
            assert_eq!(check(own), EventReference::Client(own.to_owned()));
        }
        reference("id", "").unwrap_err();
    }

    #[test]
    fn a_type_is_found_by_name_alias_and_number() {
        for text in ["auth.user.register", "AUTH_REGISTER", "2001"] {
            assert_eq!(
                event_type(text).unwrap().unwrap().as_str(),
                "auth.user.register"
            );
        }
        assert_eq!(event_type("").unwrap(), None);
        assert_eq!(event_type("7").unwrap_err().field.as_deref(), Some("type"));
    }

    #[test]
    fn a_condition_that_is_not_understood_names_what_is_allowed() {
        let conditions = Conditions {
            statuses: vec!["done".to_owned()],
            ..Conditions::default()
        };
        let fault = conditions.read().unwrap_err();
        assert_eq!(
            fault.allowed.as_deref(),
            Some("intent, staged, processed, failed, cancel")
        );
        let conditions = Conditions {
            function: "No".to_owned(),
            ..Conditions::default()
        };
        assert_eq!(
            conditions.read().unwrap_err().field.as_deref(),
            Some("function")
        );
    }
}
