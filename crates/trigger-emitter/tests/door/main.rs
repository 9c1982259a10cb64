//! What the door promises to those who send events in, proven on its public surface.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken set-up should stop the test"
)]

mod harness;

mod accepted;
mod loops;
mod messages;
mod refused;
mod space_cloud;
mod synchronous;
mod unread;

mod keys;
mod repeats;
mod sessions;
mod types;

mod outage;
mod rabbitmq;
mod streams;
