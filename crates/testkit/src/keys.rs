//! A Redis database number of a test's own, on the shared test server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context as _;

use crate::environment;

/// How many numbered databases the test server is started with; 0 holds the counter.
pub(crate) const DATABASES: u64 = 4096;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An empty Redis database; emptied again with the value.
#[derive(Debug)]
pub struct TestRedis {
    server: String,
    number: u64,
}

/// Takes an empty database of the shared test server.
///
/// # Panics
///
/// When the test servers are not there.
pub fn redis() -> TestRedis {
    let url = environment::required(environment::REDIS_URL);
    let server = url
        .trim_start_matches("redis://")
        .trim_end_matches('/')
        .to_owned();
    let counter = ask(&server, &["INCR tests"]).expect("the test Redis should count");
    let counter: u64 = counter
        .trim_start_matches(':')
        .parse()
        .expect("a number from INCR");
    let redis = TestRedis {
        server,
        number: 1 + counter % (DATABASES - 1),
    };
    redis.empty().expect("the test Redis should be emptied");
    redis
}

impl TestRedis {
    pub fn url(&self) -> String {
        format!("redis://{}/{}", self.server, self.number)
    }

    fn empty(&self) -> anyhow::Result<()> {
        ask(
            &self.server,
            &[&format!("SELECT {}", self.number), "FLUSHDB"],
        )
        .map(drop)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        // Best effort: the next taker of this number empties it again.
        drop(self.empty());
    }
}

/// Sends commands without arguments that need quoting; gives the last answer's line.
pub(crate) fn ask(server: &str, commands: &[&str]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut answer = String::new();
    for command in commands {
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        answer.clear();
        answers
            .read_line(&mut answer)
            .with_context(|| format!("wait for {command}"))?;
        anyhow::ensure!(
            !answer.starts_with('-') && !answer.is_empty(),
            "{command}: {answer}"
        );
    }
    Ok(answer.trim_end().to_owned())
}
