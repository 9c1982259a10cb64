//! Services behind the API gateway.

use std::sync::Arc;

use domain::api_event::{Description, DescriptionKind, OnError, Script};
use domain::gateway::{AccessRule, GatewayService};
use domain::registry::Change;
use jiff::Timestamp;
use storage::Error;

use crate::Stores;
use crate::registry::{function, trigger, with_acme};

fn service(name: &str) -> GatewayService {
    let at = Timestamp::from_second(1_795_000_000).unwrap();
    let operations = vec!["makes.count.get".to_owned(), "makes.{make}.get".to_owned()];
    GatewayService {
        project: "acme".parse().unwrap(),
        name: name.parse().unwrap(),
        base_url: "https://cars.example/v1".parse().unwrap(),
        access: AccessRule::Open,
        description: Arc::new(
            Description::new(name, DescriptionKind::OpenApi, operations).unwrap(),
        ),
        created_at: at,
        updated_at: at,
        revision: 0,
    }
}

pub(crate) async fn services_are_kept_with_what_their_calls_fire(stores: &Stores) {
    let store = &stores.registry;
    let (cars, db) = (service("cars"), service("db"));
    let orphan = store.create_gateway(&cars).await;
    assert!(
        matches!(
            orphan,
            Err(Error::NotFound {
                what: "project",
                ..
            })
        ),
        "{orphan:?}"
    );
    with_acme(stores).await;
    let before = store.revision().await.unwrap();
    let first = store.create_gateway(&db).await.unwrap();
    let second = store.create_gateway(&cars).await.unwrap();
    assert_eq!((first, second), (before + 1, before + 2));
    let again = store.create_gateway(&cars).await;
    assert!(
        matches!(
            again,
            Err(Error::AlreadyExists {
                what: "service",
                ..
            })
        ),
        "{again:?}"
    );

    let kept = |revision, service: &GatewayService| GatewayService {
        revision,
        ..service.clone()
    };
    let listed = store.gateways(&cars.project).await.unwrap();
    assert_eq!(listed, [kept(second, &cars), kept(first, &db)]);
    assert_eq!(
        listed[0].description.operations(),
        cars.description.operations()
    );
    let changes = store.changes_since(first).await.unwrap();
    assert_eq!(changes.changes, [Change::Gateway(kept(second, &cars))]);

    let deleted = store
        .delete_gateway(&cars.project, &cars.name)
        .await
        .unwrap();
    let changes = store.changes_since(second).await.unwrap();
    assert_eq!(changes.revision, deleted);
    let gone = Change::GatewayDeleted {
        project: cars.project.clone(),
        name: cars.name.clone(),
    };
    assert_eq!(changes.changes, [gone]);
    let missing = store.delete_gateway(&cars.project, &cars.name).await;
    assert!(
        matches!(
            missing,
            Err(Error::NotFound {
                what: "service",
                ..
            })
        ),
        "{missing:?}"
    );
}

pub(crate) async fn a_script_is_kept_as_it_was_made(stores: &Stores) {
    let store = with_acme(stores).await;
    let (function, mut trigger) = (function("guard"), trigger("script-of-db", "guard"));
    trigger.script = Some(Box::new(Script {
        event: "db._table.{table_name}.get.pre_process".parse().unwrap(),
        priority: -3,
        allow_event_modification: true,
        on_error: OnError::Ignore,
    }));
    store
        .create_function(&function, Some(&trigger))
        .await
        .unwrap();
    let kept = store
        .trigger(&trigger.project, &trigger.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.script, trigger.script);
}
