//! Dead letters: what is emitted when a delivery has failed for good, and never about itself.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::{ErrorClass, Status};
use crate::event::Event;
use crate::event_type::EventType;
use crate::id::{DeliveryId, EventId};
use crate::lineage::Lineage;
use crate::name::{FunctionName, TriggerName};
use crate::record::Record;

/// The events that tell of a delivery whose fate this record is: `system.delivery.dead` and Space
/// Cloud's `dlq_<trigger>` when it has failed for good, else none. A delivery that was to tell of
/// another's failure makes none.
///
/// Their ids are derived, so that the same failure, told again, leads to the same deliveries.
pub fn events_about(event: &Event, record: &Record) -> Vec<Event> {
    if event.event_type.is_dead_letter() {
        return Vec::new();
    }
    let Some(failure) = Failure::of(record) else {
        return Vec::new();
    };
    // All of it is text, numbers and JSON that was read before.
    let data = serde_json::to_vec(&failure.told(event)).unwrap_or_default();
    let data = Bytes::from(data);
    let types = [
        ("dead", EventType::delivery_dead()),
        ("dlq", EventType::dead_letter_of(failure.trigger)),
    ];
    let about = types.map(|(kind, event_type)| failure.event(event, kind, event_type, &data));
    about.into()
}

/// A delivery's end without success.
#[derive(Clone, Copy)]
struct Failure<'a> {
    delivery: DeliveryId,
    generation: u32,
    trigger: &'a TriggerName,
    function: &'a FunctionName,
    attempts: u32,
    response_status: Option<u16>,
    error_class: Option<ErrorClass>,
    error: Option<&'a str>,
    remark: Option<&'a str>,
    at: Timestamp,
}

/// The data of the events. The first five are Space Cloud's.
#[derive(Serialize)]
struct Told<'a> {
    event_id: &'a str,
    event_type: &'a str,
    event_payload: Payload<'a>,
    event_timestamp: String,
    event_name: &'a str,
    eid: String,
    delivery_id: String,
    generation: u32,
    function: String,
    trigger: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
}

/// The data of the event that could not be delivered, as far as JSON can hold it.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Absent(()),
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

impl<'a> Payload<'a> {
    fn of(event: &'a Event) -> Self {
        use base64::Engine as _;

        if event.data.is_empty() {
            return Self::Absent(());
        }
        if event.has_json_data()
            && let Ok(json) = serde_json::from_slice(&event.data)
        {
            return Self::Json(json);
        }
        match std::str::from_utf8(&event.data) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(&event.data)),
        }
    }
}

