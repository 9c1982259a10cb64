//! Which events an answer leads to, and what is said of the rest.

use super::*;
use crate::event::{Actor, sample};
use crate::event_type::{CustomType, Emitters};
use crate::registry::{Change, Update};
use crate::schema::Schema;

fn parent() -> Event {
    Event {
        actor: Some(Actor {
            id: "u1".to_owned(),
            kind: "user".to_owned(),
        }),
        correlation_id: Some("batch-1".to_owned()),
        depth: 2,
        ..sample::event(1)
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_100).unwrap()
}

fn read_cut(body: &str, registry: &Registry, is_truncated: bool) -> Chained {
    let event = parent();
    let answer = Answer {
        event: &event,
        function: &"shop/welcome".parse().unwrap(),
        delivery: DeliveryId::derive(event.eid, "welcome"),
        generation: 0,
        body: body.as_bytes(),
        is_truncated,
        now: now(),
    };
    events_in(&answer, registry)
}

fn read(body: &str) -> Chained {
    read_cut(body, &Registry::default(), false)
}

#[test]
fn s2_37_an_answer_leads_to_the_events_it_asks_for_linked_to_their_cause() {
    let one = read(r#"{"event":{"type":"order.packed","payload":{"n":1.0}},"response":{}}"#);
    assert_eq!(one.remark, None);
    let event = &one.events[0];
    assert_eq!(event.event_type.as_str(), "order.packed");
    assert_eq!(event.data.as_ref(), br#"{"n":1.0}"#);
    assert_eq!(event.causation_id, Some(parent().eid.to_string()));
    assert_eq!(event.correlation_id.as_deref(), Some("batch-1"));
    assert_eq!(event.actor, parent().actor);
    assert_eq!(event.source, "/projects/default/functions/shop/welcome");
    assert_eq!((event.depth, event.ancestry.len()), (3, 1));
    let many = read(r#"{"events":[{"type":"a.b"},{"type":"a.b","data":[1]}]}"#);
    assert_eq!(many.events.len(), 2);
    assert_ne!(many.events[0].eid, many.events[1].eid);
    assert_eq!(many.events[1].data.as_ref(), b"[1]");
}

#[test]
fn s2_38_the_same_attempt_made_once_more_leads_to_the_same_ids() {
    let body = r#"{"events":[{"type":"a.b"},{"type":"c.d"}]}"#;
    assert_eq!(read(body), read(body));
}

#[test]
fn an_answer_that_asks_for_nothing_is_as_good_as_any() {
    for body in [
        "",
        "ok",
        "{}",
        "[]",
        r#"{"events":[]}"#,
        r#"{"event":null}"#,
    ] {
        assert_eq!(read(body), Chained::default(), "{body}");
    }
}

#[test]
fn what_cannot_be_an_event_is_told_and_the_others_are_emitted() {
    let body = r#"{"events":[
        {"type":"dlq_x"}, {"payload":1}, 7, {"type":"a.b"}, {"type":"a.b","timestamp":"soon"},
        {"type":"a.b","delay":999999999999}, {"type":"a.b","options":{"Db":"x"}}
    ]}"#;
    let chained = read(body);
    assert_eq!(chained.events.len(), 1);
    let remark = chained.remark.unwrap();
    for part in [
        "events[0]",
        "events[1]",
        "events[2]",
        "events[4]",
        "and 1 more",
    ] {
        assert!(remark.contains(part), "{part}: {remark}");
    }
    let many: Vec<_> = (0..EVENTS_MAX + 3).map(|_| r#"{"type":"a.b"}"#).collect();
    let chained = read(&format!(r#"{{"events":[{}]}}"#, many.join(",")));
    assert_eq!(chained.events.len(), EVENTS_MAX);
    assert!(chained.remark.unwrap().contains("3 events beyond"));
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    let chained = read(&format!(r#"{{"event":{{"type":"a.b","payload":{deep}}}}}"#));
    assert!(chained.events.is_empty() && chained.remark.is_some());
    let cut = r#"{"events":[{"type":"a.b"},{"ty"#;
    assert!(read_cut(cut, &Registry::default(), true).remark.is_some());
    assert_eq!(read(cut), Chained::default(), "it is no JSON at all");
}

#[test]
fn s2_26_a_delay_is_added_to_the_timestamp_or_to_now() {
    let due = |event: &str| {
        let chained = read(&format!(r#"{{"event":{{"type":"a.b",{event}}}}}"#));
        let due = chained.events[0].deliver_at?;
        Some((due.as_millisecond() - now().as_millisecond()) / 1000)
    };
    assert_eq!(due(r#""delay":5000"#), Some(5));
    let ahead = (now() + Duration::from_secs(60)).to_string();
    assert_eq!(due(&format!(r#""timestamp":"{ahead}""#)), Some(60));
    assert_eq!(
        due(&format!(r#""timestamp":"{ahead}","delay":1000"#)),
        Some(61)
    );
    let millis = now().as_millisecond() + 2000;
    assert_eq!(due(&format!(r#""timestamp":{millis}"#)), Some(2));
    assert_eq!(due(r#""timestamp":0"#), None, "that has passed");
}

#[test]
fn options_are_attributes_of_the_event() {
    let chained = read(r#"{"event":{"type":"a.b","options":{"db":"pg","col":7}}}"#);
    let options = &chained.events[0].extensions;
    assert_eq!(options["db"], "pg");
    assert_eq!(options["col"], "7");
}

#[test]
fn rules_and_schemas_of_types_hold_for_answers_too() {
    let custom = |name: &str, schema: Option<&str>, emitters| {
        Change::EventType(CustomType {
            project: "default".parse().unwrap(),
            name: name.parse().unwrap(),
            number: 100_000,
            schema: schema.map(|text| Schema::parse(text).unwrap()),
            emitters,
            created_at: now(),
            updated_at: now(),
            revision: 1,
        })
    };
    let of = |keys, sessions| Some(Emitters { keys, sessions });
    let mut registry = Registry::default();
    registry.apply(Update {
        revision: 1,
        is_snapshot: true,
        changes: vec![
            custom("with.schema", Some(r#"{"required":["n"]}"#), of(true, true)),
            custom("of.keys", None, of(true, false)),
        ],
    });
    let body = r#"{"events":[
        {"type":"with.schema","payload":{"n":1}}, {"type":"with.schema","payload":{}},
        {"type":"of.keys"}, {"type":"any.thing"}
    ]}"#;
    let chained = read_cut(body, &registry, false);
    assert_eq!(chained.events.len(), 1);
    let remark = chained.remark.unwrap();
    for part in [
        "events[1] (with.schema)",
        "events[2] (of.keys)",
        "events[3]",
    ] {
        assert!(remark.contains(part), "{part}: {remark}");
    }
}

#[test]
fn answers_are_looked_into_where_it_is_set() {
    let (mut function, trigger) = (sample::function("welcome"), sample::trigger("welcome"));
    assert!(!is_chaining(&function, &trigger));
    function.settings.events_in_answers = Some(true);
    assert!(is_chaining(&function, &trigger));
}
