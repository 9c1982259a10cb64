//! Reading configuration from defaults, file and environment into typed values.
//!
//! One document with sections (`[broker]`, `[delivery_worker.retry]`) is filled from built-in
//! defaults, then the file, then variables like `TRIPLINE__DELIVERY_WORKER__RETRY__ATTEMPTS_MAX`.
//! Every fault found is in the one list that is given back.
//!
//! **Invariant:** the only reader of the environment, and no secret is ever printed.

mod load;
mod print;

mod duration;
mod secret;

mod environment;
mod fault;
mod file;
mod read;
mod tree;

pub use duration::{Duration, duration_text};
pub use environment::process_environment;
pub use fault::Faults;
pub use load::{load, load_beside};
pub use print::print;
pub use secret::{Secret, SecretString, SecretUrl};
