//! Services behind the gateway and scripts of their calls are created, changed and refused clearly.

use axum::body::Body;
use function_handler::Config;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{CreateTriggerRequest, Trigger};
use protocol::gateway::v1::{
    CreateServiceRequest, DeleteScriptRequest, DeleteServiceRequest, GetServiceRequest,
    ListEventsRequest, ListScriptsRequest, ListServicesRequest, PutScriptRequest, Service,
};
use serde_json::{Value, json};
use tonic::Status;
use tower::ServiceExt as _;

use crate::support::{Handler, World};

fn fault<T: std::fmt::Debug>(answer: Result<T, Status>) -> Fault {
    Fault::from_status(&answer.unwrap_err())
}

fn service(name: &str, description: &str, document: &str) -> CreateServiceRequest {
    CreateServiceRequest {
        service: Some(Service {
            name: name.to_owned(),
            base_url: "https://cars.example/v1".to_owned(),
            description: description.to_owned(),
            ..Service::default()
        }),
        document: document.to_owned().into(),
    }
}

const CARS: &str = r#"{"openapi": "3.0.0", "paths": {"/makes/count": {"get": {}}}}"#;

#[tokio::test]
async fn services_are_created_listed_and_deleted() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut gateway = handler.gateway();
    let created = gateway
        .create_service(handler.with_key(service("cars", "openapi", CARS)))
        .await;
    let created = created.unwrap().into_inner();
    assert_eq!((created.events, created.access.as_str()), (1, "key"));
    assert_eq!(
        handler.view.read().revision,
        created.revision,
        "known here at once"
    );
    gateway
        .create_service(handler.with_key(service("db", "db", "")))
        .await
        .unwrap();

    let listed = gateway
        .list_services(handler.with_key(ListServicesRequest {}))
        .await;
    let names: Vec<String> = listed
        .unwrap()
        .into_inner()
        .services
        .into_iter()
        .map(|each| each.name)
        .collect();
    assert_eq!(names, ["cars", "db"]);
    let request = ListEventsRequest {
        service: "cars".to_owned(),
    };
    let events = gateway
        .list_events(handler.with_key(request))
        .await
        .unwrap();
    assert_eq!(events.into_inner().events, ["cars.makes.count.get"]);

    let again = gateway
        .create_service(handler.with_key(service("db", "db", "")))
        .await;
    assert_eq!(fault(again).kind, FaultKind::AlreadyExists);
    let delete = || DeleteServiceRequest {
        name: "db".to_owned(),
    };
    gateway
        .delete_service(handler.with_key(delete()))
        .await
        .unwrap();
    assert_eq!(
        fault(gateway.delete_service(handler.with_key(delete())).await).kind,
        FaultKind::NotFound
    );
    let get = GetServiceRequest {
        name: "db".to_owned(),
    };
    assert_eq!(
        fault(gateway.get_service(handler.with_key(get)).await).kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn a_service_that_cannot_be_used_is_refused_and_nothing_is_stored() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut gateway = handler.gateway();
    let with = |change: fn(&mut Service)| {
        let mut request = service("cars", "", "");
        change(request.service.as_mut().unwrap());
        request
    };
    for (request, field) in [
        (CreateServiceRequest::default(), "service"),
        (
            with(|service| service.name = "Cars!".to_owned()),
            "service.name",
        ),
        (
            with(|service| service.base_url = String::new()),
            "service.base_url",
        ),
        (
            with(|service| service.base_url = "ftp://x".to_owned()),
            "service.url",
        ),
        (
            with(|service| service.base_url = "http://x/?a=b".to_owned()),
            "service.base_url",
        ),
        (
            with(|service| service.access = "all".to_owned()),
            "service.access",
        ),
        (
            with(|service| service.description = "raml".to_owned()),
            "service.description",
        ),
        (service("cars", "openapi", ""), "document"),
        (service("cars", "openapi", "{"), "document"),
        (service("cars", "wsdl", CARS), "document"),
        (service("cars", "db", CARS), "document"),
    ] {
        let fault = fault(gateway.create_service(handler.with_key(request)).await);
        assert_eq!(fault.field.as_deref(), Some(field), "{fault:?}");
    }
    let listed = gateway
        .list_services(handler.with_key(ListServicesRequest {}))
        .await;
    assert_eq!(listed.unwrap().into_inner().services, []);
}

