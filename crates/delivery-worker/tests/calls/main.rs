//! Functions that are called while somebody waits for their answer.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

mod direct;
mod now;
mod support;
