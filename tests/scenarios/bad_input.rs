//! Bad input gets a clear error, and nothing of it is stored.

use std::io::Write as _;

use harness::{Client, Cluster, Embedded, Options, Role, SOON, Shape, serve_with_settings};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventRequest, NewEvent};
use serde_json::{Value, json};
use testkit::{Receiver, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic_types::StatusExt as _;

const JSON: (&str, &str) = ("content-type", "application/json");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

/// 256 KiB and one byte.
fn too_much() -> String {
    format!("\"{}\"", "x".repeat(256 * 1024 - 1))
}

/// The log shows a good event that came after everything else, and nothing but it.
async fn nothing_else_was_stored(client: &Client) {
    let emitted = client.emit("the.last.one", &["--data", "{}"]).await;
    let lines = client
        .logs_when(&[], "the last event", |lines| !lines.is_empty())
        .await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0]["eid"], emitted["eid"]);
    assert_eq!(lines[0]["function"], Value::Null);
}

/// What a case is about, its content type, body, expected status, and field at fault.
type Case<'a> = (&'a str, (&'a str, &'a str), &'a str, u16, Option<&'a str>);

#[tokio::test]
async fn bad_events_by_http_are_problems_that_name_field_value_and_what_is_allowed() {
    let system = Embedded::start().await;
    let client = system.client();
    let too_large = json!({"type": "a.b", "data": too_much()}).to_string();
    let old_version = r#"{"specversion":"0.3","id":"1","source":"/a","type":"a.b"}"#;
    let cases: [Case<'_>; 11] = [
        ("not JSON", JSON, "{", 400, None),
        ("not an object", JSON, "7", 400, None),
        ("no type", JSON, r#"{"data":1}"#, 400, Some("type")),
        ("an empty type", JSON, r#"{"type":""}"#, 400, Some("type")),
        (
            "a number for a type",
            JSON,
            r#"{"type":"2001"}"#,
            400,
            Some("type"),
        ),
        (
            "an unknown number",
            JSON,
            r#"{"type":"1999"}"#,
            400,
            Some("type"),
        ),
        (
            "a reserved type",
            JSON,
            r#"{"type":"dlq_orders"}"#,
            400,
            Some("type"),
        ),
        (
            "a bad subject",
            JSON,
            r#"{"type":"a.b","subject":"a//b"}"#,
            400,
            Some("subject"),
        ),
        ("too much data", JSON, &too_large, 413, Some("data")),
        (
            "an old version",
            STRUCTURED,
            old_version,
            400,
            Some("specversion"),
        ),
        (
            "another media type",
            ("content-type", "text/csv"),
            "a;b",
            415,
            None,
        ),
    ];
    for case in cases {
        is_a_clear_problem(&client, case).await;
    }
    let elsewhere = client
        .in_project("nobody")
        .post_event(&json!({"type": "a.b"}))
        .await;
    assert_eq!(elsewhere.status, 404, "{}", elsewhere.text());
    nothing_else_was_stored(&client).await;
}

async fn is_a_clear_problem(client: &Client, case: Case<'_>) {
    let (what, content_type, body, status, field) = case;
    let answer = client.post_raw(&[content_type], body.to_owned()).await;
    assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
    assert_eq!(
        answer.headers["content-type"], "application/problem+json",
        "{what}"
    );
    let problem = answer.json();
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.len() > 5),
        "{what}: {problem}"
    );
    assert!(problem["code"].is_string(), "{what}: {problem}");
    if let Some(field) = field {
        assert_eq!(problem["field"], field, "{what}: {problem}");
        assert!(problem["allowed"].is_string(), "{what}: {problem}");
    }
}

#[tokio::test]
async fn one_bad_event_refuses_the_whole_batch_and_is_named_by_its_place() {
    let system = Embedded::start().await;
    let client = system.client();
    let batch = json!([{"type": "a.b"}, {"type": "2001"}]).to_string();
    let answer = client.post_raw(&[JSON], batch).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.json()["field"].as_str().unwrap().contains('1'),
        "{}",
        answer.text()
    );
    nothing_else_was_stored(&client).await;
}

