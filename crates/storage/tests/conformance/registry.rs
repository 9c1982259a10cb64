//! What is configured.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::access::{ApiKey, KeyHash, Scope};
use domain::filter::Filter;
use domain::format::Format;
use domain::function::{
    Authorization, Batching, ClientCertificate, Credentials, Disabled, Function, FunctionSettings,
    RateLimit, RotatingSecret, Signing, TokenAlgorithm,
};
use domain::registry::{Change, Project, Registry, Update};
use domain::retry::{Backoff, RetryPolicy};
use domain::template::Template;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use jiff::Timestamp;
use storage::{Error, RegistryStore};

use crate::{DEADLINE, Stores};

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + seconds, 123_456_000).unwrap()
}

pub(crate) fn project(name: &str) -> Project {
    Project {
        name: name.parse().unwrap(),
        created_at: at(0),
        is_paused: false,
        revision: 0,
    }
}

pub(crate) fn key(id: &str, project: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        project: project.parse().unwrap(),
        hash: KeyHash::of(id),
        scopes: vec![Scope::Emit, Scope::Read],
        note: "for tests".to_owned(),
        created_at: at(1),
        revoked_at: None,
        revision: 0,
    }
}

pub(crate) fn function(name: &str) -> Function {
    Function {
        project: "acme".parse().unwrap(),
        name: name.parse().unwrap(),
        url: "https://example.com/hook?a=b".parse().unwrap(),
        format: Format::Schmuckli,
        secret: "the-secret-of-the-function".to_owned(),
        signing_secret: "whsec_the-signing-secret".to_owned(),
        settings: settings(),
        credentials: credentials(),
        created_at: at(2),
        updated_at: at(3),
        revision: 0,
    }
}

/// Everything that can be set, each different from its default.
fn settings() -> FunctionSettings {
    FunctionSettings {
        is_paused: true,
        disabled: Some(Disabled {
            reason: "the endpoint answered 410".to_owned(),
            at: at(9),
        }),
        concurrency_max: Some(10),
        rate: Some(RateLimit {
            per_second: 0.5,
            burst: 4,
        }),
        headers: vec![("x-tenant".to_owned(), "acme".to_owned())],
        batching: Some(Batching {
            size_max: 50,
            cutoff: Duration::from_millis(250),
        }),
        disable_on_gone: true,
        disable_after: Some(Duration::from_hours(5 * 24)),
        signing: Signing::Both,
        token: Some(TokenAlgorithm::EdDsa),
        proxy: Some("http://proxy.example:3128".parse().unwrap()),
        authorities: Some("-----BEGIN CERTIFICATE-----".to_owned()),
        endpoint: Some("onOrder".to_owned()),
        parameters_schema: Some(r#"{"type":"object"}"#.to_owned()),
        answer: domain::function::AnswerShape::Enveloped,
        handlers: vec![domain::function::Handler::Main],
    }
}

fn credentials() -> Credentials {
    Credentials {
        authorization: Authorization::OAuth2 {
            token_url: "https://tokens.example/token".parse().unwrap(),
            client_id: "me".to_owned(),
            client_secret: "the-client-secret".to_owned(),
            scope: "call".to_owned(),
        },
        client_certificate: Some(ClientCertificate {
            chain_pem: "the-chain".to_owned(),
            key_pem: "the-private-key".to_owned(),
        }),
        signing_key: "whsk_the-signing-key".to_owned(),
        rotating: vec![RotatingSecret {
            secret: "the-secret-from-before".to_owned(),
            signing_key: "whsk_the-signing-key-from-before".to_owned(),
            signing_secret: "whsec_the-next".to_owned(),
            expires_at: at(99),
        }],
    }
}

pub(crate) fn trigger(name: &str, function: &str) -> Trigger {
    Trigger {
        project: "acme".parse().unwrap(),
        name: name.parse().unwrap(),
        function: function.parse().unwrap(),
        is_enabled: true,
        on: vec!["order.*".parse().unwrap(), "invoice.paid".parse().unwrap()],
        subject: Some("orders/{id}".parse().unwrap()),
        prefix: Some("a".to_owned()),
        suffix: None,
        options: [("db".to_owned(), "pg,mongo".to_owned())].into(),
        filter: Some(Filter::parse("data.total > 10").unwrap()),
        format: Some(Format::CloudEventsBinary),
        template: Some(Template::parse("{{ data }}", "application/json").unwrap()),
        retry: RetryPolicy {
            retries_max: 7,
            interval: Duration::from_millis(1500),
            backoff: Backoff::Listed,
            waits: vec![Duration::from_secs(1), Duration::from_mins(5)],
            interval_max: Duration::from_mins(2),
            jitter: 0.25,
            total_max: Duration::from_hours(2),
            retry_after_max: Duration::from_mins(10),
            final_statuses: "400-404,410".parse().unwrap(),
            connect_timeout: Some(Duration::from_millis(500)),
            expects_json: true,
            first_byte_timeout: Some(Duration::from_secs(3)),
            timeout: Duration::from_secs(9),
        },
        ordering: Ordering::Key,
        backlog: Backlog::Latest,
        depth_max: 3,
        script: None,
        created_at: at(4),
        updated_at: at(5),
        revision: 0,
    }
}

pub(crate) async fn with_acme(stores: &Stores) -> &Arc<dyn RegistryStore> {
    stores
        .registry
        .create_project(&project("acme"), &key("tlk_first", "acme"))
        .await
        .unwrap();
    &stores.registry
}

pub(crate) async fn with_function<'a>(
    stores: &'a Stores,
    name: &str,
) -> &'a Arc<dyn RegistryStore> {
    let registry = with_acme(stores).await;
    registry
        .create_function(&function(name), None)
        .await
        .unwrap();
    registry
}

