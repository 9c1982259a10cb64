//! Secrets are shown once, rotated without a gap, and reach only who needs them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, StatusCode};
use domain::Timestamp;
use domain::function::Function;
use domain::signature::{self, ed25519};
use domain::token::TokenKey;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{
    CreateFunctionRequest, FunctionSettings, PromoteSecretRequest, RotateSecretRequest,
};
use protocol::projects::v1::{
    CreateKeyRequest, CreateProjectRequest, PromoteProjectSecretRequest, PromoteSystemKeyRequest,
    RotateProjectSecretRequest, RotateSystemKeyRequest,
};
use protocol::to_duration;
use testkit::eventually;
use tonic::{Request, Status};
use tower::ServiceExt as _;

use crate::support::{Handler, OPERATOR_TOKEN, SOON, World, with_token};

fn kind_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> FaultKind {
    Fault::from_status(&answer.unwrap_err()).kind
}

fn rotate(name: &str, overlap: Option<Duration>) -> RotateSecretRequest {
    RotateSecretRequest {
        name: name.to_owned(),
        overlap: overlap.map(to_duration),
    }
}

fn promote(name: &str) -> PromoteSecretRequest {
    PromoteSecretRequest {
        name: name.to_owned(),
    }
}

fn known(handler: &Handler) -> Function {
    let registry = handler.view.read();
    let function = registry.functions().next().unwrap();
    function.as_ref().clone()
}

/// Which of two generations of secrets a request is signed with: the first, the second.
fn signed_by(function: &Function, generations: [&Shown; 2], at: Timestamp) -> Vec<(bool, bool)> {
    let signatures = signature::sign_for(function, "dlv_1", at, b"{}").unwrap();
    let second = at.as_second();
    generations
        .map(|shown| {
            let hmac = signature::verify(&shown.signing, "dlv_1", second, b"{}", &signatures);
            let by_key = ed25519::verify(&shown.public, "dlv_1", second, b"{}", &signatures);
            (hmac.is_ok(), by_key.is_ok())
        })
        .to_vec()
}

struct Shown {
    secret: String,
    signing: String,
    public: String,
}

async fn create_signed_both_ways(handler: &Handler) -> Shown {
    let request = CreateFunctionRequest {
        name: "welcome".to_owned(),
        url: "http://localhost:9000/hook".to_owned(),
        settings: Some(FunctionSettings {
            signing: "both".to_owned(),
            ..FunctionSettings::default()
        }),
        ..CreateFunctionRequest::default()
    };
    let created = handler
        .functions()
        .create_function(handler.with_key(request))
        .await
        .unwrap()
        .into_inner();
    Shown {
        secret: created.secret,
        signing: created.signing_secret,
        public: created.function.unwrap().verification_key,
    }
}

#[tokio::test]
async fn while_secrets_are_rotated_both_sign_and_the_old_one_is_sent() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let old = create_signed_both_ways(&handler).await;
    let mut functions = handler.functions();
    let request = handler.with_key(rotate("welcome", Some(Duration::from_secs(3600))));
    let rotated = functions.rotate_secret(request).await.unwrap().into_inner();
    let function = rotated.function.unwrap();
    let new = Shown {
        secret: rotated.secret,
        signing: rotated.signing_secret,
        public: function.verification_key,
    };
    assert!(function.rotating_until.is_some());
    assert_ne!(
        (&old.secret, &old.signing, &old.public),
        (&new.secret, &new.signing, &new.public)
    );

    let now = Timestamp::now();
    let stored = known(&handler);
    let both = [(true, true), (true, true)];
    assert_eq!(signed_by(&stored, [&old, &new], now), both);
    assert_eq!(stored.secret_at(now), old.secret);
    // It is over by itself …
    let later = now + Duration::from_secs(3601);
    let only_new = [(false, false), (true, true)];
    assert_eq!(signed_by(&stored, [&old, &new], later), only_new);
    assert_eq!(stored.secret_at(later), new.secret);
    // … there is only one at a time …
    let again = handler.with_key(rotate("welcome", None));
    assert_eq!(
        kind_of(functions.rotate_secret(again).await),
        FaultKind::Conflict
    );
    // … and it can be ended before its time, once.
    let request = handler.with_key(promote("welcome"));
    let promoted = functions
        .promote_secret(request)
        .await
        .unwrap()
        .into_inner();
    assert!(promoted.rotating_until.is_none());
    assert_eq!(signed_by(&known(&handler), [&old, &new], now), only_new);
    assert_eq!(known(&handler).secret_at(now), new.secret);
    let request = handler.with_key(promote("welcome"));
    assert_eq!(
        kind_of(functions.promote_secret(request).await),
        FaultKind::Conflict
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_secret_that_leaked_is_replaced_at_once() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let old = create_signed_both_ways(&handler).await;
    let request = handler.with_key(rotate("welcome", Some(Duration::ZERO)));
    let rotated = handler.functions().rotate_secret(request).await.unwrap();
    assert!(
        rotated
            .into_inner()
            .function
            .unwrap()
            .rotating_until
            .is_none()
    );
    let signed = signed_by(&known(&handler), [&old, &old], Timestamp::now());
    assert_eq!(signed[0], (false, false));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn who_may_not_manage_rotates_nothing() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    create_signed_both_ways(&handler).await;
    let request = CreateKeyRequest {
        scopes: vec!["read".to_owned(), "emit".to_owned()],
        note: String::new(),
    };
    let key = handler.keys().create_key(handler.with_key(request)).await;
    let key = key.unwrap().into_inner().secret;
    let mut functions = handler.functions();
    let answer = functions.rotate_secret(with_token(&key, rotate("welcome", None)));
    assert_eq!(kind_of(answer.await), FaultKind::Forbidden);
    let answer = functions.promote_secret(with_token(&key, promote("welcome")));
    assert_eq!(kind_of(answer.await), FaultKind::Forbidden);
    let answer = functions.rotate_secret(handler.with_key(rotate("nobody", None)));
    assert_eq!(kind_of(answer.await), FaultKind::NotFound);
    let too_long = rotate("welcome", Some(Duration::from_secs(31 * 24 * 3600)));
    let answer = functions.rotate_secret(handler.with_key(too_long)).await;
    let fault = Fault::from_status(&answer.unwrap_err());
    assert_eq!(fault.field.as_deref(), Some("overlap"));
    assert_eq!(fault.allowed.as_deref(), Some("0 to 30 days"));
    handler.stop().await;
    world.stop().await;
}

