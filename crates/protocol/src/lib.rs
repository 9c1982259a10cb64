//! Everything that crosses a process boundary: the gRPC services and the envelopes in the queues.
//!
//! The `.proto` files in `proto/` are the contract; the modules named like their packages are
//! generated from them. Everything else here converts between that and `domain`, by hand, so that
//! changing a struct cannot change a contract silently.
//!
//! **Invariant:** the only user of prost; every envelope carries a version.

pub mod envelope;
mod event;
mod record;
mod registry_change;
mod session;
mod time;

pub mod access;
pub mod api;
pub mod credentials;
pub mod explain;
pub mod fault;
pub mod function;
pub mod introspection;
pub mod package;
pub mod problem;
pub mod registry_feed;
pub mod reply;
pub mod schedule;
pub mod settings;
pub mod token_keys;

pub use event::ConvertError;
pub use time::{from_duration, from_timestamp, to_duration, to_timestamp};

/// Types of Google's that the contracts use.
pub mod well_known {
    pub use prost_types::{Duration, FieldMask, Timestamp};
}

/// Generated from `proto/tripline/NAME/v1/NAME.proto`.
macro_rules! generated {
    ($($package:ident),+) => {$(
        #[allow(
            clippy::all,
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::doc_markdown,
            clippy::too_many_lines,
            clippy::default_trait_access,
            missing_debug_implementations,
            unused_qualifications,
            reason = "generated"
        )]
        pub mod $package {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/tripline.", stringify!($package), ".v1.rs"));
            }
        }
    )+};
}

generated!(
    delivery, events, functions, gateway, imports, intercept, invocation, logs, packages, projects,
    redrive, registry, schedules, sessions, types, waiting, wire
);
