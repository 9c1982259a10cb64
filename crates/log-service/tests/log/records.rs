//! Facts come in any order, more than once, and sometimes broken.

use domain::record::Record;
use serde_json::json;

use crate::harness::{Database, System, attempted, event, matched, start, unreadable};

async fn the_last_attempt_counts_whatever_order_records_come_in(system: &System) {
    let event = event(1, "order.placed");
    system
        .publish(&[attempted(&event, "welcome", 2, 200)])
        .await;
    system
        .publish(&[attempted(&event, "welcome", 1, 500)])
        .await;
    system.publish(&[matched(&event, &["welcome"])]).await;
    system
        .publish(&[
            matched(&event, &["welcome"]),
            attempted(&event, "welcome", 1, 500),
        ])
        .await;
    let lines = system.lines("status=processed", 1).await;
    assert_eq!(lines[0]["event_id"], "event-1");
    assert_eq!(lines[0]["response_status"], 200);
    assert_eq!(lines[0]["attempts"], 2);
    assert_eq!(lines[0]["duration_us"], 1500);
    let (_, story) = system.get("/v1/projects/default/events/event-1").await;
    assert_eq!(story["event"]["data"], json!({"n": 1.0}));
    let attempts = story["deliveries"][0]["attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt["number"].clone())
        .collect();
    assert_eq!(numbers, [1, 2], "each attempt once, in order");
}

#[tokio::test]
async fn the_last_attempt_counts_on_sqlite() {
    let system = start(Database::Sqlite).await;
    the_last_attempt_counts_whatever_order_records_come_in(&system).await;
}

#[tokio::test]
async fn the_last_attempt_counts_on_postgres() {
    let system = start(Database::Postgres).await;
    the_last_attempt_counts_whatever_order_records_come_in(&system).await;
}

/// Of a hundred events at once only one delivery is tried.
async fn what_is_owed_under_load_is_listed_by_status_when_it_stays_untried(system: &System) {
    const EVENTS: u8 = 100;
    let events: Vec<_> = (0..EVENTS)
        .map(|number| event(number, "order.placed"))
        .collect();
    let mut records: Vec<_> = events
        .iter()
        .map(|event| matched(event, &["welcome"]))
        .collect();
    records.push(attempted(&events[7], "welcome", 1, 200));
    system.publish(&records).await;
    system.lines("page_size=1000", EVENTS.into()).await;
    let (_, story) = system.get("/v1/projects/default/events/event-8").await;
    assert_eq!(story["deliveries"][0]["line"]["status"], "staged");
    let staged = system
        .lines("status=staged&page_size=1000", usize::from(EVENTS) - 1)
        .await;
    assert!(staged.iter().all(|line| line["function"] == "welcome"));
    assert_eq!(
        system.lines("status=processed", 1).await[0]["event_id"],
        "event-7"
    );
}

#[tokio::test]
async fn what_is_owed_under_load_is_listed_on_sqlite() {
    let system = start(Database::Sqlite).await;
    what_is_owed_under_load_is_listed_by_status_when_it_stays_untried(&system).await;
}

#[tokio::test]
async fn what_is_owed_under_load_is_listed_on_postgres() {
    let system = start(Database::Postgres).await;
    what_is_owed_under_load_is_listed_by_status_when_it_stays_untried(&system).await;
}

#[tokio::test]
async fn an_event_that_matched_nothing_is_a_line_without_a_delivery() {
    let system = start(Database::Sqlite).await;
    system
        .publish(&[matched(&event(1, "order.placed"), &[])])
        .await;
    let lines = system.lines("", 1).await;
    assert_eq!(lines[0]["type"], "order.placed");
    assert!(lines[0]["delivery_id"].is_null() && lines[0]["status"].is_null());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_set_aside_and_holds_up_nothing() {
    let system = start(Database::Sqlite).await;
    system.publish_message(unreadable()).await;
    system
        .publish(&[matched(&event(1, "order.placed"), &["welcome"])])
        .await;
    system.lines("", 1).await;
    let reasons = system.reasons_set_aside(1).await;
    assert!(reasons[0].contains("RecordBatch"), "{reasons:?}");
}

#[tokio::test]
async fn a_thousand_records_are_all_there() {
    let system = start(Database::Sqlite).await;
    let triggers: Vec<String> = (0..50).map(|number| format!("trigger-{number}")).collect();
    let triggers: Vec<&str> = triggers.iter().map(String::as_str).collect();
    let events: Vec<_> = (0..20)
        .map(|number| event(number, "order.placed"))
        .collect();
    for event in &events {
        let attempts = triggers
            .iter()
            .map(|trigger| attempted(event, trigger, 1, 204));
        let records: Vec<Record> = [matched(event, &triggers)]
            .into_iter()
            .chain(attempts)
            .collect();
        system.publish(&records).await;
    }
    system.lines("page_size=1000&status=processed", 1_000).await;
}
