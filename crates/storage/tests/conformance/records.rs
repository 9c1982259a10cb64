//! Records about made-up events, and how what was stored of them is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::delivery::{ErrorClass, Status, Target};
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use domain::pattern::Captures;
use domain::record::{Attempted, Matched, Record, Settled};
use jiff::Timestamp;
use storage::log_store::{DeliveryFilter, DeliveryLine, DeliveryState};

use crate::Stores;

/// Noon of today: days are made around the true time.
pub(crate) fn at(milliseconds: i64) -> Timestamp {
    let today = Timestamp::now().as_second().div_euclid(86_400) * 86_400;
    Timestamp::from_millisecond((today + 43_200) * 1000 + milliseconds).unwrap()
}

pub(crate) fn acme() -> ProjectName {
    "acme".parse().unwrap()
}

pub(crate) fn event(number: u8, accepted_at: Timestamp) -> Event {
    let eid = EventId::new(accepted_at, [number; 10]);
    Event {
        eid,
        project: acme(),
        id: eid.to_string(),
        source: "/projects/acme".to_owned(),
        event_type: EventType::parse("order.created").unwrap(),
        subject: Some(format!("orders/{number}")),
        time: accepted_at,
        accepted_at,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::from_static(b"{\"total\":3}"),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: BTreeMap::new(),
    }
}

pub(crate) fn target(event: &Event, trigger: &str) -> Target {
    Target {
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: 1,
        is_held: false,
    }
}

pub(crate) fn matched(event: &Event, triggers: &[&str]) -> Record {
    let targets = triggers
        .iter()
        .map(|trigger| target(event, trigger))
        .collect();
    Record::Matched(Matched {
        event: event.clone(),
        targets,
    })
}

/// The last attempt in `Processed` and `Failed` has an answer; another is refused and tried again.
pub(crate) fn attempted(event: &Event, trigger: &str, number: u32, status: Status) -> Attempted {
    let is_answered = status.is_final();
    let started_at = event.accepted_at + Duration::from_secs(u64::from(number));
    Attempted {
        project: event.project.clone(),
        event: event.eid,
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        number,
        generation: 0,
        started_at,
        duration: Duration::from_micros(12_345),
        url: "https://example.com/hook".to_owned(),
        response_status: is_answered.then_some(200),
        error_class: (!is_answered).then_some(ErrorClass::Connect),
        error: (!is_answered).then(|| "refused".to_owned()),
        request_headers: [("webhook-id", "1")].into_iter().collect(),
        request_bytes: 123,
        response_headers: [("a", "b"), ("a", "c")].into_iter().collect(),
        response_body: Bytes::from_static(&[b'o', b'k', 0, 255]),
        is_response_truncated: number > 1,
        worker: "worker-1".to_owned(),
        traceparent: Some("00-trace".to_owned()),
        status,
        remark: None,
        next_attempt_at: (!is_answered).then(|| started_at + Duration::from_secs(5)),
    }
}

pub(crate) fn settled(event: &Event, trigger: &str) -> Record {
    Record::Settled(Settled {
        project: event.project.clone(),
        event: event.eid,
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        generation: 0,
        status: Status::Cancel,
        remark: "superseded".to_owned(),
        at: at(0),
    })
}

pub(crate) fn record(attempted: Attempted) -> Record {
    Record::Attempted(Box::new(attempted))
}

pub(crate) async fn list(stores: &Stores, filter: &DeliveryFilter) -> Vec<DeliveryLine> {
    stores
        .logs
        .deliveries(&acme(), filter, None, 1000)
        .await
        .unwrap()
}

pub(crate) async fn state_of_only(stores: &Stores) -> DeliveryState {
    let mut lines = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0).delivery.unwrap()
}
