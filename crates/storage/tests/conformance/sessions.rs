//! What ends function sessions before their time.

use domain::registry::Change;
use domain::session::{RevocationSubject, SessionRevocation};
use jiff::Timestamp;
use storage::Error;

use crate::Stores;
use crate::registry::{key, project};

fn revocation(subject: RevocationSubject, second: i64) -> SessionRevocation {
    SessionRevocation {
        project: "acme".parse().unwrap(),
        subject,
        at: Timestamp::from_second(1_795_000_000 + second).unwrap(),
        revision: 0,
    }
}

pub(crate) async fn revoked_sessions_are_told_and_forgotten(stores: &Stores) {
    let store = &stores.registry;
    let actor = RevocationSubject::Actor("u/1 ü".to_owned());
    let missing = store.revoke_sessions(&revocation(actor.clone(), 0)).await;
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
    let first_key = key("tlk_first", "acme");
    store
        .create_project(&project("acme"), &first_key)
        .await
        .unwrap();
    let function = RevocationSubject::Function("shop/welcome".parse().unwrap());
    let known = async || {
        let snapshot = store.snapshot().await.unwrap();
        let changes = snapshot.changes.into_iter();
        let revoked = changes.filter_map(|change| match change {
            Change::SessionsRevoked(revocation) => Some((revocation.subject, revocation.at)),
            _ => None,
        });
        revoked.collect::<Vec<_>>()
    };
    let first = revocation(actor.clone(), 10);
    let revision = store.revoke_sessions(&first).await.unwrap();
    let update = store.changes_since(revision - 1).await.unwrap();
    let expected = SessionRevocation {
        revision,
        ..first.clone()
    };
    assert_eq!(update.changes, [Change::SessionsRevoked(expected)]);
    // An earlier moment changes nothing, a later one does.
    store
        .revoke_sessions(&revocation(actor.clone(), 5))
        .await
        .unwrap();
    assert_eq!(known().await, [(actor.clone(), first.at)]);
    let later = revocation(actor.clone(), 20);
    store.revoke_sessions(&later).await.unwrap();
    let of_function = revocation(function.clone(), 30);
    store.revoke_sessions(&of_function).await.unwrap();
    assert_eq!(
        known().await,
        [
            (actor.clone(), later.at),
            (function.clone(), of_function.at)
        ]
    );
    // Two lives of a session later nobody needs them.
    let much_later = revocation(function.clone(), 20 + 2 * 1200 + 1);
    store.revoke_sessions(&much_later).await.unwrap();
    assert_eq!(known().await, [(function, much_later.at)]);
}
