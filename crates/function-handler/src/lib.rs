//! An event arrives: its functions are found and one delivery each is sent on.
//!
//! People describe functions and triggers, projects and keys ([`inbound::functions`] and its
//! neighbours); they are stored, and every replica follows the store ([`inbound::follow_registry`])
//! to keep an index of its own ([`index`]). Events come from the broker ([`inbound::events`]), are
//! matched whole batch by whole batch ([`match_events`]) and leave as deliveries, regrouped by
//! shard, each with a record for the logs ([`outbound`]). What has to wait comes back through a
//! queue into the waiting room ([`inbound::waiting`]) and is sent on when it is due ([`release`]), or
//! cancelled at once when nobody wants it any more ([`call_off`]).
//!
//! **Invariant:** a message is acknowledged only after all that follows from it is durable; any
//! step may run twice, since ids are derived.

pub mod config;
pub mod service;

pub mod inbound;
pub mod index;

pub mod bootstrap;
pub mod define;
pub mod deploy;
pub mod make_secrets;
pub mod token_keys;

pub mod call_off;
pub mod disable;
pub mod match_events;
pub mod release;
pub mod strike;

pub mod outbound;

pub mod error;
pub mod metrics;

pub use bootstrap::bootstrap;
pub use config::Config;
pub use service::{Parts, SERVED, Service, Settings, build, start};
