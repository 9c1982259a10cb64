//! The gateway alone: in front of real services, with a stand-in for what runs scripts.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken set-up should stop the test"
)]

mod passing;
mod scripts;
mod support;
