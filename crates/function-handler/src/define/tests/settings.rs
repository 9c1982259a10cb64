//! Settings of functions and triggers are taken whole or by mask, and refused by name.

use domain::function::{Authorization, Disabled, RateLimit, Signing, TokenAlgorithm};
use domain::trigger::{Backlog, Ordering};

use super::*;

fn settings() -> wire::FunctionSettings {
    wire::FunctionSettings {
        concurrency_max: 10,
        rate: Some(wire::RateLimit {
            per_second: 2.5,
            burst: 0,
        }),
        headers: vec![wire::HeaderField {
            name: "X-Tenant".to_owned(),
            value: "acme".to_owned(),
        }],
        signing: "both".to_owned(),
        token: "eddsa".to_owned(),
        ..wire::FunctionSettings::default()
    }
}

fn bearer(token: &str) -> wire::Credentials {
    let bearer = wire::Bearer {
        token: token.to_owned(),
    };
    wire::Credentials {
        authorization: Some(wire::Authorization {
            kind: Some(wire::authorization::Kind::Bearer(bearer)),
        }),
        client_certificate: None,
    }
}

#[test]
fn a_function_is_created_with_its_settings() {
    let (function, _) = defined(&wire::CreateFunctionRequest {
        settings: Some(settings()),
        credentials: Some(bearer("t0ken")),
        ..welcome()
    });
    let set = &function.settings;
    assert_eq!(set.concurrency_max, Some(10));
    let rate = RateLimit {
        per_second: 2.5,
        burst: 3,
    };
    assert_eq!(set.rate, Some(rate), "as many at once as come in a second");
    assert_eq!(set.headers, [("x-tenant".to_owned(), "acme".to_owned())]);
    assert_eq!(set.signing, Signing::Both);
    assert_eq!(set.token, Some(TokenAlgorithm::EdDsa));
    let token = "t0ken".to_owned();
    assert_eq!(
        function.credentials.authorization,
        Authorization::Bearer { token }
    );
}

#[test]
fn a_setting_out_of_range_is_named() {
    let with = |change: fn(&mut wire::FunctionSettings)| {
        let mut settings = settings();
        change(&mut settings);
        wire::CreateFunctionRequest {
            settings: Some(settings),
            ..welcome()
        }
    };
    let request = with(|it| it.headers[0].name = "Host".to_owned());
    check(&request, "settings.headers[0].name", "host");
    let request = with(|it| it.concurrency_max = 70_000);
    check(&request, "settings.concurrency_max", "65535");
    let request = with(|it| it.signing = "v2".to_owned());
    check(&request, "settings.signing", "v2");
    let request = with(|it| it.token = "rs256".to_owned());
    check(&request, "settings.token", "rs256");
    let request = with(|it| it.proxy = "proxy.example".to_owned());
    check(&request, "settings.proxy", "proxy.example");
    let request = with(|it| it.batching = Some(wire::Batching::default()));
    check(&request, "settings.batching.cutoff", "");
    let request = with(|it| {
        it.batching = Some(wire::Batching {
            size_max: 10,
            cutoff: Some(protocol::to_duration(std::time::Duration::from_secs(1))),
        });
    });
    check(&request, "settings.batching", "cloudevents-structured");
    let request = wire::CreateFunctionRequest {
        credentials: Some(bearer("two words")),
        ..welcome()
    };
    check(&request, "credentials.authorization.bearer.token", "");
}

#[test]
fn each_setting_changes_alone_and_together() {
    let (mut function, _) = defined(&wire::CreateFunctionRequest {
        settings: Some(settings()),
        credentials: Some(bearer("t0ken")),
        ..welcome()
    });
    let silent = wire::Function::default;
    let now = Timestamp::UNIX_EPOCH;
    change_function(&mut function, &update(silent(), &["settings.rate"]), now).unwrap();
    assert_eq!(function.settings.rate, None);
    assert_eq!(function.settings.concurrency_max, Some(10));
    assert_eq!(function.credentials.authorization.kind(), "bearer");

    change_function(&mut function, &update(silent(), &["settings"]), now).unwrap();
    assert_eq!(function.settings, FunctionSettings::default());

    let mut request = update(silent(), &["credentials.authorization"]);
    request.credentials = Some(bearer("other"));
    change_function(&mut function, &request, now).unwrap();
    let token = "other".to_owned();
    assert_eq!(
        function.credentials.authorization,
        Authorization::Bearer { token }
    );
    change_function(&mut function, &update(silent(), &["credentials"]), now).unwrap();
    let kept = Credentials {
        signing_key: function.credentials.signing_key.clone(),
        ..Credentials::default()
    };
    assert_eq!(function.credentials, kept, "all but what was made for it");
    assert!(kept.signing_key.starts_with("whsk_"));
}

