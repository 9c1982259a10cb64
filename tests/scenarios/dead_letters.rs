//! What failed for good is told once, to those who asked for it, and never about itself.

use harness::{Client, Cluster, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Received, Receiver};

#[tokio::test]
async fn s2_42_s4_33_a_dead_letter_calls_its_functions_once_embedded() {
    let system = Embedded::start().await;
    a_dead_letter_calls_its_functions_once(&system.client()).await;
}

#[tokio::test]
async fn a_dead_letter_calls_its_functions_once_from_the_services() {
    let cluster = Cluster::start(1).await;
    a_dead_letter_calls_its_functions_once(&cluster.client()).await;
}

async fn a_dead_letter_calls_its_functions_once(client: &Client) {
    let (broken, undertaker) = (Receiver::start().await, Receiver::start().await);
    broken.answer_with(503);
    let no_retry = ["--retries", "0", "--format", "cloudevents-structured"];
    let on = |event_type| [&["--on", event_type], &no_retry[..]].concat();
    client
        .create_function("broken", &broken.url("/"), &on("shop.order.paid"))
        .await;
    for (name, path, event_type) in [
        ("undertaker", "/dead", "9000"),
        ("space-cloud", "/dlq", "dlq_broken"),
        ("everything", "/everything", "**"),
    ] {
        client
            .create_function(name, &undertaker.url(path), &on(event_type))
            .await;
    }
    // Those who are told fail too: nothing may be told of that.
    undertaker.answer_with(500);
    let data = r#"{"order":17}"#;
    let emitted = client.emit("shop.order.paid", &["--data", data]).await;
    let eid = emitted["eid"].as_str().unwrap();

    // `everything` fails for the order itself, which is told, and is not called for what is told.
    undertaker.wait_for(3, SOON).await;
    let lines = client
        .logs_when(&["--status", "failed"], "five failures", |lines| {
            lines.len() == 5
        })
        .await;
    assert_eq!(undertaker.count(), 4, "{lines:#?}");
    let requests = undertaker.requests();
    let told = |path: &str| -> Vec<Value> {
        let of_path = requests.iter().filter(|request| request.path == path);
        of_path.map(Received::json).collect()
    };
    assert_eq!((told("/dlq").len(), told("/everything").len()), (1, 1));
    let of_broken = |event: &Value| event["data"]["function"] == "broken";
    let dead: Vec<_> = told("/dead").into_iter().filter(of_broken).collect();
    for event in dead.iter().chain(&told("/dlq")) {
        assert_eq!(event["causationid"], eid, "{event}");
        assert_eq!(event["depth"], 1);
        let data = &event["data"];
        assert_eq!(data["event_payload"], json!({"order": 17}));
        assert_eq!(data["event_id"], emitted["id"]);
        assert_eq!(data["event_type"], "shop.order.paid");
        assert_eq!(
            (&data["attempts"], &data["last_status"]),
            (&json!(1), &json!(503))
        );
        assert_eq!(data["remark"], "attempts used up");
    }
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["type"], "system.delivery.dead");
    assert_eq!(dead[0]["eventnumber"], 9000);
    assert_eq!(told("/dlq")[0]["type"], "dlq_broken");

    for event_type in ["system.delivery.dead", "dlq_broken"] {
        client.run(&["emit", event_type]).await.refused(3);
    }
}
