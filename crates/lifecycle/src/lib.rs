//! Start, run, drain, stop; health and readiness.
//!
//! The only place that spawns loops or listens to signals. At the end of a process the work
//! stops first, then the servers, then the background drivers the work was leaning on.
//!
//! **Invariant:** what is unfinished when the grace period ends is dropped, never confirmed.

pub mod health;
pub mod server;

mod run;
mod tasks;

pub use health::Health;
pub use run::{Ended, run_until_stopped, signals};
pub use tasks::Tasks;
