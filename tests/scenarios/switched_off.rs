//! A function that says it is gone is switched off if it asked for that, told of, and resumed.

use std::time::Duration;

use harness::{Client, Cluster, Embedded, SOON};
use serde_json::Value;
use testkit::{Receiver, eventually};

#[tokio::test]
async fn a_function_that_is_gone_is_called_no_more_until_it_is_resumed_embedded() {
    let system = Embedded::start().await;
    gone_is_called_no_more_until_it_is_resumed(&system.client()).await;
}

#[tokio::test]
async fn a_function_that_is_gone_is_called_no_more_until_it_is_resumed_from_the_services() {
    let cluster = Cluster::start(1).await;
    gone_is_called_no_more_until_it_is_resumed(&cluster.client()).await;
}

async fn emit(client: &Client) -> String {
    let emitted = client.emit("shop.order.paid", &[]).await;
    emitted["eid"].as_str().unwrap().to_owned()
}

async fn settings(client: &Client) -> Value {
    let get = client.run(&["functions", "get", "gone"]).await.done();
    get.object()["settings"].clone()
}

async fn gone_is_called_no_more_until_it_is_resumed(client: &Client) {
    let (gone, watcher) = (Receiver::start().await, Receiver::start().await);
    gone.answer_with(410);
    let on = ["--on", "shop.order.paid", "--disable-on-gone"];
    client.create_function("gone", &gone.url("/"), &on).await;
    let on = ["--on", "9001", "--format", "cloudevents-structured"];
    client
        .create_function("watcher", &watcher.url("/"), &on)
        .await;

    let eid = emit(client).await;
    let line = client.log_line(&eid, "failed").await;
    assert_eq!(line["remark"], "the endpoint is gone");
    let disabled = eventually(SOON, "the function is switched off", async || {
        let disabled = settings(client).await["disabled"].clone();
        disabled.is_object().then_some(disabled)
    })
    .await;
    let reason = disabled["reason"].as_str().unwrap();
    assert!(reason.contains("410"), "{disabled}");
    let listed = client.run_as_people_do(&["functions", "list"]).await.done();
    let since = format!("disabled since {}", disabled["at"].as_str().unwrap());
    assert!(listed.stdout.contains(&since), "{}", listed.stdout);

    let waits = emit(client).await;
    let waiting = eventually(SOON, "the next event waits", async || {
        let listed = client.run(&["deliveries", "list"]).await.done().objects();
        (listed.len() == 1).then_some(listed)
    })
    .await;
    assert_eq!(waiting[0]["reason"], "paused");
    assert_eq!(gone.count(), 1);

    watcher.wait_for(1, SOON).await;
    let told = watcher.requests()[0].json();
    assert_eq!(told["type"], "system.function.disabled");
    let data = &told["data"];
    assert_eq!(data["function"], "gone");
    assert_eq!(data["reason"], reason);
    assert_eq!(data["url"], gone.url("/"));
    // People are shown milliseconds.
    let shown = disabled["at"].as_str().unwrap().trim_end_matches('Z');
    assert!(data["at"].as_str().unwrap().starts_with(shown), "{data}");

    gone.answer_with(200);
    client.run(&["functions", "resume", "gone"]).await.done();
    client.log_line(&waits, "processed").await;
    assert_eq!(settings(client).await["disabled"], Value::Null);
    assert_eq!(gone.count(), 2);
    // Whatever else would be told has had its time by now.
    tokio::time::timeout(Duration::from_millis(300), watcher.wait_for(2, SOON))
        .await
        .unwrap_err();
    client
        .run(&["emit", "system.function.disabled"])
        .await
        .refused(3);
}
