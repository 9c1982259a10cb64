//! Running one command of the program to its end.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::process::{bare_command, tripline};

/// A command that answers at all does so in a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `tripline` with these words and variables, and `input` on its standard input.
pub(crate) async fn run(
    words: &[OsString],
    environment: &[(String, String)],
    input: Option<Vec<u8>>,
) -> Outcome {
    let mut command = bare_command(&tripline());
    command
        .args(words)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let mut command = tokio::process::Command::from(command);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let shown = words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let mut child = command.spawn().expect("tripline should start");
    let finished = async {
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            use tokio::io::AsyncWriteExt as _;
            // A command that refuses early does not read to the end.
            drop(stdin.write_all(&input).await);
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(DEADLINE, finished).await;
    let output = output.unwrap_or_else(|_elapsed| panic!("{shown}: no end in {DEADLINE:?}"));
    let output = output.expect("the output of tripline");
    Outcome {
        command: shown,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that goes on until it is dropped, such as `logs --follow`.
#[derive(Debug)]
pub struct Running {
    output: NamedTempFile,
    // Killed when dropped.
    _child: tokio::process::Child,
}

pub(crate) fn start(words: &[OsString]) -> Running {
    let output = NamedTempFile::new().expect("a file for the output");
    let mut command = bare_command(&tripline());
    command
        .args(words)
        .stdout(output.reopen().expect("a second handle of the file"));
    let mut command = tokio::process::Command::from(command);
    let child = command
        .kill_on_drop(true)
        .spawn()
        .expect("tripline should start");
    Running {
        output,
        _child: child,
    }
}

impl Running {
    /// The JSON objects it printed so far, one a line.
    pub fn objects(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output.path()).expect("the output so far");
        let whole_lines = text
            .rsplit_once('\n')
            .map(|(lines, _begun)| lines)
            .unwrap_or_default();
        whole_lines
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl Outcome {
    /// The same, once it is clear that the command did what it should.
    pub fn done(self) -> Self {
        assert_eq!(
            self.code, 0,
            "{}: {}{}",
            self.command, self.stdout, self.stderr
        );
        self
    }

    /// The one line that says why, once it is clear that the command was refused with this code.
    pub fn refused(self, code: i32) -> String {
        assert_eq!(
            self.code, code,
            "{}: {}{}",
            self.command, self.stdout, self.stderr
        );
        let line = self.stderr.trim_end();
        assert_eq!(line.lines().count(), 1, "one clear line: {line}");
        assert_eq!(self.stdout, "", "an answer and a refusal");
        line.to_owned()
    }

    /// The one JSON object it printed.
    pub fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{}: {}", self.command, self.stdout);
        objects.remove(0)
    }

    /// The JSON objects it printed, one a line.
    pub fn objects(&self) -> Vec<Value> {
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
        };
        self.stdout.lines().map(read).collect()
    }
}
