//! Clients that nobody here wrote: Python's from `PyPI` and JavaScript's from npm, in an environment
//! under `target`.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::process::{bare_command, tripline};

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a script of `tests/foreign` with `input` as JSON on its standard input; gives the JSON it
/// printed.
pub async fn run_foreign(script: &str, input: &Value) -> Value {
    use tokio::io::AsyncWriteExt as _;

    let program = tripline();
    let target = program
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/tripline");
    let environment = target.join("foreign-clients");
    let is_javascript = Path::new(script)
        .extension()
        .is_some_and(|kind| kind == "cjs");
    let interpreter = if is_javascript { "node" } else { "python" };
    let interpreter = environment.join("bin").join(interpreter);
    assert!(
        interpreter.exists(),
        "{} is not there: run `make foreign-clients` first (`make test` does)",
        interpreter.display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("foreign")
        .join(script);
    let mut command = bare_command(&interpreter);
    command.env("NODE_PATH", environment.join("node_modules"));
    command.arg(script).stdin(std::process::Stdio::piped());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .expect("the interpreter should start");
    let input = input.to_string();
    let finished = async {
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(input.as_bytes())
            .await
            .expect("the script reads");
        drop(stdin);
        child
            .wait_with_output()
            .await
            .expect("the output of a script")
    };
    let output = tokio::time::timeout(DEADLINE, finished)
        .await
        .expect("the end of the script");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}{stderr}"))
}
