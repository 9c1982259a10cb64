//! The example settings in `deploy/config` show every key there is, with its default.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROLES: [&str; 6] = [
    "trigger-emitter",
    "function-handler",
    "delivery-worker",
    "log-service",
    "api-gateway",
    "all",
];

/// What has no default, so that it is printed as well. A service passes over what is not its own.
const WITHOUT_DEFAULT: [(&str, &str); 6] = [
    (
        "TRIPLINE__STORAGE__URL",
        "postgres://tripline@127.0.0.1/tripline",
    ),
    ("TRIPLINE__REGISTRY__TOKEN", "between-us"),
    ("TRIPLINE__ACCESS__OPERATOR_TOKEN", "operator"),
    (
        "TRIPLINE__TELEMETRY__OTLP_ENDPOINT",
        "http://127.0.0.1:4317",
    ),
    ("TRIPLINE__TELEMETRY__SERVICE_INSTANCE", "one"),
    (
        "TRIPLINE__STORAGE__ENCRYPTION_KEY",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
];

#[test]
fn an_example_changes_nothing() {
    for role in ROLES {
        assert_eq!(
            settings_in_force(role, Some(&example(role))),
            settings_in_force(role, None)
        );
    }
}

#[test]
fn an_example_shows_every_key_and_no_other() {
    for role in ROLES {
        let shown = keys(&std::fs::read_to_string(example(role)).unwrap());
        assert_eq!(shown, keys(&settings_in_force(role, None)), "{role}");
    }
}

fn example(role: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config");
    Path::new(folder).join(role).with_extension("toml")
}

fn settings_in_force(role: &str, file: Option<&Path>) -> String {
    let mut command = Command::new(program());
    command
        .env_clear()
        .envs(WITHOUT_DEFAULT)
        .args(["serve", role, "--print-config"]);
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{role}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The built program, beside the folder of the test that runs.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let program = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("tripline");
    assert!(
        program.exists(),
        "run `cargo build --bin tripline` first (`make test` does)"
    );
    program
}

/// Every key of a document with the section it is in; in an example it may be commented out.
fn keys(document: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in document.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let is_key = |name: &&str| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        } else if let Some(key) = line.split_once(" = ").map(|(key, _)| key).filter(is_key) {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}
