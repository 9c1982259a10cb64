//! RabbitMQ, PostgreSQL and Redis of one's own: private ports, private folders, and a hand on the
//! process, so that a test can kill a server and bring it back.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let mut broker = testkit::servers::RabbitMq::start().await?;
//! let vhost = broker.vhost().await?;
//! broker.kill()?;
//! broker.restart().await?; // same ports, same data
//! # Ok(()) }
//! ```

mod install;
mod postgres;
mod process;
mod rabbitmq;
mod redis;
mod shared;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

pub use install::install;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
pub use shared::{SharedServers, stop};

/// How a server is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Writes reach the disk before they are confirmed. Off for tests, which throw the data away;
    /// on where power loss or speed is the question.
    pub durable: bool,
    /// The server outlives the program that started it.
    pub detached: bool,
}

/// A program of Debian's newest installed PostgreSQL: they are not in the path, and the wrappers
/// that are there take ten times as long to start.
pub(crate) fn postgres_program(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("look for PostgreSQL")?;
    let newest = versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.exists())
        .max();
    newest.with_context(|| format!("no PostgreSQL program {name}: run `test-servers install`"))
}

pub(crate) fn runs_as_root() -> bool {
    rustix::process::geteuid().is_root()
}
