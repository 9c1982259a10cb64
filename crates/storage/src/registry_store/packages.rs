//! Packages and their versions: stored for good, and put in force in one transaction.

use async_trait::async_trait;
use domain::name::{Name, ProjectName};
use domain::package::{Activation, Package, PackageVersion};

use super::Page;
use crate::Error;
use crate::columns::{count, from_micros, parse};

/// Packages. Putting a version in force raises the registry's revision once.
#[async_trait]
pub trait PackageStore: Send + Sync {
    async fn package(&self, project: &ProjectName, name: &Name) -> Result<Option<Package>, Error>;

    /// By name.
    async fn packages(
        &self,
        project: &ProjectName,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Page<Package>, Error>;

    async fn package_version(
        &self,
        project: &ProjectName,
        package: &Name,
        version: u32,
    ) -> Result<Option<PackageVersion>, Error>;

    /// Newest first, those below `before`; without what is in them.
    async fn package_versions(
        &self,
        project: &ProjectName,
        package: &Name,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Page<PackageVersion>, Error>;

    /// Stores the version after the latest one and, with `activation`, puts it in force.
    ///
    /// # Errors
    /// `AlreadyExists` of a `version` when somebody else was faster: to be worked out anew. Of
    /// something else when its name is taken; `NotFound` when a trigger's function does not exist.
    /// Nothing is stored then.
    async fn deploy_version(
        &self,
        version: &PackageVersion,
        activation: Option<&Activation>,
    ) -> Result<u64, Error>;

    /// Puts a stored version in force.
    ///
    /// # Errors
    /// As of [`deploy_version`](Self::deploy_version).
    async fn activate_version(&self, activation: &Activation) -> Result<u64, Error>;
}

pub(crate) type PackageRow = (String, String, Option<i64>, i64, i64, i64);

pub(crate) type VersionRow = (
    String,
    String,
    i64,
    String,
    Vec<u8>,
    Vec<u8>,
    i64,
    Option<i64>,
);

pub(crate) fn package(row: PackageRow) -> Result<Package, Error> {
    let (project, name, active_version, latest_version, created_at, updated_at) = row;
    Ok(Package {
        project: parse("package", &project)?,
        name: parse("package", &name)?,
        active_version: active_version.map(count),
        latest_version: count(latest_version),
        created_at: from_micros(created_at)?,
        updated_at: from_micros(updated_at)?,
    })
}

pub(crate) fn version(row: VersionRow) -> Result<PackageVersion, Error> {
    let (project, package, version, origin, document, source, created_at, activated_at) = row;
    Ok(PackageVersion {
        project: parse("package version", &project)?,
        package: parse("package version", &package)?,
        version: count(version),
        origin,
        document: document.into(),
        source: source.into(),
        created_at: from_micros(created_at)?,
        activated_at: activated_at.map(from_micros).transpose()?,
    })
}

/// Somebody else has changed the package meanwhile.
pub(crate) fn overtaken(package: &Name, version: u32) -> Error {
    Error::AlreadyExists {
        what: "version",
        name: format!("{package} {version}"),
    }
}

/// Implements [`PackageStore`] beside `implement_registry_store` and `implement_schedule_store`.
macro_rules! implement_package_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::PackageStore for $store {
            async fn package(
                &self,
                project: &ProjectName,
                name: &Name,
            ) -> Result<Option<Package>, Error> {
                let mut read = self.begin_read().await?;
                let row: Option<packages::PackageRow> = sqlx::query_as(
                    "SELECT project, name, active_version, latest_version, created_at_us, \
                     updated_at_us FROM packages WHERE project = $1 AND name = $2",
                )
                .bind(project.as_str())
                .bind(name.as_str())
                .fetch_optional(&mut *read)
                .await?;
                row.map(packages::package).transpose()
            }

            async fn packages(
                &self,
                project: &ProjectName,
                after: Option<&Name>,
                limit: u32,
            ) -> Result<Page<Package>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<packages::PackageRow> = sqlx::query_as(
                    "SELECT project, name, active_version, latest_version, created_at_us, \
                     updated_at_us FROM packages WHERE project = $1 AND name > $2 \
                     ORDER BY name LIMIT $3",
                )
                .bind(project.as_str())
                .bind(after.map_or("", |name| name.as_str()))
                .bind(i64::from(limit) + 1)
                .fetch_all(&mut *read)
                .await?;
                Page::cut(rows, limit, packages::package)
            }

            async fn package_version(
                &self,
                project: &ProjectName,
                package: &Name,
                version: u32,
            ) -> Result<Option<PackageVersion>, Error> {
                let mut read = self.begin_read().await?;
                let row: Option<packages::VersionRow> = sqlx::query_as(
                    "SELECT project, package, version, origin, document, source, created_at_us, \
                     activated_at_us FROM package_versions \
                     WHERE project = $1 AND package = $2 AND version = $3",
                )
                .bind(project.as_str())
                .bind(package.as_str())
                .bind(i64::from(version))
                .fetch_optional(&mut *read)
                .await?;
                row.map(packages::version).transpose()
            }

            async fn package_versions(
                &self,
                project: &ProjectName,
                package: &Name,
                before: Option<u32>,
                limit: u32,
            ) -> Result<Page<PackageVersion>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<(String, String, i64, String, i64, Option<i64>)> = sqlx::query_as(
                    "SELECT project, package, version, origin, created_at_us, activated_at_us \
                     FROM package_versions WHERE project = $1 AND package = $2 AND version < $3 \
                     ORDER BY version DESC LIMIT $4",
                )
                .bind(project.as_str())
                .bind(package.as_str())
                .bind(before.map_or(i64::MAX, i64::from))
                .bind(i64::from(limit) + 1)
                .fetch_all(&mut *read)
                .await?;
                Page::cut(rows, limit, |row| {
                    let (project, package, version, origin, created_at, activated_at) = row;
                    let (document, source) = (Vec::new(), Vec::new());
                    packages::version((
                        project, package, version, origin, document, source, created_at,
                        activated_at,
                    ))
                })
            }

