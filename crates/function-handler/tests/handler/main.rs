//! The function-handler alone: what it promises to people, to the other services and to events.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken set-up should stop the test"
)]

mod operating;
mod order;
mod support;

mod access;
mod describing;
mod disabling;
mod following;
mod gateway;
mod packages;
mod schedules;
mod secrets;
mod sessions;

mod loops;
mod matching;
mod waiting;
