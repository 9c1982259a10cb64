//! A trigger fires: the event is accepted, made durable and acknowledged.
//!
//! A draft comes in by HTTP or gRPC (`inbound`), is checked field by field (`accept`), compared
//! with what came before (`deduplicate`), and put in line at the broker (`outbound`). The answer
//! waits for the broker's confirm (`emit`), which is the record: no row is written here.
//!
//! **Invariant:** a 2xx means durable; a refusal because of the event means nothing was stored.

pub mod config;
pub mod service;

pub mod inbound;

pub mod accept;
mod deduplicate;
pub mod draft;
mod emit;
mod take_messages;
mod wait_for_reply;

mod outbound;

mod error;
mod metrics;

pub use config::Config;
pub use emit::Accepted;
pub use service::{Parts, SERVED, Service, Settings, build, start};
