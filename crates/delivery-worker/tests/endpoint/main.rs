//! The client that calls endpoints, against servers that behave well, badly, and with intent.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

mod calls;
mod egress_guard;
mod special;

mod certificates;
mod scripted;
mod tls;
