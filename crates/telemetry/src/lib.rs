//! Logs, traces and metrics; trace context in and out.
//!
//! A process calls [`start`] once and keeps the guard; everything else is `tracing` and
//! `metrics` at the place where something happens, with the names of [`fields`].
//!
//! **Invariant:** the only user of OpenTelemetry; knows no service.

mod config;
mod start;

pub mod fields;
pub mod metrics;
pub mod trace;

pub use config::{Config, LogFormat};
pub use start::{Error, Guard, start};
