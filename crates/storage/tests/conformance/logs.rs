//! What happened.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::delivery::{ErrorClass, Status, Target};
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use domain::pattern::Captures;
use domain::record::{Attempted, Matched, Record, Settled};
use jiff::Timestamp;
use storage::log_store::{Cursor, DeliveryFilter, DeliveryLine, EventReference};

use crate::Stores;

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// Noon of today: days are made around the true time.
fn at(milliseconds: i64) -> Timestamp {
    let today = Timestamp::now().as_second().div_euclid(86_400) * 86_400;
    Timestamp::from_millisecond((today + 43_200) * 1000 + milliseconds).unwrap()
}

fn acme() -> ProjectName {
    "acme".parse().unwrap()
}

fn event(number: u8, accepted_at: Timestamp) -> Event {
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
        traceparent: None,
        extensions: BTreeMap::new(),
    }
}

fn target(event: &Event, trigger: &str) -> Target {
    Target {
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: 1,
    }
}

fn matched(event: &Event, triggers: &[&str]) -> Record {
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
fn attempted(event: &Event, trigger: &str, number: u32, status: Status) -> Attempted {
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
        request_headers: vec![("webhook-id".to_owned(), "1".to_owned())],
        request_bytes: 123,
        response_headers: vec![
            ("a".to_owned(), "b".to_owned()),
            ("a".to_owned(), "c".to_owned()),
        ],
        response_body: Bytes::from_static(&[b'o', b'k', 0, 255]),
        is_response_truncated: number > 1,
        worker: "worker-1".to_owned(),
        traceparent: Some("00-trace".to_owned()),
        status,
        remark: None,
        next_attempt_at: (!is_answered).then(|| started_at + Duration::from_secs(5)),
    }
}

fn settled(event: &Event, trigger: &str) -> Record {
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

fn record(attempted: Attempted) -> Record {
    Record::Attempted(Box::new(attempted))
}

async fn list(stores: &Stores, filter: &DeliveryFilter) -> Vec<DeliveryLine> {
    stores
        .logs
        .deliveries(&acme(), filter, None, 1000)
        .await
        .unwrap()
}

async fn state_of_only(stores: &Stores) -> storage::log_store::DeliveryState {
    let mut lines = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0).delivery.unwrap()
}

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

pub(crate) async fn a_listing_shows_everything_newest_first_in_pages(stores: &Stores) {
    let mut records = Vec::new();
    for number in 0..10_u8 {
        // Two events in each millisecond; every third matched nothing.
        let event = event(number, at(i64::from(number) / 2));
        let triggers: &[&str] = if number % 3 == 0 {
            &[]
        } else {
            &["one", "two", "six"]
        };
        records.push(matched(&event, triggers));
    }
    stores.logs.record(&records).await.unwrap();
    let all = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(all.len(), 4 + 6 * 3);
    let place = |line: &DeliveryLine| (line.eid, line.delivery.as_ref().map(|state| state.id));
    assert!(all.is_sorted_by(|one, other| place(one) > place(other)));
    assert_eq!(all.iter().filter(|line| line.delivery.is_none()).count(), 4);
    let staged = DeliveryFilter {
        statuses: vec![Status::Staged],
        ..DeliveryFilter::default()
    };
    for (filter, limit, expected) in [
        (DeliveryFilter::default(), 1, 22),
        (DeliveryFilter::default(), 4, 22),
        (staged, 5, 18),
    ] {
        let mut paged = Vec::new();
        let mut before = None;
        loop {
            let page = stores
                .logs
                .deliveries(&acme(), &filter, before, limit)
                .await
                .unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            let delivery = last.delivery.as_ref().map(|state| state.id);
            before = Some(Cursor {
                event: last.eid,
                delivery,
            });
            paged.extend(page);
        }
        assert_eq!(paged.len(), expected, "pages of {limit}");
        if limit < 5 {
            assert_eq!(paged, all);
        }
    }
}

