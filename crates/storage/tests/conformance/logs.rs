//! What happened: how records become the story of an event.

use std::time::Duration;

use domain::delivery::{ErrorClass, Status, Target};
use domain::event::{Actor, Event};
use domain::record::{Attempted, Matched, Record};
use storage::log_store::{DeliveryFilter, EventReference};

use crate::Stores;
use crate::records::{
    acme, at, attempted, event, list, matched, record, settled, state_of_only, target,
};

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

pub(crate) async fn an_event_tells_its_whole_story(stores: &Stores) {
    let given = Event {
        id: "client-1".to_owned(),
        actor: Some(Actor {
            id: "user-1".to_owned(),
            kind: "user".to_owned(),
        }),
        partition_key: Some("key".to_owned()),
        correlation_id: Some("cor".to_owned()),
        causation_id: Some("cau".to_owned()),
        depth: 2,
        ancestry: vec!["first".to_owned(), "shop/second".to_owned()],
        reply_to: None,
        deliver_at: Some(at(60_000)),
        traceparent: Some("00-event".to_owned()),
        extensions: [("tenant".to_owned(), "a\"b".to_owned())].into(),
        time: at(-5_000),
        ..event(1, at(0))
    };
    let first = attempted(&given, "one", 1, Status::Staged);
    let second = attempted(&given, "one", 2, Status::Processed);
    let records = [
        matched(&given, &["one", "two"]),
        record(first.clone()),
        record(second.clone()),
    ];
    stores.logs.record(&records).await.unwrap();
    let reference = EventReference::Client("client-1".to_owned());
    let history = stores
        .logs
        .event(&acme(), &reference)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(history.event, given);
    let [(one, attempts), (two, none)] = &*history.deliveries else {
        panic!("{history:?}")
    };
    assert_eq!(attempts, &[first, second.clone()]);
    assert_eq!(
        (one.status, one.attempts, one.response_status),
        (Status::Processed, 2, Some(200))
    );
    assert_eq!(
        (one.duration, one.last_attempt_at),
        (Some(second.duration), Some(second.started_at))
    );
    assert_eq!((one.error_class, one.next_attempt_at), (None, None));
    assert_eq!(
        (two.status, two.attempts, two.last_attempt_at),
        (Status::Staged, 0, None)
    );
    assert_eq!(none, &[]);
    stores.logs.ping().await.unwrap();
}

pub(crate) async fn records_say_the_same_in_any_order_and_number(stores: &Stores) {
    let event = event(1, at(0));
    let attempt = |number, status| record(attempted(&event, "one", number, status));
    let records = [
        attempt(2, Status::Processed),
        matched(&event, &["one"]),
        attempt(1, Status::Staged),
        attempt(2, Status::Processed),
    ];
    for record in &records {
        stores
            .logs
            .record(std::slice::from_ref(record))
            .await
            .unwrap();
    }
    stores.logs.record(&records).await.unwrap();
    let state = state_of_only(stores).await;
    assert_eq!((state.status, state.attempts), (Status::Processed, 2));
    let reference = EventReference::Internal(event.eid);
    let history = stores
        .logs
        .event(&acme(), &reference)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(history.deliveries[0].1.len(), 2);
}

/// Such an attempt lives in its delivery's row, others in rows of their own.
pub(crate) async fn a_success_at_once_is_told_once_however_it_is_reported(stores: &Stores) {
    let first = |event: &Event| attempted(event, "one", 1, Status::Processed);
    let second = |event: &Event| attempted(event, "one", 2, Status::Staged);
    let redriven = |event: &Event| Attempted {
        generation: 1,
        ..attempted(event, "one", 1, Status::Failed)
    };
    let all: Vec<Event> = (1..=5).map(|number| event(number, at(0))).collect();
    let [alone, twice, late, behind, again] = &*all else {
        unreachable!()
    };
    for records in [
        vec![record(first(alone)), matched(alone, &["one"])],
        vec![matched(twice, &["one"]), record(first(twice))],
        vec![record(first(twice))],
        // Another worker tried as well, and its report is here first.
        vec![record(second(behind))],
        vec![record(first(behind)), record(first(late))],
        vec![matched(late, &["one"]), matched(behind, &["one"])],
        vec![record(first(again)), matched(again, &["one"])],
        vec![record(redriven(again)), record(first(again))],
    ] {
        stores.logs.record(&records).await.unwrap();
    }
    for (event, expected) in [
        (alone, vec![first(alone)]),
        (twice, vec![first(twice)]),
        (late, vec![first(late)]),
        (behind, vec![first(behind), second(behind)]),
        (again, vec![first(again), redriven(again)]),
    ] {
        let reference = EventReference::Internal(event.eid);
        let history = stores.logs.event(&acme(), &reference).await.unwrap();
        let deliveries = history.unwrap().deliveries;
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].1, expected);
    }
}

