//! What ends function sessions before their time: a part of what is configured.

use async_trait::async_trait;
use domain::session::{LIFETIME_MAX, RevocationSubject, SessionRevocation};
use jiff::Timestamp;

use crate::Error;
use crate::columns::{from_micros, micros, parse, unsigned};

/// Revocations of sessions. A change raises the registry's revision.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Stores that sessions are revoked; an earlier moment than one that is stored changes nothing.
    /// Those that no session can have outlived are forgotten.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    async fn revoke_sessions(&self, revocation: &SessionRevocation) -> Result<u64, Error>;
}

pub(crate) type RevocationRow = (String, String, String, i64, i64);

pub(crate) fn revocation(row: &RevocationRow) -> Result<SessionRevocation, Error> {
    let (project, kind, name, at, revision) = row;
    let subject = RevocationSubject::parse(kind, name);
    Ok(SessionRevocation {
        project: parse("session revocation", project)?,
        subject: subject
            .ok_or_else(|| Error::corrupt("session revocation", format_args!("{kind} {name:?}")))?,
        at: from_micros(*at)?,
        revision: unsigned(*revision),
    })
}

/// What was revoked before then is of no use at `at`.
pub(crate) fn forgotten_before(at: Timestamp) -> i64 {
    micros(at.saturating_sub(LIFETIME_MAX * 2).unwrap_or(at))
}

/// Implements [`SessionStore`] where [`crate::registry_store::implement`] implements the rest.
macro_rules! implement_session_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::SessionStore for $store {
            async fn revoke_sessions(
                &self,
                revocation: &domain::session::SessionRevocation,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_project(&mut change, &revocation.project).await?;
                sqlx::query("DELETE FROM session_revocations WHERE at_us < $1")
                    .bind(sessions::forgotten_before(revocation.at))
                    .execute(&mut *change)
                    .await?;
                sqlx::query(
                    "INSERT INTO session_revocations (project, kind, name, at_us, revision) \
                     VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (project, kind, name) DO UPDATE \
                     SET at_us = excluded.at_us, revision = excluded.revision \
                     WHERE session_revocations.at_us < excluded.at_us",
                )
                .bind(revocation.project.as_str())
                .bind(revocation.subject.kind())
                .bind(revocation.subject.name())
                .bind(micros(revocation.at))
                .bind(revision)
                .execute(&mut *change)
                .await?;
                self.commit_change(change, revision).await
            }
        }

        async fn session_revocations_after(
            connection: &mut $connection,
            revision: i64,
        ) -> Result<Vec<domain::session::SessionRevocation>, Error> {
            let rows: Vec<sessions::RevocationRow> = sqlx::query_as(
                "SELECT project, kind, name, at_us, revision FROM session_revocations \
                 WHERE revision > $1 ORDER BY at_us",
            )
            .bind(revision)
            .fetch_all(connection)
            .await?;
            rows.iter().map(sessions::revocation).collect()
        }
    };
}

pub(crate) use implement_session_store;
