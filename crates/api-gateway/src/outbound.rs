//! What the gateway asks and tells: scripts to be run, and calls that scripts are queued for.

pub mod done;
pub mod scripts;
