//! Packages: versions are kept for good, and one is in force as a whole.

use bytes::Bytes;
use domain::package::{Activation, PackageVersion};
use domain::registry::Change;
use domain::schedule::Schedule;
use jiff::Timestamp;
use storage::Error;

use crate::Stores;
use crate::registry::{function, trigger, with_function};
use crate::schedules;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + seconds, 123_456_000).unwrap()
}

fn version(number: u32) -> PackageVersion {
    PackageVersion {
        project: "acme".parse().unwrap(),
        package: "shop".parse().unwrap(),
        version: number,
        origin: "kii".to_owned(),
        document: Bytes::from_static(b"the document"),
        source: Bytes::from_static(b"{ \"the\": \"file\" }\r\n\0"),
        created_at: at(0),
        activated_at: None,
    }
}

fn activation(number: u32, replaces: Option<u32>, owned: &[&str]) -> Activation {
    Activation {
        project: "acme".parse().unwrap(),
        package: "shop".parse().unwrap(),
        version: number,
        replaces,
        functions: vec![function("shop/main")],
        functions_deleted: Vec::new(),
        triggers: vec![trigger("on-order", "shop/main")],
        triggers_owned: owned.iter().map(|name| name.parse().unwrap()).collect(),
        schedules: Vec::new(),
        at: at(5),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one version, from its coming to its going"
)]
pub(crate) async fn a_version_is_kept_as_it_is_and_put_in_force_as_a_whole(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    let (acme, shop) = ("acme".parse().unwrap(), "shop".parse().unwrap());
    assert_eq!(store.package(&acme, &shop).await.unwrap(), None);
    let before = store.revision().await.unwrap();
    let first = activation(1, None, &[]);
    store
        .deploy_version(&version(1), Some(&first))
        .await
        .unwrap();
    let stored = store
        .package_version(&acme, &shop, 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        PackageVersion {
            activated_at: Some(at(5)),
            ..version(1)
        }
    );
    let changes = store.changes_since(before).await.unwrap();
    assert_eq!(changes.revision, before + 1, "one change for all of it");
    assert_eq!(changes.changes.len(), 2);

    let mut second = activation(2, Some(1), &["on-order"]);
    second.functions = vec![function("shop/other")];
    second.functions_deleted = vec!["shop/main".parse().unwrap()];
    second.triggers = vec![trigger("on-invoice", "shop/other")];
    store
        .deploy_version(&version(2), Some(&second))
        .await
        .unwrap();
    let package = store.package(&acme, &shop).await.unwrap().unwrap();
    assert_eq!(
        (package.active_version, package.latest_version),
        (Some(2), 2)
    );
    let gone = store
        .function(&acme, &"shop/main".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(gone, None);
    let update = store.changes_since(before + 1).await.unwrap();
    let is_deletion = |change: &&Change| {
        matches!(
            change,
            Change::TriggerDeleted { .. } | Change::FunctionDeleted { .. }
        )
    };
    assert_eq!(update.changes.iter().filter(is_deletion).count(), 2);

    let mut back = activation(1, Some(2), &["on-invoice"]);
    back.functions_deleted = vec!["shop/other".parse().unwrap()];
    store.activate_version(&back).await.unwrap();
    assert!(
        store
            .trigger(&acme, &"on-order".parse().unwrap())
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .trigger(&acme, &"on-invoice".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );

    let listed = store.package_versions(&acme, &shop, None, 1).await.unwrap();
    assert!(listed.has_more);
    assert_eq!(
        (listed.items[0].version, listed.items[0].source.len()),
        (2, 0)
    );
    let listed = store
        .package_versions(&acme, &shop, Some(2), 10)
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 1);
    let packages = store.packages(&acme, None, 10).await.unwrap();
    assert_eq!(packages.items[0].active_version, Some(1));
}

pub(crate) async fn a_version_that_cannot_be_put_in_force_leaves_everything(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    let (acme, shop) = ("acme".parse().unwrap(), "shop".parse().unwrap());
    store
        .create_trigger(&trigger("on-order", "welcome"))
        .await
        .unwrap();
    let before = store.revision().await.unwrap();
    // The trigger's name is somebody else's.
    let taken = store
        .deploy_version(&version(1), Some(&activation(1, None, &[])))
        .await;
    assert!(
        matches!(
            taken,
            Err(Error::AlreadyExists {
                what: "trigger",
                ..
            })
        ),
        "{taken:?}"
    );
    // A trigger calls a function that there is not.
    let mut lost = activation(1, None, &[]);
    lost.triggers = vec![trigger("on-invoice", "shop/nobody")];
    let lost = store.deploy_version(&version(1), Some(&lost)).await;
    assert!(
        matches!(
            lost,
            Err(Error::NotFound {
                what: "function",
                ..
            })
        ),
        "{lost:?}"
    );
    assert_eq!(store.revision().await.unwrap(), before);
    assert_eq!(store.package(&acme, &shop).await.unwrap(), None);
    let function = store
        .function(&acme, &"shop/main".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(function, None);
}

pub(crate) async fn of_two_who_deploy_at_once_one_is_told_to_try_again(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    store.deploy_version(&version(1), None).await.unwrap();
    let again = store.deploy_version(&version(1), None).await;
    assert!(matches!(
        again,
        Err(Error::AlreadyExists {
            what: "version",
            ..
        })
    ));
    let skipped = store.deploy_version(&version(3), None).await;
    assert!(matches!(
        skipped,
        Err(Error::AlreadyExists {
            what: "version",
            ..
        })
    ));
    store
        .activate_version(&activation(1, None, &[]))
        .await
        .unwrap();
    store.deploy_version(&version(2), None).await.unwrap();
    let overtaken = store
        .activate_version(&activation(2, None, &["on-order"]))
        .await;
    assert!(matches!(
        overtaken,
        Err(Error::AlreadyExists {
            what: "version",
            ..
        })
    ));
    let unknown = store
        .activate_version(&activation(9, Some(1), &["on-order"]))
        .await;
    assert!(matches!(
        unknown,
        Err(Error::NotFound {
            what: "version",
            ..
        })
    ));
}

pub(crate) async fn schedules_of_a_version_come_and_go_and_keep_their_time(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    let acme = "acme".parse().unwrap();
    let nightly = |next: i64| Schedule {
        package: Some("shop".parse().unwrap()),
        ..schedules::schedule("nightly", Some(at(next)))
    };
    let mut first = activation(1, None, &[]);
    first.triggers.push(schedules::trigger("nightly"));
    first.schedules.push(nightly(60));
    store
        .deploy_version(&version(1), Some(&first))
        .await
        .unwrap();
    let mut second = activation(2, Some(1), &["on-order", "nightly"]);
    second.triggers.push(schedules::trigger("nightly"));
    second.schedules.push(nightly(999));
    store
        .deploy_version(&version(2), Some(&second))
        .await
        .unwrap();
    let stored = store
        .schedule(&acme, &"nightly".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.next_at, Some(at(60)), "it strikes as before");
    let third = activation(3, Some(2), &["on-order", "nightly"]);
    store
        .deploy_version(&version(3), Some(&third))
        .await
        .unwrap();
    let shop = "shop".parse().unwrap();
    let rest = store.schedules(&acme, Some(&shop), None, 10).await.unwrap();
    assert_eq!(rest.items, []);
}
