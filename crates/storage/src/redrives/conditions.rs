//! What an order is about, as one column keeps it.

use domain::delivery::Status;
use domain::event_type::EventType;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::columns::{from_micros, micros, parse};
use crate::log_store::{DeliveryFilter, EventReference};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Reference>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_us: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reference {
    Internal(String),
    Delivery(String),
    Client(String),
}

pub(crate) fn to_text(filter: &DeliveryFilter) -> Result<String, Error> {
    let event = filter.event.as_ref().map(|event| match event {
        EventReference::Internal(id) => Reference::Internal(id.to_string()),
        EventReference::Delivery(id) => Reference::Delivery(id.to_string()),
        EventReference::Client(id) => Reference::Client(id.clone()),
    });
    let conditions = Conditions {
        event,
        event_type: filter.event_type.as_ref().map(ToString::to_string),
        function: filter.function.as_ref().map(ToString::to_string),
        trigger: filter.trigger.as_ref().map(ToString::to_string),
        statuses: filter
            .statuses
            .iter()
            .map(|status| status.as_str().to_owned())
            .collect(),
        since_us: filter.since.map(micros),
        until_us: filter.until.map(micros),
    };
    serde_json::to_string(&conditions).map_err(|error| Error::corrupt("redrive", error))
}

pub(crate) fn from_text(text: &str) -> Result<DeliveryFilter, Error> {
    const WHAT: &str = "redrive";
    let conditions: Conditions =
        serde_json::from_str(text).map_err(|error| Error::corrupt(WHAT, error))?;
    let event = match conditions.event {
        None => None,
        Some(Reference::Internal(id)) => Some(EventReference::Internal(parse(WHAT, &id)?)),
        Some(Reference::Delivery(id)) => Some(EventReference::Delivery(parse(WHAT, &id)?)),
        Some(Reference::Client(id)) => Some(EventReference::Client(id)),
    };
    let event_type: Option<EventType> = conditions
        .event_type
        .map(|text| parse(WHAT, &text))
        .transpose()?;
    let status = |text: &String| {
        Status::parse(text).ok_or_else(|| Error::corrupt(WHAT, format_args!("status {text:?}")))
    };
    Ok(DeliveryFilter {
        event,
        event_type,
        function: conditions
            .function
            .map(|text| parse(WHAT, &text))
            .transpose()?,
        trigger: conditions
            .trigger
            .map(|text| parse(WHAT, &text))
            .transpose()?,
        statuses: conditions
            .statuses
            .iter()
            .map(status)
            .collect::<Result<_, _>>()?,
        since: conditions.since_us.map(from_micros).transpose()?,
        until: conditions.until_us.map(from_micros).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use domain::id::{DeliveryId, EventId};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn conditions_read_back() {
        let eid = EventId::new(Timestamp::UNIX_EPOCH, [3; 10]);
        for event in [
            None,
            Some(EventReference::Internal(eid)),
            Some(EventReference::Delivery(DeliveryId::derive(eid, "welcome"))),
            Some(EventReference::Client("order-17".to_owned())),
        ] {
            let filter = DeliveryFilter {
                event,
                event_type: Some("dlq_welcome".parse().unwrap()),
                function: Some("shop/welcome".parse().unwrap()),
                trigger: Some("welcome".parse().unwrap()),
                statuses: vec![Status::Failed, Status::Cancel],
                since: Some(Timestamp::UNIX_EPOCH),
                until: None,
            };
            assert_eq!(from_text(&to_text(&filter).unwrap()).unwrap(), filter);
        }
        let all = DeliveryFilter::default();
        assert_eq!(to_text(&all).unwrap(), "{}");
        assert_eq!(from_text("{}").unwrap(), all);
    }
}
