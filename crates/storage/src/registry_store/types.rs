//! Event types that projects have registered: a part of what is configured.

use async_trait::async_trait;
use domain::event_type::{CustomType, Emitters, EventType, FIRST_CUSTOM_NUMBER};
use domain::name::ProjectName;
use domain::schema::Schema;

use crate::Error;
use crate::columns::{count, from_micros, parse, unsigned};

/// Registered event types. A change raises the registry's revision.
#[async_trait]
pub trait TypeStore: Send + Sync {
    /// Registers a type and gives it its number, whatever it carries: the one it had if it was deleted,
    /// else the next. Answers with it as stored.
    ///
    /// # Errors
    /// `AlreadyExists`, or `NotFound` when there is no such project.
    async fn create_type(&self, custom: &CustomType) -> Result<CustomType, Error>;

    /// Those of a project, by name.
    async fn types(&self, project: &ProjectName) -> Result<Vec<CustomType>, Error>;

    /// Replaces schema and emitters.
    ///
    /// # Errors
    /// `NotFound`.
    async fn update_type(&self, custom: &CustomType) -> Result<u64, Error>;

    /// Deletes the type; its number is never another's.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_type(&self, project: &ProjectName, name: &EventType) -> Result<u64, Error>;
}

pub(crate) type TypeRow = (String, String, i64, String, String, i64, i64, i64);

/// Of the first type of a project.
pub(crate) fn first_number() -> i64 {
    FIRST_CUSTOM_NUMBER.into()
}

pub(crate) fn schema_text(custom: &CustomType) -> &str {
    custom.schema.as_ref().map_or("", Schema::as_str)
}

pub(crate) fn emitters_text(custom: &CustomType) -> String {
    custom
        .emitters
        .map(|emitters| emitters.words().join(","))
        .unwrap_or_default()
}

pub(crate) fn custom_type(row: TypeRow) -> Result<CustomType, Error> {
    let (project, name, number, schema, emitters, created_at, updated_at, revision) = row;
    let corrupt = |reason: String| Error::corrupt("event type", reason);
    let words: Vec<String> = emitters
        .split(',')
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    Ok(CustomType {
        project: parse("event type", &project)?,
        name: parse("event type", &name)?,
        number: count(number),
        schema: match schema.as_str() {
            "" => None,
            text => Some(Schema::parse(text).map_err(|error| corrupt(error.to_string()))?),
        },
        emitters: Emitters::parse(&words).map_err(|word| corrupt(word.to_owned()))?,
        created_at: from_micros(created_at)?,
        updated_at: from_micros(updated_at)?,
        revision: unsigned(revision),
    })
}

/// Implements [`TypeStore`] where [`crate::registry_store::implement`] implements the rest.
macro_rules! implement_type_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::TypeStore for $store {
            async fn create_type(
                &self,
                custom: &domain::event_type::CustomType,
            ) -> Result<domain::event_type::CustomType, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &custom.project).await?;
                // Numbers are given one after the other, since a change holds the revision.
                let done = sqlx::query(
                    "INSERT INTO event_types (project, name, number, schema, emitters, \
                     created_at_us, updated_at_us, is_deleted, revision) \
                     SELECT $1, $2, COALESCE(MAX(number) + 1, $3), $4, $5, $6, $7, FALSE, $8 \
                     FROM event_types WHERE project = $1 \
                     ON CONFLICT (project, name) DO UPDATE SET schema = excluded.schema, \
                     emitters = excluded.emitters, created_at_us = excluded.created_at_us, \
                     updated_at_us = excluded.updated_at_us, is_deleted = FALSE, \
                     revision = excluded.revision WHERE event_types.is_deleted",
                )
                .bind(custom.project.as_str())
                .bind(custom.name.as_str())
                .bind(types::first_number())
                .bind(types::schema_text(custom))
                .bind(types::emitters_text(custom))
                .bind(micros(custom.created_at))
                .bind(micros(custom.updated_at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require_new(done.rows_affected(), "event type", &custom.name)?;
                let row: types::TypeRow = sqlx::query_as(
                    "SELECT project, name, number, schema, emitters, created_at_us, \
                     updated_at_us, revision FROM event_types WHERE project = $1 AND name = $2",
                )
                .bind(custom.project.as_str())
                .bind(custom.name.as_str())
                .fetch_one(&mut *change)
                .await?;
                self.commit_change(change, revision).await?;
                types::custom_type(row)
            }

            async fn types(
                &self,
                project: &ProjectName,
            ) -> Result<Vec<domain::event_type::CustomType>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<types::TypeRow> = sqlx::query_as(
                    "SELECT project, name, number, schema, emitters, created_at_us, \
                     updated_at_us, revision FROM event_types \
                     WHERE project = $1 AND NOT is_deleted ORDER BY name",
                )
                .bind(project.as_str())
                .fetch_all(&mut *read)
                .await?;
                rows.into_iter().map(types::custom_type).collect()
            }

            async fn update_type(
                &self,
                custom: &domain::event_type::CustomType,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query(
                    "UPDATE event_types SET schema = $3, emitters = $4, updated_at_us = $5, \
                     revision = $6 WHERE project = $1 AND name = $2 AND NOT is_deleted",
                )
                .bind(custom.project.as_str())
                .bind(custom.name.as_str())
                .bind(types::schema_text(custom))
                .bind(types::emitters_text(custom))
                .bind(micros(custom.updated_at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "event type", &custom.name)?;
                self.commit_change(change, revision).await
            }

            async fn delete_type(
                &self,
                project: &ProjectName,
                name: &domain::event_type::EventType,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query(
                    "UPDATE event_types SET is_deleted = TRUE, schema = '', emitters = '', \
                     revision = $3 WHERE project = $1 AND name = $2 AND NOT is_deleted",
                )
                .bind(project.as_str())
                .bind(name.as_str())
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "event type", name)?;
                note_deletion(&mut change, "type", project, name.as_str(), revision).await?;
                self.commit_change(change, revision).await
            }
        }

        async fn types_after(
            connection: &mut $connection,
            revision: i64,
        ) -> Result<Vec<domain::event_type::CustomType>, Error> {
            let rows: Vec<types::TypeRow> = sqlx::query_as(
                "SELECT project, name, number, schema, emitters, created_at_us, updated_at_us, \
                 revision FROM event_types WHERE revision > $1 AND NOT is_deleted ORDER BY name",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            rows.into_iter().map(types::custom_type).collect()
        }
    };
}

pub(crate) use implement_type_store;
