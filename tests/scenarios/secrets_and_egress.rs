//! Secrets stay secret wherever data is kept or shown, and requests stay out of private networks.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Client, Cluster, Options, Role, SOON, Shape};
use serde_json::json;
use testkit::servers::RabbitMq;
use testkit::{Receiver, eventually};

/// What must not be found anywhere, with what it is.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// Nothing of it is in `text`, neither as it is nor without its prefix.
    fn absent_from(&self, place: &str, text: &[u8]) {
        for (what, secret) in &self.0 {
            let bare = secret.trim_start_matches("whsec_");
            let found = text.windows(bare.len()).any(|part| part == bare.as_bytes());
            assert!(!found, "{what} is in clear in {place}");
        }
    }
}

#[tokio::test]
async fn s1_21_no_secret_is_in_clear_in_database_broker_logs_or_answers() {
    let broker = RabbitMq::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let options = Options {
        broker_url: Some(vhost.url()),
        ..Options::default()
    };
    let mut cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    let options = [
        "--on",
        "secret.test",
        "--format",
        "schmuckli",
        "--interval",
        "100ms",
    ];
    let created = client
        .create_function("keeper", &receiver.url("/"), &options)
        .await;
    let key = client
        .run(&["keys", "create", "--scope", "emit"])
        .await
        .done()
        .object();
    let secrets = Secrets(vec![
        (
            "the function's _secret",
            created["secret"].as_str().unwrap().to_owned(),
        ),
        (
            "the signing secret",
            created["signing_secret"].as_str().unwrap().to_owned(),
        ),
        ("the first API key", cluster.api_key.clone()),
        (
            "another API key",
            key["secret"].as_str().unwrap().to_owned(),
        ),
        ("the operator's token", Cluster::OPERATOR_TOKEN.to_owned()),
    ]);

    let first = some_calls_and_some_that_wait(&mut cluster, &receiver).await;
    let kept = all_the_broker_keeps(broker.folder(), &["record-event", "queued-event"]).await;
    secrets.absent_from("the broker", &kept);

    cluster.restart(Role::LogService, 0).await;
    let shown = client.run(&["logs", "get", &first]).await.done().stdout;
    assert!(shown.contains("first-event"));
    secrets.absent_from("tripline logs get", shown.as_bytes());
    for words in [
        &["functions", "list"][..],
        &["functions", "get", "keeper"],
        &["keys", "list"],
    ] {
        let shown = client.run(words).await.done().stdout;
        secrets.absent_from(&words.join(" "), shown.as_bytes());
    }
    secrets.absent_from("the database", &dump(&cluster.database_url));
    for (role, index) in cluster.members() {
        secrets.absent_from(role.as_str(), cluster.output(role, index).as_bytes());
    }
}