pub(crate) async fn a_state_never_goes_back(stores: &Stores) {
    let event = event(1, at(0));
    let store = async |records: &[Record]| {
        stores.logs.record(records).await.unwrap();
        let state = state_of_only(stores).await;
        (state.status, state.attempts)
    };
    let attempt = |number, status| record(attempted(&event, "one", number, status));
    assert_eq!(
        store(&[matched(&event, &["one"])]).await,
        (Status::Staged, 0)
    );
    assert_eq!(
        store(&[attempt(3, Status::Staged)]).await,
        (Status::Staged, 3)
    );
    assert_eq!(
        store(&[attempt(2, Status::Staged)]).await,
        (Status::Staged, 3)
    );
    assert_eq!(
        store(&[matched(&event, &["one"])]).await,
        (Status::Staged, 3)
    );
    assert_eq!(
        store(&[attempt(3, Status::Processed)]).await,
        (Status::Processed, 3)
    );
    assert_eq!(
        store(&[attempt(3, Status::Staged)]).await,
        (Status::Processed, 3)
    );
}

pub(crate) async fn an_ending_without_an_attempt_keeps_the_last_one(stores: &Stores) {
    let (one, two) = (event(1, at(0)), event(2, at(1)));
    let attempt = |event: &Event| record(attempted(event, "one", 2, Status::Staged));
    // In one batch, and in two.
    let batch = [matched(&one, &["one"]), settled(&one, "one"), attempt(&one)];
    stores.logs.record(&batch).await.unwrap();
    stores
        .logs
        .record(&[matched(&two, &["one"]), attempt(&two)])
        .await
        .unwrap();
    stores.logs.record(&[settled(&two, "one")]).await.unwrap();
    for line in list(stores, &DeliveryFilter::default()).await {
        let state = line.delivery.unwrap();
        assert_eq!((state.status, state.attempts), (Status::Cancel, 2));
        assert_eq!(state.remark.as_deref(), Some("superseded"));
        assert_eq!(state.error_class, Some(ErrorClass::Connect));
        assert_eq!(state.next_attempt_at, None);
    }
}

pub(crate) async fn a_redrive_begins_again(stores: &Stores) {
    let event = event(1, at(0));
    let failed = attempted(&event, "one", 4, Status::Failed);
    stores
        .logs
        .record(&[matched(&event, &["one"]), record(failed)])
        .await
        .unwrap();
    let again = Target {
        generation: 1,
        ..target(&event, "one")
    };
    let redriven = Record::Matched(Matched {
        event: event.clone(),
        targets: vec![again],
    });
    stores.logs.record(&[redriven]).await.unwrap();
    let state = state_of_only(stores).await;
    assert_eq!(
        (state.status, state.generation, state.attempts),
        (Status::Staged, 1, 0)
    );
    assert_eq!(state.last_attempt_at, None);
    let done = Attempted {
        generation: 1,
        ..attempted(&event, "one", 1, Status::Processed)
    };
    stores.logs.record(&[record(done)]).await.unwrap();
    let state = state_of_only(stores).await;
    assert_eq!(
        (state.status, state.generation, state.attempts),
        (Status::Processed, 1, 1)
    );
    let reference = EventReference::Delivery(state.id);
    let history = stores
        .logs
        .event(&acme(), &reference)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        history.deliveries[0].1.len(),
        2,
        "attempts of both generations are kept"
    );
}

pub(crate) async fn a_zero_byte_does_not_hold_up_a_batch(stores: &Stores) {
    let odd = Event {
        id: "a\0b".to_owned(),
        ..event(1, at(0))
    };
    let attempt = Attempted {
        error: Some("broke \0 off".to_owned()),
        response_headers: [("x", "\0")].into_iter().collect(),
        ..attempted(&odd, "one", 1, Status::Staged)
    };
    let batch = [
        matched(&odd, &["one"]),
        record(attempt),
        matched(&event(2, at(1)), &[]),
    ];
    stores.logs.record(&batch).await.unwrap();
    assert_eq!(list(stores, &DeliveryFilter::default()).await.len(), 2);
}

