//! What the log promises: nothing is lost, nothing is held up, and everything can be found.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken set-up should stop the test"
)]

mod harness;

mod follow;
mod outage;
mod query;
mod records;
mod redrives;
mod sessions;
