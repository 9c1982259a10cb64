//! What replicas agree on: idempotency keys, who is alive, and what was learned about endpoints.
//! Redis, and in process when embedded.
//!
//! **Invariant:** the only user of Redis; losing it may cause a repeat, never a loss.

pub mod endpoint_memory;
pub mod idempotency;
pub mod membership;
pub mod share;
pub mod shares;

pub mod config;
pub mod redis;

pub mod embedded;

pub use config::Config;
pub use embedded::EmbeddedCoordination;
pub use endpoint_memory::{EndpointMemory, LEARNED_FOR};
pub use idempotency::{IdempotencyKeys, PENDING_FOR, REMEMBERED_FOR, Reservation};
pub use membership::Membership;
pub use redis::RedisCoordination;
pub use share::Share;
pub use shares::shards_of;

/// Why coordination is not to be had at the moment.
#[derive(Debug, thiserror::Error)]
#[error("coordination is unavailable")]
pub struct Unavailable(#[source] pub Option<Box<dyn std::error::Error + Send + Sync>>);
