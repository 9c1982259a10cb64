//! Every call out of the system: functions, token servers, and services behind the gateway.
//!
//! There is one resolver and one way to connect ([`resolver`], [`endpoint_client`]): a name is
//! resolved, every address it has is checked, and exactly those addresses are dialled. What an answer
//! may take is bounded. [`forward`] passes requests and answers on without keeping them.
//!
//! **Invariant:** the only place that opens connections to where a text says; redirects are not
//! followed.

pub mod config;
pub mod endpoint_client;
pub mod resolver;

pub use config::Config;
pub use endpoint_client::forward;

/// Stands in what is kept and shown where a secret was sent.
pub const MASKED: &str = "***";
