//! Event types: the built-in ones, and those a project registers under numbers of its own.

use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{CreateTriggerRequest, Trigger};
use protocol::types::v1::{
    CreateTypeRequest, DeleteTypeRequest, Emitters, EventType, GetTypeRequest, ListTypesRequest,
    UpdateTypeRequest,
};
use tonic::{Response, Status};

use crate::support::{Handler, World};

const SCHEMA: &str = r#"{"type":"object","required":["total"]}"#;

fn fault<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Fault {
    Fault::from_status(&answer.unwrap_err())
}

async fn create(handler: &Handler, name: &str) -> EventType {
    let request = CreateTypeRequest {
        name: name.to_owned(),
        schema: SCHEMA.to_owned(),
        emitters: vec!["keys".to_owned()],
    };
    let created = handler.types().create_type(handler.with_key(request)).await;
    created.unwrap().into_inner()
}

async fn get(handler: &Handler, name: &str) -> Result<Response<EventType>, Status> {
    let name = name.to_owned();
    let request = handler.with_key(GetTypeRequest { name });
    handler.types().get_type(request).await
}

#[tokio::test]
async fn a_registered_type_has_a_number_that_is_never_anothers() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let first = create(&handler, "order.placed").await;
    let second = create(&handler, "order.paid").await;
    assert_eq!((first.number, second.number), (100_000, 100_001));
    for name in ["order.placed", "100000"] {
        let found = get(&handler, name).await.unwrap().into_inner();
        assert_eq!(found, first, "{name}");
    }
    let delete = DeleteTypeRequest {
        name: "order.paid".to_owned(),
    };
    let mut types = handler.types();
    types.delete_type(handler.with_key(delete)).await.unwrap();
    assert_eq!(
        fault(get(&handler, "order.paid").await).kind,
        FaultKind::NotFound
    );
    assert_eq!(create(&handler, "order.lost").await.number, 100_002);
    assert_eq!(create(&handler, "order.paid").await.number, 100_001);

    // Another replica knows the same of it.
    let project = "default".parse().unwrap();
    let other = Handler::start(&world).await;
    {
        let registry = other.view.read();
        let custom = registry.custom_type(&project, "order.paid").unwrap();
        assert_eq!(custom.number, 100_001);
        assert_eq!(custom.schema.as_ref().unwrap().as_str(), SCHEMA);
        assert_eq!(registry.custom_types_of(&project).count(), 3);
    }
    other.stop().await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn built_in_types_are_listed_with_what_other_systems_call_them() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    create(&handler, "order.placed").await;
    let list = async |custom_only| {
        let request = handler.with_key(ListTypesRequest { custom_only });
        let listed = handler.types().list_types(request).await.unwrap();
        listed.into_inner().types
    };
    let all = list(false).await;
    let insert = all.iter().find(|known| known.number == 1000).unwrap();
    assert!(insert.built_in);
    assert_eq!(insert.name, "storage.row.insert");
    assert_eq!(
        insert.aliases,
        ["STORAGE_INSERT", "DB_INSERT", "DATA_OBJECT_CREATED"]
    );
    assert_eq!(all.last().unwrap().name, "order.placed");
    assert_eq!(list(true).await.len(), 1);
    for name in ["2001", "AUTH_REGISTER", "auth.user.register"] {
        let found = get(&handler, name).await.unwrap().into_inner();
        assert_eq!(found.number, 2001, "{name}");
    }
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_trigger_may_name_a_registered_type_by_its_number() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    create(&handler, "order.placed").await;
    handler
        .create("welcome", "https://example.com/", &["100000"])
        .await;
    let create = |on: &str| {
        handler.with_key(CreateTriggerRequest {
            trigger: Some(Trigger {
                name: "by-number".to_owned(),
                function: "welcome".to_owned(),
                on: vec![on.to_owned()],
                ..Trigger::default()
            }),
        })
    };
    let mut triggers = handler.triggers();
    let refused = fault(triggers.create_trigger(create("100001")).await);
    assert_eq!(refused.field.as_deref(), Some("trigger.on[0]"));
    let created = triggers.create_trigger(create("100000")).await.unwrap();
    assert_eq!(created.into_inner().on, ["order.placed"]);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_type_is_refused_with_the_field_and_nothing_is_stored() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let with = |name: &str, schema: &str, emitters: &[&str]| {
        handler.with_key(CreateTypeRequest {
            name: name.to_owned(),
            schema: schema.to_owned(),
            emitters: emitters.iter().map(ToString::to_string).collect(),
        })
    };
    let mut types = handler.types();
    for (name, schema, emitters, field) in [
        ("", "", vec![], "name"),
        ("AUTH_LOGIN", "", vec![], "name"),
        ("storage.row.insert", "", vec![], "name"),
        ("100000", "", vec![], "name"),
        ("dlq_welcome", "", vec![], "name"),
        ("with space", "", vec![], "name"),
        ("order.placed", "{", vec![], "schema"),
        ("order.placed", r#"{"type":"planet"}"#, vec![], "schema"),
        ("order.placed", r##"{"$ref":"#"}"##, vec![], "schema"),
        (
            "order.placed",
            r#"{"$ref":"http://169.254.169.254/"}"#,
            vec![],
            "schema",
        ),
        ("order.placed", "", vec!["everybody"], "emitters"),
        ("order.placed", "", vec!["keys", "nobody"], "emitters"),
    ] {
        let refused = fault(types.create_type(with(name, schema, &emitters)).await);
        assert_eq!(refused.kind, FaultKind::Invalid, "{name} {schema}");
        assert_eq!(refused.field.as_deref(), Some(field), "{name} {schema}");
    }
    let listed = handler.with_key(ListTypesRequest { custom_only: true });
    let listed = types.list_types(listed).await.unwrap().into_inner();
    assert!(listed.types.is_empty());
    create(&handler, "order.placed").await;
    let twice = types.create_type(with("order.placed", "", &[])).await;
    assert_eq!(fault(twice).kind, FaultKind::AlreadyExists);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_change_replaces_what_it_names_and_leaves_the_rest() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    create(&handler, "order.placed").await;
    let update = async |schema: Option<&str>, emitters: Option<&[&str]>| {
        let request = UpdateTypeRequest {
            name: "order.placed".to_owned(),
            schema: schema.map(ToOwned::to_owned),
            emitters: emitters.map(|words| Emitters {
                emitters: words.iter().map(ToString::to_string).collect(),
            }),
        };
        let updated = handler.types().update_type(handler.with_key(request)).await;
        let updated = updated.unwrap().into_inner();
        (updated.schema, updated.emitters)
    };
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
    assert_eq!(
        update(None, Some(&["sessions", "keys"])).await,
        (SCHEMA.to_owned(), words(&["keys", "sessions"]))
    );
    assert_eq!(
        update(Some(""), None).await,
        (String::new(), words(&["keys", "sessions"]))
    );
    assert_eq!(update(None, Some(&[])).await, (String::new(), words(&[])));
    let unknown = UpdateTypeRequest {
        name: "order.lost".to_owned(),
        ..UpdateTypeRequest::default()
    };
    let mut types = handler.types();
    let answer = types.update_type(handler.with_key(unknown)).await;
    assert_eq!(fault(answer).kind, FaultKind::NotFound);
    handler.stop().await;
    world.stop().await;
}
