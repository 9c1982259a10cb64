//! What a receiver checks a request with verifies by libraries nobody here wrote, before, during
//! and after a rotation; what was changed or is old does not.

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::function::TokenAlgorithm;
use domain::signature;
use domain::token::{self, Claims, TokenKey};
use harness::{Client, Embedded, SOON, run_foreign};
use serde_json::{Value, json};
use testkit::{Received, Receiver};

const NO_MATCH: &str = "No matching signature found";
const TOO_OLD: &str = "Message timestamp too old";

/// Emits an event and gives the request that follows.
async fn next_request(client: &Client, receiver: &Receiver, event_type: &str) -> Received {
    receiver.clear();
    client
        .emit(event_type, &["--data", r#"{"text":"Euro € 😀"}"#])
        .await;
    receiver.wait_for(1, SOON).await.remove(0)
}

fn as_foreign(request: &Received) -> Value {
    let headers: BTreeMap<_, _> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    json!({"headers": headers, "body": String::from_utf8_lossy(&request.body)})
}

/// The same with one byte of its body changed.
fn tampered(request: &Value) -> Value {
    let mut request = request.clone();
    request["body"] = request["body"]
        .as_str()
        .unwrap()
        .replace("Euro", "euro")
        .into();
    request
}

/// The same body, truly signed, but ten minutes ago.
fn signed_long_ago(request: &Value, signing_secret: &str) -> Value {
    let mut request = request.clone();
    let id = request["headers"]["webhook-id"].as_str().unwrap();
    let at = Timestamp::now().as_second() - 600;
    let body = request["body"].as_str().unwrap().as_bytes();
    let signed = signature::sign(signing_secret, id, at, body).unwrap();
    request["headers"]["webhook-timestamp"] = at.to_string().into();
    request["headers"]["webhook-signature"] = signed.into();
    request
}

#[tokio::test]
async fn signatures_of_both_kinds_verify_before_during_and_after_a_rotation() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = [
        "--on",
        "signed.event",
        "--format",
        "schmuckli",
        "--signing",
        "both",
    ];
    let old = client
        .create_function("signed", &receiver.url("/"), &options)
        .await;
    let rotate = async |option: &[&str]| {
        let words = [&["functions", "rotate-secret", "signed"], option].concat();
        client.run(&words).await.done().object()
    };
    let before = next_request(&client, &receiver, "signed.event").await;
    let new = rotate(&[]).await;
    assert_ne!(new["rotating_until"], json!(null));
    let during = next_request(&client, &receiver, "signed.event").await;
    let promoted = rotate(&["--promote"]).await;
    assert_eq!(promoted["rotating_until"], json!(null));
    assert_eq!(promoted["verification_key"], new["verification_key"]);
    let after = next_request(&client, &receiver, "signed.event").await;
    let sent = [&before, &during, &after].map(|request| request.json()["_secret"].clone());
    assert_eq!(
        sent,
        [&old, &old, &new].map(|shown| shown["secret"].clone()),
        "the old one until it is promoted"
    );

    let genuine = [&before, &during, &after].map(as_foreign);
    let secrets = [&old, &new].map(|shown| shown["signing_secret"].clone());
    let requests = [
        genuine[0].clone(),
        genuine[1].clone(),
        genuine[2].clone(),
        tampered(&genuine[1]),
        signed_long_ago(&genuine[1], secrets[0].as_str().unwrap()),
    ];
    let wanted = json!({
        "requests": requests,
        "secrets": secrets,
        "public_keys": [&old["verification_key"], &new["verification_key"]],
    });
    let by_python = run_foreign("verify_webhooks.py", &wanted).await;
    let by_javascript = run_foreign("verify_webhooks.cjs", &wanted).await;
    let expected = [
        ["ok", NO_MATCH],
        ["ok", "ok"],
        [NO_MATCH, "ok"],
        [NO_MATCH, NO_MATCH],
        [TOO_OLD, TOO_OLD],
    ];
    for (place, verdicts) in expected.iter().enumerate() {
        assert_eq!(by_python[place]["v1"], json!(verdicts), "v1 of {place}");
        assert_eq!(by_python[place]["v1a"], json!(verdicts), "v1a of {place}");
        let in_javascript = by_javascript[place].as_array().unwrap();
        for (verdict, said) in verdicts.iter().zip(in_javascript) {
            let is_ok = said == "ok";
            assert_eq!(is_ok, *verdict == "ok", "npm, {place}: {said}");
        }
    }
}

#[tokio::test]
async fn s2_20_s2_21_tokens_verify_by_the_projects_secret_and_by_the_public_keys() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    for (name, algorithm) in [("by-secret", "hs256"), ("by-key", "eddsa")] {
        let event_type = format!("{name}.event");
        let options = ["--on", event_type.as_str(), "--token", algorithm];
        client
            .create_function(name, &receiver.url("/hook"), &options)
            .await;
    }
    let rotate = async |option: &[&str]| {
        let words = [&["projects", "rotate-secret", "default"], option].concat();
        client.run(&words).await.done().object()
    };
    let old = rotate(&["--overlap", "0s"]).await;
    let before = next_request(&client, &receiver, "by-secret.event").await;
    let new = rotate(&[]).await;
    let during = next_request(&client, &receiver, "by-secret.event").await;
    rotate(&["--promote"]).await;
    let after = next_request(&client, &receiver, "by-secret.event").await;
    let by_key = next_request(&client, &receiver, "by-key.event").await;

    let requests = [&before, &during, &after, &by_key];
    let mut tokens = requests.map(token_of).to_vec();
    tokens.push(changed(&tokens[2]));
    tokens.push(changed(&tokens[3]));
    let origin = receiver.url("");
    tokens.push(made_long_ago(&new, &origin));
    let known = [&old, &new].map(|shown| (shown["kid"].as_str().unwrap(), shown["secret"].clone()));
    let wanted = json!({
        "tokens": tokens,
        "audience": origin,
        "secrets": BTreeMap::from(known),
        "jwks_url": format!("{}/.well-known/jwks.json", system.url()),
    });
    let read = run_foreign("verify_tokens.py", &wanted).await;
    let kid = |place: usize| (&read[place]["algorithm"], &read[place]["kid"]);
    assert_eq!(kid(0), (&json!("HS256"), &old["kid"]), "{read}");
    assert_eq!(
        kid(1),
        (&json!("HS256"), &old["kid"]),
        "until it is promoted"
    );
    assert_eq!(kid(2), (&json!("HS256"), &new["kid"]));
    assert_eq!(read[3]["algorithm"], "EdDSA");
    for (place, request) in requests.into_iter().enumerate() {
        let claims = &read[place]["claims"];
        assert_eq!(claims["role"], "SpaceCloud");
        assert_eq!(claims["project"], "default");
        assert_eq!(
            claims["delivery"].as_str(),
            request.header("x-delivery-id"),
            "{read}"
        );
        let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((1..=1800).contains(&lives), "{lives} s");
    }
    assert_ne!(read[0]["claims"]["jti"], read[1]["claims"]["jti"]);
    for place in [4, 5] {
        // The byte may also make it something that is no JSON any more.
        let refused = read[place]["refused"].as_str();
        assert!(
            matches!(refused, Some("InvalidSignatureError" | "DecodeError")),
            "{refused:?}"
        );
    }
    assert_eq!(read[6], json!({"refused": "ExpiredSignatureError"}));

    let mut elsewhere = wanted;
    elsewhere["audience"] = "http://elsewhere.example".into();
    let read = run_foreign("verify_tokens.py", &elsewhere).await;
    assert_eq!(read[0], json!({"refused": "InvalidAudienceError"}));
}