#[tokio::test]
async fn a_request_that_announces_too_much_is_refused_before_it_is_sent() {
    let system = Embedded::start().await;
    let address = system.url().trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = 4 * 1024 * 1024 + 1;
    let head = format!(
        "POST /v1/projects/default/events HTTP/1.1\r\nhost: {address}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("at most 4194304 bytes"), "{answer}");
}

#[tokio::test]
async fn bad_events_by_the_command_line_are_one_line_and_exit_code_3() {
    let system = Embedded::start().await;
    let client = system.client();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(too_much().as_bytes()).unwrap();
    let at_file = format!("@{}", file.path().display());
    let cases: [(&[&str], &str); 6] = [
        (&["emit", ""], "type"),
        (&["emit", "2001"], "only digits"),
        (&["emit", "a.b", "--subject", "a//b"], "subject"),
        (&["emit", "a.b", "--data", "{not json"], "not JSON"),
        (&["emit", "a.b", "--data", &at_file], "262144"),
        (&["emit", "a b"], "allowed"),
    ];
    for (words, part) in cases {
        let line = client.run(words).await.refused(3);
        assert!(line.contains(part), "{words:?}: {line}");
    }
    let missing = client
        .run(&["emit", "a.b", "--data", "@/no/such/file"])
        .await
        .refused(2);
    assert!(missing.contains("/no/such/file"), "{missing}");
    let unknown = client
        .in_project("nobody")
        .run(&["emit", "a.b"])
        .await
        .refused(5);
    assert!(unknown.contains("nobody"), "{unknown}");
    nothing_else_was_stored(&client).await;
}

#[tokio::test]
async fn bad_events_by_grpc_carry_bad_request_details() {
    let system = Embedded::start().await;
    let mut grpc = EventServiceClient::connect(system.url().to_owned())
        .await
        .unwrap();
    let good = || NewEvent {
        r#type: "a.b".to_owned(),
        ..NewEvent::default()
    };
    let cases = [
        (
            "type",
            NewEvent {
                r#type: String::new(),
                ..good()
            },
        ),
        (
            "type",
            NewEvent {
                r#type: "2001".to_owned(),
                ..good()
            },
        ),
        (
            "subject",
            NewEvent {
                subject: "a//b".to_owned(),
                ..good()
            },
        ),
        (
            "data",
            NewEvent {
                data: b"{".to_vec().into(),
                ..good()
            },
        ),
        (
            "data",
            NewEvent {
                data: too_much().into_bytes().into(),
                ..good()
            },
        ),
    ];
    for (field, event) in cases {
        let request = EmitEventRequest {
            event: Some(event),
            ..EmitEventRequest::default()
        };
        let status = grpc.emit_event(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert!(
            violations[0].field.ends_with(field),
            "{field}: {violations:?}"
        );
    }
    let status = grpc
        .emit_event(EmitEventRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        status.code(),
        Code::InvalidArgument,
        "no event at all: {status}"
    );
    nothing_else_was_stored(&system.client()).await;
}

#[tokio::test]
async fn bad_functions_and_triggers_are_refused_and_not_created() {
    let system = Embedded::start().await;
    let client = system.client();
    let url = ["--url", "http://127.0.0.1:9/"];
    let on = |on: &'static str| {
        [
            &["functions", "create", "some-name"],
            &url[..],
            &["--on", on],
        ]
        .concat()
    };
    let cases: [(Vec<&str>, &str); 11] = [
        (
            vec![
                "functions",
                "create",
                "some-name",
                "--url",
                "ftp://example.com",
            ],
            "http and https",
        ),
        (
            vec![
                "functions",
                "create",
                "some-name",
                "--url",
                "example.com/hook",
            ],
            "url",
        ),
        (
            vec![
                "functions",
                "create",
                "some-name",
                "--url",
                "http://u:p@example.com",
            ],
            "password",
        ),
        (
            [&["functions", "create", "Ab"], &url[..]].concat(),
            "3 to 63",
        ),
        (on("1999"), "1000"),
        (on("storage.**.**"), "pattern"),
        (
            [on("1000"), vec!["--subject", "a/**/b/**"]].concat(),
            "subject",
        ),
        ([on("1000"), vec!["--format", "xml"]].concat(), "schmuckli"),
        ([on("1000"), vec!["--retries", "101"]].concat(), "0 to 100"),
        ([on("1000"), vec!["--timeout", "6m"]].concat(), "5 min"),
        (
            [on("1000"), vec!["--backoff", "random"]].concat(),
            "exponential",
        ),
    ];
    for (words, part) in cases {
        let line = client.run(&words).await.refused(3);
        assert!(line.contains(part), "{words:?}: {line}");
    }
    let nobody = [
        "triggers",
        "create",
        "lonely",
        "--function",
        "nobody",
        "--on",
        "1000",
    ];
    assert!(client.run(&nobody).await.refused(5).contains("nobody"));
    assert!(
        client
            .run(&["functions", "get", "nobody"])
            .await
            .refused(5)
            .contains("nobody")
    );
    assert!(client.run(&["logs", "get", "evt_nothing"]).await.code != 0);
    assert_eq!(client.run(&["functions", "list"]).await.done().stdout, "");
    assert_eq!(client.run(&["triggers", "list"]).await.done().stdout, "");

    client
        .create_function("taken", "http://127.0.0.1:9/first", &["--on", "1000"])
        .await;
    let again = [
        "functions",
        "create",
        "taken",
        "--url",
        "http://127.0.0.1:9/second",
    ];
    assert!(client.run(&again).await.refused(6).contains("taken"));
    let kept = client
        .run(&["functions", "get", "taken"])
        .await
        .done()
        .object();
    assert_eq!(kept["url"], "http://127.0.0.1:9/first");
    let again = [
        "triggers",
        "create",
        "taken",
        "--function",
        "taken",
        "--on",
        "1001",
    ];
    assert!(client.run(&again).await.refused(6).contains("taken"));
    assert_eq!(
        client
            .run(&["triggers", "list"])
            .await
            .done()
            .objects()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_missing_a_revoked_and_an_unfit_key_are_refused() {
    let options = Options {
        shape: Shape::AllInOne,
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let event = json!({"type": "a.b", "data": {}});

    let anybody = client.without_key();
    assert_eq!(anybody.post_event(&event).await.status, 401);
    assert!(
        anybody
            .run(&["emit", "a.b"])
            .await
            .refused(4)
            .contains("API key")
    );
    let guessed = client.with_key("tlk_guessed_guessed");
    assert_eq!(guessed.post_event(&event).await.status, 401);

    let created = client
        .run(&["keys", "create", "--scope", "read"])
        .await
        .done()
        .object();
    let reader = client.with_key(created["secret"].as_str().unwrap());
    eventually(SOON, "the new key is known", async || {
        (reader.run(&["functions", "list"]).await.code == 0).then_some(())
    })
    .await;
    let problem = reader.post_event(&event).await;
    assert_eq!(problem.status, 403, "{}", problem.text());
    assert!(problem.json()["detail"].as_str().unwrap().contains("emit"));
    let words = [
        "functions",
        "create",
        "some-name",
        "--url",
        "http://127.0.0.1:9/",
    ];
    assert!(reader.run(&words).await.refused(4).contains("manage"));

    client
        .run(&["keys", "revoke", created["id"].as_str().unwrap()])
        .await
        .done();
    eventually(SOON, "the key is refused", async || {
        let outcome = reader.run(&["functions", "list"]).await;
        (outcome.code == 4 && outcome.stderr.contains("revoked")).then_some(())
    })
    .await;
    assert!(
        client
            .run(&["keys", "create", "--scope", "rule"])
            .await
            .refused(3)
            .contains("manage")
    );
    nothing_else_was_stored(&client).await;
}

#[tokio::test]
async fn a_misspelt_settings_key_lists_fault_place_and_allowed_keys() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    writeln!(
        file,
        "[delivery_worker]\nin_flight_mx = 3\nin_flight_max = \"many\""
    )
    .unwrap();
    let variables = [("TRIPLINE__BROKER__EVENT_SHARD", "4")];
    let outcome = serve_with_settings(Role::DeliveryWorker, file.path(), &variables).await;
    assert_eq!(outcome.code, 64, "{}", outcome.stderr);
    let place = format!("{}:2", file.path().display());
    let parts = [
        "3 faults",
        &place,
        "unknown key delivery_worker.in_flight_mx",
        "did you mean delivery_worker.in_flight_max?",
        "connect_timeout",
        "TRIPLINE__BROKER__EVENT_SHARD: unknown",
        "did you mean TRIPLINE__BROKER__EVENT_SHARDS?",
    ];
    for part in parts {
        assert!(
            outcome.stderr.contains(part),
            "{part:?} is missing in: {}",
            outcome.stderr
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    let mut client = system.client();
    let address = receiver.stop().await;
    client.servers.functions = format!("http://{address}");
    client.servers.emitter.clone_from(&client.servers.functions);
    let line = client.run(&["functions", "list"]).await.refused(7);
    assert!(
        line.contains("tripline up") && line.contains("--server"),
        "{line}"
    );
}
