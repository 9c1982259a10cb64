//! What the door lets in, what it fills in, and what it says of the rest.

use super::*;

const CALL_TRACE: &str = "00-abababababababababababababababab-abababababababab-00";

fn call(dialect: Dialect) -> Call {
    Call {
        project: "acme".parse().unwrap(),
        session: None,
        dialect,
        traceparent: None,
        lineage: None,
    }
}

fn circumstances() -> Circumstances {
    Circumstances {
        now: "2026-11-22T01:15:31.123456Z".parse().unwrap(),
        random: [7; 10],
        traceparent: CALL_TRACE.to_owned(),
        data_bytes_max: domain::event::DATA_BYTES_MAX,
    }
}

fn draft() -> Draft {
    Draft {
        id: Some("1".to_owned()),
        source: Some("/shop".to_owned()),
        event_type: Some("order.placed".to_owned()),
        ..Draft::default()
    }
}

fn check(draft: Draft) -> Result<Event, Fault> {
    accept(draft, &call(Dialect::CloudEventsJson), circumstances())
}

/// The fault of a draft, as field, value and what is allowed.
fn fault(draft: Draft) -> (String, String, String) {
    let fault = check(draft).unwrap_err();
    (
        fault.field.unwrap(),
        fault.value.unwrap(),
        fault.allowed.unwrap(),
    )
}

#[test]
fn a_type_alone_is_an_event() {
    let draft = Draft {
        event_type: Some("order.placed".to_owned()),
        ..Draft::default()
    };
    let event = accept(draft, &call(Dialect::PlainJson), circumstances()).unwrap();
    assert_eq!(event.id, event.eid.to_string());
    assert_eq!(event.source, "/projects/acme");
    assert_eq!(event.time, event.accepted_at);
    assert_eq!(event.data_content_type, None);
    assert_eq!(event.traceparent.as_deref(), Some(CALL_TRACE));
}

#[test]
fn an_alias_becomes_the_canonical_name_and_data_is_json_unless_said_otherwise() {
    let event = check(Draft {
        event_type: Some("AUTH_REGISTER".to_owned()),
        data: "{}".into(),
        ..draft()
    })
    .unwrap();
    assert_eq!(event.event_type.as_str(), "auth.user.register");
    assert_eq!(event.data_content_type.as_deref(), Some("application/json"));
}

#[test]
fn a_type_is_needed_and_must_not_read_as_a_number() {
    for empty in [None, Some(String::new())] {
        let (field, ..) = fault(Draft {
            event_type: empty,
            ..draft()
        });
        assert_eq!(field, "type");
    }
    for bad in [
        "2001",
        "order placed",
        "dlq_x",
        "dlq_orders",
        "system.delivery.dead",
    ] {
        let (field, value, allowed) = fault(Draft {
            event_type: Some(bad.to_owned()),
            ..Draft::default()
        });
        assert_eq!((field.as_str(), value.as_str()), ("type", bad));
        assert!(!allowed.is_empty());
    }
}

#[test]
fn a_cloud_event_has_an_id_and_a_source_of_its_own() {
    for absent in [None, Some(String::new())] {
        let without_id = Draft {
            id: absent.clone(),
            ..draft()
        };
        let without_source = Draft {
            source: absent,
            ..draft()
        };
        for (dialect, draft, name) in [
            (Dialect::CloudEventsJson, &without_id, "id"),
            (Dialect::CloudEventsJson, &without_source, "source"),
            (Dialect::CloudEventsHeaders, &without_id, "ce-id"),
            (Dialect::CloudEventsHeaders, &without_source, "ce-source"),
        ] {
            let fault = accept(draft.clone(), &call(dialect), circumstances()).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Invalid);
            assert_eq!(fault.field.as_deref(), Some(name));
            assert_eq!(fault.message, format!("{name} is missing"));
        }
    }
}

#[test]
fn a_fault_is_named_as_the_client_wrote_the_field() {
    let bad = Draft {
        partition_key: Some(String::new()),
        ..draft()
    };
    for (dialect, name) in [
        (Dialect::Grpc, "partition_key"),
        (Dialect::PlainJson, "partition_key"),
        (Dialect::CloudEventsJson, "partitionkey"),
        (Dialect::CloudEventsHeaders, "ce-partitionkey"),
    ] {
        let fault = accept(bad.clone(), &call(dialect), circumstances()).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some(name));
    }
}

#[test]
fn a_subject_is_a_path_without_empty_segments() {
    for bad in ["a//b", "", "/", "a\nb"] {
        let (field, value, _) = fault(Draft {
            subject: Some(bad.to_owned()),
            ..draft()
        });
        assert_eq!((field.as_str(), value.as_str()), ("subject", bad));
    }
    check(Draft {
        subject: Some("users/u1".to_owned()),
        ..draft()
    })
    .unwrap();
}

