//! One command, and a function is called by a real event and its log can be read.

use std::time::{Duration, Instant};

use harness::{Client, Embedded, SOON};
use serde_json::{Value, json};
use testkit::{Receiver, eventually};

#[tokio::test]
async fn an_event_calls_its_function_and_the_log_shows_how_long_it_took() {
    let system = Embedded::start().await;
    walk_through(&system.client()).await;
}

#[tokio::test]
async fn up_says_where_it_listens_and_three_commands_that_work_as_printed() {
    let began = Instant::now();
    let system = Embedded::start().await;
    let printed = eventually(SOON, "a welcome with commands to try", async || {
        let printed = system.output();
        (printed.matches("  tripline ").count() == 3).then_some(printed)
    })
    .await;
    let took = began.elapsed();
    // A second when optimised and alone; tests are neither.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(
        printed.contains(&format!("tripline listens on {}", system.url())),
        "{printed}"
    );
    assert!(
        printed.contains("functions on this machine may be called"),
        "{printed}"
    );

    let commands: Vec<_> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  tripline "))
        .collect();
    let answers = run_as_printed(&system.client(), &commands).await;
    let last = answers.last().unwrap();
    assert!(
        last.contains("auth.user.register") && last.contains("processed"),
        "{last}"
    );
}

#[tokio::test]
async fn the_readmes_commands_work_as_printed() {
    let readme = include_str!("../../README.md").replace("\\\n", " ");
    let code = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let commands: Vec<_> = code
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("tripline "))
        // This one goes on until it is stopped.
        .filter(|command| !command.contains("--follow") && !command.starts_with("up"))
        .collect();
    assert!(
        commands.len() >= 4,
        "the README has lost its walk: {commands:?}"
    );
    let system = Embedded::start().await;
    let answers = run_as_printed(&system.client(), &commands).await.concat();
    assert!(
        answers.contains("whsec_") && answers.contains("processed"),
        "{answers}"
    );
}

