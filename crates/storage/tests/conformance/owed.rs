//! What is owed where much is matched at once: told with its event, and given rows later.

use std::time::Duration;

use domain::delivery::Status;
use domain::event::Event;
use domain::id::DeliveryId;
use domain::record::Record;
use jiff::Timestamp;
use storage::log_store::{DeliveryFilter, EventReference};

use crate::Stores;
use crate::records::{acme, at, attempted, event, list, matched, record};

/// As many as are told with their events when they come at once.
const MANY: u8 = 60;

fn many() -> Vec<Event> {
    (1..=MANY).map(|number| event(number, at(0))).collect()
}

/// Two deliveries for each event.
fn all_matched(events: &[Event]) -> Vec<Record> {
    let records = events.iter().map(|event| matched(event, &["one", "two"]));
    records.collect()
}

/// Everything told so far.
async fn make_owed(stores: &Stores) -> usize {
    let after_all = Timestamp::now() + Duration::from_secs(1);
    let mut batches = 0;
    while stores.logs.make_owed(after_all).await.unwrap() {
        batches += 1;
    }
    batches
}

async fn rows(stores: &Stores) -> i64 {
    stores.raw.count_of_logs("deliveries").await
}

async fn staged(stores: &Stores) -> usize {
    let filter = DeliveryFilter {
        statuses: vec![Status::Staged],
        ..DeliveryFilter::default()
    };
    list(stores, &filter).await.len()
}

pub(crate) async fn what_is_owed_is_known_with_its_event_before_it_has_a_row(stores: &Stores) {
    let events = many();
    stores.logs.record(&all_matched(&events)).await.unwrap();
    assert_eq!((rows(stores).await, staged(stores).await), (0, 0));
    let lines = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(lines.len(), 2 * usize::from(MANY));
    assert!(lines.iter().all(|line| {
        let state = line.delivery.as_ref().unwrap();
        state.status == Status::Staged && state.function.to_string() == "shop/welcome"
    }));
    let delivery = DeliveryId::derive(events[7].eid, "two");
    for reference in [
        EventReference::Internal(events[7].eid),
        EventReference::Client(events[7].id.clone()),
        EventReference::Delivery(delivery),
    ] {
        let history = stores.logs.event(&acme(), &reference).await.unwrap();
        let history = history.unwrap();
        assert_eq!(history.event, events[7]);
        let known = history.deliveries.iter();
        let known: Vec<_> = known.map(|(state, _)| state.trigger.as_str()).collect();
        assert_eq!(known, ["one", "two"], "{reference:?}");
        assert_eq!(history.deliveries[1].0.id, delivery);
    }
    let unknown = EventReference::Delivery(DeliveryId::derive(events[7].eid, "three"));
    assert_eq!(stores.logs.event(&acme(), &unknown).await.unwrap(), None);
    // Asked for by its event, a delivery meets conditions as it does with a row.
    for (trigger, expected) in [("two", 1), ("three", 0)] {
        let filter = DeliveryFilter {
            event: Some(EventReference::Internal(events[7].eid)),
            trigger: Some(trigger.parse().unwrap()),
            statuses: vec![Status::Staged],
            ..DeliveryFilter::default()
        };
        assert_eq!(list(stores, &filter).await.len(), expected, "{trigger}");
    }
}

pub(crate) async fn only_what_nothing_else_is_known_of_is_given_a_row(stores: &Stores) {
    let events = many();
    // Of the first ten, one delivery is tried in the same batch and the other one later.
    let (early, late) = (&events[..10], &events[5..10]);
    let tried = |event: &Event, trigger| record(attempted(event, trigger, 1, Status::Processed));
    let mut records = all_matched(&events);
    records.extend(early.iter().map(|event| tried(event, "one")));
    stores.logs.record(&records).await.unwrap();
    assert_eq!(rows(stores).await, 10);
    let records: Vec<_> = late.iter().map(|event| tried(event, "two")).collect();
    stores.logs.record(&records).await.unwrap();
    assert_eq!((rows(stores).await, staged(stores).await), (15, 0));

    let not_yet = Timestamp::now() - Duration::from_mins(1);
    assert!(!stores.logs.make_owed(not_yet).await.unwrap());
    assert_eq!(make_owed(stores).await, 1);
    let all = 2 * i64::from(MANY);
    assert_eq!(rows(stores).await, all);
    assert_eq!(staged(stores).await, 2 * usize::from(MANY) - 15);
    let lines = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(lines.len(), 2 * usize::from(MANY));
    let states = lines.iter().filter_map(|line| line.delivery.as_ref());
    let processed = states.filter(|state| state.status == Status::Processed);
    assert_eq!(processed.count(), 15);

    // Told again, it changes nothing.
    stores.logs.record(&all_matched(&events)).await.unwrap();
    assert_eq!(make_owed(stores).await, 1);
    assert_eq!(rows(stores).await, all);
    assert_eq!(staged(stores).await, 2 * usize::from(MANY) - 15);
}

pub(crate) async fn what_is_for_later_says_when_with_and_without_a_row(stores: &Stores) {
    let due_at = at(3_600_000);
    let events: Vec<Event> = many()
        .into_iter()
        .map(|event| Event {
            deliver_at: Some(due_at),
            ..event
        })
        .collect();
    stores.logs.record(&all_matched(&events)).await.unwrap();
    for _ in 0..2 {
        let lines = list(stores, &DeliveryFilter::default()).await;
        assert_eq!(lines.len(), 2 * usize::from(MANY));
        assert!(lines.iter().all(|line| {
            let state = line.delivery.as_ref().unwrap();
            state.next_attempt_at == Some(due_at)
        }));
        make_owed(stores).await;
    }
    assert_eq!(staged(stores).await, 2 * usize::from(MANY));
}

pub(crate) async fn where_little_goes_on_or_one_event_owes_much_there_are_rows_at_once(
    stores: &Stores,
) {
    let few = event(1, at(0));
    stores
        .logs
        .record(&[matched(&few, &["one"])])
        .await
        .unwrap();
    assert_eq!(rows(stores).await, 1);
    let much = event(2, at(0));
    let triggers: Vec<String> = (0..101).map(|number| format!("trigger-{number}")).collect();
    let triggers: Vec<&str> = triggers.iter().map(String::as_str).collect();
    stores
        .logs
        .record(&[matched(&much, &triggers)])
        .await
        .unwrap();
    assert_eq!(rows(stores).await, 102);
    assert_eq!(make_owed(stores).await, 0);
}
