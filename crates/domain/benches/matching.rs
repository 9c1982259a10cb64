//! What it costs to find an event's triggers among many, and to change one of them.
#![expect(
    clippy::unwrap_used,
    reason = "a broken set-up should stop the benchmark"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use domain::Timestamp;
use domain::event::Event;
use domain::event_type::EventType;
use domain::filter::Filter;
use domain::id::EventId;
use domain::matching::Matcher;
use domain::retry::RetryPolicy;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};

const DATA: &[u8] = br#"{"row_id":42,"container":"orders","bucket":7,"dataset":"main","total":12.5,
    "new":{"status":"delivered","total":12.5,"lines":[{"article":"a","count":1},{"article":"b",
    "count":2}]},"old":{"status":"open","total":12.5},"changed":["status"]}"#;

const SIZES: [u32; 2] = [10_000, 100_000];

/// Triggers of so many shapes take turns.
const SHAPES: u32 = 8;

fn main() {
    divan::main();
}

/// The trigger of this number; every shape keeps its own thing in another place.
fn trigger(number: u32) -> Arc<Trigger> {
    let (on, subject): (&[&str], String) = match number % SHAPES {
        0 => (
            &["1000"],
            format!("datasets/main/buckets/{{b}}/containers/c{number}/rows/{{row}}"),
        ),
        1 => (&["storage.row.*"], format!("users/*/buckets/b{number}/**")),
        2 => (&["FILE_CREATE"], "object-storage/photos/*".to_owned()),
        3 => (&[], format!("things/t{number}/**")),
        4 => (&["auth.**", "user.**"], format!("users/u{number}")),
        5 => (&["DB_INSERT", "DB_UPDATE"], format!("**/objects/o{number}")),
        6 => (
            &["api.call.{phase}"],
            format!("api/{{service}}/_table/contact{number}/{{id=+}}"),
        ),
        _ => (&["shop.*.paid"], format!("orders/{{day=2026-*}}/{number}")),
    };
    Arc::new(Trigger {
        project: "default".parse().unwrap(),
        name: format!("trigger-{number}").parse().unwrap(),
        function: "welcome".parse().unwrap(),
        is_enabled: true,
        on: on.iter().map(|text| text.parse().unwrap()).collect(),
        subject: Some(subject.parse().unwrap()),
        prefix: (number % SHAPES == 2).then(|| format!("dev-{number}/")),
        suffix: (number % SHAPES == 2).then(|| ".jpg".to_owned()),
        options: BTreeMap::new(),
        filter: None,
        format: None,
        template: None,
        retry: RetryPolicy::default(),
        ordering: Ordering::default(),
        backlog: Backlog::default(),
        depth_max: DEPTH_MAX,
        script: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    })
}

/// The event that the trigger of this number, and no other, waits for.
fn event(number: u32) -> Event {
    let (event_type, subject) = match number % SHAPES {
        0 => (
            "STORAGE_INSERT",
            format!("datasets/main/buckets/7/containers/c{number}/rows/42"),
        ),
        1 => (
            "STORAGE_UPDATE",
            format!("users/alice/buckets/b{number}/objects/9"),
        ),
        2 => (
            "FILE_CREATE",
            format!("object-storage/photos/dev-{number}%2F0_15.jpg"),
        ),
        3 => ("THING_CONNECTED", format!("things/t{number}/state")),
        4 => ("AUTH_REGISTER", format!("users/u{number}")),
        5 => (
            "DB_UPDATE",
            format!("groups/g1/buckets/score/objects/o{number}"),
        ),
        6 => ("api.call.post", format!("api/db/_table/contact{number}/42")),
        _ => ("shop.order.paid", format!("orders/2026-11-23/{number}")),
    };
    Event {
        eid: EventId::new(Timestamp::UNIX_EPOCH, [0; 10]),
        project: "default".parse().unwrap(),
        id: "1".to_owned(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: Some(subject),
        time: Timestamp::UNIX_EPOCH,
        accepted_at: Timestamp::UNIX_EPOCH,
        data_content_type: None,
        data: bytes::Bytes::new(),
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

fn filled(size: u32) -> Matcher {
    let mut matcher = Matcher::default();
    for number in 0..size {
        matcher.insert(trigger(number));
    }
    matcher
}

/// Numbers all over the range, so that no answer is in the processor's cache.
fn spread(size: u32) -> impl Iterator<Item = u32> {
    (0_u32..512).map(move |step| step.wrapping_mul(2_654_435_761) % size)
}

/// One event of any shape; it finds the one trigger that waits for it.
#[divan::bench(args = SIZES, sample_count = 2000)]
fn match_one_event(bencher: Bencher<'_, '_>, size: u32) {
    let matcher = filled(size);
    let mut events = spread(size)
        .map(event)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| events.next().unwrap())
        .bench_local_refs(|event| {
            let found = matcher.matches(event);
            assert_eq!(found.len(), 1);
            found
        });
}

/// One event that nobody waits for.
#[divan::bench(args = SIZES, sample_count = 2000)]
fn match_none(bencher: Bencher<'_, '_>, size: u32) {
    let matcher = filled(size);
    let event = event(size);
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| matcher.matches(&event));
}

/// One event whose one trigger has a filter over the event's data.
#[divan::bench(args = SIZES, sample_count = 2000)]
fn match_one_event_by_a_filter(bencher: Bencher<'_, '_>, size: u32) {
    let filter = Filter::parse("data.new.status == 'delivered' && data.total > 10").unwrap();
    let mut matcher = Matcher::default();
    for number in 0..size {
        matcher.insert(Arc::new(Trigger {
            filter: Some(filter.clone()),
            ..Trigger::clone(&trigger(number))
        }));
    }
    let with_data = |number| Event {
        data_content_type: Some("application/json".to_owned()),
        data: bytes::Bytes::from_static(DATA),
        ..event(number)
    };
    let mut events = spread(size)
        .map(with_data)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| events.next().unwrap())
        .bench_local_refs(|event| {
            let found = matcher.matches(event);
            assert_eq!(found.len(), 1);
            found
        });
}

/// A changed trigger takes the place of the one before.
#[divan::bench(args = SIZES, sample_count = 2000)]
fn replace_one_trigger(bencher: Bencher<'_, '_>, size: u32) {
    let mut matcher = filled(size);
    let mut triggers = spread(size)
        .map(trigger)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| triggers.next().unwrap())
        .bench_local_values(|trigger| matcher.insert(Arc::new(Trigger::clone(&trigger))));
}
