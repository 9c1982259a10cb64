//! Whoever emits an event may wait for what a function answers.

use std::time::{Duration, Instant};

use harness::{Embedded, Http};
use serde_json::json;
use testkit::{Answer, Receiver};

#[tokio::test]
async fn s2_39_s2_40_s2_41_an_event_is_answered_by_its_function_or_at_once_by_nobody() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let answer = Answer::status(200).with_header("content-type", "application/json");
    receiver.answer(answer.with_body(r#"{"response":{"price":9}}"#));
    let url = receiver.url("/");
    let on = ["--on", "price-asked"];
    let create = ["functions", "create", "price", "--url", &url];
    client.run(&[&create[..], &on].concat()).await.done();
    let (http, url) = (Http::default(), system.url());
    let events = format!("{url}/v1/projects/default/events?sync=true");
    let queue = format!("{url}/v1/api/default/eventing/queue");

    let event = json!({"type": "price-asked", "data": {"n": 1}});
    let answer = http.post_json(&events, None, &event).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["result"]["response"]["price"], 9);
    let event = json!({"type": "price-asked", "payload": {}, "isSynchronous": true});
    let answer = http.post_json(&queue, None, &event).await.unwrap();
    assert_eq!(answer.json(), json!({"result": {"price": 9}}));

    let began = Instant::now();
    let event = json!({"type": "nobody-asked", "isSynchronous": true});
    let answer = http.post_json(&queue, None, &event).await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(5));

    receiver.answer(Answer::status(200).after(Duration::from_secs(2)));
    let soon = format!("{events}&wait=100ms");
    let event = json!({"type": "price-asked", "id": "late", "source": "/shop"});
    let answer = http.post_json(&soon, None, &event).await.unwrap();
    assert_eq!(answer.status, 504, "{}", answer.text());
    client
        .logs_when(&["--event", "late"], "its delivery", |lines| {
            lines.len() == 1 && lines[0]["status"] == "processed"
        })
        .await;
}