async fn post(handler: &Handler, key: &str, event: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(format!("/v1/projects/default/scripts/{event}"))
        .header("authorization", format!("Bearer {key}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = handler.http().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn s5_27_s5_28_there_is_one_script_for_each_event_and_phase_and_new_ones_are_inactive() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    for name in ["first", "second"] {
        handler.create(name, "http://localhost:9000/", &[]).await;
    }
    let event = "db._table.contact.get.pre_process";
    let (status, saved) = post(&handler, &world.key, event, &json!({"function": "first"})).await;
    assert_eq!(status, StatusCode::CREATED, "{saved}");
    assert_eq!(
        (&saved["is_active"], &saved["allow_event_modification"]),
        (&json!(false), &json!(false))
    );
    let body = json!({"function": "second", "is_active": true, "allow_event_modification": true});
    let (status, saved) = post(&handler, &world.key, event, &body).await;
    assert_eq!(status, StatusCode::OK, "{saved}");
    assert_eq!(
        (&saved["function"], &saved["is_active"]),
        (&json!("second"), &json!(true))
    );
    // Another phase is another script.
    let other = "db._table.contact.get.post_process";
    let (status, _) = post(&handler, &world.key, other, &json!({"function": "first"})).await;
    assert_eq!(status, StatusCode::CREATED);

    let mut scripts = handler.scripts();
    let listed = scripts
        .list_scripts(handler.with_key(ListScriptsRequest {}))
        .await
        .unwrap();
    let listed = listed.into_inner().scripts;
    let events: Vec<&str> = listed
        .iter()
        .map(|script| script.api_event.as_str())
        .collect();
    assert_eq!(events, [other, event]);
    // A trigger cannot take the place either.
    let trigger = |name: &str| CreateTriggerRequest {
        trigger: Some(Trigger {
            name: name.to_owned(),
            function: "first".to_owned(),
            api_event: "db._table.contact.get".to_owned(),
            kind: "pre_process".to_owned(),
            ..Trigger::default()
        }),
    };
    let mut triggers = handler.triggers();
    let taken = triggers.create_trigger(handler.with_key(trigger(""))).await;
    assert_eq!(fault(taken).kind, FaultKind::AlreadyExists);
    let renamed = fault(
        triggers
            .create_trigger(handler.with_key(trigger("other")))
            .await,
    );
    assert_eq!(
        renamed.field.as_deref(),
        Some("trigger.name"),
        "{renamed:?}"
    );

    let delete = || DeleteScriptRequest {
        event: event.to_owned(),
    };
    scripts
        .delete_script(handler.with_key(delete()))
        .await
        .unwrap();
    assert_eq!(
        fault(scripts.delete_script(handler.with_key(delete())).await).kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn s5_29_a_script_that_cannot_be_is_refused_and_names_are_never_cut() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler.create("first", "http://localhost:9000/", &[]).await;
    let mut scripts = handler.scripts();
    let long = format!("db._table.{}.get.queued", "t".repeat(300));
    let put = |event: &str| PutScriptRequest {
        event: event.to_owned(),
        function: "first".to_owned(),
        ..PutScriptRequest::default()
    };
    let saved = scripts
        .put_script(handler.with_key(put(&long)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(saved.script.unwrap().api_event, long);
    for (event, field) in [
        ("", "event"),
        ("db._table.get", "event"),
        ("db._table.GET.queued", "event"),
        (&format!("db.{}.get.queued", "t".repeat(2000)), "event"),
    ] {
        let fault = fault(scripts.put_script(handler.with_key(put(event))).await);
        assert_eq!(fault.field.as_deref(), Some(field), "{event}: {fault:?}");
    }
    let mut odd = put("db.get.queued");
    odd.on_error = "retry".to_owned();
    let refused = fault(scripts.put_script(handler.with_key(odd)).await);
    assert_eq!(refused.field.as_deref(), Some("on_error"));
    let mut nobody = put("db.get.queued");
    nobody.function = "nobody".to_owned();
    assert_eq!(
        fault(scripts.put_script(handler.with_key(nobody)).await).kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn s5_30_where_scripting_is_switched_off_saving_a_script_answers_503() {
    let world = World::embedded().await;
    let config = Config {
        scripting: false,
        ..Config::default()
    };
    let handler = Handler::start_with(&world, config, true).await;
    handler.create("first", "http://localhost:9000/", &[]).await;
    let body = json!({"function": "first"});
    let (status, _) = post(&handler, &world.key, "db.get.queued", &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
