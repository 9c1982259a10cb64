//! What of event scripts is taken, and what is asked for before it is.

use super::super::sample::{errors, shown, target};
use super::*;
use crate::pattern::PATTERN_BYTES_MAX;

fn read_text(text: &str) -> Reading {
    let renamed = [(
        "db._table.contact.get.pre_process".to_owned(),
        "shop/check".parse().unwrap(),
    )];
    let target = Target {
        renamed: renamed.into(),
        ..target(&["check"])
    };
    read(text.as_bytes(), &target)
}

const SCRIPTS: &str = r#"{"resource": [
  {"name": "db._table.{table_name}.post.pre_process", "type": "nodejs", "is_active": true,
   "allow_event_modification": true, "config": {"url": "http://svc/check"}},
  {"name": "files.{file_path}.get.queued", "is_active": false, "config": "{\"url\": \"http://svc/audit\"}"},
  {"name": "user.session.post.post_process", "config": {"url": "http://svc/check"}}
]}"#;

#[test]
fn scripts_are_taken_with_a_function_for_each_url() {
    let reading = read_text(SCRIPTS);
    assert_eq!(reading.findings, []);
    assert_eq!(reading.plan.functions.len(), 2);
    let scripts: Vec<(&str, bool)> = reading
        .plan
        .triggers
        .iter()
        .map(|trigger| trigger.script.as_deref().unwrap())
        .map(|script| (script.event.as_str(), script.allow_event_modification))
        .collect();
    assert_eq!(
        scripts,
        [
            ("db._table.{table_name}.post.pre_process", true),
            ("files.{file_path}.get.queued", false),
            ("user.session.post.post_process", false),
        ]
    );
    let on: Vec<String> = reading
        .plan
        .triggers
        .iter()
        .map(|trigger| trigger.on[0].to_string())
        .collect();
    assert_eq!(on, ["api.call.pre", "api.call.done", "api.call.post"]);
}

#[test]
fn s5_27_of_one_event_and_phase_there_is_one_script_and_the_last_counts() {
    let text = r#"[{"name": "db.get.queued", "config": {"url": "http://one/"}},
 {"name": "db.get.queued", "config": {"url": "http://two/"}}]"#;
    let reading = read_text(text);
    assert_eq!(shown(&reading.findings), ["1:2 DF_DUP_NAME /0"]);
    assert_eq!(reading.plan.triggers.len(), 1);
    assert_eq!(reading.plan.functions[0].url.as_str(), "http://two/");
    // The same script has the same name each time, so a later import changes it.
    assert_eq!(
        reading.plan.triggers[0].name,
        read_text(text).plan.triggers[0].name
    );
}

#[test]
fn s5_28_a_script_is_off_until_it_is_active() {
    let enabled: Vec<bool> = read_text(SCRIPTS)
        .plan
        .triggers
        .iter()
        .map(|trigger| trigger.is_enabled)
        .collect();
    assert_eq!(enabled, [true, false, false]);
}

#[test]
fn s5_29_a_name_is_taken_whole_or_refused_and_never_cut() {
    let long = format!("db._table.{}.get.pre_process", "x".repeat(100));
    let text = |name: &str| format!(r#"{{"name": "{name}", "config": {{"url": "http://svc/"}}}}"#);
    let reading = read_text(&text(&long));
    assert_eq!(reading.findings, []);
    let script = reading.plan.triggers[0].script.as_deref().unwrap();
    assert_eq!(script.event.as_str(), long);
    let longer = format!(
        "db._table.{}.get.pre_process",
        "x".repeat(PATTERN_BYTES_MAX)
    );
    assert_eq!(errors(&read_text(&text(&longer)).findings), ["DF_NAME"]);
}

#[test]
fn code_is_not_run_here_and_a_function_is_asked_for() {
    let text = r#"{"name": "db.get.queued", "type": "php", "content": "echo 1;"}"#;
    assert_eq!(shown(&read_text(text).findings), ["1:42 DF_CODE /content"]);
    let mapped = text.replace("db.get.queued", "db._table.contact.get.pre_process");
    let reading = read_text(&mapped);
    assert!(!reading.has_errors());
    assert_eq!(reading.findings[0].code, "DF_CODE");
    assert_eq!(reading.plan.triggers[0].function.to_string(), "shop/check");
    assert_eq!(
        errors(&read_text(r#"{"name": "db.get.queued"}"#).findings),
        ["DF_URL"]
    );
}

#[test]
fn what_is_wrong_with_a_script_is_told() {
    let check = |script: &str| {
        let text = format!(r#"[{{{script}, "config": {{"url": "http://svc/"}}}}]"#);
        let reading = read_text(&text);
        let codes: Vec<_> = reading
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect();
        codes
    };
    assert_eq!(check(r#""name": "db.get""#), ["DF_PHASE"]);
    assert_eq!(check(r#""name": "db.fetch.queued""#), ["DF_NAME"]);
    assert_eq!(check(r#""name": "get.queued""#), ["DF_NAME"]);
    assert_eq!(check(r#""name": "db..get.queued""#), ["DF_NAME"]);
    assert_eq!(check(r#""name": 7"#), ["DF_NAME"]);
    assert_eq!(
        check(r#""name": "db.get.queued", "is_active": "yes""#),
        ["DF_FLAG"]
    );
    assert_eq!(
        check(r#""name": "db.get.queued", "note": 1"#),
        ["DF_UNKNOWN_FIELD"]
    );
    assert_eq!(
        check(r#""name": "db.get.queued", "is_active": true, "is_active": false"#),
        ["DF_DUP_KEY"]
    );
    assert_eq!(errors(&read_text("7").findings), ["DF_SHAPE"]);
    assert_eq!(errors(&read_text("[").findings), ["DF_JSON"]);
    let bad_url = r#"{"name": "db.get.queued", "config": {"url": "svc"}}"#;
    assert_eq!(errors(&read_text(bad_url).findings), ["DF_URL"]);
}
