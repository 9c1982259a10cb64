//! A call of an API passes through: scripts see it before and after, and it is told as an event.
//!
//! `/api/v2/SERVICE/…` leads to what stands behind the gateway under that name ([`serve`]). Who calls is
//! known first ([`caller`]); then the scripts before the call run, it is passed on ([`forward`]), the
//! scripts after it run, and where scripts are queued for it, it is emitted as `api.call.done` before it
//! is answered. A call that no script is bound to is passed through as it comes: nothing is kept of it.
//!
//! **Invariant:** who may not call runs no script; an answer that breaks off behind the gateway breaks
//! off for the client.

pub mod config;
pub mod service;

pub mod inbound;

pub mod caller;
pub mod forward;
pub mod serve;

pub mod body;
pub mod refusal;

pub mod outbound;

mod metrics;

pub use config::Config;
pub use service::{Parts, SERVED, Service, Settings, build, start};