#[test]
fn nobody_disables_a_function_by_hand_and_resuming_enables_it() {
    let disabled = wire::Disabled {
        reason: "by hand".to_owned(),
        at: None,
    };
    let settings = Some(wire::FunctionSettings {
        disabled: Some(disabled),
        ..settings()
    });
    let (mut function, _) = defined(&wire::CreateFunctionRequest {
        settings,
        ..welcome()
    });
    assert_eq!(function.settings.disabled, None);
    function.settings.disabled = Some(Disabled {
        reason: "the endpoint answered 410".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    });
    let resume = update(wire::Function::default(), &["settings.paused"]);
    change_function(&mut function, &resume, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(function.settings.disabled, None);
}

#[test]
fn a_trigger_has_a_filter_options_and_a_template() {
    let wanted = wire::Trigger {
        name: "shaped".to_owned(),
        function: "welcome".to_owned(),
        filter: "data.total > 10".to_owned(),
        options: [("db".to_owned(), "pg,mongo".to_owned())].into(),
        template: "{{ data }}".to_owned(),
        ..wire::Trigger::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    let mut made = trigger(&project(), &wanted, now).unwrap();
    assert_eq!(made.filter.as_ref().unwrap().as_str(), "data.total > 10");
    let template = made.template.clone().unwrap();
    assert_eq!(template.content_type(), "application/json");

    let text = wire::Trigger {
        template: "{{ event.id }}".to_owned(),
        template_content_type: "text/plain".to_owned(),
        ..wire::Trigger::default()
    };
    change_trigger(
        &mut made,
        &text,
        Some(&mask(&["template_content_type"])),
        now,
    )
    .unwrap();
    let template = made.template.clone().unwrap();
    assert_eq!(
        (template.as_str(), template.content_type()),
        ("{{ data }}", "text/plain")
    );
    change_trigger(&mut made, &text, Some(&mask(&["template"])), now).unwrap();
    assert_eq!(made.template.as_ref().unwrap().as_str(), "{{ event.id }}");
    let silent = wire::Trigger::default();
    let paths = mask(&["template", "filter", "options"]);
    change_trigger(&mut made, &silent, Some(&paths), now).unwrap();
    assert_eq!((made.template, made.filter), (None, None));
    assert!(made.options.is_empty());

    let fault = |change: fn(&mut wire::Trigger)| {
        let mut wrong = wanted.clone();
        change(&mut wrong);
        trigger(&project(), &wrong, now).unwrap_err()
    };
    let refused = fault(|it| it.filter = "data.total >\n> 1".to_owned());
    assert_eq!(refused.field.as_deref(), Some("filter"));
    assert!(refused.message.contains("line 2"), "{}", refused.message);
    let refused = fault(|it| it.template = "\n{% if %}".to_owned());
    assert_eq!(refused.field.as_deref(), Some("template"));
    assert!(refused.message.contains("line 2"), "{}", refused.message);
    let refused = fault(|it| it.options = [("Db".to_owned(), String::new())].into());
    assert_eq!(refused.field.as_deref(), Some("options"));
}

#[test]
fn batching_is_for_formats_that_carry_several() {
    let batching = wire::Batching {
        size_max: 10,
        cutoff: Some(Duration {
            seconds: 1,
            nanos: 0,
        }),
    };
    let request = |format: &str| wire::CreateFunctionRequest {
        format: format.to_owned(),
        settings: Some(wire::FunctionSettings {
            batching: Some(batching),
            ..settings()
        }),
        ..welcome()
    };
    for format in ["cloudevents-batch", "yandex"] {
        let (function, _) = defined(&request(format));
        assert_eq!(function.settings.batching.unwrap().size_max, 10);
    }
    for format in ["", "kii", "extremum", "cloudevents-binary"] {
        let fault = fault_of(&request(format));
        assert_eq!(fault.field.as_deref(), Some("settings.batching"));
        let allowed = fault.allowed.unwrap_or_default();
        assert!(
            allowed.contains("cloudevents-batch and yandex"),
            "{allowed}"
        );
    }
    let (mut function, _) = defined(&request("yandex"));
    let other = wire::Function {
        format: "kii".to_owned(),
        ..wire::Function::default()
    };
    let change = update(other, &["format"]);
    let fault = change_function(&mut function, &change, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(fault.field.as_deref(), Some("settings.batching"));
}

#[test]
fn s2_14_a_trigger_takes_any_2xx_unless_it_expects_json() {
    let (_, made) = defined(&wire::CreateFunctionRequest {
        on: vec!["AUTH_LOGIN".to_owned()],
        expect_json_response: true,
        ..welcome()
    });
    let mut made = made.unwrap();
    assert!(made.retry.expects_json);
    let now = Timestamp::UNIX_EPOCH;
    let silent = wire::Trigger::default();
    change_trigger(&mut made, &silent, Some(&mask(&["retry"])), now).unwrap();
    assert!(made.retry.expects_json, "the policy is another matter");
    let paths = mask(&["expect_json_response"]);
    change_trigger(&mut made, &silent, Some(&paths), now).unwrap();
    assert!(!made.retry.expects_json);
}

#[test]
fn a_policy_has_waits_and_limits_and_goes_back_to_its_defaults() {
    let seconds = |seconds| Duration { seconds, nanos: 0 };
    let wanted = wire::Trigger {
        name: "patient".to_owned(),
        function: "welcome".to_owned(),
        retry: Some(wire::RetryPolicy {
            waits: vec![seconds(1), seconds(300)],
            total_max: Some(seconds(3600)),
            retry_after_max: Some(seconds(0)),
            final_statuses: Some("400-404,410".to_owned()),
            connect_timeout: Some(seconds(1)),
            first_byte_timeout: Some(seconds(2)),
            ..wire::RetryPolicy::default()
        }),
        ..wire::Trigger::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    let mut made = trigger(&project(), &wanted, now).unwrap();
    let retry = &made.retry;
    assert_eq!(retry.backoff, Backoff::Listed);
    assert_eq!(retry.retries_max, 2, "as many as waits");
    assert!(retry.final_statuses.contains(402) && retry.retry_after_max.is_zero());
    assert_eq!(retry.connect_timeout.unwrap().as_secs(), 1);

    let silent = wire::Trigger {
        retry: Some(wire::RetryPolicy::default()),
        ..wire::Trigger::default()
    };
    let paths = mask(&[
        "retry.waits",
        "retry.retries",
        "retry.total_max",
        "retry.retry_after_max",
        "retry.final_statuses",
        "retry.connect_timeout",
        "retry.first_byte_timeout",
    ]);
    change_trigger(&mut made, &silent, Some(&paths), now).unwrap();
    assert_eq!(made.retry, RetryPolicy::default());

    let mut wrong = wanted;
    wrong.retry.as_mut().unwrap().final_statuses = Some("200".to_owned());
    let fault = trigger(&project(), &wrong, now).unwrap_err();
    assert_eq!(fault.field.as_deref(), Some("retry.final_statuses"));
}

#[test]
fn a_trigger_has_an_order_and_a_depth() {
    let wanted = wire::Trigger {
        name: "in-order".to_owned(),
        function: "welcome".to_owned(),
        ordering: "key".to_owned(),
        backlog: "latest".to_owned(),
        depth_max: Some(2),
        ..wire::Trigger::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    let mut made = trigger(&project(), &wanted, now).unwrap();
    assert_eq!(made.ordering, Ordering::Key);
    assert_eq!(made.backlog, Backlog::Latest);
    assert_eq!(made.depth_max, 2);
    let silent = wire::Trigger::default();
    let paths = mask(&["ordering", "backlog", "depth_max"]);
    change_trigger(&mut made, &silent, Some(&paths), now).unwrap();
    assert_eq!(made.ordering, Ordering::None);
    assert_eq!(made.backlog, Backlog::All);
    assert_eq!(made.depth_max, DEPTH_MAX);
    for (wrong, field) in [
        (
            wire::Trigger {
                ordering: "fifo".to_owned(),
                ..wanted.clone()
            },
            "ordering",
        ),
        (
            wire::Trigger {
                backlog: "some".to_owned(),
                ..wanted.clone()
            },
            "backlog",
        ),
        (
            wire::Trigger {
                depth_max: Some(65),
                ..wanted
            },
            "depth_max",
        ),
    ] {
        let fault = trigger(&project(), &wrong, now).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some(field));
    }
}
