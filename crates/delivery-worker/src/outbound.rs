//! What the worker calls: the endpoints of functions.

pub use egress::{MASKED, endpoint_client, resolver};