            async fn deploy_version(
                &self,
                version: &PackageVersion,
                activation: Option<&Activation>,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &version.project).await?;
                insert_version(&mut change, version).await?;
                if let Some(activation) = activation {
                    activate(&mut change, &self.cipher, activation, revision).await?;
                }
                self.commit_change(change, revision).await
            }

            async fn activate_version(&self, activation: &Activation) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                activate(&mut change, &self.cipher, activation, revision).await?;
                self.commit_change(change, revision).await
            }
        }

        /// Stores the next version, and the package with its first.
        async fn insert_version(
            connection: &mut $connection,
            version: &PackageVersion,
        ) -> Result<(), Error> {
            let statement = match version.version {
                1 => {
                    "INSERT INTO packages (project, name, latest_version, created_at_us, \
                     updated_at_us) VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING"
                }
                _ => {
                    "UPDATE packages SET latest_version = $3, updated_at_us = $4 \
                     WHERE project = $1 AND name = $2 AND latest_version = $3 - 1"
                }
            };
            let done = sqlx::query(statement)
                .bind(version.project.as_str())
                .bind(version.package.as_str())
                .bind(i64::from(version.version))
                .bind(micros(version.created_at))
                .execute(&mut *connection)
                .await?;
            if done.rows_affected() == 0 {
                return Err(packages::overtaken(&version.package, version.version));
            }
            sqlx::query(
                "INSERT INTO package_versions (project, package, version, origin, document, \
                 source, created_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(version.project.as_str())
            .bind(version.package.as_str())
            .bind(i64::from(version.version))
            .bind(&version.origin)
            .bind(&*version.document)
            .bind(&*version.source)
            .bind(micros(version.created_at))
            .execute(connection)
            .await?;
            Ok(())
        }

        /// Everything that putting a version in force changes.
        async fn activate(
            connection: &mut $connection,
            cipher: &Cipher,
            activation: &Activation,
            revision: i64,
        ) -> Result<(), Error> {
            note_activation(connection, activation).await?;
            let project = &activation.project;
            for name in activation.triggers_deleted() {
                let done = sqlx::query("DELETE FROM triggers WHERE project = $1 AND name = $2")
                    .bind(project.as_str())
                    .bind(name.as_str())
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() > 0 {
                    note_deletion(connection, "trigger", project, name.as_str(), revision).await?;
                }
            }
            for name in &activation.functions_deleted {
                delete_triggers_of(connection, project, name, revision).await?;
                let done = sqlx::query(
                    "DELETE FROM functions WHERE project = $1 AND package = $2 AND name = $3",
                )
                .bind(project.as_str())
                .bind(name.package.as_str())
                .bind(name.name.as_str())
                .execute(&mut *connection)
                .await?;
                if done.rows_affected() > 0 {
                    let name = rows::full_name(name);
                    note_deletion(connection, "function", project, &name, revision).await?;
                }
            }
            for function in &activation.functions {
                let sealed = rows::seal(cipher, function)?;
                put_function(connection, function, &sealed, revision).await?;
            }
            for trigger in &activation.triggers {
                require_function(connection, project, &trigger.function).await?;
                if activation.triggers_owned.contains(&trigger.name) {
                    put_trigger(connection, trigger, revision).await?;
                } else {
                    insert_trigger(connection, trigger, revision).await?;
                }
            }
            // A trigger that stays may have been a schedule's.
            for name in &activation.triggers_owned {
                let is_schedule = activation.schedules.iter().any(|one| one.name == *name);
                if !is_schedule {
                    sqlx::query("DELETE FROM schedules WHERE project = $1 AND name = $2")
                        .bind(project.as_str())
                        .bind(name.as_str())
                        .execute(&mut *connection)
                        .await?;
                }
            }
            for schedule in &activation.schedules {
                put_schedule(connection, schedule).await?;
            }
            Ok(())
        }

        async fn note_activation(
            connection: &mut $connection,
            activation: &Activation,
        ) -> Result<(), Error> {
            let Activation { project, package, version, .. } = activation;
            let done = sqlx::query(
                "UPDATE packages SET active_version = $3, updated_at_us = $4 \
                 WHERE project = $1 AND name = $2 AND COALESCE(active_version, 0) = $5",
            )
            .bind(project.as_str())
            .bind(package.as_str())
            .bind(i64::from(*version))
            .bind(micros(activation.at))
            .bind(activation.replaces.map_or(0, i64::from))
            .execute(&mut *connection)
            .await?;
            if done.rows_affected() == 0 {
                return Err(packages::overtaken(package, *version));
            }
            let done = sqlx::query(
                "UPDATE package_versions SET activated_at_us = $4 \
                 WHERE project = $1 AND package = $2 AND version = $3",
            )
            .bind(project.as_str())
            .bind(package.as_str())
            .bind(i64::from(*version))
            .bind(micros(activation.at))
            .execute(connection)
            .await?;
            require(done.rows_affected(), "version", version)
        }

        /// Stores a function as it is from now on; since when there is one stays.
        async fn put_function(
            connection: &mut $connection,
            function: &Function,
            sealed: &rows::SealedSecrets,
            revision: i64,
        ) -> Result<(), Error> {
            sqlx::query(
                "INSERT INTO functions (project, package, name, url, format, secret, \
                 signing_secret, settings, credentials, created_at_us, updated_at_us, revision) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                 ON CONFLICT (project, package, name) DO UPDATE SET url = excluded.url, \
                 format = excluded.format, secret = excluded.secret, \
                 signing_secret = excluded.signing_secret, settings = excluded.settings, \
                 credentials = excluded.credentials, updated_at_us = excluded.updated_at_us, \
                 revision = excluded.revision",
            )
            .bind(function.project.as_str())
            .bind(function.name.package.as_str())
            .bind(function.name.name.as_str())
            .bind(function.url.as_str())
            .bind(function.format.as_str())
            .bind(&*sealed.secret)
            .bind(&*sealed.signing_secret)
            .bind(settings_to_bytes(&function.settings))
            .bind(&*sealed.credentials)
            .bind(micros(function.created_at))
            .bind(micros(function.updated_at))
            .bind(revision)
            .execute(connection)
            .await?;
            Ok(())
        }

        /// Stores a trigger as it is from now on; since when there is one stays.
        async fn put_trigger(
            connection: &mut $connection,
            trigger: &Trigger,
            revision: i64,
        ) -> Result<(), Error> {
            sqlx::query(
                "INSERT INTO triggers (project, name, package, function, is_enabled, event_types, \
                 subject, prefix, suffix, format, retry, settings, created_at_us, updated_at_us, \
                 revision) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 ON CONFLICT (project, name) DO UPDATE SET package = excluded.package, \
                 function = excluded.function, is_enabled = excluded.is_enabled, \
                 event_types = excluded.event_types, subject = excluded.subject, \
                 prefix = excluded.prefix, suffix = excluded.suffix, format = excluded.format, \
                 retry = excluded.retry, settings = excluded.settings, \
                 updated_at_us = excluded.updated_at_us, revision = excluded.revision",
            )
            .bind(trigger.project.as_str())
            .bind(trigger.name.as_str())
            .bind(trigger.function.package.as_str())
            .bind(trigger.function.name.as_str())
            .bind(trigger.is_enabled)
            .bind(rows::selectors_text(&trigger.on)?)
            .bind(trigger.subject.as_ref().map(ToString::to_string))
            .bind(trigger.prefix.as_deref())
            .bind(trigger.suffix.as_deref())
            .bind(trigger.format.map(|format| format.as_str()))
            .bind(rows::retry_text(&trigger.retry)?)
            .bind(trigger_settings_to_bytes(trigger))
            .bind(micros(trigger.created_at))
            .bind(micros(trigger.updated_at))
            .bind(revision)
            .execute(connection)
            .await?;
            Ok(())
        }
    };
}

pub(crate) use implement_package_store;