impl<'a> Failure<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        match record {
            Record::Attempted(attempted) if attempted.status == Status::Failed => Some(Self {
                delivery: attempted.delivery,
                generation: attempted.generation,
                trigger: &attempted.trigger,
                function: &attempted.function,
                attempts: attempted.number,
                response_status: attempted.response_status,
                error_class: attempted.error_class,
                error: attempted.error.as_deref(),
                remark: attempted.remark.as_deref(),
                at: attempted
                    .started_at
                    .saturating_add(attempted.duration)
                    .unwrap_or(attempted.started_at),
            }),
            Record::Settled(settled) if settled.status == Status::Failed => Some(Self {
                delivery: settled.delivery,
                generation: settled.generation,
                trigger: &settled.trigger,
                function: &settled.function,
                attempts: 0,
                response_status: None,
                error_class: None,
                error: None,
                remark: Some(&settled.remark),
                at: settled.at,
            }),
            Record::Matched(_) | Record::Attempted(_) | Record::Settled(_) => None,
        }
    }

    fn told(self, event: &'a Event) -> Told<'a> {
        Told {
            event_id: &event.id,
            event_type: event.event_type.as_str(),
            event_payload: Payload::of(event),
            event_timestamp: event.time.to_string(),
            event_name: self.trigger.as_str(),
            eid: event.eid.to_string(),
            delivery_id: self.delivery.to_string(),
            generation: self.generation,
            function: self.function.to_string(),
            trigger: self.trigger.as_str(),
            attempts: self.attempts,
            last_status: self.response_status,
            last_error_class: self.error_class.map(ErrorClass::as_str),
            last_error: self.error,
            remark: self.remark,
        }
    }

    fn event(self, event: &Event, kind: &str, event_type: EventType, data: &Bytes) -> Event {
        let eid = EventId::derive(event.eid, self.delivery, self.generation, kind);
        let FunctionName { package, name } = self.function;
        let mut about = Event {
            eid,
            project: event.project.clone(),
            id: eid.to_string(),
            source: format!("/projects/{}/deliveries", event.project),
            event_type,
            subject: Some(format!(
                "functions/{package}/{name}/deliveries/{}",
                self.delivery
            )),
            time: self.at,
            accepted_at: self.at,
            data_content_type: Some("application/json".to_owned()),
            data: data.clone(),
            actor: None,
            partition_key: None,
            correlation_id: event.correlation_id.clone(),
            causation_id: Some(event.eid.to_string()),
            depth: event.depth,
            ancestry: Vec::new(),
            reply_to: None,
            deliver_at: None,
            traceparent: event.traceparent.clone(),
            extensions: std::collections::BTreeMap::new(),
        };
        Lineage::of_call(event, self.function).give_to(&mut about);
        about
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;
    use crate::record::Settled;

    fn failed(event: &Event, generation: u32) -> Record {
        Record::Settled(Settled {
            project: event.project.clone(),
            event: event.eid,
            delivery: DeliveryId::derive(event.eid, "welcome"),
            trigger: "welcome".parse().unwrap(),
            function: "shop/welcome".parse().unwrap(),
            generation,
            status: Status::Failed,
            remark: "attempts used up".to_owned(),
            at: Timestamp::from_second(1_800_000_000).unwrap(),
        })
    }

    #[test]
    fn a_failure_is_told_under_both_names_with_what_failed() {
        let event = Event {
            correlation_id: Some("order-17".to_owned()),
            depth: 3,
            ..sample::event(1)
        };
        let about = events_about(&event, &failed(&event, 0));
        let types: Vec<_> = about
            .iter()
            .map(|event| event.event_type.as_str())
            .collect();
        assert_eq!(types, ["system.delivery.dead", "dlq_welcome"]);
        for told in &about {
            assert_eq!(told.causation_id, Some(event.eid.to_string()));
            assert_eq!(told.correlation_id, event.correlation_id);
            assert_eq!((told.depth, told.ancestry.len()), (4, 1));
            assert_eq!(told.eid.accepted_at(), event.eid.accepted_at());
            let data: serde_json::Value = serde_json::from_slice(&told.data).unwrap();
            assert_eq!(data["event_id"], event.id);
            assert_eq!(data["event_type"], event.event_type.as_str());
            assert_eq!(data["event_payload"], serde_json::json!({"n": 1}));
            assert_eq!(data["event_name"], "welcome");
            assert_eq!(data["function"], "shop/welcome");
            assert_eq!(data["remark"], "attempts used up");
            let subject = told.subject.as_deref().unwrap();
            assert!(subject.starts_with("functions/shop/welcome/deliveries/dlv_"));
        }
    }

    #[test]
    fn the_same_failure_has_the_same_ids_and_another_generation_others() {
        let event = sample::event(1);
        let ids = |generation| -> Vec<EventId> {
            let about = events_about(&event, &failed(&event, generation));
            about.iter().map(|event| event.eid).collect()
        };
        assert_eq!(ids(0), ids(0));
        assert_ne!(ids(0)[0], ids(0)[1]);
        assert!(ids(1).iter().all(|id| !ids(0).contains(id)));
    }

    #[test]
    fn s2_43_a_failing_delivery_about_a_failure_makes_no_further_one() {
        let event = sample::event(1);
        for about in events_about(&event, &failed(&event, 0)) {
            assert_eq!(events_about(&about, &failed(&about, 0)), []);
        }
    }

    #[test]
    fn only_a_failure_for_good_is_told() {
        let event = sample::event(1);
        for status in [Status::Staged, Status::Processed, Status::Cancel] {
            let Record::Settled(settled) = failed(&event, 0) else {
                return;
            };
            let record = Record::Settled(Settled { status, ..settled });
            assert_eq!(events_about(&event, &record), []);
        }
    }

    #[test]
    fn what_is_no_json_is_told_as_text_or_in_base_64() {
        for (content_type, data, expected) in [
            ("text/plain", &b"hello"[..], "\"hello\""),
            ("application/octet-stream", b"\xff\xfe", "\"//4=\""),
            ("application/json", b"{", "\"{\""),
            ("application/json", b"", "null"),
        ] {
            let event = Event {
                data_content_type: Some(content_type.to_owned()),
                data: Bytes::copy_from_slice(data),
                ..sample::event(1)
            };
            let payload = serde_json::to_string(&Payload::of(&event)).unwrap();
            assert_eq!(payload, expected, "{content_type}");
        }
    }
}
