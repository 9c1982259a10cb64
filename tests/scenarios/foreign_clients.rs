//! Clients that nobody here wrote understand tripline, and are understood.

use std::collections::BTreeMap;

use harness::{Cluster, Embedded, Options, SOON, Shape, run_foreign};
use serde_json::{Value, json};
use testkit::{Received, Receiver};

#[tokio::test]
async fn a_grpc_client_lists_the_services_by_reflection_and_emits_an_event() {
    let options = Options {
        shape: Shape::AllInOne,
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    client
        .create_function("from-python", &receiver.url("/"), &["--on", "AUTH_LOGIN"])
        .await;
    let event = json!({"type": "AUTH_LOGIN", "data": "eyJ1c2VyX2lkIjoidTEifQ==", "actor_id": "u1"});
    let target = client.servers.emitter.trim_start_matches("http://");
    let wanted = json!({"target": target, "api_key": cluster.api_key, "event": event});
    let found = run_foreign("grpc_client.py", &wanted).await;

    let services: Vec<_> = found["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for service in [
        "grpc.health.v1.Health",
        "tripline.delivery.v1.DeliveryService",
        "tripline.events.v1.EventService",
        "tripline.functions.v1.FunctionService",
        "tripline.functions.v1.TriggerService",
        "tripline.logs.v1.LogService",
        "tripline.projects.v1.KeyService",
        "tripline.projects.v1.ProjectService",
    ] {
        assert!(
            services.contains(&service),
            "{service} is not among {services:?}"
        );
    }
    assert_eq!(
        found["methods"],
        json!(["EmitEvent", "EmitEvents", "StreamEvents", "TakeMessages"])
    );
    let eid = found["accepted"]["eid"].as_str().unwrap();
    client.log_line(eid, "processed").await;
    assert_eq!(
        receiver.requests()[0].json()["data"],
        json!({"user_id": "u1"})
    );
}

#[tokio::test]
async fn cloudevents_of_pythons_library_are_accepted_in_each_mode_and_ours_are_read_by_it() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    for mode in ["structured", "binary"] {
        let format = format!("cloudevents-{mode}");
        let options = ["--on", "python.event", "--format", &format];
        client
            .create_function(mode, &receiver.url(&format!("/{mode}")), &options)
            .await;
    }
    let wanted = json!({"url": client.events_url(), "api_key": null, "type": "python.event"});
    let answers = run_foreign("send_cloudevents.py", &wanted).await;
    for mode in ["structured", "binary"] {
        let id = format!("python-{mode}");
        assert_eq!(answers[mode]["status"], 202, "{answers}");
        assert_eq!(
            answers[mode]["answer"],
            json!({"id": id, "duplicate": false})
        );
    }
    assert_eq!(answers["batch"]["status"], 202, "{answers}");
    assert_eq!(
        answers["batch"]["answer"]["events"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    let received = receiver.wait_for(10, SOON).await;
    let requests: Vec<_> = received.iter().map(as_python_takes_it).collect();
    let read = run_foreign("read_cloudevents.py", &json!(requests)).await;
    let mut seen = BTreeMap::<String, usize>::new();
    for event in read.as_array().unwrap() {
        let attributes = &event["attributes"];
        let id = attributes["id"].as_str().unwrap();
        *seen.entry(id.to_owned()).or_default() += 1;
        let expected = [
            ("specversion", "1.0"),
            ("source", "https://example.com/python-client"),
            ("type", "python.event"),
            ("subject", "orders/caf%C3%A9%2042"),
            ("time", "2026-11-23 08:00:00+00:00"),
            ("datacontenttype", "application/json"),
            ("comexample", "Euro € 😀"),
        ];
        for (name, value) in expected {
            assert_eq!(attributes[name], value, "{name} of {event}");
        }
        assert_eq!(event["data"]["text"], "Euro € 😀");
        assert_eq!(
            format!("python-{}", event["data"]["mode"].as_str().unwrap()),
            id
        );
    }
    let names = ["structured", "binary", "batch-1", "batch-2", "batch-3"];
    let expected = names.map(|name| (format!("python-{name}"), 2)).into();
    assert_eq!(seen, expected, "each in both formats");
}

fn as_python_takes_it(request: &Received) -> Value {
    let headers: BTreeMap<_, _> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    json!({"headers": headers, "body": String::from_utf8_lossy(&request.body)})
}
