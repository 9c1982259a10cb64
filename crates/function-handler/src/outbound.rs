//! What goes out: deliveries to the workers, records to the log service.

pub mod deliveries;
pub mod own_events;
