//! What of trigger tables and trigger resources is taken, and what it matches.

use super::super::sample::{errors, shown, target};
use super::*;
use crate::event::{Event, sample};

const TABLE: &str = "storage.s3-for-trigger.delete:
    - my-package.number-func
    - my-package.other-func
    - lonely-func
    - my-package.unknown
event-queue:
    - my-package.number-func
unused: []
";

fn functions() -> Target {
    target(&["my-package/number-func", "my-package/other-func", "handler"])
}

fn event(event_type: &str, subject: &str) -> Event {
    Event {
        project: "acme".parse().unwrap(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: Some(subject.to_owned()),
        ..sample::event(1)
    }
}

fn called(reading: &Reading, event: &Event) -> Vec<String> {
    let triggers = reading.plan.triggers.iter();
    let called = triggers.filter(|trigger| trigger.matches(event).is_some());
    called.map(|trigger| trigger.function.to_string()).collect()
}

#[test]
fn s4_37_a_trigger_table_is_taken_and_entries_without_a_package_are_told() {
    let reading = read(TABLE.as_bytes(), &functions());
    assert_eq!(
        shown(&reading.findings),
        ["4:5 YC_NO_PACKAGE ", "5:5 YC_FUNCTION_UNKNOWN "]
    );
    assert!(!reading.has_errors());
    let deleted = event(
        "yandex.cloud.events.storage.ObjectDelete",
        "object-storage/s3-for-trigger/dev%2F0_15.jpg",
    );
    assert_eq!(
        called(&reading, &deleted),
        ["my-package/number-func", "my-package/other-func"]
    );
    let created = event(
        "yandex.cloud.events.storage.ObjectCreate",
        "object-storage/s3-for-trigger/a",
    );
    assert_eq!(called(&reading, &created), [""; 0]);
    let message = event(
        "yandex.cloud.events.messagequeue.QueueMessage",
        "queues/event-queue",
    );
    assert_eq!(called(&reading, &message), ["my-package/number-func"]);
}

#[test]
fn a_table_that_is_none_is_told_line_by_line() {
    let reading = read(
        b"\n  - a.b\nnonsense\n  - a.b\nstorage.b.move:\nstorage.x.create:\n",
        &functions(),
    );
    assert_eq!(
        shown(&reading.findings),
        ["2:3 YC_TABLE ", "3:1 YC_TABLE ", "5:1 YC_TRIGGER_ID "]
    );
    assert_eq!(reading.plan, Plan::default());
    let queue =
        "\"yrn:yc:ymq:ru-central1:21i6v06sqmsaoeon7nus:event-queue\":\n - my-package.number-func";
    let reading = read(queue.as_bytes(), &functions());
    let message = event("queue.message.receive", "queues/event-queue");
    assert_eq!(called(&reading, &message), ["my-package/number-func"]);
}

const STORAGE: &str = r#"{
  "id": "a1s", "name": "pictures", "status": "ACTIVE",
  "rule": {"object_storage": {
    "event_type": ["OBJECT_STORAGE_EVENT_TYPE_CREATE_OBJECT", "OBJECT_STORAGE_EVENT_TYPE_UPDATE_OBJECT"],
    "bucket_id": "s3-for-trigger", "prefix": "dev/", "suffix": ".jpg",
    "invoke_function": {"function_id": "handler", "retry_settings": {"retry_attempts": "3", "interval": "10s"}}
  }}
}"#;

#[test]
fn s4_30_prefix_and_suffix_must_both_hold() {
    let reading = read(STORAGE.as_bytes(), &functions());
    assert_eq!(reading.findings, []);
    let created = |key: &str| {
        event(
            "file.object.create",
            &format!("object-storage/s3-for-trigger/{key}"),
        )
    };
    assert_eq!(
        called(&reading, &created("dev%2F0_15.jpg")),
        ["shop/handler"]
    );
    for key in ["dev%2F0_15.png", "prod%2F0_15.jpg", "0_15.jpg"] {
        assert_eq!(called(&reading, &created(key)), [""; 0], "{key}");
    }
    let deleted = event(
        "file.object.delete",
        "object-storage/s3-for-trigger/dev%2F0_15.jpg",
    );
    assert_eq!(called(&reading, &deleted), [""; 0]);
}

