//! Clients that nobody here wrote: Python's from `PyPI` and JavaScript's from npm, in an environment
//! under `target`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::process::{bare_command, tripline};

const DEADLINE: Duration = Duration::from_secs(60);

/// The command that runs a script of `tests/foreign`, with a pipe at each end.
fn command_of(script: &str) -> tokio::process::Command {
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
    command.arg(script).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command
}

/// Runs a script of `tests/foreign` with `input` as JSON on its standard input; gives the JSON it
/// printed.
pub async fn run_foreign(script: &str, input: &Value) -> Value {
    let mut child = command_of(script)
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

/// A script of `tests/foreign` that serves HTTP until it is told to end. It reads one line of JSON,
/// prints `{"port"}`, and at the end of its input what it has seen.
#[derive(Debug)]
pub struct ForeignServer {
    child: Child,
    port: u64,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ForeignServer {
    pub async fn start(script: &str, input: &Value) -> Self {
        let mut child = command_of(script)
            .spawn()
            .expect("the interpreter should start");
        let line = format!("{input}\n");
        let stdin = child.stdin.as_mut().expect("a pipe");
        stdin
            .write_all(line.as_bytes())
            .await
            .expect("the script reads");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let first = next_json(&mut child, &mut lines).await;
        let port = first.get("port").and_then(Value::as_u64).expect("a port");
        Self { child, port, lines }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Ends it and gives what it has seen.
    pub async fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        next_json(&mut self.child, &mut self.lines).await
    }
}

async fn next_json(child: &mut Child, lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = tokio::time::timeout(DEADLINE, lines.next_line())
        .await
        .expect("a line of the script")
        .expect("the output of a script");
    let Some(line) = line else {
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _read = stderr.read_to_string(&mut said).await;
        }
        panic!("the script has ended: {said}");
    };
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
}
