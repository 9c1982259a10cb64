//! Whatever is laid down and taken away: the matcher finds what asking every trigger finds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::event_type::{EventType, TypeSelector};
use crate::id::EventId;
use crate::pattern::PathPattern;
use crate::retry::RetryPolicy;
use crate::trigger::{Backlog, DEPTH_MAX, Ordering};

#[derive(Debug, Clone)]
enum Change {
    Insert(Box<Trigger>),
    Remove(ProjectName, TriggerName),
}

fn trigger(name: &str) -> Trigger {
    Trigger {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        function: "welcome".parse().unwrap(),
        is_enabled: true,
        on: Vec::new(),
        subject: None,
        prefix: None,
        suffix: None,
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
    }
}

fn event(event_type: &str, subject: Option<&str>) -> Event {
    Event {
        eid: EventId::new(Timestamp::UNIX_EPOCH, [0; 10]),
        project: "default".parse().unwrap(),
        id: "1".to_owned(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: subject.map(str::to_owned),
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

fn any_project() -> impl Strategy<Value = ProjectName> {
    select(vec!["default", "other"]).prop_map(|text| text.parse().unwrap())
}

fn any_trigger_name() -> impl Strategy<Value = TriggerName> {
    (0..12).prop_map(|number| format!("trigger-{number}").parse().unwrap())
}

fn any_pattern(separator: &'static str) -> impl Strategy<Value = String> {
    let pieces = vec![
        "a", "b", "a", "b", "*", "{x}", "{y}", "a*", "%61", "{z=b}", "**", "{m=**}", "{p=+}",
    ];
    vec(select(pieces), 1..5)
        .prop_map(move |pieces| pieces.join(separator))
        .prop_filter("only patterns", |text| text.parse::<PathPattern>().is_ok())
}

fn any_selector() -> impl Strategy<Value = TypeSelector> {
    let exact =
        select(vec!["1000", "DB_UPDATE", "a", "a.b", "b.a", "a..b"]).prop_map(str::to_owned);
    prop_oneof![exact, any_pattern(".")].prop_filter_map("only selectors", |text| text.parse().ok())
}

fn any_affix() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.3, "[ab/é]{0,3}|a{14,20}")
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    (
        any_project(),
        any_trigger_name(),
        prop::bool::weighted(0.9),
        vec(any_selector(), 0..3),
        option::of(any_pattern("/")),
        (any_affix(), any_affix()),
    )
        .prop_map(
            |(project, name, is_enabled, on, subject, (prefix, suffix))| Trigger {
                project,
                name,
                is_enabled,
                on,
                subject: subject.map(|text| text.parse().unwrap()),
                prefix,
                suffix,
                ..trigger("any")
            },
        )
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => any_trigger().prop_map(|trigger| Change::Insert(Box::new(trigger))),
        1 => (any_project(), any_trigger_name()).prop_map(|(p, name)| Change::Remove(p, name)),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let types = vec![
        "1a",
        "storage.row.insert",
        "storage.row.update",
        "a",
        "a.b",
        "b.a",
        "a..b",
        "b.a.b",
    ];
    let segments = vec![
        "a",
        "b",
        "ab",
        "%61",
        "a%2Fb",
        "é",
        "%C3%A9",
        "c",
        "",
        "aaaaaaaaaaaaaaaaaa",
    ];
    let subject = option::weighted(0.9, vec(select(segments), 0..5));
    (any_project(), select(types), subject).prop_map(|(project, event_type, subject)| Event {
        project,
        ..event(
            event_type,
            subject.map(|segments| segments.join("/")).as_deref(),
        )
    })
}

type Naive = BTreeMap<(ProjectName, TriggerName), Trigger>;

fn apply(changes: Vec<Change>) -> (Matcher, Naive) {
    let mut matcher = Matcher::default();
    let mut naive = Naive::new();
    for change in changes {
        match change {
            Change::Insert(trigger) => {
                let key = (trigger.project.clone(), trigger.name.clone());
                let replaced = matcher.insert(Arc::new(Trigger::clone(&trigger)));
                assert_eq!(replaced.as_deref(), naive.insert(key, *trigger).as_ref());
            }
            Change::Remove(project, name) => {
                let removed = matcher.remove(&project, &name);
                assert_eq!(removed.as_deref(), naive.remove(&(project, name)).as_ref());
            }
        }
    }
    (matcher, naive)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn finds_what_asking_every_trigger_finds(
        changes in vec(any_change(), 0..40),
        events in vec(any_event(), 1..12),
    ) {
        let (mut matcher, naive) = apply(changes);
        prop_assert_eq!(matcher.len(), naive.len());
        for event in &events {
            let expected: Vec<_> = naive
                .values()
                .filter_map(|trigger| Some((trigger.clone(), trigger.matches(event)?)))
                .collect();
            let found: Vec<_> = matcher
                .matches(event)
                .into_iter()
                .map(|(trigger, captures)| (Trigger::clone(&trigger), captures))
                .collect();
            prop_assert_eq!(found, expected);
        }
        for (project, name) in naive.keys() {
            prop_assert!(matcher.remove(project, name).is_some());
        }
        prop_assert!(matcher.is_empty() && matcher.nodes.is_empty());
    }
}

#[test]
fn a_trigger_found_by_two_of_its_selectors_is_given_once() {
    let mut matcher = Matcher::default();
    let on = ["storage.**", "storage.row.*", "1000", "1000"].map(|text| text.parse().unwrap());
    matcher.insert(Arc::new(Trigger {
        on: on.into(),
        ..trigger("one")
    }));
    assert_eq!(matcher.matches(&event("DB_INSERT", None)).len(), 1);
}

#[test]
fn an_event_looks_at_few_of_many_triggers() {
    let mut matcher = Matcher::default();
    for number in 0..1000 {
        let subject = |text: String| Some(text.parse().unwrap());
        let plain = || trigger(&format!("trigger-{number}"));
        matcher.insert(Arc::new(match number % 4 {
            0 => Trigger {
                subject: subject(format!("users/*/buckets/b{number}/**")),
                ..plain()
            },
            1 => Trigger {
                subject: subject(format!("**/objects/o{number}")),
                ..plain()
            },
            2 => Trigger {
                prefix: Some(format!("dev-{number}/")),
                ..plain()
            },
            _ => Trigger {
                on: vec![format!("app-{number}.**").parse().unwrap()],
                ..plain()
            },
        }));
    }
    let mut visited = 0;
    let event = event("app-7.start", Some("users/u1/buckets/b8/objects/o9"));
    matcher.keys.visit(&event, &mut |key| {
        visited += 1;
        matcher.nodes.contains_key(&key)
    });
    assert!(visited < 60, "{visited} nodes");
    let names = matcher
        .matches(&event)
        .into_iter()
        .map(|(trigger, _)| trigger.name.to_string());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["trigger-7", "trigger-8", "trigger-9"]
    );
}