pub(crate) async fn a_project_is_made_once_and_with_its_first_key(stores: &Stores) {
    let registry = with_acme(stores).await;
    let made = Project {
        revision: 1,
        ..project("acme")
    };
    assert_eq!(registry.projects().await.unwrap(), [made]);
    let keys = registry.keys(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(
        keys,
        [ApiKey {
            revision: 1,
            ..key("tlk_first", "acme")
        }]
    );
    let again = registry
        .create_project(&project("acme"), &key("tlk_other", "acme"))
        .await;
    assert!(matches!(again, Err(Error::AlreadyExists { what: "project", name }) if name == "acme"));
    assert_eq!(
        registry.revision().await.unwrap(),
        1,
        "what failed raised nothing"
    );
    registry.ping().await.unwrap();
}

pub(crate) async fn a_revoked_key_keeps_its_first_time(stores: &Stores) {
    let registry = with_acme(stores).await;
    let acme = "acme".parse().unwrap();
    registry
        .create_key(&key("tlk_second", "acme"))
        .await
        .unwrap();
    let revoked = registry
        .revoke_key(&acme, "tlk_second", at(10))
        .await
        .unwrap();
    assert_eq!(revoked.revoked_at, Some(at(10)));
    let again = registry
        .revoke_key(&acme, "tlk_second", at(20))
        .await
        .unwrap();
    assert_eq!(again.revoked_at, Some(at(10)));
    assert_eq!(again.revision, registry.revision().await.unwrap());
    let missing = registry.revoke_key(&acme, "tlk_third", at(20)).await;
    assert!(matches!(
        missing,
        Err(Error::NotFound {
            what: "API key",
            ..
        })
    ));
    let nowhere = registry.create_key(&key("tlk_third", "nobody")).await;
    assert!(matches!(
        nowhere,
        Err(Error::NotFound {
            what: "project",
            ..
        })
    ));
}

pub(crate) async fn a_function_and_its_trigger_come_back_as_given(stores: &Stores) {
    let registry = with_acme(stores).await;
    let (given, rule) = (function("shop/welcome"), trigger("welcome", "shop/welcome"));
    let revision = registry.create_function(&given, Some(&rule)).await.unwrap();
    assert_eq!(revision, 2);
    let stored = registry
        .function(&given.project, &given.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        Function {
            revision,
            ..given.clone()
        }
    );
    let stored = registry
        .trigger(&rule.project, &rule.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        Trigger {
            revision,
            ..rule.clone()
        }
    );
    assert_eq!(
        registry
            .function(&given.project, &"welcome".parse().unwrap())
            .await
            .unwrap(),
        None
    );
    let bare = Trigger {
        on: Vec::new(),
        subject: None,
        prefix: None,
        suffix: Some("\u{fc}.png".to_owned()),
        format: None,
        is_enabled: false,
        retry: RetryPolicy::default(),
        ..trigger("bare", "shop/welcome")
    };
    let revision = registry.create_trigger(&bare).await.unwrap();
    let stored = registry
        .trigger(&bare.project, &bare.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored, Trigger { revision, ..bare });
}

pub(crate) async fn secrets_are_in_no_table_in_clear(stores: &Stores) {
    with_function(stores, "welcome").await;
    for (column, secret) in [
        ("secret", "the-secret-of-the-function"),
        ("signing_secret", "whsec_the-signing-secret"),
        (
            "credentials",
            "the-client-secret, the-private-key and whsec_the-next",
        ),
    ] {
        let sealed = stores.raw.bytes_of_functions(column).await;
        assert_eq!(sealed.len(), 1);
        for word in ["secret", "whsec", "private"] {
            assert!(
                !sealed[0]
                    .windows(word.len())
                    .any(|bytes| bytes == word.as_bytes())
            );
        }
        assert!(
            sealed[0].len() > secret.len() + 24,
            "nonce and tag are there"
        );
    }
}

pub(crate) async fn names_that_are_taken_or_missing_are_told(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    registry
        .create_trigger(&trigger("orders", "welcome"))
        .await
        .unwrap();
    let before = registry.revision().await.unwrap();
    let acme = "acme".parse().unwrap();
    let taken = [
        registry.create_function(&function("welcome"), None).await,
        registry.create_trigger(&trigger("orders", "welcome")).await,
        registry.create_key(&key("tlk_first", "acme")).await,
    ];
    for outcome in taken {
        assert!(
            matches!(outcome, Err(Error::AlreadyExists { .. })),
            "{outcome:?}"
        );
    }
    let nowhere = Function {
        project: "nobody".parse().unwrap(),
        ..function("welcome")
    };
    let missing = [
        registry.create_function(&nowhere, None).await,
        registry.create_trigger(&trigger("other", "missing")).await,
        registry.update_function(&function("missing")).await,
        registry
            .update_trigger(&trigger("missing", "welcome"))
            .await,
        registry.update_trigger(&trigger("orders", "missing")).await,
        registry
            .delete_function(&acme, &"missing".parse().unwrap())
            .await,
        registry
            .delete_trigger(&acme, &"missing".parse().unwrap())
            .await,
    ];
    for outcome in missing {
        assert!(
            matches!(outcome, Err(Error::NotFound { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(registry.revision().await.unwrap(), before);
}

pub(crate) async fn nothing_is_stored_when_the_trigger_is_taken(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    registry
        .create_trigger(&trigger("orders", "welcome"))
        .await
        .unwrap();
    let other = function("other");
    let outcome = registry
        .create_function(&other, Some(&trigger("orders", "other")))
        .await;
    assert!(
        matches!(outcome, Err(Error::AlreadyExists { what: "trigger", name }) if name == "orders")
    );
    assert_eq!(
        registry
            .function(&other.project, &other.name)
            .await
            .unwrap(),
        None
    );
}

pub(crate) async fn listings_come_in_pages_by_name(stores: &Stores) {
    let registry = with_acme(stores).await;
    let acme = "acme".parse().unwrap();
    for name in ["shop/bba", "abc", "shop/b-b", "zzz"] {
        registry
            .create_function(&function(name), None)
            .await
            .unwrap();
    }
    let first = registry.functions(&acme, None, 3).await.unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .map(|function| function.name.to_string())
        .collect();
    assert_eq!(names, ["abc", "zzz", "shop/b-b"]);
    assert!(first.has_more);
    let rest = registry
        .functions(&acme, Some(&first.items[2].name), 3)
        .await
        .unwrap();
    assert_eq!(rest.items[0].name.to_string(), "shop/bba");
    assert!(!rest.has_more);
    for name in ["one", "two", "six"] {
        registry
            .create_trigger(&trigger(name, "abc"))
            .await
            .unwrap();
    }
    registry
        .create_trigger(&trigger("ten", "zzz"))
        .await
        .unwrap();
    let names = |triggers: &[Trigger]| -> Vec<String> {
        triggers
            .iter()
            .map(|trigger| trigger.name.to_string())
            .collect()
    };
    let page = registry.triggers(&acme, None, None, 10).await.unwrap();
    assert_eq!(names(&page.items), ["one", "six", "ten", "two"]);
    let of_one = "abc".parse().unwrap();
    let page = registry
        .triggers(&acme, Some(&of_one), Some(&"one".parse().unwrap()), 1)
        .await
        .unwrap();
    assert_eq!(
        (names(&page.items), page.has_more),
        (vec!["six".to_owned()], true)
    );
}

pub(crate) async fn updates_replace_and_keep_the_time_of_making(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    registry
        .create_trigger(&trigger("orders", "welcome"))
        .await
        .unwrap();
    let changed = Function {
        url: "http://localhost:9000/".parse().unwrap(),
        format: Format::CloudEventsStructured,
        secret: "another".to_owned(),
        created_at: at(99),
        updated_at: at(98),
        ..function("welcome")
    };
    let revision = registry.update_function(&changed).await.unwrap();
    let stored = registry
        .function(&changed.project, &changed.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        Function {
            created_at: at(2),
            revision,
            ..changed
        }
    );
    let changed = Trigger {
        is_enabled: false,
        subject: None,
        ..trigger("orders", "welcome")
    };
    let revision = registry.update_trigger(&changed).await.unwrap();
    let stored = registry
        .trigger(&changed.project, &changed.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        Trigger {
            revision,
            ..changed
        }
    );
}

pub(crate) async fn deleting_a_function_deletes_its_triggers_and_says_so(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    registry
        .create_trigger(&trigger("one", "welcome"))
        .await
        .unwrap();
    let before = registry
        .create_trigger(&trigger("two", "welcome"))
        .await
        .unwrap();
    let acme = "acme".parse().unwrap();
    let revision = registry
        .delete_function(&acme, &"welcome".parse().unwrap())
        .await
        .unwrap();
    assert!(
        registry
            .triggers(&acme, None, None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let update = registry.changes_since(before).await.unwrap();
    assert_eq!((update.revision, update.is_snapshot), (revision, false));
    let gone: HashSet<String> = update
        .changes
        .into_iter()
        .map(|change| match change {
            Change::FunctionDeleted { name, .. } => name.to_string(),
            Change::TriggerDeleted { name, .. } => name.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(gone, ["welcome", "one", "two"].map(str::to_owned).into());
}

pub(crate) async fn what_is_made_again_after_a_deletion_is_there(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    let before = registry
        .create_trigger(&trigger("one", "welcome"))
        .await
        .unwrap();
    let mut known = Registry::default();
    known.apply(registry.snapshot().await.unwrap());
    let (acme, name) = ("acme".parse().unwrap(), "one".parse().unwrap());
    registry.delete_trigger(&acme, &name).await.unwrap();
    registry
        .create_trigger(&trigger("one", "welcome"))
        .await
        .unwrap();
    known.apply(registry.changes_since(before).await.unwrap());
    assert!(known.trigger(&acme, &name).is_some());
    let nothing = registry.changes_since(known.revision).await.unwrap();
    assert_eq!(
        nothing,
        Update {
            revision: known.revision,
            is_snapshot: false,
            changes: Vec::new()
        }
    );
}

pub(crate) async fn a_thousand_changes_are_all_seen(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    let mut known = Registry::default();
    known.apply(registry.snapshot().await.unwrap());
    for number in 0..1000 {
        registry
            .create_trigger(&trigger(&format!("trigger-{number}"), "welcome"))
            .await
            .unwrap();
    }
    let update = registry.changes_since(known.revision).await.unwrap();
    assert!(!update.is_snapshot);
    assert_eq!(update.changes.len(), 1000);
    known.apply(update);
    assert_eq!(known.triggers().count(), 1000);
    assert_eq!(known.revision, registry.revision().await.unwrap());
}

pub(crate) async fn a_reader_misses_nothing_that_is_changed_meanwhile(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let registry = Arc::clone(registry);
        writers.spawn(async move {
            for number in 0..50 {
                let name = format!("trigger-{writer}-{number}");
                registry
                    .create_trigger(&trigger(&name, "welcome"))
                    .await
                    .unwrap();
            }
        });
    }
    let mut known = Registry::default();
    let read = async {
        while known.triggers().count() < 200 {
            registry.changed(Duration::from_millis(200)).await;
            // Only what is new is asked for: a revision that came late would never be seen.
            known.apply(registry.changes_since(known.revision).await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap();
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
}

pub(crate) async fn who_lags_too_far_behind_gets_a_snapshot(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    registry
        .create_trigger(&trigger("one", "welcome"))
        .await
        .unwrap();
    let ahead = registry.changes_since(1_000_000).await.unwrap();
    assert!(ahead.is_snapshot, "the database was put back");
    stores
        .raw
        .execute("UPDATE registry_revision SET revision = revision + 200000")
        .await;
    let (acme, name) = ("acme".parse().unwrap(), "one".parse().unwrap());
    let revision = registry.delete_trigger(&acme, &name).await.unwrap();
    let behind = registry.changes_since(3).await.unwrap();
    assert!(behind.is_snapshot);
    assert_eq!(behind.revision, revision);
    assert!(
        !registry
            .changes_since(revision - 1000)
            .await
            .unwrap()
            .is_snapshot
    );
}

pub(crate) async fn a_change_wakes_those_who_wait(stores: &Stores) {
    let registry = with_acme(stores).await;
    // The first call may return at once, since something may have been missed before it.
    registry.changed(Duration::from_millis(1)).await;
    registry.changed(Duration::from_millis(300)).await;
    let started = Instant::now();
    registry.changed(Duration::from_millis(50)).await;
    assert!(
        started.elapsed() >= Duration::from_millis(50),
        "nothing had changed"
    );
    let other = Arc::clone(registry);
    let (_, ()) = tokio::join!(
        async {
            other
                .create_function(&function("welcome"), None)
                .await
                .unwrap()
        },
        registry.changed(DEADLINE * 2),
    );
    assert!(started.elapsed() < DEADLINE, "it was woken, not polled");
}

/// As a release before them left it.
pub(crate) async fn a_row_without_settings_has_their_defaults(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    stores
        .raw
        .execute(
            "UPDATE functions SET settings = substr(settings, 1, 0), \
             credentials = substr(credentials, 1, 0); \
             INSERT INTO triggers (project, name, package, function, is_enabled, event_types, \
             retry, created_at_us, updated_at_us, revision) VALUES ('acme', 'older', 'default', \
             'welcome', TRUE, '[]', '{\"retries\":3,\"interval_ms\":5000,\"backoff\":\"fixed\",\
             \"interval_max_ms\":60000,\"jitter\":0.0,\"timeout_ms\":5000}', 0, 0, 1)",
        )
        .await;
    let acme = "acme".parse().unwrap();
    let trigger = registry.trigger(&acme, &"older".parse().unwrap()).await;
    let trigger = trigger.unwrap().unwrap();
    assert_eq!(trigger.ordering, Ordering::None);
    assert_eq!(trigger.backlog, Backlog::All);
    assert_eq!(trigger.depth_max, DEPTH_MAX);
    assert_eq!(trigger.retry, RetryPolicy::default());
    let function = registry.function(&acme, &"welcome".parse().unwrap()).await;
    let function = function.unwrap().unwrap();
    assert_eq!(function.settings, FunctionSettings::default());
    assert_eq!(function.credentials, Credentials::default());
}

pub(crate) async fn a_hundred_thousand_triggers_load(stores: &Stores) {
    let registry = with_function(stores, "welcome").await;
    stores
        .raw
        .execute(
            "INSERT INTO triggers (project, name, package, function, is_enabled, event_types, \
             subject, prefix, suffix, format, retry, created_at_us, updated_at_us, revision) \
             SELECT 'acme', 'trigger-' || n, 'default', 'welcome', TRUE, \
             '[\"order.created\"]', 'orders/' || n, NULL, NULL, NULL, \
             '{\"retries\":3,\"interval_ms\":5000,\"backoff\":\"fixed\",\"interval_max_ms\":60000,\
             \"jitter\":0.0,\"timeout_ms\":5000}', 0, 0, 1 FROM NUMBERS",
        )
        .await;
    let started = Instant::now();
    let update = registry.snapshot().await.unwrap();
    assert_eq!(update.changes.len(), 100_003);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

pub(crate) async fn a_paused_project_is_told_to_everybody(stores: &Stores) {
    let registry = &stores.registry;
    let acme = project("acme");
    let revision = registry
        .create_project(&acme, &key("tlk_1", "acme"))
        .await
        .unwrap();
    let paused = registry.pause_project(&acme.name, true).await.unwrap();
    assert!(paused.is_paused && paused.revision > revision);
    let update = registry.changes_since(revision).await.unwrap();
    assert_eq!(update.changes, [Change::Project(paused)]);
    let resumed = registry.pause_project(&acme.name, false).await.unwrap();
    assert!(!resumed.is_paused);
    let nobody = "nobody".parse().unwrap();
    let missing = registry.pause_project(&nobody, true).await.unwrap_err();
    assert!(matches!(
        missing,
        Error::NotFound {
            what: "project",
            ..
        }
    ));
}