/// One call succeeds and one is tried again; then one leaves records that nobody takes, and one a
/// delivery that nobody takes. Gives the id of the first event.
async fn some_calls_and_some_that_wait(cluster: &mut Cluster, receiver: &Receiver) -> String {
    let client = cluster.client();
    receiver.answer_sequence([200, 500, 200]);
    let first = client
        .emit("secret.test", &["--data", r#"{"marker":"first-event"}"#])
        .await;
    client
        .emit("secret.test", &["--data", r#"{"marker":"second-event"}"#])
        .await;
    receiver.wait_for(3, SOON).await;
    client
        .logs_when(&["--status", "processed"], "both", |lines| lines.len() == 2)
        .await;
    cluster.kill9(Role::LogService, 0);
    receiver.answer_sequence([500, 200]);
    client
        .emit("secret.test", &["--data", r#"{"marker":"record-event"}"#])
        .await;
    receiver.wait_for(5, SOON).await;
    cluster.kill9(Role::DeliveryWorker, 0);
    client
        .emit("secret.test", &["--data", r#"{"marker":"queued-event"}"#])
        .await;
    first["eid"].as_str().unwrap().to_owned()
}

/// Everything in the broker's files, its log among it, as soon as every marker is there.
async fn all_the_broker_keeps(folder: &Path, markers: &[&str]) -> Vec<u8> {
    eventually(SOON, "the broker keeps what nobody takes", async || {
        let mut kept = Vec::new();
        read_all(folder, &mut kept);
        let text = String::from_utf8_lossy(&kept);
        markers
            .iter()
            .all(|marker| text.contains(marker))
            .then_some(())?;
        Some(kept)
    })
    .await
}

fn read_all(folder: &Path, kept: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, kept);
        } else if let Ok(bytes) = std::fs::read(&path) {
            kept.extend(bytes);
        }
    }
}

fn dump(database_url: &str) -> Vec<u8> {
    let output = Command::new("pg_dump")
        .args(["--inserts", database_url])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("keeper"), "the dump holds what is configured");
    output.stdout
}

#[tokio::test]
async fn settings_are_printed_with_their_secrets_masked() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = "[broker]\nurl = \"amqp://somebody:between-us@127.0.0.1/%2f\"\n\
                [registry]\ntoken = \"among-services\"\n\
                [access]\noperator_token = \"nobody-else\"\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let system = harness::Embedded::start().await;
    let path = file.path().display().to_string();
    let words = [
        "serve",
        "trigger-emitter",
        "--config",
        &path,
        "--print-config",
    ];
    let printed = system.client().run_as_people_do(&words).await.done().stdout;
    assert!(printed.contains("somebody"), "{printed}");
    for secret in ["between-us", "among-services", "nobody-else"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn x_10_a_private_address_is_refused_under_serve_also_when_a_name_leads_to_it() {
    let options = Options {
        shape: Shape::AllInOne,
        egress_allow: Vec::new(),
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    let receiver = Receiver::start().await;
    let port = receiver.address().port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
        "function.localhost",
        "169.254.169.254",
        "10.0.0.1",
    ];
    let hosts: Vec<_> = hosts
        .into_iter()
        .map(str::to_owned)
        .chain(own_name())
        .collect();
    for (place, host) in hosts.iter().enumerate() {
        let url = format!("http://{host}:{port}/");
        let created = create_unless_refused(&client, &format!("inside-{place}"), &url).await;
        if !created {
            continue;
        }
        let event_type = format!("egress.test-{place}");
        let eid = client.emit(&event_type, &["--data", "{}"]).await["eid"].clone();
        let line = client.log_line(eid.as_str().unwrap(), "failed").await;
        assert_eq!(line["error_class"], "egress", "{host}: {line}");
        assert_eq!(
            line["attempts"],
            json!(1),
            "{host}: refused at once, not tried again"
        );
        let error = line["error"].as_str().unwrap();
        assert!(
            !error.contains("127.0.0.1"),
            "{host}: tells what it leads to: {error}"
        );
    }
    assert_eq!(receiver.count(), 0, "no request was made");
    let tested = client.run(&["functions", "test", "inside-0"]).await;
    assert_eq!(tested.code, 1, "{}{}", tested.stdout, tested.stderr);
    assert_eq!(tested.object()["error_class"], "egress");
    assert_eq!(receiver.count(), 0, "a test call obeys the same rule");
}

/// Whether a function with that URL could be created; a refusal there is as good.
async fn create_unless_refused(client: &Client, name: &str, url: &str) -> bool {
    let place = name.trim_start_matches("inside-");
    let on = format!("egress.test-{place}");
    let before = client.triggers_in_force().await;
    let outcome = client
        .run(&["functions", "create", name, "--url", url, "--on", &on])
        .await;
    if outcome.code != 0 {
        assert_eq!(outcome.code, 3, "{url}: {}", outcome.stderr);
        return false;
    }
    eventually(SOON, "the trigger is in force", async || {
        (client.triggers_in_force().await > before).then_some(())
    })
    .await;
    true
}

/// This machine's name, where the hosts file leads it to a loopback address.
fn own_name() -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").ok()?;
    let lines = hosts.lines().filter(|line| line.starts_with("127."));
    lines
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|name| *name != "localhost")
        .map(str::to_owned)
}

#[tokio::test]
async fn a_private_address_that_the_operator_allows_is_called() {
    let receiver = Receiver::start().await;
    let options = Options {
        shape: Shape::AllInOne,
        egress_allow: vec!["10.0.0.0/8".to_owned(), receiver.address().to_string()],
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await;
    let client = cluster.client();
    client
        .create_function("allowed", &receiver.url("/"), &["--on", "egress.test"])
        .await;
    let other = Receiver::start().await;
    client
        .create_function("other-port", &other.url("/"), &["--on", "egress.test"])
        .await;
    client.emit("egress.test", &["--data", "{}"]).await;
    receiver.wait_for(1, Duration::from_secs(30)).await;
    client
        .logs_when(&["--status", "failed"], "the other port", |lines| {
            lines.len() == 1
        })
        .await;
    assert_eq!(other.count(), 0);
}
