//! Each condition is told with what was wanted and found, and all of them say what the rule says.

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::event_type::EventType;
use crate::filter::Filter;
use crate::id::EventId;
use crate::retry::RetryPolicy;
use crate::trigger::{Backlog, DEPTH_MAX, Decision, Ordering};

fn event() -> Event {
    Event {
        eid: EventId::new(Timestamp::UNIX_EPOCH, [0; 10]),
        project: "default".parse().unwrap(),
        id: "1".to_owned(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse("order.paid").unwrap(),
        subject: Some("orders/42/photo.jpg".to_owned()),
        time: Timestamp::UNIX_EPOCH,
        accepted_at: Timestamp::UNIX_EPOCH,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::from_static(br#"{"total":12}"#),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: [("db".to_owned(), "pg".to_owned())].into(),
    }
}

fn trigger() -> Trigger {
    Trigger {
        project: "default".parse().unwrap(),
        name: "orders".parse().unwrap(),
        function: "welcome".parse().unwrap(),
        is_enabled: true,
        on: vec!["order.*".parse().unwrap(), "invoice.paid".parse().unwrap()],
        subject: Some("orders/{id}/*".parse().unwrap()),
        prefix: Some("photo".to_owned()),
        suffix: Some(".jpg".to_owned()),
        options: [("db".to_owned(), "mongo, pg".to_owned())].into(),
        filter: Some(Filter::parse("data.total > 10 && params.id == '42'").unwrap()),
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
    }
}

#[test]
fn an_event_that_calls_fulfils_every_condition() {
    let conditions = trigger().explain(&event());
    let told: Vec<&str> = conditions.iter().map(|condition| condition.what).collect();
    let all = [
        "enabled", "on", "subject", "prefix", "suffix", "options", "filter",
    ];
    assert_eq!(told, all);
    assert!(conditions.iter().all(|condition| condition.holds));
    assert!(trigger().matches(&event()).is_some());
}

/// What to change, and the condition that fails then with what was wanted and found.
type Failing = (fn(&mut Trigger), &'static str, &'static str, &'static str);

#[test]
fn the_condition_that_fails_is_told_with_what_was_wanted_and_found() {
    let failing: [Failing; 7] = [
        (|it| it.is_enabled = false, "enabled", "true", "false"),
        (
            |it| it.on = vec!["invoice.*".parse().unwrap()],
            "on",
            "invoice.*",
            "order.paid",
        ),
        (
            |it| it.subject = Some("orders/{id}".parse().unwrap()),
            "subject",
            "orders/{id}",
            "orders/42/photo.jpg",
        ),
        (
            |it| it.prefix = Some("x".to_owned()),
            "prefix",
            "x",
            "photo.jpg",
        ),
        (
            |it| it.suffix = Some(".png".to_owned()),
            "suffix",
            ".png",
            "photo.jpg",
        ),
        (
            |it| it.options = [("db".to_owned(), "mongo".to_owned())].into(),
            "options",
            "db=mongo",
            "pg",
        ),
        (
            |it| it.filter = Some(Filter::parse("data.total < 10").unwrap()),
            "filter",
            "data.total < 10",
            "false",
        ),
    ];
    for (change, what, wanted, found) in failing {
        let mut trigger = trigger();
        change(&mut trigger);
        assert_eq!(trigger.matches(&event()), None, "{what}");
        let conditions = trigger.explain(&event());
        let failed = conditions
            .iter()
            .find(|condition| condition.what == what)
            .unwrap();
        assert_eq!(
            (failed.wanted.as_str(), failed.found.as_str(), failed.holds),
            (wanted, found, false)
        );
    }
}

#[test]
fn s2_32_an_attribute_that_is_asked_for_and_missing_does_not_match() {
    let mut event = event();
    event.extensions.clear();
    assert_eq!(trigger().matches(&event), None);
    let mut trigger = trigger();
    trigger.options.clear();
    assert!(
        trigger.matches(&event).is_some(),
        "any, where none is named"
    );
}

#[test]
fn s2_31_an_option_lists_what_may_be_and_what_is_not_named_is_any() {
    let matches = |db: &str, col: &str| {
        let mut trigger = trigger();
        trigger.options = [("db".to_owned(), "a,b".to_owned())].into();
        let mut event = event();
        event.extensions = [
            ("db".to_owned(), db.to_owned()),
            ("col".to_owned(), col.to_owned()),
        ]
        .into();
        trigger.matches(&event).is_some()
    };
    assert!(matches("a", "users") && matches("b", "users"));
    assert!(!matches("c", "users"));
    assert!(!matches("a,b", "users"), "one of them, not the list");
    assert!(matches("a", "orders"), "no table is named: every table");
}

#[test]
fn s2_34_a_filter_is_asked_about_files_too() {
    let matches = |size: u32| {
        let mut trigger = trigger();
        trigger.on = vec!["FILE_CREATE".parse().unwrap()];
        trigger.subject = None;
        trigger.options.clear();
        trigger.filter = Some(Filter::parse("data.meta.size > 100").unwrap());
        let mut event = event();
        event.event_type = EventType::parse("FILE_CREATE").unwrap();
        event.data = format!(r#"{{"path":"/photo.jpg","meta":{{"size":{size}}}}}"#).into();
        trigger.matches(&event).is_some()
    };
    assert!(matches(101));
    assert!(!matches(99));
}

#[test]
fn a_filter_that_cannot_be_answered_calls_nobody_and_says_why() {
    let mut trigger = trigger();
    trigger.filter = Some(Filter::parse("data.nothing > 10").unwrap());
    let event = event();
    let Decision::FilterFailed(reason) = trigger.decide(&event, &Facts::of(&event)) else {
        panic!("it cannot be answered");
    };
    assert!(reason.contains("nothing"), "{reason}");
    assert_eq!(trigger.matches(&event), None);
    let told = trigger.explain(&event).pop().unwrap();
    assert!(told.found.starts_with("failed: ") && !told.holds);
}
