//! Starts the real program, as its users do, and speaks to it as they do.
//!
//! [`Embedded`] is `tripline up` in a folder of its own; [`Cluster`] is the four services, each
//! with as many replicas as a test wants, on a database, a virtual host and a Redis of its own.
//! Both hand out a [`Client`], which runs the real command line and sends events by HTTP. What the
//! processes printed is shown when a test fails.
//!
//! **Invariant:** nothing here reaches into a process; a test sees what a user could see.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken set-up should stop its test with a message that says what to do"
)]

mod client;
mod cluster;
mod collector;
mod command;
pub mod conformance;
mod embedded;
mod foreign;
mod http_client;
mod ledger;
mod process;

pub use client::{Client, Servers};
pub use cluster::{Cluster, Options, Role, Shape, serve_with_settings};
pub use collector::Collector;
pub use command::{Outcome, Running};
pub use embedded::Embedded;
pub use foreign::{ForeignServer, run_foreign};
pub use http_client::{Answer, Http};
pub use ledger::Ledger;

use std::time::Duration;

/// For what takes milliseconds on a quiet machine, on one that compiles at the same time.
pub const SOON: Duration = Duration::from_secs(30);
