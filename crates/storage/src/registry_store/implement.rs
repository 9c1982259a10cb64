//! The registry's statements, written once for both databases.
//!
//! The two drivers share no type that could run a statement on either, and these statements are
//! the same on both: so this is a macro, and what differs (how a change begins and commits, how
//! others are told) is written by hand beside each use.

/// Implements [`crate::RegistryStore`] for a type that offers:
///
/// - `cipher`, a field;
/// - `begin_change()`: a transaction that holds the revision, and the revision it leads to;
/// - `commit_change(transaction, revision)`: commits, and tells those who wait;
/// - `begin_read()`: a transaction that sees one state of everything;
/// - `wait_for_change(poll)` and `ping_database()`.
macro_rules! implement_registry_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::RegistryStore for $store {
            async fn create_project(&self, project: &Project, first_key: &ApiKey) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                insert_project(&mut change, project, revision).await?;
                insert_key(&mut change, first_key, revision).await?;
                self.commit_change(change, revision).await
            }

            async fn projects(&self) -> Result<Vec<Project>, Error> {
                let mut read = self.begin_read().await?;
                projects_after(&mut read, 0).await
            }

            async fn pause_project(
                &self,
                name: &ProjectName,
                is_paused: bool,
            ) -> Result<Project, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let row: Option<rows::ProjectRow> = sqlx::query_as(
                    "UPDATE projects SET is_paused = $2, revision = $3 WHERE name = $1 \
                     RETURNING name, created_at_us, is_paused, revision",
                )
                .bind(name.as_str())
                .bind(is_paused)
                .bind(revision)
                .fetch_optional(&mut *change)
                .await?;
                let row = row.ok_or_else(|| not_found("project", name))?;
                self.commit_change(change, revision).await?;
                rows::project(row)
            }

            async fn create_key(&self, key: &ApiKey) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &key.project).await?;
                insert_key(&mut change, key, revision).await?;
                self.commit_change(change, revision).await
            }

            async fn keys(&self, project: &ProjectName) -> Result<Vec<ApiKey>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<rows::KeyRow> = sqlx::query_as(
                    "SELECT id, project, hash, scopes, note, created_at_us, revoked_at_us, revision \
                     FROM api_keys WHERE project = $1 ORDER BY id",
                )
                .bind(project.as_str())
                .fetch_all(&mut *read)
                .await?;
                rows.into_iter().map(rows::key).collect()
            }

            async fn revoke_key(
                &self,
                project: &ProjectName,
                id: &str,
                at: Timestamp,
            ) -> Result<ApiKey, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let row: Option<rows::KeyRow> = sqlx::query_as(
                    "UPDATE api_keys SET revoked_at_us = COALESCE(revoked_at_us, $3), revision = $4 \
                     WHERE project = $1 AND id = $2 \
                     RETURNING id, project, hash, scopes, note, created_at_us, revoked_at_us, revision",
                )
                .bind(project.as_str())
                .bind(id)
                .bind(micros(at))
                .bind(revision)
                .fetch_optional(&mut *change)
                .await?;
                let row = row.ok_or_else(|| not_found("API key", id))?;
                self.commit_change(change, revision).await?;
                rows::key(row)
            }

            async fn create_function(
                &self,
                function: &Function,
                trigger: Option<&Trigger>,
            ) -> Result<u64, Error> {
                let sealed = rows::seal(&self.cipher, function)?;
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &function.project).await?;
                insert_function(&mut change, function, &sealed, revision).await?;
                if let Some(trigger) = trigger {
                    require_function(&mut change, &trigger.project, &trigger.function).await?;
                    insert_trigger(&mut change, trigger, revision).await?;
                }
                self.commit_change(change, revision).await
            }

            async fn function(
                &self,
                project: &ProjectName,
                name: &FunctionName,
            ) -> Result<Option<Function>, Error> {
                let mut read = self.begin_read().await?;
                let row: Option<rows::FunctionRow> = sqlx::query_as(
                    "SELECT project, package, name, url, format, secret, signing_secret, \
                     settings, credentials, created_at_us, updated_at_us, revision FROM functions \
                     WHERE project = $1 AND package = $2 AND name = $3",
                )
                .bind(project.as_str())
                .bind(name.package.as_str())
                .bind(name.name.as_str())
                .fetch_optional(&mut *read)
                .await?;
                row.map(|row| rows::function(row, &self.cipher)).transpose()
            }

            async fn functions(
                &self,
                project: &ProjectName,
                after: Option<&FunctionName>,
                limit: u32,
            ) -> Result<Page<Function>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<rows::FunctionRow> = sqlx::query_as(
                    "SELECT project, package, name, url, format, secret, signing_secret, \
                     settings, credentials, created_at_us, updated_at_us, revision FROM functions \
                     WHERE project = $1 AND (package, name) > ($2, $3) \
                     ORDER BY package, name LIMIT $4",
                )
                .bind(project.as_str())
                .bind(after.map_or("", |name| name.package.as_str()))
                .bind(after.map_or("", |name| name.name.as_str()))
                .bind(i64::from(limit) + 1)
                .fetch_all(&mut *read)
                .await?;
                Page::cut(rows, limit, |row| rows::function(row, &self.cipher))
            }

            async fn update_function(&self, function: &Function) -> Result<u64, Error> {
                let sealed = rows::seal(&self.cipher, function)?;
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query(
                    "UPDATE functions SET url = $4, format = $5, secret = $6, \
                     signing_secret = $7, settings = $8, credentials = $9, \
                     updated_at_us = $10, revision = $11 \
                     WHERE project = $1 AND package = $2 AND name = $3",
                )
                .bind(function.project.as_str())
                .bind(function.name.package.as_str())
                .bind(function.name.name.as_str())
                .bind(function.url.as_str())
                .bind(function.format.as_str())
                .bind(sealed.secret)
                .bind(sealed.signing_secret)
                .bind(settings_to_bytes(&function.settings))
                .bind(sealed.credentials)
                .bind(micros(function.updated_at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "function", &function.name)?;
                self.commit_change(change, revision).await
            }

            async fn delete_function(
                &self,
                project: &ProjectName,
                name: &FunctionName,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                delete_triggers_of(&mut change, project, name, revision).await?;
                let done = sqlx::query(
                    "DELETE FROM functions WHERE project = $1 AND package = $2 AND name = $3",
                )
                .bind(project.as_str())
                .bind(name.package.as_str())
                .bind(name.name.as_str())
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "function", name)?;
                note_deletion(&mut change, "function", project, &rows::full_name(name), revision).await?;
                self.commit_change(change, revision).await
            }

            async fn create_trigger(&self, trigger: &Trigger) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_function(&mut change, &trigger.project, &trigger.function).await?;
                insert_trigger(&mut change, trigger, revision).await?;
                self.commit_change(change, revision).await
            }

            async fn trigger(
                &self,
                project: &ProjectName,
                name: &TriggerName,
            ) -> Result<Option<Trigger>, Error> {
                let mut read = self.begin_read().await?;
                let row: Option<rows::TriggerRow> = sqlx::query_as(
                    "SELECT project, name, package, function, is_enabled, event_types, subject, \
                     prefix, suffix, format, retry, settings, created_at_us, updated_at_us, revision \
                     FROM triggers WHERE project = $1 AND name = $2",
                )
                .bind(project.as_str())
                .bind(name.as_str())
                .fetch_optional(&mut *read)
                .await?;
                row.map(rows::trigger).transpose()
            }

            async fn triggers(
                &self,
                project: &ProjectName,
                function: Option<&FunctionName>,
                after: Option<&TriggerName>,
                limit: u32,
            ) -> Result<Page<Trigger>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<rows::TriggerRow> = sqlx::query_as(
                    "SELECT project, name, package, function, is_enabled, event_types, subject, \
                     prefix, suffix, format, retry, settings, created_at_us, updated_at_us, revision \
                     FROM triggers WHERE project = $1 AND name > $2 \
                     AND ($3 = '' OR (package = $3 AND function = $4)) ORDER BY name LIMIT $5",
                )
                .bind(project.as_str())
                .bind(after.map_or("", |name| name.as_str()))
                .bind(function.map_or("", |name| name.package.as_str()))
                .bind(function.map_or("", |name| name.name.as_str()))
                .bind(i64::from(limit) + 1)
                .fetch_all(&mut *read)
                .await?;
                Page::cut(rows, limit, rows::trigger)
            }

            async fn update_trigger(&self, trigger: &Trigger) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_function(&mut change, &trigger.project, &trigger.function).await?;
                let done = sqlx::query(
                    "UPDATE triggers SET package = $3, function = $4, is_enabled = $5, \
                     event_types = $6, subject = $7, prefix = $8, suffix = $9, format = $10, \
                     retry = $11, settings = $12, updated_at_us = $13, revision = $14 \
                     WHERE project = $1 AND name = $2",
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
                .bind(micros(trigger.updated_at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "trigger", &trigger.name)?;
                self.commit_change(change, revision).await
            }

            async fn delete_trigger(
                &self,
                project: &ProjectName,
                name: &TriggerName,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                let done = sqlx::query("DELETE FROM triggers WHERE project = $1 AND name = $2")
                    .bind(project.as_str())
                    .bind(name.as_str())
                    .execute(&mut *change)
                    .await?;
                require(done.rows_affected(), "trigger", name)?;
                note_deletion(&mut change, "trigger", project, name.as_str(), revision).await?;
                self.commit_change(change, revision).await
            }

            async fn revision(&self) -> Result<u64, Error> {
                let mut read = self.begin_read().await?;
                Ok(unsigned(revision_and_known(&mut read).await?.0))
            }

            async fn snapshot(&self) -> Result<Update, Error> {
                let mut read = self.begin_read().await?;
                let (revision, _) = revision_and_known(&mut read).await?;
                let changes = changes_after(&mut read, &self.cipher, 0).await?;
                Ok(Update { revision: unsigned(revision), is_snapshot: true, changes })
            }

            async fn changes_since(&self, revision: u64) -> Result<Update, Error> {
                let mut read = self.begin_read().await?;
                let (current, known_after) = revision_and_known(&mut read).await?;
                let since = signed(revision);
                // A revision that is still to come belongs to a database that was put back.
                let is_snapshot = since < known_after || since > current;
                let changes = if is_snapshot {
                    changes_after(&mut read, &self.cipher, 0).await?
                } else if since == current {
                    Vec::new()
                } else {
                    // Deletions first: what was made again under the same name comes after them.
                    let mut changes = deletions_after(&mut read, since).await?;
                    changes.extend(changes_after(&mut read, &self.cipher, since).await?);
                    changes
                };
                Ok(Update { revision: unsigned(current), is_snapshot, changes })
            }

            async fn changed(&self, poll: Duration) {
                self.wait_for_change(poll).await;
            }

            async fn ping(&self) -> Result<(), Error> {
                self.ping_database().await
            }
        }

        /// Takes the next revision. Until the transaction ends nobody else gets one, so revisions
        /// become visible in their order.
        async fn raise_revision(connection: &mut $connection) -> Result<i64, Error> {
            let raised = "UPDATE registry_revision SET revision = revision + 1 RETURNING revision";
            Ok(sqlx::query_scalar(raised).fetch_one(connection).await?)
        }

        /// The current revision, and the one after which deletions are known.
        async fn revision_and_known(connection: &mut $connection) -> Result<(i64, i64), Error> {
            let asked = "SELECT revision, deletions_known_after FROM registry_revision";
            Ok(sqlx::query_as(asked).fetch_one(connection).await?)
        }

        async fn require_project(connection: &mut $connection, name: &ProjectName) -> Result<(), Error> {
            let found: Option<i64> = sqlx::query_scalar("SELECT revision FROM projects WHERE name = $1")
                .bind(name.as_str())
                .fetch_optional(connection)
                .await?;
            found.map(drop).ok_or_else(|| not_found("project", name))
        }

        async fn require_function(
            connection: &mut $connection,
            project: &ProjectName,
            name: &FunctionName,
        ) -> Result<(), Error> {
            let found: Option<i64> = sqlx::query_scalar(
                "SELECT revision FROM functions WHERE project = $1 AND package = $2 AND name = $3",
            )
            .bind(project.as_str())
            .bind(name.package.as_str())
            .bind(name.name.as_str())
            .fetch_optional(connection)
            .await?;
            found.map(drop).ok_or_else(|| not_found("function", name))
        }

        async fn insert_project(
            connection: &mut $connection,
            project: &Project,
            revision: i64,
        ) -> Result<(), Error> {
            let done = sqlx::query(
                "INSERT INTO projects (name, created_at_us, revision) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
                .bind(project.name.as_str())
                .bind(micros(project.created_at))
                .bind(revision)
                .execute(connection)
                .await?;
            require_new(done.rows_affected(), "project", &project.name)
        }

        async fn insert_key(
            connection: &mut $connection,
            key: &ApiKey,
            revision: i64,
        ) -> Result<(), Error> {
            let done = sqlx::query(
                "INSERT INTO api_keys (id, project, hash, scopes, note, created_at_us, \
                 revoked_at_us, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(&key.id)
            .bind(key.project.as_str())
            .bind(key.hash.0.as_slice())
            .bind(rows::scopes_text(&key.scopes))
            .bind(&key.note)
            .bind(micros(key.created_at))
            .bind(key.revoked_at.map(micros))
            .bind(revision)
            .execute(connection)
            .await?;
            require_new(done.rows_affected(), "API key", &key.id)
        }

        async fn insert_function(
            connection: &mut $connection,
            function: &Function,
            sealed: &rows::SealedSecrets,
            revision: i64,
        ) -> Result<(), Error> {
            let done = sqlx::query(
                "INSERT INTO functions (project, package, name, url, format, secret, \
                 signing_secret, settings, credentials, created_at_us, updated_at_us, \
                 revision) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                 ON CONFLICT DO NOTHING",
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
            require_new(done.rows_affected(), "function", &function.name)
        }

        async fn insert_trigger(
            connection: &mut $connection,
            trigger: &Trigger,
            revision: i64,
        ) -> Result<(), Error> {
            let done = sqlx::query(
                "INSERT INTO triggers (project, name, package, function, is_enabled, event_types, \
                 subject, prefix, suffix, format, retry, settings, created_at_us, updated_at_us, \
                 revision) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 ON CONFLICT DO NOTHING",
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
            require_new(done.rows_affected(), "trigger", &trigger.name)
        }

        async fn delete_triggers_of(
            connection: &mut $connection,
            project: &ProjectName,
            function: &FunctionName,
            revision: i64,
        ) -> Result<(), Error> {
            // The condition on the revision always holds; it gives both the same parameters.
            let statements = [
                "INSERT INTO deletions (revision, kind, project, name) \
                 SELECT $4, 'trigger', project, name FROM triggers \
                 WHERE project = $1 AND package = $2 AND function = $3",
                "DELETE FROM triggers \
                 WHERE project = $1 AND package = $2 AND function = $3 AND revision <= $4",
            ];
            for statement in statements {
                sqlx::query(statement)
                    .bind(project.as_str())
                    .bind(function.package.as_str())
                    .bind(function.name.as_str())
                    .bind(revision)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        }

        /// Notes a deletion, and forgets those of long ago.
        async fn note_deletion(
            connection: &mut $connection,
            kind: &str,
            project: &ProjectName,
            name: &str,
            revision: i64,
        ) -> Result<(), Error> {
            sqlx::query("INSERT INTO deletions (revision, kind, project, name) VALUES ($1, $2, $3, $4)")
                .bind(revision)
                .bind(kind)
                .bind(project.as_str())
                .bind(name)
                .execute(&mut *connection)
                .await?;
            let forgotten = revision.saturating_sub(DELETIONS_KEPT);
            if forgotten > 0 {
                sqlx::query("DELETE FROM deletions WHERE revision <= $1")
                    .bind(forgotten)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("UPDATE registry_revision SET deletions_known_after = $1")
                    .bind(forgotten)
                    .execute(connection)
                    .await?;
            }
            Ok(())
        }

        async fn deletions_after(
            connection: &mut $connection,
            revision: i64,
        ) -> Result<Vec<Change>, Error> {
            let deletions: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT kind, project, name FROM deletions WHERE revision > $1 ORDER BY revision",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            deletions.iter().map(|(kind, project, name)| rows::deletion(kind, project, name)).collect()
        }

        async fn projects_after(
            connection: &mut $connection,
            revision: i64,
        ) -> Result<Vec<Project>, Error> {
            let rows: Vec<rows::ProjectRow> = sqlx::query_as(
                "SELECT name, created_at_us, is_paused, revision FROM projects \
                 WHERE revision > $1 ORDER BY name",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            rows.into_iter().map(rows::project).collect()
        }

        /// What exists and was changed after a revision; each before what belongs to it.
        async fn changes_after(
            connection: &mut $connection,
            cipher: &Cipher,
            revision: i64,
        ) -> Result<Vec<Change>, Error> {
            let projects = projects_after(connection, revision).await?;
            let mut changes: Vec<Change> = projects.into_iter().map(Change::Project).collect();
            let keys: Vec<rows::KeyRow> = sqlx::query_as(
                "SELECT id, project, hash, scopes, note, created_at_us, revoked_at_us, revision \
                 FROM api_keys WHERE revision > $1",
            )
            .bind(revision)
            .fetch_all(&mut *connection)
            .await?;
            let functions: Vec<rows::FunctionRow> = sqlx::query_as(
                "SELECT project, package, name, url, format, secret, signing_secret, \
                 settings, credentials, created_at_us, updated_at_us, revision FROM functions WHERE revision > $1",
            )
            .bind(revision)
            .fetch_all(&mut *connection)
            .await?;
            let triggers: Vec<rows::TriggerRow> = sqlx::query_as(
                "SELECT project, name, package, function, is_enabled, event_types, subject, \
                 prefix, suffix, format, retry, settings, created_at_us, updated_at_us, revision \
                 FROM triggers WHERE revision > $1",
            )
            .bind(revision)
            .fetch_all(&mut *connection)
            .await?;
            changes.reserve(keys.len() + functions.len() + triggers.len());
            let signing = token_keys_after(connection, cipher, revision).await?;
            changes.extend(signing.into_iter().map(Change::TokenKeys));
            let revoked = session_revocations_after(connection, revision).await?;
            changes.extend(revoked.into_iter().map(Change::SessionsRevoked));
            let types = types_after(connection, revision).await?;
            changes.extend(types.into_iter().map(Change::EventType));
            for row in keys { changes.push(Change::Key(rows::key(row)?)); }
            for row in functions { changes.push(Change::Function(rows::function(row, cipher)?)); }
            for row in triggers { changes.push(Change::Trigger(rows::trigger(row)?)); }
            let services = gateways_after(connection, revision).await?;
            changes.extend(services.into_iter().map(Change::Gateway));
            Ok(changes)
        }
    };
}

pub(crate) use implement_registry_store;
