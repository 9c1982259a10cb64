//! What is configured crosses the registry's stream unchanged, old messages still parse, and no secret is shown.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::time::Duration;

use domain::Timestamp;
use domain::filter::Filter;
use domain::format::Format;
use domain::function::{
    Authorization, Batching, ClientCertificate, Credentials, Disabled, Function, FunctionSettings,
    RateLimit, RotatingSecret, Signing, TokenAlgorithm,
};
use domain::registry::Change;
use domain::retry::{Backoff, RetryPolicy};
use domain::template::Template;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use protocol::functions::v1 as functions;
use protocol::wire::v1 as wire;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn function(authorization: Authorization) -> Function {
    Function {
        project: "acme".parse().unwrap(),
        name: "shop/notify".parse().unwrap(),
        url: "https://example.com/hook".parse().unwrap(),
        format: Format::Schmuckli,
        secret: "hidden".to_owned(),
        signing_secret: "hidden".to_owned(),
        settings: FunctionSettings {
            is_paused: true,
            disabled: Some(Disabled {
                reason: "failed for 5 days".to_owned(),
                at: at(1),
            }),
            concurrency_max: Some(10),
            rate: Some(RateLimit {
                per_second: 0.5,
                burst: 2,
            }),
            headers: vec![("x-tenant".to_owned(), "acme".to_owned())],
            batching: Some(Batching {
                size_max: 10,
                cutoff: Duration::from_millis(100),
            }),
            disable_on_gone: true,
            disable_after: Some(Duration::from_hours(24)),
            signing: Signing::Ed25519,
            token: Some(TokenAlgorithm::Hs256),
            proxy: Some("http://proxy.example:3128".parse().unwrap()),
            authorities: Some("pem".to_owned()),
            endpoint: Some("onOrder".to_owned()),
            parameters_schema: Some(r#"{"type":"object"}"#.to_owned()),
            answer: domain::function::AnswerShape::Enveloped,
            handlers: vec![domain::function::Handler::Main],
        },
        credentials: Credentials {
            authorization,
            client_certificate: Some(ClientCertificate {
                chain_pem: "hidden".to_owned(),
                key_pem: "hidden".to_owned(),
            }),
            signing_key: "whsk_the-signing-key".to_owned(),
            rotating: vec![RotatingSecret {
                secret: "the-secret-from-before".to_owned(),
                signing_key: "whsk_the-signing-key-from-before".to_owned(),
                signing_secret: "hidden".to_owned(),
                expires_at: at(2),
            }],
        },
        created_at: at(3),
        updated_at: at(4),
        revision: 5,
    }
}

fn authorizations() -> [Authorization; 4] {
    let hidden = || "hidden".to_owned();
    [
        Authorization::None,
        Authorization::Basic {
            user: "me".to_owned(),
            password: hidden(),
        },
        Authorization::Bearer { token: hidden() },
        Authorization::OAuth2 {
            token_url: "https://tokens.example/token".parse().unwrap(),
            client_id: "me".to_owned(),
            client_secret: hidden(),
            scope: "call".to_owned(),
        },
    ]
}

fn trigger() -> Trigger {
    Trigger {
        project: "acme".parse().unwrap(),
        name: "orders".parse().unwrap(),
        function: "shop/notify".parse().unwrap(),
        is_enabled: true,
        on: vec!["order.*".parse().unwrap()],
        subject: Some("orders/{id}".parse().unwrap()),
        prefix: None,
        suffix: Some(".jpg".to_owned()),
        options: [("db".to_owned(), "pg,mongo".to_owned())].into(),
        filter: Some(Filter::parse("data.total > 10").unwrap()),
        format: None,
        template: Some(Template::parse("{{ data }}", "application/json").unwrap()),
        retry: RetryPolicy {
            retries_max: 3,
            interval: Duration::from_secs(1),
            backoff: Backoff::Listed,
            waits: vec![Duration::from_secs(1), Duration::from_mins(1)],
            interval_max: Duration::from_secs(2),
            jitter: 0.5,
            total_max: Duration::from_hours(2),
            retry_after_max: Duration::ZERO,
            final_statuses: "400-404,410".parse().unwrap(),
            connect_timeout: Some(Duration::from_secs(1)),
            expects_json: true,
            first_byte_timeout: Some(Duration::from_secs(2)),
            timeout: Duration::from_secs(3),
            expects_json: true,
        },
        ordering: Ordering::Key,
        backlog: Backlog::Latest,
        depth_max: 0,
        script: None,
        created_at: at(5),
        updated_at: at(6),
        revision: 7,
    }
}

#[test]
fn a_function_and_a_trigger_read_back_as_written() {
    for authorization in authorizations() {
        let change = Change::Function(function(authorization));
        let read: Change = wire::RegistryChange::from(&change).try_into().unwrap();
        assert_eq!(read, change);
    }
    let change = Change::Trigger(trigger());
    let read: Change = wire::RegistryChange::from(&change).try_into().unwrap();
    assert_eq!(read, change);
}

#[test]
fn what_an_older_release_sends_has_the_defaults() {
    let older = wire::RegistryFunction {
        settings: None,
        credentials: None,
        ..(&function(Authorization::None)).into()
    };
    let read = Function::try_from(older).unwrap();
    assert_eq!(read.settings, FunctionSettings::default());
    assert_eq!(read.credentials, Credentials::default());
    let older = wire::RegistryTrigger {
        settings: None,
        retry: Some(wire::RegistryRetry {
            retries: 3,
            interval_us: 5_000_000,
            backoff: "fixed".to_owned(),
            interval_max_us: 60_000_000,
            jitter: 0.0,
            timeout_us: 5_000_000,
        }),
        ..(&trigger()).into()
    };
    let read = Trigger::try_from(older).unwrap();
    assert_eq!(read.ordering, Ordering::None);
    assert_eq!(read.backlog, Backlog::All);
    assert_eq!(read.depth_max, DEPTH_MAX);
    assert_eq!((read.filter, read.template), (None, None));
    assert!(read.options.is_empty());
    assert_eq!(read.retry, RetryPolicy::default());
}

#[test]
fn no_message_shows_a_secret() {
    for authorization in authorizations() {
        let kind = authorization.kind();
        let function = function(authorization);
        let message = wire::RegistryFunction::from(&function);
        let given = message.credentials.clone().unwrap().given;
        let request = functions::UpdateFunctionRequest {
            credentials: given,
            ..functions::UpdateFunctionRequest::default()
        };
        for shown in [
            format!("{function:?}"),
            format!("{message:?}"),
            format!("{request:?}"),
            format!("{:?}", function.credentials),
            format!("{:?}", message.credentials),
        ] {
            assert!(!shown.contains("hidden"), "{shown}");
        }
        let answer = functions::Function::from(&function);
        assert!(!format!("{answer:?}").contains("hidden"));
        let kinds = answer.credentials.unwrap();
        assert_eq!(kinds.authorization, kind);
        assert!(kinds.client_certificate);
        assert_eq!(kinds.rotating, 1);
    }
}
