//! What a project has registered of its types decides who may emit them, and with which data.

use domain::Timestamp;
use domain::event_type::{CustomType, Emitters};
use domain::registry::{Change, Update};
use domain::schema::Schema;
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventsRequest, NewEvent};
use protocol::fault::{Fault, FaultKind};

use crate::harness::{System, open};

const SCHEMA: &str = r#"{
    "type": "object", "required": ["total"],
    "properties": {"total": {"type": "number", "minimum": 0}}
}"#;

/// A door in whose project `default` this type is registered.
async fn with_type(name: &str, schema: Option<&str>, emitters: Option<Emitters>) -> System {
    let system = open().await;
    let custom = CustomType {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        number: 100_000,
        schema: schema.map(|text| Schema::parse(text).unwrap()),
        emitters,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 2,
    };
    system.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![Change::EventType(custom)],
    });
    system
}

#[tokio::test]
async fn s2_35_data_that_breaks_the_schema_of_its_type_is_refused_and_nothing_is_stored() {
    let system = with_type("order.placed", Some(SCHEMA), None).await;
    for (body, field, part) in [
        (
            r#"{"type":"order.placed","data":{"total":-1}}"#,
            "data/total",
            "/properties/total/minimum",
        ),
        (r#"{"type":"order.placed","data":{}}"#, "data", "/required"),
        (r#"{"type":"order.placed","data":[1]}"#, "data", "/type"),
        (r#"{"type":"order.placed"}"#, "data", "/type"),
        (
            r#"[{"type":"a.b"},{"type":"order.placed","data":{"total":"1"}}]"#,
            "events[1].data/total",
            "/properties/total/type",
        ),
    ] {
        let answer = system.post_json(body).await;
        let [code, named, _, allowed] = answer.problem();
        assert_eq!((answer.status.as_u16(), code), (400, "invalid"), "{body}");
        assert_eq!(named, field, "{body}");
        assert!(allowed.contains(part), "{allowed}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    let binary = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.placed"),
    ];
    let answer = system.post(&binary, "total").await;
    assert_eq!(answer.problem()[..2], ["invalid", "body"]);
    assert_eq!(system.messages_stored(), 0);
    let good = r#"{"type":"order.placed","data":{"total":1.5}}"#;
    assert_eq!(system.post_json(good).await.status, 202);
    assert_eq!(system.take(1).await[0].data.as_ref(), br#"{"total":1.5}"#);
}

#[tokio::test]
async fn s2_36_who_may_not_emit_a_type_is_refused_with_403() {
    let functions_only = Some(Emitters {
        keys: false,
        sessions: true,
    });
    let system = with_type("order.placed", None, functions_only).await;
    for (event_type, part) in [
        ("order.placed", "the rule of the type \"order.placed\""),
        ("any.thing", "none is for this type"),
    ] {
        let answer = system
            .post_json(format!(r#"{{"type":"{event_type}"}}"#))
            .await;
        let [code, field, value, _] = answer.problem();
        assert_eq!(answer.status, 403);
        assert_eq!((code, field, value), ("forbidden", "type", event_type));
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(system.messages_stored(), 0);
    let built_in = system.post_json(r#"{"type":"AUTH_LOGIN"}"#).await;
    assert_eq!(built_in.status, 202, "built-in types have no rules");
    let other = "/v1/projects/acme/events";
    let json = [("content-type", "application/json")];
    let answer = system.post_to(other, &json, r#"{"type":"a.b"}"#).await;
    assert_eq!(answer.status, 202, "rules are a project's own");
}

#[tokio::test]
async fn grpc_names_event_and_pointer_too() {
    let system = with_type("order.placed", Some(SCHEMA), None).await;
    let mut client = EventServiceClient::new(system.channel().await);
    let event = |data: &'static str| NewEvent {
        r#type: "order.placed".to_owned(),
        data: data.into(),
        ..NewEvent::default()
    };
    let request = EmitEventsRequest {
        events: vec![event(r#"{"total":1}"#), event(r#"{"total":-1}"#)],
    };
    let status = client.emit_events(request).await.unwrap_err();
    let fault = Fault::from_status(&status);
    assert_eq!(fault.kind, FaultKind::Invalid);
    assert_eq!(fault.field.as_deref(), Some("events[1].data/total"));
    assert_eq!(system.messages_stored(), 0);
}
