//! Envelopes read back as written, old samples still parse, and what cannot be read says why.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::delivery::{
    Allowance, Consignment, Disable, Ended, ErrorClass, Notice, Status, Target, WaitReason, Waiting,
};
use domain::event::{Actor, Event};
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::record::{Attempted, Matched, Record, Settled};
use protocol::envelope::{Envelope, ReadError};

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn event() -> Event {
    let eid = EventId::new(time(1), [7; 10]);
    Event {
        eid,
        project: "acme".parse().unwrap(),
        id: "order-1".to_owned(),
        source: "/projects/acme/storage".to_owned(),
        event_type: EventType::parse("storage.row.insert").unwrap(),
        subject: Some("datasets/main/buckets/7/containers/orders/rows/42".to_owned()),
        time: time(0),
        accepted_at: time(1),
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::from_static(br#"{"row_id":42}"#),
        actor: Some(Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        }),
        partition_key: Some("orders".to_owned()),
        correlation_id: Some("cor".to_owned()),
        causation_id: Some("cau".to_owned()),
        depth: 2,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: Some("00-0000000000000000dd52ace79c62892f-00f067aa0ba902b7-01".to_owned()),
        extensions: [("tenant".to_owned(), "t1".to_owned())].into(),
    }
}

/// The least an event may have.
fn bare_event() -> Event {
    Event {
        subject: None,
        data_content_type: None,
        data: Bytes::new(),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        traceparent: None,
        extensions: [].into(),
        ..event()
    }
}

fn target() -> Target {
    Target {
        delivery: DeliveryId::derive(event().eid, "orders-audit"),
        trigger: "orders-audit".parse().unwrap(),
        function: "my-package/number-func".parse().unwrap(),
        captures: [("bucket".to_owned(), "7".to_owned())]
            .into_iter()
            .collect(),
        next_attempt: 2,
        generation: 1,
        revision: 99,
        is_held: false,
    }
}

fn attempted() -> Attempted {
    Attempted {
        project: "acme".parse().unwrap(),
        event: event().eid,
        delivery: target().delivery,
        trigger: target().trigger,
        function: target().function,
        number: 2,
        generation: 1,
        started_at: time(2),
        duration: Duration::from_micros(1_234),
        url: "https://example.com/hook".to_owned(),
        response_status: Some(503),
        error_class: Some(ErrorClass::Status),
        error: Some("the endpoint answered 503".to_owned()),
        request_headers: [("webhook-id", "dlv_1")].into_iter().collect(),
        request_bytes: 13,
        response_headers: [("retry-after", "5")].into_iter().collect(),
        response_body: Bytes::from_static(b"busy"),
        is_response_truncated: true,
        worker: "worker-1".to_owned(),
        traceparent: event().traceparent,
        status: Status::Staged,
        remark: None,
        next_attempt_at: Some(time(7)),
    }
}

fn settled() -> Settled {
    Settled {
        project: "acme".parse().unwrap(),
        event: event().eid,
        delivery: target().delivery,
        trigger: target().trigger,
        function: target().function,
        generation: 1,
        status: Status::Cancel,
        remark: "trigger_deleted".to_owned(),
        at: time(3),
    }
}

fn events() -> Vec<Event> {
    vec![event(), bare_event()]
}

fn consignments() -> Vec<Consignment> {
    vec![
        Consignment {
            event: event(),
            targets: vec![target(), target()],
        },
        Consignment {
            event: bare_event(),
            targets: vec![],
        },
    ]
}

fn waiting() -> Vec<Waiting> {
    vec![Waiting {
        event: event(),
        target: target(),
        reason: WaitReason::Retry,
        since: time(2),
        due_at: time(7),
    }]
}

fn records() -> Vec<Record> {
    let unanswered = Attempted {
        response_status: None,
        error_class: Some(ErrorClass::Timeout),
        response_body: Bytes::new(),
        is_response_truncated: false,
        next_attempt_at: None,
        status: Status::Failed,
        remark: Some("attempts used up".to_owned()),
        ..attempted()
    };
    vec![
        Record::Matched(Matched {
            event: event(),
            targets: vec![target()],
        }),
        Record::Attempted(Box::new(attempted())),
        Record::Attempted(Box::new(unanswered)),
        Record::Settled(settled()),
    ]
}

fn check<T: Envelope + PartialEq + std::fmt::Debug>(items: &[T], sample: &[u8]) {
    assert_eq!(
        T::read(T::write(items)).unwrap(),
        items,
        "{} reads back",
        T::KIND
    );
    let sample = Bytes::copy_from_slice(sample);
    assert_eq!(
        T::read(sample).unwrap(),
        items,
        "a {} of version 1 still parses",
        T::KIND
    );
    let estimate: usize = items.iter().map(Envelope::bytes).sum();
    assert!(
        estimate * 2 >= T::write(items).len(),
        "{}: {estimate} is far too low",
        T::KIND
    );
}

#[test]
fn every_envelope_reads_back_and_old_samples_still_parse() {
    check(&events(), include_bytes!("samples/v1/events.bin"));
    check(&consignments(), include_bytes!("samples/v1/deliveries.bin"));
    check(&waiting(), include_bytes!("samples/v1/waiting.bin"));
    check(&records(), include_bytes!("samples/v1/records.bin"));
}

#[test]
fn what_cannot_be_read_says_why() {
    let garbage = Event::read(Bytes::from_static(b"\xff\xff\xff")).unwrap_err();
    assert!(
        matches!(garbage, ReadError::NotProtobuf { .. }),
        "{garbage}"
    );
    let empty = Event::read(Bytes::new()).unwrap_err();
    assert!(
        matches!(empty, ReadError::Version { found: 0, .. }),
        "{empty}"
    );
    // Field 1, a number: schema_version 2.
    let newer = Event::read(Bytes::from_static(&[0x08, 0x02])).unwrap_err();
    assert!(
        matches!(newer, ReadError::Version { found: 2, .. }),
        "{newer}"
    );
    // Version 1 with one event in which nothing is set.
    let hollow = Event::read(Bytes::from_static(&[0x08, 0x01, 0x12, 0x00])).unwrap_err();
    assert!(matches!(hollow, ReadError::Content { .. }), "{hollow}");
}

#[test]
fn what_the_waiting_room_is_told_reads_back_and_reads_what_only_waits() {
    let notices = vec![
        Notice::Wait(Box::new(waiting().remove(0))),
        Notice::Allow(Allowance {
            project: "acme".parse().unwrap(),
            function: target().function,
            per_second: Some(200.5),
            burst: 10,
            closed_until: Some(time(9)),
            at: time(3),
        }),
        Notice::End(Ended {
            project: "acme".parse().unwrap(),
            delivery: target().delivery,
            generation: 1,
        }),
        Notice::Disable(Disable {
            project: "acme".parse().unwrap(),
            function: target().function,
            reason: "the endpoint is gone".to_owned(),
            at: time(4),
            revision: 17,
        }),
    ];
    assert_eq!(Notice::read(Notice::write(&notices)).unwrap(), notices);
    let only_waiting = Notice::read(Waiting::write(&waiting())).unwrap();
    assert_eq!(only_waiting, [notices[0].clone()]);
    assert_eq!(Waiting::read(Notice::write(&notices)).unwrap(), waiting());
}