#[test]
fn s4_32_retries_are_1_to_5_and_10_to_60_seconds_apart() {
    let policy = |attempts: &str, interval: &str| {
        let text = STORAGE
            .replace("\"3\"", attempts)
            .replace("\"10s\"", interval);
        let reading = read(text.as_bytes(), &functions());
        match errors(&reading.findings).first() {
            Some(code) => Err(*code),
            None => Ok(reading.plan.triggers[0].retry.clone()),
        }
    };
    for (attempts, interval, seconds) in [
        ("\"1\"", "\"10s\"", 10),
        ("5", "\"60s\"", 60),
        ("\"2\"", "30", 30),
    ] {
        let policy = policy(attempts, interval).unwrap();
        assert_eq!(policy.interval, Duration::from_secs(seconds));
        assert!(policy.check().is_ok());
    }
    for (attempts, interval) in [
        ("\"0\"", "\"10s\""),
        ("6", "\"10s\""),
        ("3", "\"9s\""),
        ("3", "\"61s\""),
        ("\"x\"", "\"10s\""),
        ("3", "\"NaN\""),
    ] {
        assert_eq!(
            policy(attempts, interval),
            Err("YC_RETRY"),
            "{attempts} {interval}"
        );
    }
    let text = STORAGE.replace(
        r#", "retry_settings": {"retry_attempts": "3", "interval": "10s"}"#,
        "",
    );
    let reading = read(text.as_bytes(), &functions());
    assert_eq!(
        reading.plan.triggers[0].retry.retries_max, 0,
        "no policy, no retries"
    );
}

#[test]
fn s4_34_a_timer_is_a_schedule_with_its_payload() {
    let text = r#"{"triggers": [{"name": "weekly", "status": "PAUSED", "rule": {"timer": {
        "cronExpression": "0 12 ? * 1 *", "payload": "ping",
        "invokeFunctionWithRetry": {"functionId": "handler"}}}}]}"#;
    let reading = read(text.as_bytes(), &functions());
    assert_eq!(reading.findings, []);
    let schedule = &reading.plan.schedules[0];
    assert_eq!(schedule.payload, Payload::Text("ping".to_owned()));
    assert!(!schedule.is_enabled);
    assert_eq!(schedule.trigger.name.as_str(), "weekly");
    let long = text.replace("\"ping\"", &format!("\"{}\"", "x".repeat(4097)));
    assert_eq!(
        errors(&read(long.as_bytes(), &functions()).findings),
        ["YC_PAYLOAD"]
    );
    let wrong = text.replace("0 12 ? * 1 *", "0 12 * * *");
    assert_eq!(
        errors(&read(wrong.as_bytes(), &functions()).findings),
        ["YC_CRON"]
    );
}

#[test]
fn what_is_missing_or_not_offered_is_told() {
    let check = |from: &str, to: &str| {
        let text = STORAGE.replace(from, to);
        assert_ne!(text, STORAGE);
        let reading = read(text.as_bytes(), &functions());
        let codes: Vec<_> = reading
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect();
        codes
    };
    assert_eq!(check("pictures", "P"), ["YC_NAME"]);
    assert_eq!(check("object_storage", "container_registry"), ["YC_RULE"]);
    assert_eq!(check("s3-for-trigger", ""), ["YC_BUCKET"]);
    assert_eq!(check("_CREATE_OBJECT", "_X"), ["YC_EVENT_TYPE"]);
    assert_eq!(check("\"handler\"", "\"d4e\""), ["YC_FUNCTION"]);
    assert_eq!(
        check("invoke_function", "invoke_container"),
        ["YC_FUNCTION"]
    );
    assert_eq!(
        check(
            "\"retry_settings\"",
            "\"dead_letter_queue\": {}, \"retry_settings\""
        ),
        ["YC_DLQ"]
    );
    assert_eq!(
        check(
            "\"prefix\"",
            "\"batch_settings\": {\"size\": \"10\"}, \"prefix\""
        ),
        ["YC_BATCH"]
    );
    assert_eq!(
        check("\"prefix\": \"dev/\"", "\"suffix\": \"\""),
        ["YC_DUP_KEY"]
    );
    assert_eq!(check("}}\n}", "}}\n"), ["YC_JSON"]);
    let renamed = Target {
        renamed: [("d4e".to_owned(), "shop/handler".parse().unwrap())].into(),
        ..functions()
    };
    let text = STORAGE.replace("\"handler\"", "\"d4e\"");
    assert_eq!(read(text.as_bytes(), &renamed).findings, []);
    let twice = format!("[{STORAGE}, {STORAGE}]");
    assert_eq!(
        errors(&read(twice.as_bytes(), &functions()).findings),
        ["YC_NAME"]
    );
}
