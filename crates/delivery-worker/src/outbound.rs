//! What the worker calls, the endpoints of functions; and where its own events go.

pub mod door;
pub mod own_events;

pub use egress::{MASKED, endpoint_client, resolver};
