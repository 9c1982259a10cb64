//! What goes out: accepted events, to the broker.

pub(crate) mod events;
