//! A function acts for the user whose event it was called for, and no further than that.

use harness::{Client, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Received, Receiver};

fn session_of(request: &Received) -> String {
    let session = &request.json()["_function_session"];
    session.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn s1_11_s3_29_x_09_a_function_emits_for_its_user_and_its_hooks_fire_no_hooks() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let schmuckli = |on: &'static str| ["--format", "schmuckli", "--on", on];
    client
        .create_function(
            "welcome",
            &receiver.url("/welcome"),
            &schmuckli("AUTH_LOGIN"),
        )
        .await;
    client
        .create_function(
            "follow-up",
            &receiver.url("/follow-up"),
            &schmuckli("greeted"),
        )
        .await;
    client
        .create_function("of-a-hook", &receiver.url("/hook"), &[])
        .await;
    let of_clients_only = ["--on", "greeted", "--max-depth", "0"];
    client
        .create_trigger("hook", "of-a-hook", &of_clients_only)
        .await;
    let login = client.emit("AUTH_LOGIN", &["--actor", "u_17"]).await;
    let first = receiver.wait_for(1, SOON).await.remove(0);
    let session = session_of(&first);

    let function = client.with_key(&session);
    let answer = function.post_event(&json!({"type": "greeted"})).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let greeted = answer.json()["id"].as_str().unwrap().to_owned();
    let second = receiver.wait_for(2, SOON).await.remove(1);
    assert_eq!(second.path, "/follow-up");
    let cancelled = ["--event", &greeted, "--function", "of-a-hook"];
    let lines = client
        .logs_when(&cancelled, "the hook is taken for a loop", |lines| {
            lines.len() == 1 && lines[0]["status"] == "cancel"
        })
        .await;
    assert_eq!(lines[0]["remark"], "loop");
    let history = client.history(&greeted).await;
    assert_eq!(history["actor_id"], "u_17", "{history}");
    assert_eq!(history["causation_id"], login["eid"]);
    assert_eq!(history["depth"], 1);

    // Of its own delivery it reads the log, and of nothing else.
    let own = login["eid"].as_str().unwrap();
    client.log_line(own, "processed").await;
    assert_eq!(function.history(own).await["eid"], own);
    let refused = function.run(&["logs", "get", &greeted]).await.refused(4);
    assert!(refused.contains("function session"), "{refused}");
    let refused = function.run(&["functions", "list"]).await.refused(4);
    assert!(refused.contains("function session"), "{refused}");
    let mine = json!({"type": "greeted", "actor": "u_18"});
    let answer = function.post_event(&mine).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["code"], "function_session_scope");
}

#[tokio::test]
async fn a_session_is_checked_by_the_platform_and_ends_with_its_user_and_its_function() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let options = ["--format", "schmuckli", "--on", "AUTH_LOGIN"];
    client
        .create_function("welcome", &receiver.url("/"), &options)
        .await;
    for user in ["u_1", "u_2"] {
        client.emit("AUTH_LOGIN", &["--actor", user]).await;
    }
    let requests = receiver.wait_for(2, SOON).await;
    let mut sessions = Vec::new();
    for request in &requests {
        let token = session_of(request);
        let said = introspected(&client, &token).await;
        assert_eq!(said["active"], true, "{said}");
        let said = &said["session"];
        assert_eq!(said["function"], "welcome");
        assert_eq!(said["delivery"], request.header("webhook-id").unwrap());
        sessions.push((said["actor"].as_str().unwrap().to_owned(), token));
    }
    sessions.sort();
    let [(_, of_first), (_, of_second)] = <[_; 2]>::try_from(sessions).unwrap();

    let revoke = ["sessions", "revoke", "--actor", "u_1"];
    client.run(&revoke).await.done();
    assert_eq!(introspected(&client, &of_first).await["active"], false);
    assert_eq!(introspected(&client, &of_second).await["active"], true);
    client.run(&["functions", "delete", "welcome"]).await.done();
    for token in [&of_first, &of_second] {
        assert_eq!(introspected(&client, token).await["active"], false);
        let event = json!({"type": "a.b"});
        let answer = client.with_key(token).post_event(&event).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["code"], "function_session_revoked");
    }
}

async fn introspected(client: &Client, token: &str) -> Value {
    let words = ["sessions", "introspect", token];
    client.run(&words).await.done().object()
}

#[tokio::test]
async fn s2_35_s2_37_types_are_registered_checked_and_emitted_by_answers() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let schema = r#"{"type":"object","required":["total"]}"#;
    let words = ["types", "create", "order.placed", "--schema", schema];
    let created = client.run(&words).await.done().object();
    assert_eq!(created["number"], 100_000);
    let listed = client.run(&["types", "list"]).await.done().objects();
    assert!(listed.iter().any(|known| known["number"] == 1000));
    assert_eq!(listed.last().unwrap()["name"], "order.placed");

    let options = ["--on", "AUTH_LOGIN", "--events-in-answers"];
    client
        .create_function("asks", &receiver.url("/asks"), &options)
        .await;
    let options = ["--on", "100000", "--format", "schmuckli"];
    client
        .create_function("placed", &receiver.url("/placed"), &options)
        .await;
    let refused = client
        .run(&["emit", "order.placed", "--data", "{}"])
        .await
        .refused(3);
    assert!(refused.contains("/required"), "{refused}");

    receiver.answer_by(|request| {
        let answer = testkit::Answer::status(200);
        match request.path.as_str() {
            "/asks" => answer.with_body(
                r#"{"events":[{"type":"order.placed","payload":{"total":1}},{"type":"order.placed"}]}"#,
            ),
            _ => answer,
        }
    });
    let login = client.emit("AUTH_LOGIN", &[]).await;
    let requests = receiver.wait_for(2, SOON).await;
    let placed = requests.iter().find(|request| request.path == "/placed");
    let placed = placed.unwrap().json();
    assert_eq!(placed["_event_id"], 100_000);
    assert_eq!(placed["_event_name"], "order.placed");
    assert_eq!(placed["total"], 1);
    let line = client.log_line(login["eid"].as_str().unwrap(), "processed");
    let line = line.await;
    let remark = line["remark"].as_str().unwrap();
    assert!(remark.contains("events[1]"), "{remark}");
}