#[test]
fn texts_have_a_length_and_no_control_characters() {
    let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
    for bad in ["", "a\u{0}b", &long] {
        let (field, ..) = fault(Draft {
            id: Some(bad.to_owned()),
            ..draft()
        });
        assert_eq!(field, "id");
        let (field, ..) = fault(Draft {
            actor_id: Some(bad.to_owned()),
            ..draft()
        });
        assert_eq!(field, "actorid");
    }
    let (field, ..) = fault(Draft {
        source: Some("a b".to_owned()),
        ..draft()
    });
    assert_eq!(field, "source");
    let (field, ..) = fault(Draft {
        actor_kind: Some("user".to_owned()),
        ..draft()
    });
    assert_eq!(field, "actorid", "a kind needs an actor");
}

#[test]
fn data_is_limited_and_keeps_the_promise_of_its_media_type() {
    let large = Draft {
        data: vec![b'1'; 256 * 1024 + 1].into(),
        ..draft()
    };
    let fault = check(large).unwrap_err();
    assert_eq!(fault.kind, FaultKind::TooLarge);
    assert_eq!(fault.allowed.as_deref(), Some("at most 262144 bytes"));
    check(Draft {
        data: vec![b'1'; 256 * 1024].into(),
        ..draft()
    })
    .unwrap();

    let fault = check(Draft {
        data: "{nope".into(),
        ..draft()
    })
    .unwrap_err();
    assert_eq!(fault.field.as_deref(), Some("data"));
    assert!(fault.message.contains("not JSON"), "{}", fault.message);
    let text = Some("text/plain".to_owned());
    check(Draft {
        data: "{nope".into(),
        data_content_type: text,
        ..draft()
    })
    .unwrap();
}

#[test]
fn json_is_nested_only_so_deep() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check(Draft {
        data: nested(JSON_DEPTH_MAX).into(),
        ..draft()
    })
    .unwrap();
    let fault = check(Draft {
        data: nested(JSON_DEPTH_MAX + 1).into(),
        ..draft()
    })
    .unwrap_err();
    assert_eq!(fault.allowed.as_deref(), Some("at most 100 levels"));
    assert_eq!(json_depth(br#"{"a":"[[[\"[[","b":[1,{}]}"#), 3);
}

#[test]
fn an_extension_has_a_plain_name_and_replaces_no_field() {
    let with = |name: &str, value: &str| Draft {
        extensions: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..draft()
    };
    assert_eq!(
        check(with("tenant", "t1")).unwrap().extensions["tenant"],
        "t1"
    );
    for bad in ["Tenant", "ten-ant", "", "a23456789012345678901", "é"] {
        assert_eq!(fault(with(bad, "x")).1, bad);
    }
    assert_eq!(fault(with("subject", "x")).0, "subject");
    for derived in DERIVED_EXTENSIONS {
        assert!(check(with(derived, "x")).unwrap().extensions.is_empty());
    }
}

#[test]
fn the_trace_of_the_event_comes_before_that_of_the_call() {
    let own = CALL_TRACE.replace("ab", "12");
    let event = check(Draft {
        traceparent: Some(own.clone()),
        ..draft()
    })
    .unwrap();
    assert_eq!(event.traceparent, Some(own));
    let (field, ..) = fault(Draft {
        traceparent: Some("00-xyz".to_owned()),
        ..draft()
    });
    assert_eq!(field, "traceparent");
}

#[test]
fn an_event_for_later_is_kept_back_6_days_at_most() {
    let now = circumstances().now;
    let day = Duration::from_hours(24);
    let at = |deliver_at, delay| {
        check(Draft {
            deliver_at,
            delay,
            ..draft()
        })
        .map(|event| event.deliver_at)
    };
    assert_eq!(at(None, None).unwrap(), None);
    assert_eq!(at(Some(now + day * 6), None).unwrap(), Some(now + day * 6));
    let delayed = at(None, Some(Duration::from_secs(30))).unwrap();
    assert_eq!(delayed, Some(now + Duration::from_secs(30)));
    assert_eq!(at(Some(now - day), None).unwrap(), None, "at once");
    let refused = |deliver_at, delay| {
        let (field, value, allowed) = fault(Draft {
            deliver_at,
            delay,
            ..draft()
        });
        (field, value, allowed)
    };
    let ahead = "at most 6 days ahead, a day less than logs are kept";
    let (field, _, allowed) = refused(Some(now + day * 7), None);
    assert_eq!((field.as_str(), allowed.as_str()), ("deliverat", ahead));
    let (field, value, allowed) = refused(None, Some(day * 7));
    assert_eq!(
        (field.as_str(), value.as_str(), allowed.as_str()),
        ("delay", "7days", ahead)
    );
    assert_eq!(refused(None, Some(Duration::MAX)).0, "delay");
    let (field, _, allowed) = refused(Some(now + day), Some(day));
    assert_eq!(
        (field.as_str(), allowed.as_str()),
        ("delay", "one of the two")
    );
}
