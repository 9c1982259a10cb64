//! Event types that projects register.

use domain::event_type::{CustomType, Emitters};
use domain::registry::Change;
use domain::schema::Schema;
use jiff::Timestamp;
use storage::Error;

use crate::Stores;
use crate::registry::{key, project};

fn custom(project: &str, name: &str) -> CustomType {
    let at = Timestamp::from_second(1_795_000_000).unwrap();
    CustomType {
        project: project.parse().unwrap(),
        name: name.parse().unwrap(),
        // What is passed in does not count.
        number: 7,
        schema: Some(Schema::parse(r#"{"type":"object"}"#).unwrap()),
        emitters: Some(Emitters {
            keys: true,
            sessions: false,
        }),
        created_at: at,
        updated_at: at,
        revision: 0,
    }
}

/// `acme` and `other`.
async fn projects(stores: &Stores) {
    for name in ["acme", "other"] {
        let first_key = key(&format!("tlk_{name}"), name);
        let project = project(name);
        let made = stores.registry.create_project(&project, &first_key);
        made.await.unwrap();
    }
}

pub(crate) async fn a_registered_type_has_a_number_of_its_project(stores: &Stores) {
    let store = &stores.registry;
    let missing = store.create_type(&custom("acme", "order.placed")).await;
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
    projects(stores).await;
    let placed = custom("acme", "order.placed");
    let stored = store.create_type(&placed).await.unwrap();
    let expected = CustomType {
        number: 100_000,
        revision: stored.revision,
        ..placed.clone()
    };
    assert_eq!(stored, expected);
    let update = store.changes_since(stored.revision - 1).await.unwrap();
    assert_eq!(update.changes, [Change::EventType(expected)]);
    let twice = store.create_type(&placed).await;
    assert!(
        matches!(
            twice,
            Err(Error::AlreadyExists {
                what: "event type",
                ..
            })
        ),
        "{twice:?}"
    );
    let paid = store
        .create_type(&custom("acme", "order.paid"))
        .await
        .unwrap();
    assert_eq!(paid.number, 100_001);
    let of_other = store
        .create_type(&custom("other", "order.paid"))
        .await
        .unwrap();
    assert_eq!(of_other.number, 100_000, "each project has its own");
}

pub(crate) async fn a_deleted_types_number_is_given_to_its_own_name_alone(stores: &Stores) {
    let store = &stores.registry;
    projects(stores).await;
    for name in ["order.placed", "order.paid"] {
        store.create_type(&custom("acme", name)).await.unwrap();
    }
    let bare = CustomType {
        schema: None,
        emitters: None,
        number: 100_001,
        ..custom("acme", "order.paid")
    };
    let revision = store.update_type(&bare).await.unwrap();
    let listed = store.types(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        listed[0],
        CustomType {
            revision,
            ..bare.clone()
        }
    );
    let deleted = store.delete_type(&bare.project, &bare.name).await.unwrap();
    let update = store.changes_since(deleted - 1).await.unwrap();
    let gone = Change::EventTypeDeleted {
        project: bare.project.clone(),
        name: bare.name.clone(),
    };
    assert_eq!(update.changes, [gone]);
    for missing in [
        store.update_type(&bare).await,
        store.delete_type(&bare.project, &bare.name).await,
    ] {
        assert!(
            matches!(missing, Err(Error::NotFound { .. })),
            "{missing:?}"
        );
    }
    let lost = store
        .create_type(&custom("acme", "order.lost"))
        .await
        .unwrap();
    assert_eq!(lost.number, 100_002, "the deleted one's is not given again");
    let back = store
        .create_type(&custom("acme", "order.paid"))
        .await
        .unwrap();
    assert_eq!(back.number, 100_001, "but to the same name");
    let snapshot = store.snapshot().await.unwrap();
    let types = snapshot.changes.iter();
    let types = types.filter(|change| matches!(change, Change::EventType(_)));
    assert_eq!(types.count(), 3);
}
