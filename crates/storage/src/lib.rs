//! Tables, queries and migrations: `PostgreSQL`, and `SQLite` when embedded.
//!
//! Three stores, each behind a trait with two implementations that one shared suite proves: what
//! is configured ([`RegistryStore`]), what waits ([`WaitingRoom`]) and what happened
//! ([`LogStore`]), with what operators order of it ([`Redrives`]). The embedded queue's table lives here too ([`queue::EmbeddedQueue`]); `broker`
//! offers it.
//!
//! **Invariant:** the only user of sqlx; returns domain types.

pub mod log_store;
pub mod queue;
pub mod redrives;
pub mod registry_store;
pub mod waiting_room;

pub mod config;
pub mod postgres;
pub mod sqlite;

pub mod cipher;
mod columns;
mod error;
mod migrations;

pub use cipher::Cipher;
pub use config::Config;
pub use error::Error;
pub use log_store::LogStore;
pub use redrives::Redrives;
pub use registry_store::{
    GatewayStore, PackageStore, RegistryStore, ScheduleStore, SessionStore, TokenKeyStore,
};
pub use waiting_room::WaitingRoom;
