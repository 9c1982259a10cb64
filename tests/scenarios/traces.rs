//! One trace leads from the call that emitted an event to the endpoint's request and the log.

use harness::{Cluster, Collector, Options, SOON};
use testkit::Receiver;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn the_callers_trace_goes_through_all_services_to_the_endpoint_and_the_log() {
    let collector = Collector::start().await;
    let options = Options {
        collector_url: Some(collector.url()),
        ..Options::default()
    };
    let mut cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    let options = ["--on", "trace.test", "--format", "schmuckli"];
    let created = client
        .create_function("traced", &receiver.url("/"), &options)
        .await;

    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &traceparent),
    ];
    let answer = client
        .post_raw(&headers, r#"{"type":"trace.test","data":{}}"#)
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let request = receiver.wait_for(1, SOON).await.remove(0);
    let sent = request.header("traceparent").unwrap().to_owned();
    assert!(sent.starts_with(&format!("00-{TRACE}-")), "{sent}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    client.log_line(&id, "processed").await;
    let history = client.history(&id).await;
    assert_eq!(
        history["deliveries"][0]["attempt_list"][0]["traceparent"],
        sent
    );

    // What has not been sent yet is sent at the end.
    assert!(
        cluster
            .stop_all()
            .await
            .values()
            .all(|code| *code == Some(0))
    );
    let spans = collector.spans_of(TRACE);
    for service in ["trigger-emitter", "delivery-worker"] {
        let is_there = spans.iter().any(|(sender, _)| sender.contains(service));
        assert!(is_there, "no span of {service}: {}", collector.text());
    }
    let text = collector.text();
    let secrets = [
        created["secret"].as_str(),
        created["signing_secret"].as_str(),
    ];
    for secret in secrets
        .into_iter()
        .flatten()
        .chain([cluster.api_key.as_str()])
    {
        assert!(!text.contains(secret), "a secret is in clear in a trace");
    }
}
