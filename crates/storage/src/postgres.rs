//! The stores on `PostgreSQL`, where one schema belongs to one service.

mod log_store;
mod partitions;
mod redrives;
mod registry_store;
mod waiting_room;
mod wake;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use crate::{Cipher, Config, Error, LogStore, Redrives, RegistryStore, WaitingRoom, migrations};

/// Where the migrations that were run are noted.
const MIGRATIONS_SCHEMA: &str = "migrations";

/// A connection that idles is given back after this long.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// One database. Each service asks it for its own stores.
#[derive(Debug, Clone)]
pub struct Postgres {
    options: PgConnectOptions,
    pool: PgPool,
    /// Connections that only listen, so that they never take one from those that work.
    listening: PgPool,
}

/// Prepares the pool; connections are made when they are needed, so a database that is away
/// stops nobody from starting. Has to be called within the runtime.
///
/// # Errors
/// The URL is missing or cannot be used.
pub fn connect(config: &Config) -> Result<Postgres, Error> {
    let url = config.url.as_ref().ok_or_else(missing_url)?;
    let options = PgConnectOptions::from_str(url.expose().as_str())
        .map_err(|cause| Error::Url(Arc::new(cause)))?
        .application_name("tripline");
    let timeout_ms = config.statement_timeout.as_millis().to_string();
    let at_work = options.clone().options([
        // Every table's name is its own, so queries need not repeat the schema.
        ("search_path", "functions,delivery,logs"),
        ("statement_timeout", timeout_ms.as_str()),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.acquire_timeout.get())
        .idle_timeout(IDLE_TIMEOUT)
        .connect_lazy_with(at_work);
    let listening = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(config.acquire_timeout.get())
        .max_lifetime(None)
        .connect_lazy_with(options.clone());
    Ok(Postgres {
        options,
        pool,
        listening,
    })
}

impl Postgres {
    /// Brings the tables up to date. Several processes may do so at once: one does it, the others
    /// wait for it.
    ///
    /// # Errors
    /// The database cannot be reached, or a migration that was run has changed since.
    pub async fn migrate(&self) -> Result<(), Error> {
        let mut migrator = migrations::postgres();
        migrator.create_schema(MIGRATIONS_SCHEMA);
        migrator.dangerous_set_table_name(format!("{MIGRATIONS_SCHEMA}.applied"));
        let mut connection = self.options.connect().await?;
        let outcome = migrator.run_direct(None, &mut connection, false).await;
        // Closing also gives back the lock.
        connection.close().await?;
        Ok(outcome?)
    }

    pub fn registry(&self, cipher: Cipher) -> Arc<dyn RegistryStore> {
        Arc::new(registry_store::Registry::new(self, cipher))
    }

    pub fn waiting_room(&self) -> Arc<dyn WaitingRoom> {
        Arc::new(waiting_room::Room::new(self))
    }

    pub fn logs(&self) -> Arc<dyn LogStore> {
        Arc::new(log_store::Logs::new(self.pool.clone()))
    }

    pub fn redrives(&self) -> Arc<dyn Redrives> {
        Arc::new(redrives::Orders::new(self.pool.clone()))
    }

    /// Closes every connection, when they are no longer in use.
    pub async fn close(&self) {
        // Who listens keeps a connection for good, so waiting for that one would never end.
        drop(self.listening.close());
        self.pool.close().await;
    }
}

fn missing_url() -> Error {
    Error::Url(Arc::new(sqlx::Error::Configuration(
        "url is not set".into(),
    )))
}

/// Asks the database a real question.
async fn ping(pool: &PgPool) -> Result<(), Error> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}