pub(crate) async fn filters_narrow_a_listing(stores: &Stores) {
    let (one, two) = (event(1, at(0)), event(2, at(60_000)));
    let two = Event {
        event_type: EventType::parse("order.paid").unwrap(),
        ..two
    };
    let records = [
        matched(&one, &["one", "two"]),
        matched(&two, &["one"]),
        matched(&event(3, at(120_000)), &[]),
        record(attempted(&one, "one", 1, Status::Processed)),
        record(attempted(&two, "one", 4, Status::Failed)),
    ];
    stores.logs.record(&records).await.unwrap();
    let count = async |filter: DeliveryFilter| list(stores, &filter).await.len();
    let all = DeliveryFilter::default;
    assert_eq!(count(all()).await, 4);
    assert_eq!(
        count(DeliveryFilter {
            statuses: vec![Status::Processed],
            ..all()
        })
        .await,
        1
    );
    let unfinished = vec![Status::Failed, Status::Staged];
    assert_eq!(
        count(DeliveryFilter {
            statuses: unfinished,
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(DeliveryFilter {
            trigger: Some("one".parse().unwrap()),
            ..all()
        })
        .await,
        2
    );
    let function = |name: &str| Some(name.parse().unwrap());
    assert_eq!(
        count(DeliveryFilter {
            function: function("shop/welcome"),
            ..all()
        })
        .await,
        3
    );
    assert_eq!(
        count(DeliveryFilter {
            function: function("welcome"),
            ..all()
        })
        .await,
        0
    );
    let paid = Some(EventType::parse("order.paid").unwrap());
    assert_eq!(
        count(DeliveryFilter {
            event_type: paid.clone(),
            ..all()
        })
        .await,
        1
    );
    let both = DeliveryFilter {
        event_type: paid,
        statuses: vec![Status::Staged],
        ..all()
    };
    assert_eq!(count(both).await, 0);
    assert_eq!(
        count(DeliveryFilter {
            since: Some(at(60_000)),
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(DeliveryFilter {
            until: Some(at(60_000)),
            ..all()
        })
        .await,
        2
    );
    let trigger = Some("one".parse().unwrap());
    assert_eq!(
        count(DeliveryFilter {
            until: Some(at(60_000)),
            trigger,
            ..all()
        })
        .await,
        1
    );
    let of_one = Some(EventReference::Internal(one.eid));
    assert_eq!(
        count(DeliveryFilter {
            event: of_one.clone(),
            ..all()
        })
        .await,
        2
    );
    let staged = vec![Status::Staged];
    assert_eq!(
        count(DeliveryFilter {
            event: of_one,
            statuses: staged,
            ..all()
        })
        .await,
        1
    );
}

pub(crate) async fn events_are_found_by_every_name(stores: &Stores) {
    let own = event(1, at(0));
    let named = Event {
        id: "order-7".to_owned(),
        ..event(2, at(1))
    };
    let renamed = Event {
        id: "order-7".to_owned(),
        ..event(3, at(2))
    };
    let records = [
        matched(&own, &["one"]),
        matched(&named, &["one"]),
        matched(&renamed, &[]),
    ];
    stores.logs.record(&records).await.unwrap();
    let find = async |reference: EventReference| {
        stores
            .logs
            .event(&acme(), &reference)
            .await
            .unwrap()
            .map(|history| history.event.eid)
    };
    assert_eq!(find(EventReference::Internal(own.eid)).await, Some(own.eid));
    assert_eq!(
        find(EventReference::Client(own.id.clone())).await,
        Some(own.eid)
    );
    assert_eq!(
        find(EventReference::Client("order-7".to_owned())).await,
        Some(renamed.eid)
    );
    assert_eq!(
        find(EventReference::Client(named.eid.to_string())).await,
        None
    );
    let delivery = DeliveryId::derive(named.eid, "one");
    assert_eq!(
        find(EventReference::Delivery(delivery)).await,
        Some(named.eid)
    );
    let missing = DeliveryId::derive(named.eid, "two");
    assert_eq!(find(EventReference::Delivery(missing)).await, None);
    for (reference, lines) in [
        (EventReference::Client("order-7".to_owned()), 2),
        (EventReference::Client(own.id.clone()), 1),
        (EventReference::Delivery(delivery), 1),
        (EventReference::Delivery(missing), 0),
    ] {
        let filter = DeliveryFilter {
            event: Some(reference),
            ..DeliveryFilter::default()
        };
        assert_eq!(list(stores, &filter).await.len(), lines, "{filter:?}");
    }
}

pub(crate) async fn lines_of_some_deliveries(stores: &Stores) {
    let (one, two) = (event(1, at(0)), event(2, at(1)));
    let early = record(attempted(&two, "one", 1, Status::Processed));
    stores
        .logs
        .record(&[matched(&one, &["one", "two"]), early])
        .await
        .unwrap();
    let ids = [(&one, "two"), (&two, "one")].map(|(event, t)| DeliveryId::derive(event.eid, t));
    let lines = stores.logs.lines(&acme(), &ids).await.unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|line| line.delivery.as_ref().unwrap().id)
        .collect();
    assert_eq!(found, [ids[0]], "the event of the other is not known yet");
    stores
        .logs
        .record(&[matched(&two, &["one"])])
        .await
        .unwrap();
    assert_eq!(stores.logs.lines(&acme(), &ids).await.unwrap().len(), 2);
    assert_eq!(stores.logs.lines(&acme(), &[]).await.unwrap(), []);
}

pub(crate) async fn another_project_sees_nothing(stores: &Stores) {
    let event = event(1, at(0));
    stores
        .logs
        .record(&[matched(&event, &["one"])])
        .await
        .unwrap();
    let other: ProjectName = "other".parse().unwrap();
    let delivery = DeliveryId::derive(event.eid, "one");
    let listed = stores
        .logs
        .deliveries(&other, &DeliveryFilter::default(), None, 10)
        .await;
    assert_eq!(listed.unwrap(), []);
    assert_eq!(stores.logs.lines(&other, &[delivery]).await.unwrap(), []);
    for reference in [
        EventReference::Internal(event.eid),
        EventReference::Delivery(delivery),
        EventReference::Client(event.id.clone()),
    ] {
        assert_eq!(stores.logs.event(&other, &reference).await.unwrap(), None);
    }
}

pub(crate) async fn a_zero_byte_does_not_hold_up_a_batch(stores: &Stores) {
    let odd = Event {
        id: "a\0b".to_owned(),
        ..event(1, at(0))
    };
    let attempt = Attempted {
        error: Some("broke \0 off".to_owned()),
        response_headers: vec![("x".to_owned(), "\0".to_owned())],
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

pub(crate) async fn days_past_their_time_are_dropped(stores: &Stores) {
    let logs = &stores.logs;
    let now = at(0);
    let old = event(1, now - HOUR * 72);
    let records = [
        matched(&old, &["one"]),
        record(attempted(&old, "one", 1, Status::Processed)),
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

pub(crate) async fn views_have_the_columns_of_space_cloud(stores: &Stores) {
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
}

pub(crate) async fn a_large_batch_is_stored_whole(stores: &Stores) {
    let mut records = Vec::new();
    for number in 0..500_i64 {
        let event = event(u8::try_from(number % 250).unwrap(), at(number));
        records.push(matched(&event, &["one"]));
        records.push(record(attempted(&event, "one", 1, Status::Processed)));
    }
    stores.logs.record(&records).await.unwrap();
    for table in ["events", "deliveries", "attempts"] {
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
