//! What the worker calls: the endpoints of functions.

pub mod door;
pub mod endpoint_client;
pub mod resolver;

/// Stands in what is kept and shown where a secret was sent.
pub const MASKED: &str = "***";