pub(crate) async fn x_12_days_past_their_time_are_dropped(stores: &Stores) {
    let logs = &stores.logs;
    let now = at(0);
    let old = event(1, now - HOUR * 72);
    let records = [
        matched(&old, &["one"]),
        record(attempted(&old, "one", 1, Status::Failed)),
        matched(&event(2, now), &["one"]),
    ];
    logs.record(&records).await.unwrap();
    assert_eq!(
        logs.keep_partitions(now, WEEK).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        logs.keep_partitions(now, WEEK).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(list(stores, &DeliveryFilter::default()).await.len(), 2);
    let mut dropped = logs.keep_partitions(now, HOUR * 36).await.unwrap();
    dropped.sort();
    let day = old.accepted_at.strftime("%Y%m%d");
    assert_eq!(
        dropped,
        ["attempts", "deliveries", "events"].map(|table| format!("{table}_{day}"))
    );
    assert_eq!(list(stores, &DeliveryFilter::default()).await.len(), 1);
    assert_eq!(stores.raw.count_of_logs("attempts").await, 0);
}

pub(crate) async fn s2_16_s2_17_s2_18_views_have_the_columns_of_space_cloud(stores: &Stores) {
    let event = event(1, at(0));
    let records = [
        matched(&event, &["one", "two"]),
        record(attempted(&event, "one", 1, Status::Staged)),
        record(attempted(&event, "one", 2, Status::Processed)),
    ];
    stores.logs.record(&records).await.unwrap();
    let count = async |table: &str| stores.raw.count_of_logs(table).await;
    let where_known = "event_logs WHERE _id IS NOT NULL AND batchid IS NOT NULL \
        AND type = 'order.created' AND rule_name IN ('one', 'two') AND token BETWEEN 0 AND 99 \
        AND ts IS NOT NULL AND event_ts IS NOT NULL AND payload = '{\"total\":3}' \
        AND status IN ('processed', 'staged') AND remark IS NULL AND trigger_type <> ''";
    assert_eq!(count(where_known).await, 2);
    let where_known = "invocation_logs WHERE _id IS NOT NULL AND invocation_time IS NOT NULL \
        AND request_payload = '{\"total\":3}' AND response_body IS NOT NULL AND remark IS NULL";
    assert_eq!(count(where_known).await, 2);
    let failed = format!("{where_known} AND response_status_code = 0 AND error_msg = 'refused'");
    assert_eq!(count(&failed).await, 1);
    let at_once = record(attempted(&event, "two", 1, Status::Processed));
    stores
        .logs
        .record(std::slice::from_ref(&at_once))
        .await
        .unwrap();
    stores.logs.record(&[at_once]).await.unwrap();
    assert_eq!(count(where_known).await, 3);
    let succeeded = format!("{where_known} AND response_status_code = 200 AND attempt = 1");
    assert_eq!(count(&succeeded).await, 1);
}

pub(crate) async fn a_large_batch_is_stored_whole(stores: &Stores) {
    let mut records = Vec::new();
    for number in 0..500_i64 {
        let event = event(u8::try_from(number % 250).unwrap(), at(number));
        records.push(matched(&event, &["one"]));
        records.push(record(attempted(&event, "one", 1, Status::Processed)));
    }
    stores.logs.record(&records).await.unwrap();
    for table in ["events", "deliveries", "invocation_logs"] {
        assert_eq!(stores.raw.count_of_logs(table).await, 500, "{table}");
    }
    let processed = vec![Status::Processed];
    let filter = DeliveryFilter {
        statuses: processed,
        ..DeliveryFilter::default()
    };
    assert_eq!(list(stores, &filter).await.len(), 500);
    assert_eq!(list(stores, &DeliveryFilter::default()).await.len(), 500);
}

pub(crate) async fn a_record_too_old_to_be_kept_holds_nothing_up(stores: &Stores) {
    stores.logs.keep_partitions(at(0), WEEK).await.unwrap();
    let old = event(1, at(0) - WEEK * 3);
    let far = event(2, at(0) + WEEK);
    let batch = [
        matched(&old, &["one"]),
        matched(&event(3, at(1)), &[]),
        matched(&far, &[]),
    ];
    stores.logs.record(&batch).await.unwrap();
    let lines = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].eid, event(3, at(1)).eid);
}
