//! A function that sets itself off ends by itself, as long as it passes on what it was told.

use std::time::Duration;

use harness::{Client, Cluster, Embedded, SOON};
use testkit::Receiver;

/// As many events may lie behind one by default.
const DEPTH_MAX: usize = 8;

#[tokio::test]
async fn a_function_that_sets_itself_off_ends_embedded() {
    let system = Embedded::start().await;
    a_function_that_sets_itself_off_ends(&system.client()).await;
}

#[tokio::test]
async fn a_function_that_sets_itself_off_ends_in_the_services() {
    let cluster = Cluster::start(1).await;
    a_function_that_sets_itself_off_ends(&cluster.client()).await;
}

async fn a_function_that_sets_itself_off_ends(client: &Client) {
    let receiver = Receiver::start().await;
    client
        .create_function("echo", &receiver.url("/"), &["--on", "loop.again"])
        .await;
    client.emit("loop.again", &[]).await;
    // Each call emits the same again and passes on what it was told.
    for calls in 1..=DEPTH_MAX + 1 {
        let requests = receiver.wait_for(calls, SOON).await;
        let request = &requests[calls - 1];
        let told = |name: &str| request.header(name).unwrap().to_owned();
        let (depth, ancestry) = (told("x-tripline-depth"), told("x-tripline-ancestry"));
        assert_eq!(depth, (calls - 1).to_string());
        assert_eq!(ancestry, vec!["echo"; calls].join(","));
        let headers = [
            ("content-type", "application/json"),
            ("x-tripline-depth", depth.as_str()),
            ("x-tripline-ancestry", ancestry.as_str()),
        ];
        let answer = client.post_raw(&headers, r#"{"type":"loop.again"}"#).await;
        assert_eq!(answer.status, 202);
    }
    let lines = client
        .logs_when(&["--status", "cancel"], "the end of the loop", |lines| {
            !lines.is_empty()
        })
        .await;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["remark"], &lines[0]["attempts"]),
        (&"loop".into(), &0.into())
    );
    let history = client.history(lines[0]["eid"].as_str().unwrap()).await;
    assert_eq!(history["depth"], DEPTH_MAX + 1);
    assert_eq!(history["ancestry"].as_array().unwrap().len(), DEPTH_MAX + 1);
    receiver.wait_for(DEPTH_MAX + 1, Duration::ZERO).await;
    assert_eq!(receiver.count(), DEPTH_MAX + 1, "the last was not sent");
}
