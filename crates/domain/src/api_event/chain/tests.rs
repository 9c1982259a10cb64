//! Tests of chains: order, leave to change, refusals, and what a failing script does.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::api_event::Verb;
use crate::event::sample;

fn script(event: &str) -> Script {
    Script {
        event: event.parse().unwrap(),
        priority: 0,
        allow_event_modification: true,
        on_error: OnError::Fail,
    }
}

fn trigger(name: &str, script: Script) -> Arc<Trigger> {
    Arc::new(Trigger {
        script: Some(Box::new(script)),
        ..sample::trigger(name)
    })
}

const CALL: Call<'static> = Call {
    service: "db",
    path: "_table/contact",
    verb: Verb::Get,
};

fn names(triggers: &[Arc<Trigger>], phase: Phase) -> Vec<String> {
    let links = links(triggers, &CALL, phase);
    links
        .iter()
        .map(|link| link.trigger.name.to_string())
        .collect()
}

fn answered(value: Value) -> Ran {
    Ran::Answered(value.to_string().into())
}

fn pre() -> Pre {
    Pre::new(ApiRequest {
        method: "GET".to_owned(),
        ..ApiRequest::default()
    })
}

fn post(status: u16) -> Post {
    Post {
        request: pre().request,
        response: ApiResponse {
            status,
            headers: Vec::new(),
            body: Bytes::from_static(b"served").into(),
        },
    }
}

fn said(response: &ApiResponse) -> Value {
    serde_json::from_slice(&response.body.0).unwrap()
}

#[test]
fn s5_22_the_generic_script_runs_before_the_specific_one_in_every_phase() {
    for phase in Phase::ALL {
        let of =
            |name: &str, event: &str| trigger(name, script(&format!("{event}.{}", phase.as_str())));
        let triggers = [
            of("specific", "db._table.contact.get"),
            of("other", "db._table.orders.get"),
            of("generic", "db._table.{table_name}.get"),
            of("whole", "db.*"),
        ];
        assert_eq!(names(&triggers, phase), ["whole", "generic", "specific"]);
    }
}

#[test]
fn priority_goes_before_how_special_a_name_is_and_age_comes_last() {
    let first = Script {
        priority: -1,
        ..script("db._table.contact.get.pre_process")
    };
    let older = Arc::new(Trigger {
        created_at: Timestamp::UNIX_EPOCH - jiff::Span::new().seconds(1),
        ..Trigger::clone(&trigger("older", script("db._table.*.get.pre_process")))
    });
    let triggers = [
        trigger("newer", script("db._table.*.get.pre_process")),
        older,
        trigger("first", first),
    ];
    assert_eq!(
        names(&triggers, Phase::PreProcess),
        ["first", "older", "newer"]
    );
}

#[test]
fn s5_28_a_script_that_is_off_never_runs() {
    let off = Arc::new(Trigger {
        is_enabled: false,
        ..Trigger::clone(&trigger("off", script("db.*.pre_process")))
    });
    assert_eq!(names(&[off], Phase::PreProcess), Vec::<String>::new());
}

#[test]
fn s5_14_before_the_call_is_served_scripts_see_a_request_and_no_response() {
    let event = pre().event("contact");
    let members: Vec<&String> = event.keys().collect();
    assert_eq!(members, ["request", "resource"]);
    let event = post(200).event("contact");
    assert!(event.contains_key("response"));
}

#[test]
fn s5_16_without_leave_changes_are_ignored() {
    let bound = Script {
        allow_event_modification: false,
        ..script("db.*.pre_process")
    };
    let mut before = pre();
    let wanted = answered(json!({"request": {"method": "PUT"}, "response": {"content": 1}}));
    assert_eq!(before.take(&bound, &wanted), Next::Goes);
    assert_eq!(before, pre());
    let mut after = post(200);
    let wanted = answered(json!({"response": {"status_code": 500}}));
    assert_eq!(after.take(&bound, &wanted), Next::Goes);
    assert_eq!(
        after.take(&bound, &answered(json!({"rows": 1}))),
        Next::Goes
    );
    assert_eq!(after, post(200));
}

#[test]
fn s5_17_a_response_made_before_the_call_takes_its_place() {
    let mut before = pre();
    let made = answered(json!({"response": {"content": {"cached": true}}}));
    assert_eq!(before.take(&script("db.*.pre_process"), &made), Next::Goes);
    let response = before.response.unwrap();
    assert_eq!(
        (response.status, said(&response)),
        (200, json!({"cached": true}))
    );
}

#[test]
fn s5_18_an_exception_refuses_the_call_even_without_leave() {
    let bound = Script {
        allow_event_modification: false,
        ..script("db.*.pre_process")
    };
    let mut before = pre();
    let thrown = answered(
        json!({"exception": {"status_code": 400, "code": 7, "message": "Missing filter"}}),
    );
    assert_eq!(before.take(&bound, &thrown), Next::Stops);
    assert_eq!(
        said(&before.response.unwrap()),
        json!({"error": {"code": 7, "context": null, "message": "Missing filter", "status_code": 400}})
    );
}

#[test]
fn s5_21_an_exception_afterwards_replaces_the_response() {
    let mut after = post(200);
    let thrown = answered(json!({"exception": {"message": "no"}}));
    assert_eq!(
        after.take(&script("db.*.post_process"), &thrown),
        Next::Stops
    );
    assert_eq!(after.response.status, 500);
    assert_eq!(said(&after.response)["error"]["message"], "no");
}

#[test]
fn s5_20_what_a_script_returns_afterwards_becomes_the_content() {
    let mut after = post(200);
    let returned = answered(json!({"rows": [1]}));
    assert_eq!(
        after.take(&script("db.*.post_process"), &returned),
        Next::Goes
    );
    assert_eq!(said(&after.response), json!({"rows": [1]}));
}

#[test]
fn s5_23_stop_propagation_ends_the_chain_and_keeps_what_was_changed() {
    let mut before = pre();
    let stopped = answered(json!({"request": {"method": "PUT"}, "stop_propagation": true}));
    assert_eq!(
        before.take(&script("db.*.pre_process"), &stopped),
        Next::Stops
    );
    assert_eq!(before.request.method, "PUT");
    assert_eq!(before.response, None);
}

#[test]
fn s5_33_a_script_that_fails_ends_the_call_or_is_passed_over() {
    let fails = script("db.*.pre_process");
    let passed_over = Script {
        on_error: OnError::Ignore,
        ..fails.clone()
    };
    for ran in [
        Ran::Failed("no whole answer within 5s".to_owned()),
        Ran::Answered("OK".into()),
        answered(json!({"request": {"headers": {"a b": "c"}}})),
    ] {
        let mut before = pre();
        assert_eq!(before.take(&fails, &ran), Next::Stops);
        let response = before.response.unwrap();
        assert_eq!(response.status, 500);
        assert_eq!(said(&response)["error"]["code"], "script_failed");

        let mut before = pre();
        assert_eq!(before.take(&passed_over, &ran), Next::Goes);
        assert_eq!(before, pre());
    }
}
