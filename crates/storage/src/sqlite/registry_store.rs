//! What is configured, on `SQLite`.

use std::time::Duration;

use domain::access::ApiKey;
use domain::function::Function;
use domain::name::{FunctionName, Name, ProjectName, TriggerName};
use domain::package::{Activation, Package, PackageVersion};
use domain::registry::{Change, Project, Update};
use domain::schedule::{Schedule, ScheduleName};
use domain::trigger::Trigger;
use jiff::Timestamp;
use protocol::settings::{settings_to_bytes, trigger_settings_to_bytes};
use sqlx::{Sqlite as Engine, SqliteConnection, Transaction};
use tokio::sync::{Mutex, watch};

use super::{File, wait_for};
use crate::columns::{from_micros, micros, signed, unsigned, without_zero};
use crate::registry_store::gateways::{self, implement_gateway_store};
use crate::registry_store::implement::implement_registry_store;
use crate::registry_store::packages::{self, implement_package_store};
use crate::registry_store::schedules::{self, implement_schedule_store};
use crate::registry_store::sessions::{self, implement_session_store};
use crate::registry_store::token_keys::{self, implement_token_key_store};
use crate::registry_store::{DELETIONS_KEPT, Page, not_found, require, require_new, rows};
use crate::{Cipher, Error};

#[derive(Debug)]
pub(super) struct Registry {
    file: File,
    cipher: Cipher,
    committed: watch::Sender<()>,
    /// What those who wait have seen of it.
    seen: Mutex<watch::Receiver<()>>,
}

impl Registry {
    /// `committed` is told of every change, by every store of this file.
    pub(super) fn new(file: File, cipher: Cipher, committed: watch::Sender<()>) -> Self {
        let seen = Mutex::new(committed.subscribe());
        Self {
            file,
            cipher,
            committed,
            seen,
        }
    }

    async fn begin_change(&self) -> Result<(Transaction<'static, Engine>, i64), Error> {
        let mut transaction = self.file.begin().await?;
        let revision = raise_revision(&mut transaction).await?;
        Ok((transaction, revision))
    }

    async fn commit_change(
        &self,
        transaction: Transaction<'static, Engine>,
        revision: i64,
    ) -> Result<u64, Error> {
        transaction.commit().await?;
        self.committed.send_replace(());
        Ok(unsigned(revision))
    }

    async fn begin_read(&self) -> Result<Transaction<'static, Engine>, Error> {
        Ok(self.file.readers.begin().await?)
    }

    /// A transaction that changes nothing of what is configured.
    async fn begin_work(&self) -> Result<Transaction<'static, Engine>, Error> {
        self.file.begin().await
    }

    async fn commit_work(&self, transaction: Transaction<'static, Engine>) -> Result<(), Error> {
        Ok(transaction.commit().await?)
    }

    async fn wait_for_change(&self, poll: Duration) {
        wait_for(&self.seen, poll).await;
    }

    async fn ping_database(&self) -> Result<(), Error> {
        self.file.ping().await
    }
}

implement_registry_store!(Registry, SqliteConnection);
implement_token_key_store!(Registry, SqliteConnection);
implement_schedule_store!(Registry, SqliteConnection);
implement_package_store!(Registry, SqliteConnection);
implement_session_store!(Registry, SqliteConnection);
implement_gateway_store!(Registry, SqliteConnection);
