//! A key says who calls: which project, and what is allowed there; nothing else does.

use harness::{Client, Cluster, Embedded, Options, SOON, Shape};
use serde_json::json;
use testkit::{Receiver, eventually};

async fn all_in_one() -> Cluster {
    Cluster::start_with(Options {
        shape: Shape::AllInOne,
        ..Options::default()
    })
    .await
}

async fn key_with(client: &Client, scopes: &str) -> Client {
    let created = client
        .run(&["keys", "create", "--scope", scopes])
        .await
        .done()
        .object();
    let user = client.with_key(created["secret"].as_str().unwrap());
    eventually(SOON, "the new key is known", async || {
        let outcome = user.run(&["functions", "list"]).await;
        (outcome.code == 0 || !outcome.stderr.contains("not known")).then_some(())
    })
    .await;
    user
}

#[tokio::test]
async fn each_scope_allows_its_own_and_nothing_else() {
    let cluster = all_in_one().await;
    let client = cluster.client();
    let create = [
        "functions",
        "create",
        "scoped",
        "--url",
        "http://127.0.0.1:9/",
    ];
    let actions: [(&str, &[&str]); 6] = [
        ("emit", &["emit", "a.b"]),
        ("manage", &create),
        ("manage", &["keys", "create", "--scope", "read"]),
        ("read", &["functions", "list"]),
        ("read", &["triggers", "list"]),
        ("read", &["logs"]),
    ];
    for scope in ["emit", "manage", "read"] {
        let user = key_with(&client, scope).await;
        for (needed, words) in actions {
            let outcome = user.run(words).await;
            if needed == scope {
                outcome.done();
            } else {
                assert!(outcome.refused(4).contains(needed), "{scope} {words:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_itself() {
    let cluster = all_in_one().await;
    let client = cluster.client();
    let words = [
        "keys",
        "create",
        "--scope",
        "emit,read",
        "--note",
        "for the shop",
    ];
    let created = client.run(&words).await.done().object();
    assert_eq!(created["scopes"], json!(["emit", "read"]));
    let listed = client.run(&["keys", "list"]).await.done();
    assert!(!listed.stdout.contains(created["secret"].as_str().unwrap()));
    let keys = listed.objects();
    assert_eq!(keys.len(), 2, "the first one and this: {keys:?}");
    assert!(
        keys.iter()
            .any(|key| key["note"] == "for the shop" && key["id"] == created["id"])
    );
}

#[tokio::test]
async fn migrate_shows_the_first_key_once() {
    let cluster = all_in_one().await;
    assert!(cluster.api_key.starts_with("tlk_"), "{}", cluster.api_key);
    assert_eq!(cluster.api_key.lines().count(), 1);
    assert_eq!(cluster.migrate_again().await, "");
    cluster.client().run(&["functions", "list"]).await.done();
}

/// Two projects; each client has a key of its own, and names its own project in paths.
async fn two_projects(cluster: &Cluster) -> (Client, Client) {
    let first = cluster.client();
    let operator = first.with_key(Cluster::OPERATOR_TOKEN);
    let created = operator
        .run(&["projects", "create", "acme"])
        .await
        .done()
        .object();
    let mut second = first.with_key(created["key"].as_str().unwrap());
    second.project = "acme".to_owned();
    eventually(SOON, "the new project's key is known", async || {
        (second.run(&["functions", "list"]).await.code == 0).then_some(())
    })
    .await;
    (first, second)
}

#[tokio::test]
async fn the_operator_makes_projects_and_sees_them_all() {
    let cluster = all_in_one().await;
    let client = cluster.client();
    let words = ["projects", "create", "other"];
    assert!(client.run(&words).await.refused(4).contains("operator"));
    two_projects(&cluster).await;
    let operator = client.with_key(Cluster::OPERATOR_TOKEN);
    assert!(
        operator
            .run(&["projects", "create", "acme"])
            .await
            .refused(6)
            .contains("acme")
    );
    let projects = operator.run(&["projects", "list"]).await.done().objects();
    let mut names: Vec<_> = projects
        .iter()
        .map(|project| project["name"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["acme", "default"]);
    let own = client.run(&["projects", "list"]).await.done().object();
    assert_eq!(own["name"], "default", "a key sees its own project alone");
}

#[tokio::test]
async fn projects_do_not_see_each_other() {
    let cluster = all_in_one().await;
    let (first, second) = two_projects(&cluster).await;
    let receiver = Receiver::start().await;
    for (client, path) in [(&first, "/first"), (&second, "/second")] {
        client
            .create_function("same-name", &receiver.url(path), &["--on", "order.paid"])
            .await;
    }
    let eid = first.emit("order.paid", &["--data", "{}"]).await["eid"].clone();
    let eid = eid.as_str().unwrap();
    receiver.wait_for(1, SOON).await;
    first.log_line(eid, "processed").await;
    assert_eq!(receiver.requests()[0].path, "/first");
    assert_eq!(second.logs(&[]).await.len(), 0);
    second.run(&["logs", "get", eid]).await.refused(5);
    let shown = second
        .run(&["functions", "get", "same-name"])
        .await
        .done()
        .object();
    assert_eq!(shown["url"], receiver.url("/second"));
    second
        .run(&["functions", "delete", "same-name"])
        .await
        .done();
    first.run(&["functions", "get", "same-name"]).await.done();
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_path_that_names_another_project_is_refused_as_if_it_did_not_exist() {
    let cluster = all_in_one().await;
    let (first, second) = two_projects(&cluster).await;
    let event = json!({"type": "order.paid"});
    for stranger in [first.in_project("acme"), second.in_project("default")] {
        let answer = stranger.post_event(&event).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap()
            .replace(&stranger.project, "?");
        let unknown = stranger.in_project("nobody").post_event(&event).await;
        let unknown = unknown.json()["detail"]
            .as_str()
            .unwrap()
            .replace("nobody", "?");
        assert_eq!(
            detail, unknown,
            "no difference between not mine and not there"
        );
        stranger.run(&["functions", "list"]).await.refused(5);
    }
}

#[tokio::test]
async fn a_body_never_decides_the_project() {
    let cluster = all_in_one().await;
    let (first, second) = two_projects(&cluster).await;
    let forged = json!({
        "type": "order.paid",
        "data": {"project": "default"},
        "source": "/projects/default",
        "extensions": {"project": "default"},
    });
    let answer = second.post_event(&forged).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    second
        .logs_when(&[], "the event of the second project", |lines| {
            lines.len() == 1
        })
        .await;
    assert_eq!(first.logs(&[]).await.len(), 0);
}

#[tokio::test]
async fn under_up_no_key_is_needed_but_a_wrong_one_is_refused() {
    let system = Embedded::start().await;
    let client = system.client();
    client.run(&["functions", "list"]).await.done();
    client
        .with_key("tlk_wrong_wrong")
        .run(&["functions", "list"])
        .await
        .refused(4);
    let reader = key_with(&client, "read").await;
    reader.run(&["functions", "list"]).await.done();
    reader.run(&["emit", "a.b"]).await.refused(4);
}
