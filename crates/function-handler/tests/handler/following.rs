//! What is changed on one replica is soon known to every other, and to the services that follow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::access::Scope;
use domain::registry::{Change as DomainChange, Registry, Update};
use protocol::access::{INTERNAL_TOKEN_HEADER, authorise_named};
use protocol::fault::FaultKind;
use protocol::functions::v1::watch_functions_response::Change;
use protocol::functions::v1::{WatchFunctionsRequest, WatchFunctionsResponse};
use protocol::projects::v1::{CreateKeyRequest, RevokeKeyRequest};
use protocol::registry::v1::{WatchRegistryRequest, WatchRegistryResponse};
use testkit::eventually;
use tonic::{Request, Streaming};

use crate::support::{Handler, INTERNAL_TOKEN, SOON, World, event, with_token};

/// What the issue promises.
const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_change_reaches_another_replica_and_its_events_within_a_second() {
    let world = World::full().await;
    let (one, other) = (Handler::start(&world).await, Handler::start(&world).await);
    let mut outgoing = world.outgoing();

    one.create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let revision = one.view.read().revision;
    assert!(other.view.reaches(revision, A_SECOND).await, "a function");
    let request = CreateKeyRequest {
        scopes: vec!["read".to_owned()],
        note: String::new(),
    };
    let created = one
        .keys()
        .create_key(one.with_key(request))
        .await
        .unwrap()
        .into_inner();
    let (id, key) = (
        created.key.unwrap().id,
        format!("Bearer {}", created.secret),
    );
    let authorised = || authorise_named(&other.view.read(), Some(&key), None, Scope::Read, true);
    eventually(A_SECOND, "the key works everywhere", async || {
        authorised().ok()
    })
    .await;
    one.keys()
        .revoke_key(one.with_key(RevokeKeyRequest { id }))
        .await
        .unwrap();
    eventually(A_SECOND, "the key is revoked everywhere", async || {
        authorised().err()
    })
    .await;

    // Only the other one is left to match, so its own index is what counts.
    one.stop().await;
    world.publish(&[event("STORAGE_INSERT", None)]).await;
    outgoing.wait_for(1, 1).await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_thousand_changed_triggers_reach_every_replica_within_a_second() {
    const TRIGGERS: usize = 1_000;
    let world = World::full().await;
    let (one, other) = (Handler::start(&world).await, Handler::start(&world).await);
    one.create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let template = {
        let registry = one.view.read();
        let trigger = registry.triggers().next().unwrap();
        trigger.as_ref().clone()
    };
    let mut revision = 0;
    for number in 0..TRIGGERS {
        let name = format!("trigger-{number}").parse().unwrap();
        let trigger = domain::trigger::Trigger {
            name,
            ..template.clone()
        };
        revision = world.store.create_trigger(&trigger).await.unwrap();
    }
    let changed_at = Instant::now();
    for handler in [&one, &other] {
        assert!(handler.view.reaches(revision, SOON).await);
        assert_eq!(handler.view.read().triggers().count(), TRIGGERS + 1);
    }
    let took = changed_at.elapsed();
    assert!(took < A_SECOND, "{took:?}");
    one.stop().await;
    other.stop().await;
    world.stop().await;
}

async fn watch(
    handler: &Handler,
    known_revision: u64,
    functions: bool,
) -> Streaming<WatchRegistryResponse> {
    let mut request = Request::new(WatchRegistryRequest {
        functions,
        access: true,
        known_revision,
        without_secrets: false,
    });
    request
        .metadata_mut()
        .insert(INTERNAL_TOKEN_HEADER, INTERNAL_TOKEN.parse().unwrap());
    handler
        .registry()
        .watch_registry(request)
        .await
        .unwrap()
        .into_inner()
}

/// The answers up to the one that completes them.
async fn next_update(stream: &mut Streaming<WatchRegistryResponse>) -> (Update, usize) {
    let mut update = Update::default();
    for pieces in 1.. {
        let answer = tokio::time::timeout(SOON, stream.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        update.revision = answer.revision;
        update.is_snapshot |= answer.is_snapshot;
        update.changes.extend(
            answer
                .changes
                .into_iter()
                .map(|each| each.try_into().unwrap()),
        );
        if answer.is_complete {
            return (update, pieces);
        }
    }
    unreachable!("an endless range")
}

#[tokio::test]
async fn a_service_gets_everything_and_then_every_change() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut stream = watch(&handler, 0, true).await;
    let mut registry = Registry::default();

    let (snapshot, _) = next_update(&mut stream).await;
    assert!(snapshot.is_snapshot);
    registry.apply(snapshot);
    let key = Some(world.key.as_str());
    let project = registry.authorise(key, None, Scope::Manage, true).unwrap();
    let name = "welcome".parse().unwrap();
    assert_eq!(
        registry.function(&project, &name).unwrap().secret.len(),
        43,
        "with its secrets"
    );

    handler
        .create("goodbye", "http://localhost:9000/", &["1001"])
        .await;
    let (update, _) = next_update(&mut stream).await;
    assert!(!update.is_snapshot);
    registry.apply(update);
    assert_eq!(
        (registry.functions().count(), registry.triggers().count()),
        (2, 2)
    );
    let known = registry.revision;

    handler.delete("welcome").await;
    // Its sessions end first, then it is gone.
    while registry.functions().count() > 1 {
        registry.apply(next_update(&mut stream).await.0);
    }
    assert_eq!(
        (registry.functions().count(), registry.triggers().count()),
        (1, 1)
    );

    // A service that comes back is sent only what it missed.
    let (missed, _) = next_update(&mut watch(&handler, known, true).await).await;
    assert!(!missed.is_snapshot);
    assert!((2..=3).contains(&missed.changes.len()), "{missed:?}");
    let (nothing, _) = next_update(&mut watch(&handler, registry.revision, true).await).await;
    assert_eq!(
        nothing,
        Update {
            revision: registry.revision,
            ..Update::default()
        }
    );

    // One that needs no functions is shown no secrets.
    let (access, _) = next_update(&mut watch(&handler, 0, false).await).await;
    let of_access = |change: &DomainChange| {
        matches!(
            change,
            DomainChange::Project(_)
                | DomainChange::Key(_)
                | DomainChange::SessionKeys(_)
                | DomainChange::SessionsRevoked(_)
        )
    };
    assert_eq!(access.changes.len(), 4, "one of each: {access:?}");
    assert!(access.changes.iter().all(of_access), "{access:?}");
    handler.stop().await;
    assert!(
        stream.message().await.unwrap().is_none(),
        "the stream ends with the handler"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_large_registry_comes_in_pieces() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut stream = watch(&handler, 0, true).await;
    next_update(&mut stream).await;
    let template = handler
        .view
        .read()
        .triggers()
        .next()
        .unwrap()
        .as_ref()
        .clone();
    for number in 0..2_100 {
        let name = format!("trigger-{number}").parse().unwrap();
        let trigger = domain::trigger::Trigger {
            name,
            ..template.clone()
        };
        world.store.create_trigger(&trigger).await.unwrap();
    }
    let revision = world.store.revision().await.unwrap();
    assert!(handler.view.reaches(revision, SOON).await);
    let (snapshot, pieces) = next_update(&mut watch(&handler, 0, true).await).await;
    assert_eq!(snapshot.changes.len(), 2_100 + 7);
    assert!(pieces >= 3, "{pieces}");
    handler.stop().await;
    world.stop().await;
}

async fn next_shown(stream: &mut Streaming<WatchFunctionsResponse>) -> Change {
    let answer = tokio::time::timeout(SOON, stream.message()).await.unwrap();
    answer.unwrap().unwrap().change.unwrap()
}

#[tokio::test]
async fn a_person_watches_functions_and_triggers_come_and_go() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let request = CreateKeyRequest {
        scopes: vec!["read".to_owned()],
        note: String::new(),
    };
    let created = handler
        .keys()
        .create_key(handler.with_key(request))
        .await
        .unwrap()
        .into_inner();
    let request = with_token(&created.secret, WatchFunctionsRequest {});
    let mut stream = handler
        .functions()
        .watch_functions(request)
        .await
        .unwrap()
        .into_inner();

    assert!(
        matches!(next_shown(&mut stream).await, Change::Function(each) if each.name == "welcome")
    );
    assert!(
        matches!(next_shown(&mut stream).await, Change::Trigger(each) if each.name == "welcome")
    );
    assert_eq!(next_shown(&mut stream).await, Change::IsCurrent(true));
    handler
        .create("goodbye", "http://localhost:9000/", &[])
        .await;
    assert!(
        matches!(next_shown(&mut stream).await, Change::Function(each) if each.name == "goodbye")
    );
    handler.delete("welcome").await;
    let gone = BTreeSet::from([
        format!("{:?}", next_shown(&mut stream).await),
        format!("{:?}", next_shown(&mut stream).await),
    ]);
    let expected = [
        Change::FunctionDeleted("welcome".to_owned()),
        Change::TriggerDeleted("welcome".to_owned()),
    ];
    assert_eq!(gone, expected.map(|change| format!("{change:?}")).into());

    let id = created.key.unwrap().id;
    handler
        .keys()
        .revoke_key(handler.with_key(RevokeKeyRequest { id }))
        .await
        .unwrap();
    let ended = tokio::time::timeout(SOON, stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(
        protocol::fault::Fault::from_status(&ended).kind,
        FaultKind::Unauthenticated
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_calls_nobody_is_sent_no_secret() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let mut request = Request::new(WatchRegistryRequest {
        functions: true,
        access: true,
        known_revision: 0,
        without_secrets: true,
    });
    request
        .metadata_mut()
        .insert(INTERNAL_TOKEN_HEADER, INTERNAL_TOKEN.parse().unwrap());
    let mut stream = handler
        .registry()
        .watch_registry(request)
        .await
        .unwrap()
        .into_inner();
    let (everything, _) = next_update(&mut stream).await;
    handler
        .create("later", "http://localhost:9000/", &["1001"])
        .await;
    let (change, _) = next_update(&mut stream).await;
    for update in [everything, change] {
        let functions: Vec<_> = update
            .changes
            .into_iter()
            .filter_map(|change| match change {
                domain::registry::Change::Function(function) => Some(function),
                _ => None,
            })
            .collect();
        assert_eq!(functions.len(), 1);
        assert_eq!(
            (
                functions[0].secret.as_str(),
                functions[0].signing_secret.as_str()
            ),
            ("", "")
        );
    }
    handler.stop().await;
    world.stop().await;
}
