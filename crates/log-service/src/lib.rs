//! Everything that happened: stored, searched and followed.
//!
//! Facts come in from the queue of records, many to a transaction (`inbound/records`, `append`;
//! `owed`), and are kept by day until they are dropped by day (`expire`). People ask for deliveries and
//! for one event's whole story (`query`), or watch what is recorded (`follow`), by gRPC and HTTP. Operators order that what
//! happened is delivered again (`redrive`).
//!
//! **Invariant:** a fact leaves the queue only when it is stored or set aside with a reason; one
//! that cannot be stored never holds up the rest.

pub mod config;
pub mod service;

pub mod inbound;

mod append;
mod expire;
mod owed;

mod redrive;

mod follow;
mod present;
mod query;

mod database;
mod error;
mod metrics;

pub use config::Config;
pub use service::{Parts, SERVED, Service, Settings, build, start};
