//! Defaults < file < environment, every fault in one list, no secret in sight.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::fs;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use settings::{Duration, Faults, SecretString, SecretUrl};
use tempfile::TempDir;
use url::Url;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    delivery_worker: Worker,
    broker: Broker,
    storage: Storage,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Worker {
    in_flight_max: NonZeroU16,
    console: Option<Url>,
    regions: Vec<String>,
    verbose: bool,
    retry: Retry,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Retry {
    attempts_max: u16,
    first_wait: Duration,
    #[serde(with = "settings::duration_text")]
    wait_max: std::time::Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Broker {
    url: SecretUrl,
    token: Option<SecretString>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Storage {
    Sqlite { path: String },
    Postgres { url: String },
}

impl Default for Worker {
    fn default() -> Self {
        let retry = Retry {
            attempts_max: 7,
            ..Retry::default()
        };
        let in_flight_max = NonZeroU16::new(64).unwrap();
        Self {
            in_flight_max,
            console: None,
            regions: Vec::new(),
            verbose: false,
            retry,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 20,
            first_wait: Duration::from_millis(1500),
            wait_max: std::time::Duration::from_secs(3600),
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@localhost:5672".parse().unwrap(),
            token: None,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::Sqlite {
            path: "tripline.db".to_owned(),
        }
    }
}

fn check(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Document, Faults> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tripline.toml");
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
    }
    let variables = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    settings::load("delivery-worker", file.map(|_| path.as_path()), variables)
}

/// The list as text, with the file's folder left out.
fn faults(file: Option<&str>, environment: &[(&str, &str)]) -> String {
    let text = check(file, environment).unwrap_err().to_string();
    let lines = text
        .lines()
        .map(|line| match line.split_once("/tripline.toml") {
            Some((_, rest)) => format!("  tripline.toml{rest}"),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_given_means_the_defaults() {
    assert_eq!(check(None, &[]).unwrap(), Document::default());
    assert_eq!(
        check(Some(""), &[("HOME", "/root"), ("TRIPLINE_SERVER", "x")]).unwrap(),
        Document::default()
    );
}

#[test]
fn s4_36_the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let file = "[delivery_worker.retry]\nattempts_max = 3\nfirst_wait = \"5ms\"\n";
    let document = check(
        Some(file),
        &[
            ("TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS_MAX", "9"),
            ("TRIPLINE__DELIVERY_WORKER__VERBOSE", "true"),
            ("TRIPLINE__DELIVERY_WORKER__REGIONS", r#"["eu", "us"]"#),
            (
                "TRIPLINE__DELIVERY_WORKER__CONSOLE",
                "https://console.example",
            ),
            ("TRIPLINE__BROKER__TOKEN", "12345"),
        ],
    )
    .unwrap();
    let worker = document.delivery_worker;
    assert_eq!(worker.retry.attempts_max, 9);
    assert_eq!(worker.retry.first_wait, Duration::from_millis(5));
    assert_eq!(worker.retry.wait_max.as_secs(), 3600);
    assert_eq!(worker.regions, ["eu", "us"]);
    assert!(worker.verbose);
    assert_eq!(worker.console.unwrap().as_str(), "https://console.example/");
    assert_eq!(document.broker.token.unwrap().expose(), "12345");
}

#[test]
fn a_default_set_from_outside_survives_beside_a_neighbour() {
    let document = check(Some("[delivery_worker.retry]\nfirst_wait = \"1s\"\n"), &[]).unwrap();
    assert_eq!(document.delivery_worker.retry.attempts_max, 7);
}

#[test]
fn an_empty_variable_unsets_what_may_be_absent() {
    let file = "[delivery_worker]\nconsole = \"https://console.example\"\n";
    let document = check(Some(file), &[("TRIPLINE__DELIVERY_WORKER__CONSOLE", "")]).unwrap();
    assert_eq!(document.delivery_worker.console, None);
}

#[test]
fn another_choice_does_not_inherit_defaults_of_the_first() {
    let document = check(Some("[storage]\nkind = \"postgres\"\nurl = \"db\"\n"), &[]).unwrap();
    assert_eq!(
        document.storage,
        Storage::Postgres {
            url: "db".to_owned()
        }
    );
}

#[test]
fn a_misspelt_key_is_reported_with_its_line_and_what_is_allowed() {
    let file = "[broker]\n\n[delivery_worker.retry]\nfirst_wait = \"1s\"\natempts_max = 3\n";
    assert_eq!(
        faults(Some(file), &[]),
        "1 fault in the settings of delivery-worker:\n  \
         tripline.toml:5: unknown key delivery_worker.retry.atempts_max, \
         did you mean delivery_worker.retry.attempts_max? \
         (allowed in delivery_worker.retry: attempts_max, first_wait, wait_max)"
    );
}

#[test]
fn a_misspelt_section_is_reported_too() {
    assert_eq!(
        faults(Some("[deliveryworker]\nverbose = true\n"), &[]),
        "1 fault in the settings of delivery-worker:\n  \
         tripline.toml:1: unknown key deliveryworker, did you mean delivery_worker? \
         (allowed at the top: delivery_worker, broker, storage)"
    );
}

#[test]
fn a_misspelt_variable_is_reported_as_a_variable() {
    assert_eq!(
        faults(None, &[("TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS", "3")]),
        "1 fault in the settings of delivery-worker:\n  \
         variable TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS: unknown, \
         did you mean TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS_MAX? \
         (allowed in delivery_worker.retry: attempts_max, first_wait, wait_max)"
    );
}

#[test]
fn all_faults_are_listed_together() {
    let file = "\
[delivery_worker]
in_flight_max = 0
verbose = \"yes\"
colour = \"blue\"
[delivery_worker.retry]
attempts_max = 70000
first_wait = \"soon\"
wait_max = 30
";
    assert_eq!(
        faults(
            Some(file),
            &[("TRIPLINE__DELIVERY_WORKER__CONSOLE", "not an address")]
        ),
        "7 faults in the settings of delivery-worker:\n  \
         variable TRIPLINE__DELIVERY_WORKER__CONSOLE = \"not an address\": \
         relative URL without a base: \"not an address\"\n  \
         tripline.toml:2: delivery_worker.in_flight_max = 0: \
         expected a whole number from 1 to 65535\n  \
         tripline.toml:6: delivery_worker.retry.attempts_max = 70000: \
         expected a whole number from 0 to 65535\n  \
         tripline.toml:7: delivery_worker.retry.first_wait = \"soon\": \
         expected a time with its unit, such as \"30s\" or \"5ms\"\n  \
         tripline.toml:8: delivery_worker.retry.wait_max = 30: \
         expected a time with its unit, such as \"30s\" or \"5ms\"\n  \
         tripline.toml:3: delivery_worker.verbose = \"yes\": expected true or false\n  \
         tripline.toml:4: unknown key delivery_worker.colour \
         (allowed in delivery_worker: in_flight_max, console, regions, verbose, retry)"
    );
}

#[test]
fn an_unknown_choice_names_the_choices() {
    assert_eq!(
        faults(Some("[storage]\nkind = \"postgress\"\n"), &[]),
        "1 fault in the settings of delivery-worker:\n  \
         tripline.toml:2: storage.kind = \"postgress\": allowed is sqlite, postgres, did you mean postgres?"
    );
}

#[test]
fn a_file_that_is_no_toml_is_reported_with_its_line() {
    let text = faults(Some("[broker]\nurl = \n"), &[]);
    assert!(text.contains("\n  tripline.toml:2: "), "{text}");
}

#[test]
fn a_missing_file_is_a_fault() {
    let missing = std::path::Path::new("/nowhere/tripline.toml");
    let faults =
        settings::load::<Document>("log-service", Some(missing), std::iter::empty()).unwrap_err();
    assert!(
        faults
            .to_string()
            .contains("/nowhere/tripline.toml: No such file"),
        "{faults}"
    );
}

#[test]
fn two_variables_that_exclude_each_other_are_reported() {
    let text = faults(
        None,
        &[("TRIPLINE__BROKER", "{}"), ("TRIPLINE__BROKER__TOKEN", "x")],
    );
    assert!(
        text.contains("TRIPLINE__BROKER__TOKEN: excludes variable TRIPLINE__BROKER"),
        "{text}"
    );
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "hush\n").unwrap();
    let path = path.to_str().unwrap();
    let by_file = check(
        Some(&format!("[broker]\ntoken = {{ file = {path:?} }}\n")),
        &[],
    )
    .unwrap();
    assert_eq!(by_file.broker.token.unwrap().expose(), "hush");
    let by_variable = check(None, &[("TRIPLINE__BROKER__TOKEN__FILE", path)]).unwrap();
    assert_eq!(by_variable.broker.token.unwrap().expose(), "hush");
    let text = faults(
        Some("[broker]\ntoken = { file = \"/nowhere/token\" }\n"),
        &[],
    );
    assert!(
        text.contains("tripline.toml:2: broker.token: as a secret, /nowhere/token cannot be read"),
        "{text}"
    );
}

#[test]
fn no_secret_is_shown_anywhere() {
    let file = "[broker]\nurl = \"amqp://me:hunter2@host/vhost\"\ntoken = \"hunter2\"\n";
    let document = check(Some(file), &[]).unwrap();
    let printed = settings::print(&document);
    assert!(printed.contains("token = \"***\""), "{printed}");
    assert!(printed.contains("amqp://me:***@host/vhost"), "{printed}");
    let token = document.broker.token.clone().unwrap();
    for text in [printed, format!("{document:?}"), token.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    for file in [
        "[broker]\ntoken = 4711\n",
        "[broker]\nurl = \"amqp://me:4711@host:port\"\n",
        "[delivery_worker]\nconsole = \"https://me:4711@:0:\"\n",
        "[broker]\ntoken = [\"4711\"]\n",
    ] {
        let text = faults(Some(file), &[]);
        assert!(!text.contains("4711"), "{text}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let document = check(Some("[delivery_worker.retry]\nfirst_wait = \"90s\"\n"), &[]).unwrap();
    let printed = settings::print(&document);
    assert!(printed.contains("first_wait = \"1m 30s\""), "{printed}");
    let again = printed.replace("guest:***@", "guest:guest@");
    assert_eq!(check(Some(&again), &[]).unwrap(), document);
}
