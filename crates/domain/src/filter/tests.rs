//! What filters see, what they are refused for, and that none can be made to take long.

use bytes::Bytes;

use super::*;
use crate::event::{Actor, Event};
use crate::event_type::EventType;
use crate::id::EventId;

fn event(data: &str) -> Event {
    let time = "2026-11-22T01:15:31Z".parse().unwrap();
    Event {
        eid: EventId::new(time, [7; 10]),
        project: "acme".parse().unwrap(),
        id: "order-1".to_owned(),
        source: "/projects/acme/storage".to_owned(),
        event_type: EventType::parse("storage.row.update").unwrap(),
        subject: Some("orders/42".to_owned()),
        time,
        accepted_at: time,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::copy_from_slice(data.as_bytes()),
        actor: Some(Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        }),
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 2,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: [("tenant".to_owned(), "t1".to_owned())].into(),
    }
}

const ORDER: &str = r#"{"row_id":42,"total":12.5,"big":18446744073709551615,"tags":["a","b"],
    "old":{"status":"open"},"new":{"status":"delivered","total":12}}"#;

fn holds(filter: &str) -> Result<bool, String> {
    let event = event(ORDER);
    let facts = Facts::of(&event);
    let params = [("id".to_owned(), "42".to_owned())].into_iter().collect();
    Filter::parse(filter).unwrap().holds(&facts, &params)
}

#[test]
fn a_filter_sees_event_data_old_new_and_params() {
    for filter in [
        "data.new.status == 'delivered'",
        "new.status == 'delivered' && old.status != new.status",
        "data.row_id == 42 && data.row_id > 41.5",
        "data.total > 12 && data.total < 13",
        "new.total == 12.0",
        "data.big > 5",
        "'a' in data.tags && size(data.tags) == 2",
        "data.tags.exists(tag, tag.startsWith('b'))",
        "data.tags.all(tag, size(tag) == 1) && !has(data.nothing)",
        "has(data.new.status) ? true : false",
        "event.type == 'storage.row.update' && event.number == 1001",
        "event.subject.endsWith('/42') && event.actor.id == 'u_17'",
        "event.id.contains('order') && event.depth == 2 && event.tenant == 't1'",
        "event.time.startsWith('2026-11-22T01:15:31') && event.partitionkey == ''",
        "params.id == string(data.row_id) && int(params.id) == 42",
        "type(data.row_id) == int",
        "data['row_id'] in [41, 42]",
        "data.nothing == 1 || true",
    ] {
        assert_eq!(holds(filter), Ok(true), "{filter}");
    }
    assert_eq!(holds("data.new.status == 'open'"), Ok(false));
}

#[test]
fn a_filter_that_cannot_be_answered_says_why() {
    for (filter, word) in [
        ("data.nothing == 1", "nothing"),
        ("data.row_id.x == 1", ""),
        ("data.row_id", "int and not true or false"),
        ("data.row_id < 'a'", ""),
        ("1 / 0 == 1", "zero"),
        ("int('x') == 1", ""),
        ("data.tags[5] == 'a'", ""),
    ] {
        let reason = holds(filter).unwrap_err();
        assert!(reason.contains(word), "{filter}: {reason}");
        assert!(reason.chars().count() <= REASON_CHARS_MAX + 1);
    }
}

#[test]
fn data_that_is_no_json_is_null() {
    let mut text = event("plain");
    text.data_content_type = Some("text/plain".to_owned());
    let facts = Facts::of(&text);
    let holds = |filter: &str| {
        Filter::parse(filter)
            .unwrap()
            .holds(&facts, &Captures::default())
    };
    assert_eq!(holds("data == null && new == null"), Ok(true));
    assert!(holds("data.x == 1").is_err());
}

fn refused(filter: &str) -> FilterError {
    Filter::parse(filter).unwrap_err()
}

#[test]
fn a_bad_filter_is_refused_with_its_place() {
    let error = refused("data.x ==\n  == 1");
    assert_eq!(error.position.unwrap().0, 2, "{error}");
    let error = refused("data.x == 1 && datum.x == 2");
    assert_eq!(error.position, Some((1, 16)), "{error}");
    assert!(error.reason.contains("datum"), "{error}");
    let error = refused("data.name.matches('a+')");
    assert!(error.reason.contains("matches"), "{error}");
    let error = refused("true &&\n unknown(data)");
    assert_eq!(error.position.unwrap().0, 2, "{error}");
    assert!(refused("google.protobuf.Value{}").position.is_some());
    assert_eq!(refused(" ").position, None);
    assert!(refused("'open").to_string().starts_with("line 1, column "));
}

#[test]
fn a_filter_that_could_take_long_is_refused_before_it_is_parsed() {
    let deep = format!("{}1{} == 1", "(".repeat(41), ")".repeat(41));
    assert!(refused(&deep).reason.contains("brackets"));
    assert!(
        refused(&format!("{}true", "!".repeat(401)))
            .reason
            .contains("operators")
    );
    let long = format!("data.x == '{}'", "a".repeat(FILTER_BYTES_MAX));
    assert!(refused(&long).reason.contains("bytes"));
    let twice = "data.tags.all(x, data.tags.all(y, x == y))";
    assert!(refused(twice).reason.contains("within another"));
    let often = ["data.tags.exists(x, x == 'a')"; 5].join(" || ");
    assert!(refused(&often).reason.contains("at most 4"));
    let sum = ["event.id"; 18].join(" + ");
    assert!(
        refused(&format!("{sum} == ''"))
            .reason
            .contains("adds too often")
    );
}

/// On the stack of a test's thread, which is that of a worker's.
#[test]
fn what_is_nested_as_deeply_as_its_size_allows_is_answered_or_refused() {
    for filter in [
        format!("{}true{}", "(".repeat(40), ")".repeat(40)),
        format!("{}true", "!".repeat(400)),
        format!("1{} == -199", " - 1".repeat(200)),
        format!("{}true", "false ? true : ".repeat(200)),
        format!("{}true", "true && ".repeat(200)),
        format!("data{} == 1", ".a".repeat(300)),
        format!("data{} == 1", "[0]".repeat(40)),
        format!("{}1{} == []", "[".repeat(39), "]".repeat(39)),
        format!("{}'a'{} == 'a'", "string(".repeat(40), ")".repeat(40)),
    ] {
        match Filter::parse(&filter) {
            Ok(_) => drop(holds(&filter)),
            Err(error) => assert_eq!(error.to_string(), "it is nested too deeply", "{filter}"),
        }
    }
    let deep = format!("{}true{}", "(".repeat(10), ")".repeat(10));
    assert_eq!(holds(&deep), Ok(true));
    assert_eq!(holds(&format!("1{} == -9", " - 1".repeat(10))), Ok(true));
    assert_eq!(holds(&format!("{}true", "true && ".repeat(100))), Ok(true));
}

#[test]
fn a_long_list_is_not_walked_through_but_may_be_there() {
    let list = vec!["1"; ELEMENTS_MAX + 1].join(",");
    let event = event(&format!(r#"{{"x":1,"list":[{list}]}}"#));
    let facts = Facts::of(&event);
    let holds = |filter: &str| {
        Filter::parse(filter)
            .unwrap()
            .holds(&facts, &Captures::default())
    };
    assert_eq!(holds("data.x == 1 && size(data.list) == 1001"), Ok(true));
    let reason = holds("data.list.all(x, x == 1)").unwrap_err();
    assert!(reason.contains("1001 elements"), "{reason}");
}
