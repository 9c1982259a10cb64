//! What strikes when, and what each strike says.

use jiff::ToSpan as _;
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(cron: &str, payload: Payload) -> Schedule {
    let made = at("2026-11-20T00:00:00Z");
    Schedule {
        project: "acme".parse().unwrap(),
        name: "nightly".parse().unwrap(),
        package: None,
        job: "Nightly".to_owned(),
        cron: Cron::parse(cron, Dialect::Cron).unwrap(),
        time_zone: "UTC".to_owned(),
        payload,
        is_enabled: true,
        next_at: None,
        last_at: None,
        created_at: made,
        updated_at: made,
    }
}

#[test]
fn of_several_missed_strikes_the_latest_is_made_up_for() {
    let schedule = schedule("0/10 * * * *", Payload::None);
    let strike = |due: &str, now: &str| schedule.strike(at(due), &TimeZone::UTC, at(now));
    assert_eq!(
        strike("2026-11-26T10:00:00Z", "2026-11-26T10:00:01Z"),
        Strike {
            at: Some(at("2026-11-26T10:00:00Z")),
            next_at: Some(at("2026-11-26T10:10:00Z")),
        }
    );
    assert_eq!(
        strike("2026-11-26T10:00:00Z", "2026-11-26T12:34:56Z"),
        Strike {
            at: Some(at("2026-11-26T12:30:00Z")),
            next_at: Some(at("2026-11-26T12:40:00Z")),
        }
    );
    // Further back than is walked through.
    assert_eq!(
        strike("2025-01-01T00:00:00Z", "2026-11-26T12:34:56Z"),
        Strike {
            at: Some(at("2026-11-26T12:30:00Z")),
            next_at: Some(at("2026-11-26T12:40:00Z")),
        }
    );
}

#[test]
fn what_was_missed_long_ago_is_left_out() {
    let monthly = schedule("0 0 1 * *", Payload::None);
    let strike = monthly.strike(
        at("2026-11-01T00:00:00Z"),
        &TimeZone::UTC,
        at("2026-11-26T00:00:00Z"),
    );
    assert_eq!(strike.at, None);
    assert_eq!(strike.next_at, Some(at("2026-12-01T00:00:00Z")));
}

#[test]
fn x_15_a_clock_that_is_put_back_by_an_hour_strikes_nothing_twice() {
    let schedule = schedule("0/10 * * * *", Payload::None);
    let now = at("2026-11-26T10:00:01Z");
    let strike = schedule.strike(at("2026-11-26T10:00:00Z"), &TimeZone::UTC, now);
    let earlier = now - 1.hour();
    // Whoever looks then finds that the next strike is still to come.
    assert!(strike.next_at.unwrap() > earlier);
    assert!(strike.next_at.unwrap() > strike.at.unwrap());
}

#[test]
fn a_strike_has_one_id_however_often_it_is_emitted() {
    let schedule = schedule("0 3 * * *", Payload::Parameters(r#"{"a": 1.0}"#.to_owned()));
    let time = at("2026-11-26T03:00:00Z");
    let event = schedule.event(time);
    assert_eq!(event, schedule.event(time));
    assert_ne!(event.eid, schedule.event(time + 24.hours()).eid);
    assert_eq!(event.subject.as_deref(), Some("schedules/nightly"));
    assert_eq!(event.event_type.number(), Some(5000));
    let data: Value = serde_json::from_slice(&event.data).unwrap();
    assert_eq!(
        data,
        json!({"trigger_id": "nightly", "job": "Nightly", "fire_time": "2026-11-26T03:00:00Z",
            "parameters": {"a": 1.0}})
    );
    assert!(
        event.data.windows(3).any(|bytes| bytes == b"1.0"),
        "as it was written"
    );
}

#[test]
fn s4_34_a_timers_message_has_trigger_id_and_payload() {
    let timer = schedule("0 3 * * *", Payload::Text("ping".to_owned()));
    let event = timer.event(at("2026-11-26T03:00:00Z"));
    let data: Value = serde_json::from_slice(&event.data).unwrap();
    assert_eq!(data["trigger_id"], "nightly");
    assert_eq!(data["payload"], "ping");
    let name = "yandex.cloud.events.serverless.triggers.TimerMessage";
    assert_eq!(event.event_type, name.parse().unwrap());
}

#[test]
fn a_schedules_trigger_is_called_by_its_strikes_alone() {
    let schedule = schedule("0 3 * * *", Payload::None);
    let trigger = Trigger::new(
        "acme".parse().unwrap(),
        "nightly".parse().unwrap(),
        "clean-up".parse().unwrap(),
        at("2026-11-20T00:00:00Z"),
    );
    let trigger = trigger.of_schedule();
    let event = schedule.event(at("2026-11-26T03:00:00Z"));
    assert!(trigger.matches(&event).is_some());
    assert_eq!(schedule_of(&event), Some(schedule.name.clone()));
    let other = Schedule {
        name: "weekly".parse().unwrap(),
        ..schedule
    };
    assert!(
        trigger
            .matches(&other.event(at("2026-11-26T03:00:00Z")))
            .is_none()
    );
}
