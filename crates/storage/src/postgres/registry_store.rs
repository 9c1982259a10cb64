//! What is configured, on `PostgreSQL`.

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
use sqlx::{PgConnection, PgPool, Postgres as Engine, Transaction};

use super::wake::Wake;
use super::{Postgres, ping};
use crate::columns::{from_micros, micros, signed, unsigned, without_zero};
use crate::registry_store::gateways::{self, implement_gateway_store};
use crate::registry_store::implement::implement_registry_store;
use crate::registry_store::packages::{self, implement_package_store};
use crate::registry_store::schedules::{self, implement_schedule_store};
use crate::registry_store::sessions::{self, implement_session_store};
use crate::registry_store::token_keys::{self, implement_token_key_store};
use crate::registry_store::{DELETIONS_KEPT, Page, not_found, require, require_new, rows};
use crate::{Cipher, Error};

const CHANNEL: &str = "tripline_registry";

#[derive(Debug)]
pub(super) struct Registry {
    pool: PgPool,
    cipher: Cipher,
    wake: Wake,
}

impl Registry {
    pub(super) fn new(postgres: &Postgres, cipher: Cipher) -> Self {
        let wake = Wake::new(postgres.listening.clone(), CHANNEL);
        Self {
            pool: postgres.pool.clone(),
            cipher,
            wake,
        }
    }

    async fn begin_change(&self) -> Result<(Transaction<'static, Engine>, i64), Error> {
        let mut transaction = self.pool.begin().await?;
        let revision = raise_revision(&mut transaction).await?;
        Ok((transaction, revision))
    }

    async fn commit_change(
        &self,
        mut transaction: Transaction<'static, Engine>,
        revision: i64,
    ) -> Result<u64, Error> {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(revision.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(unsigned(revision))
    }

    async fn begin_read(&self) -> Result<Transaction<'static, Engine>, Error> {
        Ok(self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?)
    }

    /// A transaction that changes nothing of what is configured.
    async fn begin_work(&self) -> Result<Transaction<'static, Engine>, Error> {
        Ok(self.pool.begin().await?)
    }

    async fn commit_work(&self, transaction: Transaction<'static, Engine>) -> Result<(), Error> {
        Ok(transaction.commit().await?)
    }

    async fn wait_for_change(&self, poll: Duration) {
        self.wake.wait(poll).await;
    }

    async fn ping_database(&self) -> Result<(), Error> {
        ping(&self.pool).await
    }
}

implement_registry_store!(Registry, PgConnection);
implement_token_key_store!(Registry, PgConnection);
implement_schedule_store!(Registry, PgConnection);
implement_package_store!(Registry, PgConnection);
implement_session_store!(Registry, PgConnection);
implement_gateway_store!(Registry, PgConnection);
