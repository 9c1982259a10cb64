//! What the worker calls: the endpoints of functions.

pub mod door;

pub use egress::{MASKED, endpoint_client, resolver};
