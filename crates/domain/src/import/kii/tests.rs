//! What of Kii's hook files is taken, what is refused, and with which code and place.

use super::super::Severity;
use super::super::sample::{errors, shown, target};
use super::*;
use crate::event::{Event, sample};
use crate::event_type::EventType;
use crate::import::kii::path::Entity;
use crate::schedule::Payload;

const USERS: &str = include_str!("../../../tests/seeds/kii-users.json");
const BUCKETS: &str = include_str!("../../../tests/seeds/kii-buckets.json");
const SHAPE: &str = include_str!("../../../tests/seeds/kii-shape.json");

fn paths() -> [(&'static str, Entity); 8] {
    [
        ("kiicloud://buckets/score", Entity::Bucket),
        ("kiicloud://users/*/buckets/score", Entity::Bucket),
        ("kiicloud://groups/*/buckets/score", Entity::Bucket),
        ("kiicloud://things/*/buckets/score", Entity::Bucket),
        ("kiicloud://users", Entity::User),
        ("kiicloud://groups", Entity::Group),
        ("kiicloud://things", Entity::Thing),
        ("kiicloud://installations", Entity::Installation),
    ]
}

fn file(path: &str, when: &str) -> String {
    format!(
        r#"{{"{path}": [{{"when": "{when}", "what": "EXECUTE_SERVER_CODE", "endpoint": "main"}}]}}"#
    )
}

fn read_text(text: &str) -> Reading {
    read(text.as_bytes(), &target(&["main", "func1", "func2"]))
}

fn event(event_type: &str, subject: &str) -> Event {
    Event {
        project: "acme".parse().unwrap(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: Some(subject.to_owned()),
        ..sample::event(1)
    }
}

/// The functions that the file's hooks call for an event.
fn called(reading: &Reading, event: &Event) -> Vec<String> {
    let triggers = reading.plan.triggers.iter();
    let called = triggers.filter(|trigger| trigger.matches(event).is_some());
    called
        .map(|trigger| trigger.function.name.to_string())
        .collect()
}

#[test]
fn s3_01_the_seeds_example_files_are_taken_without_findings() {
    for (text, count) in [(USERS, 1), (BUCKETS, 2)] {
        let reading = read_text(text);
        assert_eq!(reading.findings, []);
        assert_eq!(reading.plan.triggers.len(), count);
    }
}

#[test]
fn the_seeds_outline_has_comments_and_is_read_when_lenient() {
    let strict = read_text(SHAPE);
    assert_eq!(shown(&strict.findings), ["8:1 HOOK_JSON "]);
    assert!(strict.findings[0].message.contains("lenient"));
    let lenient = Target {
        is_lenient: true,
        ..target(&[])
    };
    // All that is wrong with it then is that its names are placeholders.
    let reading = read(SHAPE.as_bytes(), &lenient);
    assert_eq!(shown(&reading.findings), ["2:1 HOOK_PATH_UNKNOWN /<path>"]);
}

#[test]
fn s3_02_all_forms_of_bucket_paths_are_taken_and_an_owner_by_name_is_not() {
    for (path, entity) in paths() {
        if entity == Entity::Bucket {
            assert_eq!(
                read_text(&file(path, "DATA_OBJECT_CREATED")).findings,
                [],
                "{path}"
            );
        }
    }
    for path in [
        "kiicloud://users/u1/buckets/b",
        "kiicloud://buckets/",
        "kiicloud://buckets",
        "kiicloud://groups/*/buckets/",
        "kiicloud://things/*/buckets/a/b",
    ] {
        let reading = read_text(&file(path, "DATA_OBJECT_CREATED"));
        assert_eq!(errors(&reading.findings), ["HOOK_BUCKET_ID"], "{path}");
    }
}

#[test]
fn s3_03_entities_are_taken_and_topics_are_not() {
    for (path, entity) in paths() {
        let reading = read_text(&file(path, entity.triggers()[0]));
        assert_eq!(reading.findings, [], "{path}");
    }
    for path in [
        "kiicloud://topics",
        "users",
        "kiicloud://users/*",
        "",
        "kiicloud:/users",
    ] {
        let reading = read_text(&file(path, "USER_CREATED"));
        assert_eq!(errors(&reading.findings), ["HOOK_PATH_UNKNOWN"], "{path}");
    }
}

#[test]
fn s3_04_each_of_the_27_triggers_is_taken_on_its_own_path() {
    let all: Vec<&str> = Entity::ALL
        .iter()
        .flat_map(|entity| entity.triggers())
        .copied()
        .collect();
    assert_eq!(all.len(), 27);
    for (path, entity) in paths() {
        for when in entity.triggers() {
            let reading = read_text(&file(path, when));
            assert_eq!(reading.findings, [], "{path} {when}");
            let trigger = &reading.plan.triggers[0];
            assert_eq!(
                trigger.on[0].exact().unwrap(),
                &EventType::parse(when).unwrap()
            );
        }
    }
}

#[test]
fn s3_05_each_trigger_is_refused_on_the_other_paths_with_what_is_allowed() {
    let mut refused = 0;
    for (path, entity) in paths() {
        if path.contains('*') {
            continue;
        }
        for other in Entity::ALL.into_iter().filter(|other| *other != entity) {
            for when in other.triggers() {
                let reading = read_text(&file(path, when));
                assert_eq!(
                    errors(&reading.findings),
                    ["HOOK_WHEN_UNSUPPORTED"],
                    "{path} {when}"
                );
                for allowed in entity.triggers() {
                    assert!(reading.findings[0].message.contains(allowed));
                }
                assert_eq!(reading.plan, Plan::default());
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 108);
}

#[test]
fn s3_06_a_hook_executes_server_code_and_nothing_else() {
    for what in [r#""SEND_MAIL""#, "null", "1", r#""execute_server_code""#] {
        let text =
            file("kiicloud://users", "USER_CREATED").replace(r#""EXECUTE_SERVER_CODE""#, what);
        assert_eq!(errors(&read_text(&text).findings), ["HOOK_WHAT"], "{what}");
    }
    let without = r#"{"kiicloud://users": [{"when": "USER_CREATED", "endpoint": "main"}]}"#;
    assert_eq!(
        shown(&read_text(without).findings),
        ["1:23 HOOK_WHAT /kiicloud:~1~1users/0"]
    );
}

#[test]
fn s3_07_an_app_buckets_hook_is_not_called_for_a_users_bucket_of_the_same_id() {
    let reading = read_text(&file("kiicloud://buckets/score", "DATA_OBJECT_CREATED"));
    let app = event("DATA_OBJECT_CREATED", "apps/a1/buckets/score/objects/o1");
    assert_eq!(called(&reading, &app), ["main"]);
    for subject in [
        "users/u1/buckets/score/objects/o1",
        "apps/a1/buckets/other/objects/o1",
    ] {
        assert_eq!(
            called(&reading, &event("DATA_OBJECT_CREATED", subject)),
            [""; 0]
        );
    }
}

#[test]
fn s3_08_a_users_buckets_hook_is_called_for_every_user() {
    let reading = read_text(&file(
        "kiicloud://users/*/buckets/score",
        "DATA_OBJECT_UPDATED",
    ));
    for user in ["u1", "u2", "someone%20else"] {
        let subject = format!("users/{user}/buckets/score/objects/o1");
        assert_eq!(
            called(&reading, &event("DATA_OBJECT_UPDATED", &subject)),
            ["main"]
        );
    }
    let group = event("DATA_OBJECT_UPDATED", "groups/g1/buckets/score/objects/o1");
    assert_eq!(called(&reading, &group), [""; 0]);
}

#[test]
fn s3_09_s3_10_each_change_of_an_object_calls_its_own_hook_of_several_on_one_path() {
    let reading = read_text(BUCKETS);
    let at = |event_type| event(event_type, "apps/a1/buckets/myBucket/objects/o1");
    assert_eq!(called(&reading, &at("DATA_OBJECT_CREATED")), ["func1"]);
    assert_eq!(called(&reading, &at("DATA_OBJECT_DELETED")), ["func2"]);
    assert_eq!(called(&reading, &at("DATA_OBJECT_UPDATED")), [""; 0]);
}

const TWICE: &str = r#"{
  "kiicloud://users": [
    {"when": "NOT_A_TRIGGER", "what": "ANYTHING", "endpoint": "nobody"},
    {"when": "USER_DELETED", "what": "EXECUTE_SERVER_CODE", "endpoint": "func1"}
  ],
  "kiicloud://users": [
    {"when": "USER_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "main"}
  ]
}"#;

#[test]
fn s3_11_of_a_path_that_stands_twice_only_the_last_counts() {
    let reading = read_text(TWICE);
    assert_eq!(
        called(&reading, &event("USER_CREATED", "users/u1")),
        ["main"]
    );
    assert_eq!(
        called(&reading, &event("USER_DELETED", "users/u1")),
        [""; 0]
    );
}

#[test]
fn s3_12_a_warning_names_the_hooks_that_were_dropped() {
    let reading = read_text(TWICE);
    assert_eq!(
        shown(&reading.findings),
        ["2:3 HOOK_DUP_PATH /kiicloud:~1~1users"]
    );
    let finding = &reading.findings[0];
    assert_eq!(finding.severity, Severity::Warning);
    assert!(
        finding.message.contains("USER_DELETED -> func1"),
        "{}",
        finding.message
    );
    assert!(
        finding.message.contains("NOT_A_TRIGGER -> nobody"),
        "{}",
        finding.message
    );
}

#[test]
fn s3_13_what_is_wrong_in_a_dropped_path_fails_nothing() {
    let reading = read_text(TWICE);
    assert!(!reading.has_errors());
    assert_eq!(reading.plan.triggers.len(), 1);
}

#[test]
fn s3_14_two_endpoints_for_one_trigger_are_refused_and_nothing_is_installed() {
    let text = r#"{
  "kiicloud://buckets/b1": [{"when": "DATA_OBJECT_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "main"}],
  "kiicloud://users": [
    {"when": "USER_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "func1"},
    {"when": "USER_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "func2"}
  ]
}"#;
    let reading = read_text(text);
    assert_eq!(
        shown(&reading.findings),
        ["5:5 HOOK_DUP_TRIGGER /kiicloud:~1~1users/1"]
    );
    assert_eq!(reading.plan, Plan::default());
    let same = text.replace("func2", "func1");
    assert_eq!(errors(&read_text(&same).findings), ["HOOK_DUP_TRIGGER"]);
}

#[test]
fn s3_15_one_endpoint_may_serve_several_triggers() {
    let text = BUCKETS.replace("func2", "func1");
    let reading = read_text(&text);
    assert_eq!(reading.findings, []);
    let functions: Vec<String> = reading
        .plan
        .triggers
        .iter()
        .map(|trigger| trigger.function.to_string())
        .collect();
    assert_eq!(functions, ["shop/func1", "shop/func1"]);
}

#[test]
fn s3_21_s3_22_triggers_that_sound_alike_are_told_apart() {
    let pairs = [
        (
            "kiicloud://things",
            "THING_USER_OWNER_ADDED",
            "THING_GROUP_OWNER_ADDED",
            "things/t1",
        ),
        (
            "kiicloud://things",
            "THING_GROUP_OWNER_REMOVED",
            "THING_USER_OWNER_REMOVED",
            "things/t1",
        ),
        (
            "kiicloud://users",
            "USER_PASSWORD_CHANGED",
            "USER_PASSWORD_RESET_COMPLETED",
            "users/u1",
        ),
    ];
    for (path, when, other, subject) in pairs {
        let reading = read_text(&file(path, when));
        assert_eq!(called(&reading, &event(when, subject)), ["main"], "{when}");
        assert_eq!(called(&reading, &event(other, subject)), [""; 0], "{when}");
    }
}

#[test]
fn s3_20_s3_24_connections_and_installations_call_their_hooks() {
    for (path, when, subject) in [
        ("kiicloud://things", "THING_CONNECTED", "things/t1"),
        ("kiicloud://things", "THING_DISCONNECTED", "things/t1"),
        (
            "kiicloud://installations",
            "INSTALLATION_CREATED",
            "installations/i1",
        ),
        (
            "kiicloud://installations",
            "INSTALLATION_DELETED",
            "installations/i1",
        ),
    ] {
        let reading = read_text(&file(path, when));
        assert_eq!(called(&reading, &event(when, subject)), ["main"], "{when}");
    }
}

#[test]
fn s3_23_a_change_of_a_users_attributes_is_what_disabling_one_can_be_seen_by() {
    let text = file("kiicloud://users", "USER_DISABLED");
    assert_eq!(errors(&read_text(&text).findings), ["HOOK_WHEN_UNKNOWN"]);
    let reading = read_text(&file("kiicloud://users", "USER_UPDATED"));
    assert_eq!(
        called(&reading, &event("USER_UPDATED", "users/u1")),
        ["main"]
    );
}

#[test]
fn s3_29_what_a_function_causes_calls_no_hook() {
    let reading = read_text(USERS);
    let trigger = &reading.plan.triggers[0];
    let by_client = event("USER_CREATED", "users/u1");
    assert!(!trigger.takes_for_loop(&by_client));
    let by_function = Event {
        depth: 1,
        ..by_client
    };
    assert!(trigger.takes_for_loop(&by_function));
}

#[test]
fn s3_31_a_run_has_20_seconds_and_parameters_stay_below_100_kb() {
    assert_eq!(
        read_text(USERS).plan.triggers[0].retry.timeout,
        Duration::from_secs(20)
    );
    let job = |parameters: &str| {
        format!(
            r#"{{"kiicloud://scheduler": {{"Daily": {{"cron": "0 3 * * *", "what": "EXECUTE_SERVER_CODE", "endpoint": "main", "parameters": {parameters}}}}}}}"#
        )
    };
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(100 * 1024));
    for refused in [&*large, "[1]", "\"text\"", "null"] {
        assert_eq!(errors(&read_text(&job(refused)).findings), ["HOOK_PARAMS"]);
    }
    assert_eq!(read_text(&job("{}")).findings, []);
}

const JOBS: &str = r#"{
  "kiicloud://scheduler": {
    "HourlyJob": {
      "cron": "15 * * * *",
      "endpoint": "main",
      "parameters": {"arg1": "hoge", "arg2": 123.450},
      "what": "EXECUTE_SERVER_CODE"
    },
    "Weekdays": {"cron": "0 5 * * MON-FRI", "endpoint": "func1", "what": "EXECUTE_SERVER_CODE"}
  }
}"#;

#[test]
fn s3_25_jobs_are_taken_with_their_parameters_as_they_stand() {
    let reading = read_text(JOBS);
    assert_eq!(reading.findings, []);
    let [hourly, weekdays] = &*reading.plan.schedules else {
        panic!("{:?}", reading.plan)
    };
    assert_eq!(hourly.job, "HourlyJob");
    assert_eq!(hourly.trigger.name.as_str(), "shop-hourlyjob");
    assert_eq!(hourly.trigger.function.to_string(), "shop/main");
    let parameters = r#"{"arg1": "hoge", "arg2": 123.450}"#;
    assert_eq!(hourly.payload, Payload::Parameters(parameters.to_owned()));
    assert_eq!(weekdays.payload, Payload::None);
}

#[test]
fn s3_27_a_job_that_stands_twice_is_the_last_one_and_that_is_a_warning() {
    let text = JOBS.replace("Weekdays", "HourlyJob");
    let reading = read_text(&text);
    assert_eq!(
        shown(&reading.findings),
        ["3:5 HOOK_DUP_JOB /kiicloud:~1~1scheduler/HourlyJob"]
    );
    assert!(!reading.has_errors());
    assert_eq!(reading.plan.schedules.len(), 1);
    assert_eq!(reading.plan.schedules[0].cron.as_str(), "0 5 * * MON-FRI");
}

#[test]
fn s3_28_one_schedule_under_two_names_is_two() {
    let text = JOBS.replace("0 5 * * MON-FRI", "15 * * * *");
    let schedules = read_text(&text).plan.schedules;
    assert_eq!(schedules.len(), 2);
    assert_eq!(schedules[0].cron, schedules[1].cron);
    assert_ne!(schedules[0].trigger.name, schedules[1].trigger.name);
}

#[test]
fn s3_34_every_code_comes_with_line_column_and_pointer() {
    let cases: &[(&str, &[&str])] = &[
        ("[]", &["1:1 HOOK_SHAPE "]),
        ("{}", &["1:1 HOOK_EMPTY "]),
        ("{\n \"a\": }", &["2:7 HOOK_JSON "]),
        (
            "{\"kiicloud://users\": {}}",
            &["1:22 HOOK_SHAPE /kiicloud:~1~1users"],
        ),
        (
            "{\"kiicloud://users\": []}",
            &["1:22 HOOK_EMPTY /kiicloud:~1~1users"],
        ),
        (
            "{\"kiicloud://users\":\n [1]}",
            &["2:3 HOOK_SHAPE /kiicloud:~1~1users/0"],
        ),
        (
            "{\"kiicloud://scheduler\": []}",
            &["1:26 HOOK_SHAPE /kiicloud:~1~1scheduler"],
        ),
        (
            "{\"kiicloud://scheduler\": {}}",
            &["1:26 HOOK_EMPTY /kiicloud:~1~1scheduler"],
        ),
        (
            "{\"kiicloud://scheduler\": {\"a\": 1}}",
            &["1:32 HOOK_SHAPE /kiicloud:~1~1scheduler/a"],
        ),
        (
            "{\"kiicloud://users\": [{\"what\": \"EXECUTE_SERVER_CODE\", \"endpoint\": \"main\"}]}",
            &["1:23 HOOK_WHEN_MISSING /kiicloud:~1~1users/0"],
        ),
        (
            "{\"kiicloud://users\": [{\n\"when\": \"日本\", \"when\": 7, \"what\": \"EXECUTE_SERVER_CODE\", \"endpoint\": \"main\"}]}",
            &[
                "2:15 HOOK_DUP_KEY /kiicloud:~1~1users/0/when",
                "2:23 HOOK_WHEN_UNKNOWN /kiicloud:~1~1users/0/when",
            ],
        ),
        (
            "{\"kiicloud://users\": [{\"when\": \"USER_CREATED\", \"what\": \"EXECUTE_SERVER_CODE\", \"endpoint\": \"\", \"note\": 1}]}",
            &[
                "1:91 HOOK_ENDPOINT /kiicloud:~1~1users/0/endpoint",
                "1:95 HOOK_UNKNOWN_FIELD /kiicloud:~1~1users/0/note",
            ],
        ),
        (
            "{\"kiicloud://scheduler\": {\"a\": {\"cron\": \"0 0 0 * * *\", \"what\": \"EXECUTE_SERVER_CODE\", \"endpoint\": \"__kii_x\"}}}",
            &[
                "1:41 HOOK_CRON /kiicloud:~1~1scheduler/a/cron",
                "1:99 HOOK_ENDPOINT /kiicloud:~1~1scheduler/a/endpoint",
            ],
        ),
    ];
    for (text, found) in cases {
        assert_eq!(shown(&read_text(text).findings), *found, "{text}");
    }
    let text = file("kiicloud://users", "USER_CREATED").replace("main", "nobody");
    let reading = read_text(&text);
    assert_eq!(errors(&reading.findings), ["HOOK_ENDPOINT_UNKNOWN"]);
    assert!(reading.findings[0].message.contains("func1, func2, main"));
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_refused_with_the_place() {
    let large = " ".repeat(super::super::FILE_BYTES_MAX + 1);
    assert_eq!(
        errors(&read(large.as_bytes(), &target(&[])).findings),
        ["HOOK_JSON"]
    );
    let reading = read(b"{\n\"\xff\"}", &target(&[]));
    assert_eq!(shown(&reading.findings), ["2:2 HOOK_JSON "]);
}

#[test]
fn a_file_with_very_many_hooks_is_refused() {
    let hooks: Vec<String> = (0..=super::super::TRIGGERS_MAX)
        .map(|number| {
            format!(r#""kiicloud://buckets/b{number}": [{{"when": "DATA_OBJECT_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "main"}}]"#)
        })
        .collect();
    let text = format!("{{{}}}", hooks.join(","));
    assert_eq!(errors(&read_text(&text).findings), ["HOOK_SHAPE"]);
}
