//! The stores on `SQLite`, for a system in one process: three files, each with one writer.

pub(crate) mod batch;
mod log_store;
mod redrives;
mod registry_store;
mod waiting_room;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Tasks;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite as Engine, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, watch};

use crate::queue::{self, EmbeddedQueue, Limits};
use crate::{Cipher, Error, LogStore, Redrives, RegistryStore, WaitingRoom, migrations};

/// Readers of one file; they never wait for its writer.
const READERS_MAX: u32 = 4;

/// Only another process, a backup for instance, can make a writer wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A caller waits this long for its turn at the writer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// A folder with the files of one system.
#[derive(Debug, Clone)]
pub struct Sqlite {
    folder: PathBuf,
    tripline: File,
    logs: File,
    /// Told when something configured was changed.
    registry_changed: watch::Sender<()>,
    /// Told when something was put into the waiting room, or made due there.
    room_changed: watch::Sender<()>,
}

/// A file with its one writer and its readers.
#[derive(Debug, Clone)]
struct File {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Opens the files in `folder`, making what is missing and bringing the tables up to date.
///
/// # Errors
/// The folder or a file cannot be made, opened or brought up to date.
pub async fn open(folder: &Path) -> Result<Sqlite, Error> {
    make_private_folder(folder).map_err(|cause| Error::File {
        path: folder.to_owned(),
        cause: Arc::new(cause),
    })?;
    Ok(Sqlite {
        folder: folder.to_owned(),
        tripline: File::open(&folder.join("tripline.db"), &migrations::sqlite_tripline()).await?,
        logs: File::open(&folder.join("logs.db"), &migrations::sqlite_logs()).await?,
        registry_changed: watch::Sender::new(()),
        room_changed: watch::Sender::new(()),
    })
}

impl Sqlite {
    pub fn registry(&self, cipher: Cipher) -> Arc<dyn RegistryStore> {
        Arc::new(registry_store::Registry::new(
            self.tripline.clone(),
            cipher,
            self.registry_changed.clone(),
        ))
    }

    pub fn waiting_room(&self) -> Arc<dyn WaitingRoom> {
        Arc::new(waiting_room::Room::new(
            self.tripline.clone(),
            self.room_changed.clone(),
        ))
    }

    pub fn logs(&self) -> Arc<dyn LogStore> {
        Arc::new(log_store::Logs::new(self.logs.clone()))
    }

    pub fn redrives(&self) -> Arc<dyn Redrives> {
        Arc::new(redrives::Orders::new(self.logs.clone()))
    }

    /// Opens the queue's file and starts its writer. To be called once: a second writer would
    /// give out the same positions.
    ///
    /// # Errors
    /// The file cannot be opened or brought up to date.
    pub async fn queue(&self, limits: Limits, tasks: &Tasks) -> Result<EmbeddedQueue, Error> {
        let options = options(&self.folder.join("queue.db"));
        let mut connection = options.connect().await?;
        migrations::sqlite_queue()
            .run_direct(None, &mut connection, false)
            .await?;
        let readers = readers(options);
        queue::open(connection, readers, limits, tasks).await
    }

    /// Closes the files of the stores, when they are no longer in use.
    pub async fn close(&self) {
        for file in [&self.tripline, &self.logs] {
            file.readers.close().await;
            // The last to close folds the write-ahead log into the file.
            file.writer.close().await;
        }
    }
}

impl File {
    async fn open(path: &Path, migrator: &Migrator) -> Result<Self, Error> {
        let options = options(path);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options.clone())
            .await?;
        let mut connection = writer.acquire().await?;
        let connection: &mut SqliteConnection = &mut connection;
        migrator.run_direct(None, connection, false).await?;
        Ok(Self {
            writer,
            readers: readers(options),
        })
    }

    /// Begins a transaction that will write.
    async fn begin(&self) -> Result<Transaction<'static, Engine>, Error> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// Returns when the store was told of something since the last call, or after `poll`.
async fn wait_for(seen: &Mutex<watch::Receiver<()>>, poll: Duration) {
    let told = async {
        // The store that waits holds a sender, so this cannot fail.
        drop(seen.lock().await.changed().await);
    };
    // That time is up is as good a reason to look.
    drop(tokio::time::timeout(poll, told).await);
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What was confirmed survives the loss of power, not only of the process.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

fn readers(options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        .connect_lazy_with(options.pragma("query_only", "ON"))
}

/// For its owner's eyes only: events may hold what concerns nobody else.
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