#[tokio::test]
async fn a_token_is_in_no_log() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--on", "token.event", "--token", "hs256"];
    client
        .create_function("called", &receiver.url("/"), &options)
        .await;
    let request = next_request(&client, &receiver, "token.event").await;
    let token = token_of(&request);
    let lines = client
        .logs_when(&["--status", "processed"], "it is logged", |lines| {
            lines.len() == 1
        })
        .await;
    let eid = lines[0]["eid"].as_str().unwrap();
    let shown = client.run(&["logs", "get", eid]).await.done().stdout;
    assert!(
        shown.contains("x-sc-token") && shown.contains("***"),
        "{shown}"
    );
    assert!(!shown.contains(&token));
    let tested = client.run(&["functions", "test", "called"]).await.done();
    let token = token_of(&receiver.wait_for(2, SOON).await[1]);
    assert!(tested.stdout.contains("x-sc-token"), "{}", tested.stdout);
    assert!(!tested.stdout.contains(&token));
    assert!(!system.output().contains(&token));
}

fn token_of(request: &Received) -> String {
    let header = request.header("x-sc-token").unwrap();
    header.strip_prefix("Bearer ").unwrap().to_owned()
}

/// The same token with one byte of what it says changed.
fn changed(token: &str) -> String {
    let place = token.find('.').unwrap() + 20;
    let (before, after) = token.split_at(place);
    let other = if after.starts_with('A') { 'B' } else { 'A' };
    format!("{before}{other}{}", &after[1..])
}

/// A token truly signed, but an hour ago.
fn made_long_ago(shown: &Value, origin: &str) -> String {
    let key = TokenKey {
        kid: shown["kid"].as_str().unwrap().to_owned(),
        secret: shown["secret"].as_str().unwrap().to_owned(),
        signs_from: Timestamp::UNIX_EPOCH,
    };
    let claims = Claims {
        node: "worker",
        audience: origin,
        project: &"default".parse().unwrap(),
        delivery: "dlv",
        body: b"",
        id: "t",
        now: Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap(),
    };
    token::sign(&key, TokenAlgorithm::Hs256, &claims).unwrap()
}
