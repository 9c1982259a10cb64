//! When a function is switched off, and what is told of it.

use std::time::Duration;

use super::*;
use crate::delivery::ErrorClass;
use crate::format::Format;
use crate::function::{Credentials, parse_url};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn function(settings: FunctionSettings) -> Function {
    Function {
        project: "acme".parse().unwrap(),
        name: "shop/welcome".parse().unwrap(),
        url: parse_url("https://shop.example/hooks").unwrap(),
        format: Format::default(),
        secret: "s3cret".to_owned(),
        signing_secret: String::new(),
        settings,
        credentials: Credentials::default(),
        created_at: at(0),
        updated_at: at(0),
        revision: 7,
    }
}

fn off_after(seconds: u64) -> Function {
    function(FunctionSettings {
        disable_after: Some(Duration::from_secs(seconds)),
        ..FunctionSettings::default()
    })
}

#[test]
fn an_attempt_says_whether_its_function_works_and_nothing_when_nobody_was_called() {
    let answered = |status| Sign::of(&Outcome::Answered { status });
    for status in [200, 204, 299] {
        assert_eq!(answered(status), Some(Sign::Works));
    }
    for status in [301, 400, 404, 429, 500, 503] {
        assert_eq!(answered(status), Some(Sign::Fails));
    }
    assert_eq!(answered(410), Some(Sign::Gone));
    let (class, message) = (ErrorClass::Timeout, String::new());
    let unreachable = Outcome::Unreachable { class, message };
    assert_eq!(Sign::of(&unreachable), Some(Sign::Fails));
    let (class, message) = (ErrorClass::Render, String::new());
    assert_eq!(Sign::of(&Outcome::Impossible { class, message }), None);
}

#[test]
fn gone_switches_off_at_once_and_only_where_it_is_wished() {
    let wished = function(FunctionSettings {
        disable_on_gone: true,
        ..FunctionSettings::default()
    });
    let reason = reason_to_disable(&wished, Sign::Gone, at(10), at(10)).unwrap();
    assert!(reason.contains("410"), "{reason}");
    for sign in [Sign::Works, Sign::Fails] {
        assert_eq!(reason_to_disable(&wished, sign, at(10), at(9_999)), None);
    }
    let not_wished = function(FunctionSettings::default());
    let reason = reason_to_disable(&not_wished, Sign::Gone, at(10), at(9_999));
    assert_eq!(reason, None);
    assert!(is_watched(&wished.settings) && !is_watched(&not_wished.settings));
}

#[test]
fn only_failures_for_long_enough_switch_off() {
    let function = off_after(60);
    assert!(is_watched(&function.settings));
    let after = |sign, second| reason_to_disable(&function, sign, at(10), at(second));
    assert_eq!(after(Sign::Fails, 69), None);
    let reason = after(Sign::Fails, 70).unwrap();
    assert!(reason.contains(&at(10).to_string()), "{reason}");
    assert!(after(Sign::Gone, 70).is_some(), "410 is a failure too");
    assert_eq!(after(Sign::Works, 70), None);
}

#[test]
fn a_change_to_the_function_begins_the_count_anew() {
    let mut function = off_after(60);
    function.updated_at = at(50);
    let after = |second| reason_to_disable(&function, Sign::Fails, at(10), at(second));
    assert_eq!(after(109), None);
    assert!(after(110).is_some());
}

#[test]
fn it_is_told_with_what_was_called_and_why_and_always_under_the_same_id() {
    let function = off_after(60);
    let disable = Disable {
        project: function.project.clone(),
        function: function.name.clone(),
        reason: "because".to_owned(),
        at: at(70),
        revision: function.revision,
    };
    let event = event_about(&function, &disable);
    assert_eq!(event.event_type.number(), Some(9001));
    assert_eq!(event.event_type.as_str(), "system.function.disabled");
    assert!(event.event_type.is_systems_own() && !event.event_type.is_dead_letter());
    assert_eq!(event.subject.as_deref(), Some("functions/shop/welcome"));
    assert_eq!(event.eid.accepted_at(), at(70));
    let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
    let expected = serde_json::json!({
        "function": "shop/welcome",
        "reason": "because",
        "at": at(70).to_string(),
        "url": "https://shop.example/hooks",
    });
    assert_eq!(data, expected);
    assert_eq!(event, event_about(&function, &disable));
    let later = Disable {
        revision: 8,
        ..disable
    };
    assert_ne!(event.eid, event_about(&function, &later).eid);
}
