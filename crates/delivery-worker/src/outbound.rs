//! What the worker calls: the endpoints of functions, and the door for what came in here by mistake.

pub mod door;

pub use egress::{MASKED, endpoint_client, resolver};