fn signing(handler: &Handler, project: Option<&str>) -> Option<TokenKey> {
    let project = project.map(|name| name.parse().unwrap());
    let registry = handler.view.read();
    let keys = registry.token_keys(project.as_ref())?;
    keys.signing(Timestamp::now()).cloned()
}

#[tokio::test]
async fn a_projects_secret_is_shown_once_and_signs_until_the_next_one_does() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let request = CreateProjectRequest {
        name: "acme".to_owned(),
    };
    let mut projects = handler.projects();
    let created = projects
        .create_project(with_token(OPERATOR_TOKEN, request))
        .await
        .unwrap()
        .into_inner();
    let first = signing(&handler, Some("acme")).unwrap();
    assert_eq!(first.secret, created.secret);

    let rotate = |name: &str| RotateProjectSecretRequest {
        name: name.to_owned(),
        overlap: None,
    };
    let promote = |name: &str| PromoteProjectSecretRequest {
        name: name.to_owned(),
    };
    let rotated = projects
        .rotate_project_secret(with_token(&created.key, rotate("acme")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(signing(&handler, Some("acme")).unwrap(), first);
    let answer = projects.rotate_project_secret(with_token(OPERATOR_TOKEN, rotate("acme")));
    assert_eq!(kind_of(answer.await), FaultKind::Conflict);
    projects
        .promote_project_secret(with_token(&created.key, promote("acme")))
        .await
        .unwrap();
    let second = signing(&handler, Some("acme")).unwrap();
    assert_eq!((second.secret, second.kid), (rotated.secret, rotated.kid));

    // The key of another project sees nobody of that name.
    let answer = projects.rotate_project_secret(handler.with_key(rotate("acme")));
    assert_eq!(kind_of(answer.await), FaultKind::NotFound);
    let answer = projects.promote_project_secret(Request::new(promote("acme")));
    assert_eq!(kind_of(answer.await), FaultKind::Unauthenticated);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_systems_public_keys_are_there_for_everybody() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let key = signing(&handler, None).unwrap();
    let request = HttpRequest::get("/.well-known/jwks.json")
        .body(Body::empty())
        .unwrap();
    let answer = handler.http().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = to_bytes(answer.into_body(), 64 * 1024).await.unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(keys["keys"][0]["kid"], key.kid);
    assert_eq!(keys["keys"][0]["kty"], "OKP");
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(!text.contains(&key.secret) && !text.contains("\"d\""));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_systems_key_is_rotated_by_operators_and_what_it_signed_stays_readable() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let rotate = || RotateSystemKeyRequest { overlap: None };
    let mut projects = handler.projects();
    let answer = projects.rotate_system_key(handler.with_key(rotate())).await;
    assert_eq!(kind_of(answer), FaultKind::Forbidden);
    let first = signing(&handler, None).unwrap();
    let request = with_token(OPERATOR_TOKEN, rotate());
    let rotated = projects.rotate_system_key(request).await.unwrap();
    let kids = |handler: &Handler| {
        let registry = handler.view.read();
        let keys = registry.session_keys().keys.iter();
        keys.map(|key| key.kid.clone()).collect::<Vec<_>>()
    };
    let second = rotated.into_inner().kid;
    assert_eq!(signing(&handler, None).unwrap(), first);
    assert_eq!(kids(&handler), [first.kid.clone(), second.clone()]);
    let request = with_token(OPERATOR_TOKEN, PromoteSystemKeyRequest {});
    projects.promote_system_key(request).await.unwrap();
    assert_eq!(signing(&handler, None).unwrap().kid, second);
    assert_eq!(kids(&handler), [first.kid, second]);
    // The first may go only when its last session has expired.
    let answer = projects.rotate_system_key(with_token(OPERATOR_TOKEN, rotate()));
    assert_eq!(kind_of(answer.await), FaultKind::Conflict);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_project_from_before_there_were_secrets_gets_one() {
    let world = World::embedded().await;
    let project = domain::registry::Project {
        name: "older".parse().unwrap(),
        created_at: Timestamp::now(),
        is_paused: false,
        revision: 0,
    };
    let key = domain::access::ApiKey {
        id: "tlk_older".to_owned(),
        project: project.name.clone(),
        hash: domain::access::KeyHash::of("older"),
        scopes: Vec::new(),
        note: String::new(),
        created_at: Timestamp::now(),
        revoked_at: None,
        revision: 0,
    };
    world.store.create_project(&project, &key).await.unwrap();
    let handler = Handler::start(&world).await;
    eventually(SOON, "it has a secret", async || {
        signing(&handler, Some("older"))
    })
    .await;
    handler.stop().await;
    world.stop().await;
}
