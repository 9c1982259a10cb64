//! The keys that sign the tokens of requests.

use domain::registry::Change;
use domain::token::{TokenKey, TokenKeys};
use jiff::Timestamp;
use storage::Error;

use crate::{Raw, Stores};

fn keys(project: Option<&str>, secret: &str) -> TokenKeys {
    TokenKeys {
        project: project.map(|name| name.parse().unwrap()),
        keys: vec![TokenKey {
            kid: "k1".to_owned(),
            secret: secret.to_owned(),
            signs_from: Timestamp::from_second(1_795_000_000).unwrap(),
        }],
        revision: 0,
    }
}

pub(crate) async fn token_keys_are_made_once_and_replaced(stores: &Stores) {
    let store = &stores.registry;
    let before = store.revision().await.unwrap();
    let (of_project, of_system) = (keys(Some("acme"), "first"), keys(None, "of-the-system"));
    let made = store.create_token_keys(&of_project).await.unwrap();
    assert_eq!(made, Some(before + 1));
    store.create_token_keys(&of_system).await.unwrap().unwrap();
    let again = keys(Some("acme"), "second");
    assert_eq!(store.create_token_keys(&again).await.unwrap(), None);
    assert_eq!(
        store.revision().await.unwrap(),
        before + 2,
        "nothing changed"
    );
    let secrets = async || {
        let all = store.token_keys().await.unwrap();
        let secret = |keys: TokenKeys| (keys.project.is_some(), keys.keys[0].secret.clone());
        all.into_iter().map(secret).collect::<Vec<_>>()
    };
    let of_the_system = (false, "of-the-system".to_owned());
    assert_eq!(
        secrets().await,
        [of_the_system.clone(), (true, "first".to_owned())]
    );
    let revision = store.update_token_keys(&again).await.unwrap();
    assert_eq!(
        secrets().await,
        [of_the_system, (true, "second".to_owned())]
    );
    let update = store.changes_since(revision - 1).await.unwrap();
    let expected = TokenKeys { revision, ..again };
    assert_eq!(update.changes, [Change::TokenKeys(expected)]);
    let snapshot = store.snapshot().await.unwrap();
    let in_it = snapshot.changes.iter();
    assert_eq!(
        in_it
            .filter(|change| matches!(change, Change::TokenKeys(_)))
            .count(),
        2
    );
    let missing = store.update_token_keys(&keys(Some("nobody"), "x")).await;
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
}

pub(crate) async fn token_keys_are_in_no_table_in_clear(stores: &Stores) {
    let secret = "the-secret-of-the-project";
    let keys = keys(Some("acme"), secret);
    stores.registry.create_token_keys(&keys).await.unwrap();
    let sealed: Vec<Vec<u8>> = match &stores.raw {
        Raw::Postgres { pool, .. } => sqlx::query_scalar("SELECT sealed FROM functions.token_keys")
            .fetch_all(pool)
            .await
            .unwrap(),
        Raw::Sqlite { tripline, .. } => sqlx::query_scalar("SELECT sealed FROM token_keys")
            .fetch_all(tripline)
            .await
            .unwrap(),
    };
    assert_eq!(sealed.len(), 1);
    let found = sealed[0]
        .windows(secret.len())
        .any(|part| part == secret.as_bytes());
    assert!(!found);
}
