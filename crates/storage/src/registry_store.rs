//! What is configured: projects, keys, functions and triggers, with a revision that every change raises.

pub(crate) mod gateways;
pub(crate) mod implement;
pub(crate) mod packages;
pub(crate) mod rows;
pub(crate) mod schedules;
pub(crate) mod sessions;
pub(crate) mod token_keys;

use async_trait::async_trait;
use domain::access::ApiKey;
use domain::function::Function;
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::registry::{Project, Update};
use domain::trigger::Trigger;
use jiff::Timestamp;

use crate::Error;

pub use self::gateways::GatewayStore;
pub use self::packages::PackageStore;
pub use self::schedules::ScheduleStore;
pub use self::sessions::SessionStore;
pub use self::token_keys::TokenKeyStore;

/// A page of a listing, in order of name.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Whether more follow the last item.
    pub has_more: bool,
}

/// Deletions are remembered for this many revisions; who lags further behind gets a snapshot.
pub(crate) const DELETIONS_KEPT: i64 = 100_000;

impl<T> Page<T> {
    /// Makes a page of rows of which one more than `limit` was asked for.
    pub(crate) fn cut<Row>(
        mut rows: Vec<Row>,
        limit: u32,
        read: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Self {
            items: rows.into_iter().map(read).collect::<Result<_, _>>()?,
            has_more,
        })
    }
}

pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Error {
    Error::NotFound {
        what,
        name: name.to_string(),
    }
}

/// A statement that changed no row did not find what it should change.
pub(crate) fn require(
    rows_changed: u64,
    what: &'static str,
    name: impl ToString,
) -> Result<(), Error> {
    if rows_changed == 0 {
        Err(not_found(what, name))
    } else {
        Ok(())
    }
}

/// An insert that changed no row found the name taken.
pub(crate) fn require_new(
    rows_changed: u64,
    what: &'static str,
    name: impl ToString,
) -> Result<(), Error> {
    if rows_changed == 0 {
        return Err(Error::AlreadyExists {
            what,
            name: name.to_string(),
        });
    }
    Ok(())
}

/// The configured. Every change commits together with the raised revision, which is set in the
/// `revision` field of what is stored (the value passed in is ignored) and answered.
#[async_trait]
pub trait RegistryStore:
    TokenKeyStore
    + SessionStore
    + ScheduleStore
    + PackageStore
    + GatewayStore
    + Send
    + Sync
    + std::fmt::Debug
{
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    async fn create_project(&self, project: &Project, first_key: &ApiKey) -> Result<u64, Error>;
    async fn projects(&self) -> Result<Vec<Project>, Error>;
    /// Pauses or resumes a project.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    async fn pause_project(&self, name: &ProjectName, is_paused: bool) -> Result<Project, Error>;

    async fn create_key(&self, key: &ApiKey) -> Result<u64, Error>;
    async fn keys(&self, project: &ProjectName) -> Result<Vec<ApiKey>, Error>;
    /// # Errors
    /// `NotFound` when the project has no such key. Revoking twice keeps the first time.
    async fn revoke_key(
        &self,
        project: &ProjectName,
        id: &str,
        at: Timestamp,
    ) -> Result<ApiKey, Error>;

    /// Creates a function and, with it, its first trigger when there is one.
    ///
    /// # Errors
    /// `AlreadyExists` naming the function or the trigger; nothing is stored then.
    async fn create_function(
        &self,
        function: &Function,
        trigger: Option<&Trigger>,
    ) -> Result<u64, Error>;
    async fn function(
        &self,
        project: &ProjectName,
        name: &FunctionName,
    ) -> Result<Option<Function>, Error>;
    async fn functions(
        &self,
        project: &ProjectName,
        after: Option<&FunctionName>,
        limit: u32,
    ) -> Result<Page<Function>, Error>;
    /// Replaces url, format and secrets of the function of that name.
    async fn update_function(&self, function: &Function) -> Result<u64, Error>;
    /// Deletes the function and its triggers.
    async fn delete_function(
        &self,
        project: &ProjectName,
        name: &FunctionName,
    ) -> Result<u64, Error>;

    /// # Errors
    /// `AlreadyExists`, or `NotFound` when its function does not exist.
    async fn create_trigger(&self, trigger: &Trigger) -> Result<u64, Error>;
    async fn trigger(
        &self,
        project: &ProjectName,
        name: &TriggerName,
    ) -> Result<Option<Trigger>, Error>;
    async fn triggers(
        &self,
        project: &ProjectName,
        function: Option<&FunctionName>,
        after: Option<&TriggerName>,
        limit: u32,
    ) -> Result<Page<Trigger>, Error>;
    async fn update_trigger(&self, trigger: &Trigger) -> Result<u64, Error>;
    async fn delete_trigger(&self, project: &ProjectName, name: &TriggerName)
    -> Result<u64, Error>;

    async fn revision(&self) -> Result<u64, Error>;
    /// Everything, at one revision.
    async fn snapshot(&self) -> Result<Update, Error>;
    /// What changed after `revision`, deletions included; a snapshot when that is no longer known.
    async fn changes_since(&self, revision: u64) -> Result<Update, Error>;
    /// Returns when somebody may have changed something: told by the database (NOTIFY) or, in one
    /// process, by the store itself; after `poll` at the latest.
    async fn changed(&self, poll: std::time::Duration);

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), Error>;
}