/// Runs commands as a reader would, with a receiver in the place of the one that is promised, and
/// waits for what each event brings about.
async fn run_as_printed(client: &Client, commands: &[&str]) -> Vec<String> {
    let receiver = Receiver::start().await;
    let (mut answers, mut emitted) = (Vec::new(), 0);
    for command in commands {
        let command = command.replace("http://127.0.0.1:9000", &receiver.url(""));
        let words = split_as_a_shell_would(&command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        answers.push(
            client
                .run_as_people_do(&without_server(&words))
                .await
                .done()
                .stdout,
        );
        // A direct call is a line of the log too.
        if words.contains(&"emit") || words.contains(&"invoke") {
            emitted += 1;
            client
                .logs_when(&["--status", "processed"], "another line", |lines| {
                    lines.len() == emitted
                })
                .await;
        }
    }
    answers
}

#[tokio::test]
async fn up_ends_in_good_order_and_keeps_everything_for_the_next_time() {
    let mut system = Embedded::start().await;
    let receiver = Receiver::start().await;
    let client = system.client();
    client
        .create_function("keeper", &receiver.url("/"), &["--on", "AUTH_LOGIN"])
        .await;
    let emitted = client
        .emit("AUTH_LOGIN", &["--data", r#"{"user_id":"u1"}"#])
        .await;
    let eid = emitted["eid"].as_str().unwrap().to_owned();
    client.log_line(&eid, "processed").await;
    assert!(system.stop().await.success());

    system.restart().await;
    assert_eq!(
        client.log_line(&eid, "processed").await["function"],
        "keeper"
    );
    client.emit("AUTH_LOGIN", &["--data", "{}"]).await;
    receiver.wait_for(2, SOON).await;
}

#[tokio::test]
async fn a_second_up_on_the_same_folder_is_refused_with_a_hint() {
    let system = Embedded::start().await;
    let folder = system.folder().join("data").display().to_string();
    let words = ["up", "--data-dir", &folder, "--listen", "127.0.0.1:0"];
    let outcome = system.client().run_as_people_do(&words).await;
    let line = outcome.refused(1);
    assert!(line.contains("in use by another `tripline up`"), "{line}");
}

#[tokio::test]
async fn a_test_call_shows_request_and_response_and_leaves_no_trace() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    receiver.answer(testkit::Answer::status(200).with_body("thank you"));
    let client = system.client();
    client
        .create_function("tried-out", &receiver.url("/try"), &[])
        .await;
    let shown = client
        .run(&["functions", "test", "tried-out"])
        .await
        .done()
        .object();
    assert_eq!(shown["status"], 200);
    assert_eq!(shown["response_body"], "thank you");
    let received = receiver.wait_for(1, SOON).await;
    assert!(received[0].header("webhook-signature").is_some());
    assert_eq!(client.logs(&[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn logs_are_followed_as_they_happen() {
    let system = Embedded::start().await;
    let receiver = Receiver::start().await;
    let client = system.client();
    client
        .create_function("followed", &receiver.url("/"), &["--on", "order.paid"])
        .await;
    client
        .create_function("others", &receiver.url("/"), &["--on", "order.sent"])
        .await;
    let following = client.start(&["logs", "--follow", "--function", "followed"]);
    // Nobody says when following has begun: events are sent until one of them is shown.
    eventually(SOON, "a delivery shown while it happens", async || {
        client.emit("order.sent", &["--data", "{}"]).await;
        client.emit("order.paid", &["--data", "{}"]).await;
        let shown = following.objects();
        shown
            .iter()
            .any(|line| line["status"] == "processed")
            .then_some(())
    })
    .await;
    let shown = following.objects();
    assert!(
        shown.iter().all(|line| line["function"] == "followed"),
        "{shown:#?}"
    );
}

/// The README's walk, on any kind of system.
pub(crate) async fn walk_through(client: &Client) {
    let receiver = Receiver::start().await;
    let options = ["--on", "AUTH_REGISTER", "--format", "schmuckli"];
    let created = client
        .create_function("welcome", &receiver.url("/welcome"), &options)
        .await;
    let secret = created["secret"].as_str().unwrap();
    assert!(
        created["signing_secret"]
            .as_str()
            .unwrap()
            .starts_with("whsec_")
    );

    let data = json!({"user_id": "u1", "email": "ann@example.com", "lang": "en"});
    let emitted = client
        .emit("AUTH_REGISTER", &["--data", &data.to_string()])
        .await;
    assert_eq!(emitted["duplicate"], false);
    let eid = emitted["eid"].as_str().unwrap();

    let received = receiver.wait_for(1, SOON).await;
    assert_eq!(
        (received[0].method.as_str(), received[0].path.as_str()),
        ("POST", "/welcome")
    );
    assert_eq!(received[0].header("content-type"), Some("application/json"));
    let body = received[0].json();
    assert_eq!(body["user_id"], "u1");
    assert_eq!(body["email"], "ann@example.com");
    assert_eq!(body["lang"], "en");
    assert_eq!(body["_secret"], secret);
    assert_eq!(body["_event_id"], 2001);

    let line = client.log_line(eid, "processed").await;
    assert_eq!(line["function"], "welcome");
    assert_eq!(line["type"], "auth.user.register");
    assert_eq!(
        (&line["attempts"], &line["response_status"]),
        (&json!(1), &json!(200))
    );
    assert!(line["duration_us"].as_u64().unwrap() > 0, "{line}");
    let table = client.run_as_people_do(&["logs"]).await.done().stdout;
    assert!(
        table.contains("welcome") && table.contains("processed"),
        "{table}"
    );

    let history = client.history(eid).await;
    assert_eq!(history["data"], data);
    assert_eq!(history["number"], 2001);
    let deliveries = history["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 1, "{history}");
    let attempts = deliveries[0]["attempt_list"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{history}");
    assert_eq!(
        (&attempts[0]["number"], &attempts[0]["response_status"]),
        (&json!(1), &json!(200))
    );
    assert_eq!(attempts[0]["url"], receiver.url("/welcome"));
    let shown = client
        .run_as_people_do(&["logs", "get", eid])
        .await
        .done()
        .stdout;
    assert!(shown.contains("by trigger welcome: processed"), "{shown}");
    assert_eq!(receiver.count(), 1, "one event, one request");
}

/// The harness names the server itself.
fn without_server<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let place = words.iter().position(|word| *word == "--server");
    let mut words = words.to_vec();
    if let Some(place) = place {
        words.drain(place..place + 2);
    }
    words
}

/// Enough of it for what `up` prints: words, some of them in single quotes.
fn split_as_a_shell_would(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(place, part)| match place % 2 {
            0 => part
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let system = Embedded::start().await;
    let http = system.client().http;
    for path in ["healthz", "readyz", "metrics"] {
        let url = format!("{}/{path}", system.url());
        let answer = eventually(SOON, "an answer", async || http.get(&url).await.ok()).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    }
}
