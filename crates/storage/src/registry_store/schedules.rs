//! Schedules: kept with their triggers, and claimed by whichever replica sees first that they are due.

use async_trait::async_trait;
use domain::name::{Name, ProjectName};
use domain::schedule::{Cron, Dialect, Payload, Schedule, ScheduleName};
use domain::trigger::Trigger;
use jiff::Timestamp;

use super::Page;
use crate::Error;
use crate::columns::{from_micros, parse};

/// Schedules. What people change of them raises the registry's revision; what the clock changes
/// does not.
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// Creates a schedule and its trigger.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken, `NotFound` when the function does not exist.
    async fn create_schedule(&self, schedule: &Schedule, trigger: &Trigger) -> Result<u64, Error>;

    async fn schedule(
        &self,
        project: &ProjectName,
        name: &ScheduleName,
    ) -> Result<Option<Schedule>, Error>;

    /// By name.
    async fn schedules(
        &self,
        project: &ProjectName,
        package: Option<&Name>,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Page<Schedule>, Error>;

    /// Replaces the schedule and its trigger of that name.
    async fn update_schedule(&self, schedule: &Schedule, trigger: &Trigger) -> Result<u64, Error>;

    /// Deletes the schedule with its trigger.
    async fn delete_schedule(
        &self,
        project: &ProjectName,
        name: &ScheduleName,
    ) -> Result<u64, Error>;

    /// Takes up to `limit` schedules that are due, the longest due first. Nobody else gets them
    /// before `until`.
    async fn claim_due_schedules(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Schedule>, Error>;

    /// Moves a schedule on that was to strike at `due`; nothing, if it was changed meanwhile.
    /// `struck_at` is the time it struck for, if it did.
    async fn advance_schedule(
        &self,
        schedule: &Schedule,
        due: Timestamp,
        struck_at: Option<Timestamp>,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error>;

    /// When the next schedule is due that nobody has in hand by then.
    async fn next_schedule_due(&self) -> Result<Option<Timestamp>, Error>;
}

pub(crate) type ScheduleRow = (
    String,
    String,
    Option<String>,
    String,
    String,
    String,
    String,
    String,
    Vec<u8>,
    bool,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
);

/// Kind and bytes, as they stand in their columns.
pub(crate) fn payload_columns(payload: &Payload) -> (&'static str, &[u8]) {
    match payload {
        Payload::None => ("none", &[]),
        Payload::Parameters(json) => ("parameters", json.as_bytes()),
        Payload::Text(text) => ("text", text.as_bytes()),
    }
}

pub(crate) fn schedule(row: ScheduleRow) -> Result<Schedule, Error> {
    let (project, name, package, job, cron, dialect, time_zone, kind, payload, ..) = &row;
    let (.., is_enabled, next_at, last_at, created_at, updated_at) = &row;
    let corrupt = |problem: &dyn std::fmt::Display| Error::corrupt("schedule", problem);
    let dialect = Dialect::parse(dialect).ok_or_else(|| corrupt(&"its dialect"))?;
    let payload = String::from_utf8(payload.clone()).map_err(|error| corrupt(&error))?;
    Ok(Schedule {
        project: parse("schedule", project)?,
        name: parse("schedule", name)?,
        package: package
            .as_deref()
            .map(|package| parse("schedule", package))
            .transpose()?,
        job: job.clone(),
        cron: Cron::parse(cron, dialect).map_err(|error| corrupt(&error))?,
        time_zone: time_zone.clone(),
        payload: match kind.as_str() {
            "parameters" => Payload::Parameters(payload),
            "text" => Payload::Text(payload),
            _ => Payload::None,
        },
        is_enabled: *is_enabled,
        next_at: next_at.map(from_micros).transpose()?,
        last_at: last_at.map(from_micros).transpose()?,
        created_at: from_micros(*created_at)?,
        updated_at: from_micros(*updated_at)?,
    })
}

/// Implements [`ScheduleStore`] beside `implement_registry_store`, for a type that also offers
/// `begin_work()`, a transaction that writes, and `commit_work(transaction)`.
macro_rules! implement_schedule_store {
    ($store:ty, $connection:ty) => {
        #[async_trait::async_trait]
        impl crate::ScheduleStore for $store {
            async fn create_schedule(
                &self,
                schedule: &Schedule,
                trigger: &Trigger,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_function(&mut change, &trigger.project, &trigger.function).await?;
                insert_trigger(&mut change, trigger, revision).await?;
                put_schedule(&mut change, schedule).await?;
                self.commit_change(change, revision).await
            }

            async fn schedule(
                &self,
                project: &ProjectName,
                name: &ScheduleName,
            ) -> Result<Option<Schedule>, Error> {
                let mut read = self.begin_read().await?;
                let row: Option<schedules::ScheduleRow> = sqlx::query_as(
                    "SELECT project, name, package, job, cron, dialect, time_zone, payload_kind, \
                     payload, is_enabled, next_at_us, last_at_us, created_at_us, updated_at_us \
                     FROM schedules WHERE project = $1 AND name = $2",
                )
                .bind(project.as_str())
                .bind(name.as_str())
                .fetch_optional(&mut *read)
                .await?;
                row.map(schedules::schedule).transpose()
            }

            async fn schedules(
                &self,
                project: &ProjectName,
                package: Option<&Name>,
                after: Option<&ScheduleName>,
                limit: u32,
            ) -> Result<Page<Schedule>, Error> {
                let mut read = self.begin_read().await?;
                let rows: Vec<schedules::ScheduleRow> = sqlx::query_as(
                    "SELECT project, name, package, job, cron, dialect, time_zone, payload_kind, \
                     payload, is_enabled, next_at_us, last_at_us, created_at_us, updated_at_us \
                     FROM schedules WHERE project = $1 AND name > $2 \
                     AND ($3 = '' OR package = $3) ORDER BY name LIMIT $4",
                )
                .bind(project.as_str())
                .bind(after.map_or("", |name| name.as_str()))
                .bind(package.map_or("", |name| name.as_str()))
                .bind(i64::from(limit) + 1)
                .fetch_all(&mut *read)
                .await?;
                Page::cut(rows, limit, schedules::schedule)
            }

            async fn update_schedule(
                &self,
                schedule: &Schedule,
                trigger: &Trigger,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                require_function(&mut change, &trigger.project, &trigger.function).await?;
                let known: Option<String> = sqlx::query_scalar(
                    "SELECT name FROM schedules WHERE project = $1 AND name = $2",
                )
                .bind(schedule.project.as_str())
                .bind(schedule.name.as_str())
                .fetch_optional(&mut *change)
                .await?;
                known.ok_or_else(|| not_found("schedule", &schedule.name))?;
                put_trigger(&mut change, trigger, revision).await?;
                put_schedule(&mut change, schedule).await?;
                self.commit_change(change, revision).await
            }

            async fn delete_schedule(
                &self,
                project: &ProjectName,
                name: &ScheduleName,
            ) -> Result<u64, Error> {
                let (mut change, revision) = self.begin_change().await?;
                // With the trigger the schedule goes too.
                let done = sqlx::query(
                    "DELETE FROM triggers WHERE project = $1 AND name = $2 AND EXISTS \
                     (SELECT 1 FROM schedules WHERE project = $1 AND name = $2)",
                )
                .bind(project.as_str())
                .bind(name.as_str())
                .execute(&mut *change)
                .await?;
                require(done.rows_affected(), "schedule", name)?;
                note_deletion(&mut change, "trigger", project, name.as_str(), revision).await?;
                self.commit_change(change, revision).await
            }

            async fn claim_due_schedules(
                &self,
                now: Timestamp,
                until: Timestamp,
                limit: u32,
            ) -> Result<Vec<Schedule>, Error> {
                let mut work = self.begin_work().await?;
                // The conditions stand twice: of two replicas that want a row, the second looks
                // at it once more when it gets it.
                let rows: Vec<schedules::ScheduleRow> = sqlx::query_as(
                    "UPDATE schedules SET claimed_until_us = $2 WHERE (project, name) IN \
                     (SELECT project, name FROM schedules WHERE is_enabled AND next_at_us <= $1 \
                      AND claimed_until_us <= $1 ORDER BY next_at_us LIMIT $3) \
                     AND is_enabled AND next_at_us <= $1 AND claimed_until_us <= $1 \
                     RETURNING project, name, package, job, cron, dialect, time_zone, \
                     payload_kind, payload, is_enabled, next_at_us, last_at_us, created_at_us, \
                     updated_at_us",
                )
                .bind(micros(now))
                .bind(micros(until))
                .bind(i64::from(limit))
                .fetch_all(&mut *work)
                .await?;
                self.commit_work(work).await?;
                rows.into_iter().map(schedules::schedule).collect()
            }

            async fn advance_schedule(
                &self,
                schedule: &Schedule,
                due: Timestamp,
                struck_at: Option<Timestamp>,
                next_at: Option<Timestamp>,
            ) -> Result<(), Error> {
                let mut work = self.begin_work().await?;
                sqlx::query(
                    "UPDATE schedules SET next_at_us = $4, claimed_until_us = 0, \
                     last_at_us = COALESCE($5, last_at_us) \
                     WHERE project = $1 AND name = $2 AND next_at_us = $3",
                )
                .bind(schedule.project.as_str())
                .bind(schedule.name.as_str())
                .bind(micros(due))
                .bind(next_at.map(micros))
                .bind(struck_at.map(micros))
                .execute(&mut *work)
                .await?;
                self.commit_work(work).await
            }

            async fn next_schedule_due(&self) -> Result<Option<Timestamp>, Error> {
                let mut read = self.begin_read().await?;
                let due: Option<i64> = sqlx::query_scalar(
                    "SELECT MIN(CASE WHEN claimed_until_us > next_at_us THEN claimed_until_us \
                     ELSE next_at_us END) FROM schedules \
                     WHERE is_enabled AND next_at_us IS NOT NULL",
                )
                .fetch_one(&mut *read)
                .await?;
                due.map(from_micros).transpose()
            }
        }

        /// Stores a schedule. One that strikes as before goes on where it is.
        async fn put_schedule(
            connection: &mut $connection,
            schedule: &Schedule,
        ) -> Result<(), Error> {
            let (kind, payload) = schedules::payload_columns(&schedule.payload);
            sqlx::query(
                "INSERT INTO schedules (project, name, package, job, cron, dialect, time_zone, \
                 payload_kind, payload, is_enabled, next_at_us, last_at_us, created_at_us, \
                 updated_at_us) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                 ON CONFLICT (project, name) DO UPDATE SET package = excluded.package, \
                 job = excluded.job, next_at_us = CASE \
                 WHEN schedules.cron = excluded.cron AND schedules.dialect = excluded.dialect \
                 AND schedules.time_zone = excluded.time_zone AND schedules.is_enabled \
                 THEN schedules.next_at_us ELSE excluded.next_at_us END, \
                 cron = excluded.cron, dialect = excluded.dialect, \
                 time_zone = excluded.time_zone, payload_kind = excluded.payload_kind, \
                 payload = excluded.payload, is_enabled = excluded.is_enabled, \
                 updated_at_us = excluded.updated_at_us",
            )
            .bind(schedule.project.as_str())
            .bind(schedule.name.as_str())
            .bind(schedule.package.as_ref().map(|package| package.as_str()))
            .bind(without_zero(&schedule.job).into_owned())
            .bind(schedule.cron.as_str())
            .bind(schedule.cron.dialect().as_str())
            .bind(&schedule.time_zone)
            .bind(kind)
            .bind(payload)
            .bind(schedule.is_enabled)
            .bind(schedule.next_at.map(micros))
            .bind(schedule.last_at.map(micros))
            .bind(micros(schedule.created_at))
            .bind(micros(schedule.updated_at))
            .execute(connection)
            .await?;
            Ok(())
        }
    };
}

pub(crate) use implement_schedule_store;
