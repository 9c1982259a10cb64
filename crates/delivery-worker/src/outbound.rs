//! What the worker calls: the endpoints of functions.

pub mod endpoint_client;
pub mod resolver;
