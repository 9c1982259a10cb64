//! Fakes and fixtures for tests: a real endpoint, a database, a vhost and a Redis of a test's own.
//!
//! The shared servers are started once for a whole test run by the program `test-servers`
//! (`make test` does it); a fixture takes a private corner of them. A test that kills a server
//! starts one of its own with [`servers`]. A missing server fails the test and names the command
//! to run: nothing is skipped.
//!
//! **Invariant:** only ever a dev-dependency, and it knows no crate of this workspace.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken fixture should stop its test with a message that says what to do"
)]

pub mod waiting;

pub mod name_server;
pub mod receiver;

pub mod database;
pub mod keys;
pub mod vhost;

pub mod ports;
pub mod servers;

mod environment;
mod http_client;

pub use database::{TestDatabase, postgres};
pub use keys::{TestRedis, redis};
pub use name_server::NameServer;
pub use ports::free_port;
pub use receiver::{Answer, Received, Receiver};
pub use vhost::{QueueState, TestVhost, rabbitmq_vhost};
pub use waiting::eventually;
