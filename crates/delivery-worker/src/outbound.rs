//! What the worker calls, the endpoints of functions; and where its own events go.

pub mod endpoint_client;
pub mod own_events;
pub mod resolver;

/// Stands in what is kept and shown where a secret was sent.
pub const MASKED: &str = "***";
