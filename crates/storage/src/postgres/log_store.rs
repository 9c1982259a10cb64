//! What happened, on `PostgreSQL`, divided by day.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::Status;
use domain::event::Event;
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use domain::record::{Attempted, Record};
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::partitions::Partitions;
use super::ping;
use crate::columns::{count, from_duration_micros, from_micros, micros, parse, unsigned};
use crate::log_store::implement::implement_log_reading;
use crate::log_store::owed::{Owed, Owing};
use crate::log_store::read::{
    BOUND_MAX, DELIVERY_COLUMNS, LINES, LINES_MAX, read_error_class, read_response_status,
    read_status, read_time, span_of, time_bounds,
};
use crate::log_store::rows::{
    AttemptRow, Attributes, DeliveryRow, EventRow, INSERT_DELIVERIES, KEEP_FURTHEST, OfProject,
    Rows, Tables, left_over,
};
use crate::log_store::{
    Cursor, DeliveryFilter, DeliveryLine, DeliveryState, EventHistory, EventReference,
};
use crate::{Error, LogStore};

#[derive(Debug)]
pub(super) struct Logs {
    pool: PgPool,
    partitions: Partitions,
}

impl Logs {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            partitions: Partitions::default(),
        }
    }

    async fn insert(&self, records: &[&Record]) -> Result<(), Error> {
        let Tables {
            events,
            deliveries,
            mut attempts,
            owed,
        } = Rows::of(records)?.into_tables();
        let mut transaction = self.pool.begin().await?;
        if !events.is_empty() {
            insert_events(&mut transaction, &events).await?;
        }
        if !deliveries.is_empty() {
            let left = insert_deliveries(&mut transaction, &deliveries).await?;
            attempts.extend(unknown(&mut transaction, left).await?);
        }
        if !attempts.is_empty() {
            insert_attempts(&mut transaction, &attempts).await?;
        }
        for (project, owed) in &owed {
            insert_owed(&mut transaction, project, owed).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// One by one, so that one record that is refused does not hold up the others.
    async fn insert_each(&self, records: &[&Record]) -> Result<(), Error> {
        for record in records {
            match self.insert(&[record]).await {
                Err(error @ (Error::Refused(_) | Error::Corrupt { .. })) => {
                    let cause = std::error::Error::source(&error);
                    tracing::error!(%error, ?cause, project = %record.project(), "record left out of the log: the database refuses it");
                }
                other => other?,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl LogStore for Logs {
    async fn record(&self, records: &[Record]) -> Result<(), Error> {
        let kept = self.partitions.prepare(&self.pool, records).await?;
        if kept.is_empty() {
            return Ok(());
        }
        match self.insert(&kept).await {
            Err(Error::Refused(_) | Error::Corrupt { .. }) => {}
            other => return other,
        }
        // Another replica may just have dropped a partition we thought was there.
        self.partitions.forget();
        let kept = self.partitions.prepare(&self.pool, records).await?;
        self.insert_each(&kept).await
    }

    async fn make_owed(&self, told_before: Timestamp) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        // What a crash makes undone is done again.
        sqlx::query("SET LOCAL synchronous_commit = off")
            .execute(&mut *transaction)
            .await?;
        let told: Option<(String, Vec<Uuid>, Vec<Uuid>)> = sqlx::query_as(
            "DELETE FROM owed WHERE owed_id = (SELECT owed_id FROM owed WHERE told_at_us < $1 \
             ORDER BY owed_id LIMIT 1 FOR UPDATE SKIP LOCKED) \
             RETURNING project, eids, deliveries",
        )
        .bind(micros(told_before))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((project, eids, deliveries)) = told else {
            transaction.rollback().await?;
            return Ok(false);
        };
        // A question for each, since any other plan would read all there is.
        let events: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT eid FROM UNNEST($2::uuid[], $3::uuid[]) AS told (eid, delivery_id) \
             WHERE (SELECT 1 FROM deliveries AS known WHERE known.project = $1 \
             AND known.delivery_id = told.delivery_id LIMIT 1) IS NULL",
        )
        .bind(&project)
        .bind(eids)
        .bind(deliveries)
        .fetch_all(&mut *transaction)
        .await?;
        make_owed(&mut transaction, &project, &events).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn deliveries(
        &self,
        project: &ProjectName,
        filter: &DeliveryFilter,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<DeliveryLine>, Error> {
        list(&self.pool, project, filter, before, limit).await
    }

    async fn lines(
        &self,
        project: &ProjectName,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<DeliveryLine>, Error> {
        lines(&self.pool, project, deliveries).await
    }

    async fn event(
        &self,
        project: &ProjectName,
        event: &EventReference,
    ) -> Result<Option<EventHistory>, Error> {
        history(&self.pool, project, event).await
    }

    async fn keep_partitions(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<String>, Error> {
        self.partitions.keep(&self.pool, now, retention).await
    }

    async fn ping(&self) -> Result<(), Error> {
        ping(&self.pool).await
    }
}

implement_log_reading!(sqlx::Postgres, PgRow);

async fn insert_events(connection: &mut PgConnection, rows: &[EventRow<'_>]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO events (project, eid, client_id, source, event_type, subject, time_us, \
         accepted_at_us, data_content_type, data, attributes, owed) \
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], \
         $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::bytea[], $11::text[], \
         $12::text[]) \
         ON CONFLICT DO NOTHING",
    )
    .bind(column(rows, |row| row.project))
    .bind(column(rows, |row| row.eid))
    .bind(column(rows, |row| row.client_id.as_deref()))
    .bind(column(rows, |row| row.source.as_ref()))
    .bind(column(rows, |row| row.event_type))
    .bind(column(rows, |row| row.subject.as_deref()))
    .bind(column(rows, |row| row.time_us))
    .bind(column(rows, |row| row.accepted_at_us))
    .bind(column(rows, |row| row.data_content_type.as_deref()))
    .bind(column(rows, |row| row.data))
    .bind(column(rows, |row| row.attributes.as_deref()))
    .bind(column(rows, |row| row.owed.as_deref()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_owed(
    connection: &mut PgConnection,
    project: &str,
    owed: &[Owing],
) -> Result<(), Error> {
    sqlx::query("INSERT INTO owed (told_at_us, project, eids, deliveries) VALUES ($1, $2, $3, $4)")
        .bind(micros(Timestamp::now()))
        .bind(project)
        .bind(column(owed, |one| one.eid))
        .bind(column(owed, |one| one.delivery))
        .execute(connection)
        .await?;
    Ok(())
}

/// Answers with the first attempts that found their delivery's row further than themselves: they
/// are kept as the other attempts are.
async fn insert_deliveries<'a>(
    connection: &mut PgConnection,
    rows: &[DeliveryRow<'a>],
) -> Result<Vec<OfProject<'a>>, Error> {
    let written: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(
        [INSERT_DELIVERIES, FROM_ARRAYS, KEEP_FURTHEST].concat(),
    ))
    .bind(column(rows, |row| row.project))
    .bind(column(rows, |row| row.delivery))
    .bind(column(rows, |row| row.eid))
    .bind(column(rows, |row| row.trigger))
    .bind(column(rows, |row| row.function.as_str()))
    .bind(column(rows, |row| row.generation))
    .bind(column(rows, |row| row.step))
    .bind(column(rows, |row| row.last.attempts))
    .bind(column(rows, |row| row.status.as_str()))
    .bind(column(rows, |row| row.remark.as_deref()))
    .bind(column(rows, |row| row.next_attempt_at_us))
    .bind(column(rows, |row| row.last.at_us))
    .bind(column(rows, |row| row.last.duration_us))
    .bind(column(rows, |row| row.last.response_status))
    .bind(column(rows, |row| row.last.error_class))
    .bind(column(rows, |row| row.last.error.as_deref()))
    .bind(of_first(rows, |first| first.started_at_us))
    .bind(of_first(rows, |first| first.duration_us))
    .bind(column(rows, |row| row.first.as_ref()?.response_status))
    .bind(of_first(rows, |first| first.url.as_ref()))
    .bind(of_first(rows, |first| first.request_headers.as_ref()))
    .bind(of_first(rows, |first| first.request_bytes))
    .bind(of_first(rows, |first| first.response_headers.as_ref()))
    .bind(of_first(rows, |first| first.response_body))
    .bind(of_first(rows, |first| first.is_response_truncated))
    .bind(of_first(rows, |first| first.worker.as_ref()))
    .bind(column(rows, |row| {
        row.first.as_ref()?.traceparent.as_deref()
    }))
    .fetch_all(connection)
    .await?;
    Ok(left_over(rows, &written))
}

const FROM_ARRAYS: &str = " SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::text[], \
     $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::bigint[], \
     $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::bigint[], \
     $18::bigint[], $19::bigint[], $20::text[], $21::text[], $22::bigint[], $23::text[], \
     $24::bytea[], $25::boolean[], $26::text[], $27::text[])";

async fn insert_attempts(
    connection: &mut PgConnection,
    rows: &[AttemptRow<'_>],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO attempts (delivery_id, generation, number, started_at_us, duration_us, url, \
         response_status, error_class, error, request_headers, request_bytes, response_headers, \
         response_body, is_response_truncated, worker, traceparent, status, remark, \
         next_attempt_at_us) \
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], \
         $5::bigint[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[], \
         $11::bigint[], $12::text[], $13::bytea[], $14::boolean[], $15::text[], $16::text[], \
         $17::text[], $18::text[], $19::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(column(rows, |row| row.delivery))
    .bind(column(rows, |row| row.generation))
    .bind(column(rows, |row| row.number))
    .bind(column(rows, |row| row.started_at_us))
    .bind(column(rows, |row| row.duration_us))
    .bind(column(rows, |row| row.url.as_ref()))
    .bind(column(rows, |row| row.response_status))
    .bind(column(rows, |row| row.error_class))
    .bind(column(rows, |row| row.error.as_deref()))
    .bind(column(rows, |row| row.request_headers.as_ref()))
    .bind(column(rows, |row| row.request_bytes))
    .bind(column(rows, |row| row.response_headers.as_ref()))
    .bind(column(rows, |row| row.response_body))
    .bind(column(rows, |row| row.is_response_truncated))
    .bind(column(rows, |row| row.worker.as_ref()))
    .bind(column(rows, |row| row.traceparent.as_deref()))
    .bind(column(rows, |row| row.status))
    .bind(column(rows, |row| row.remark.as_deref()))
    .bind(column(rows, |row| row.next_attempt_at_us))
    .execute(connection)
    .await?;
    Ok(())
}

/// One column of the rows, as an array of its own.
fn column<'a, Row, T: 'a>(rows: &'a [Row], value: impl Fn(&'a Row) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// A column of the first attempts, where the rows hold them.
fn of_first<'a, T: 'a>(
    rows: &'a [DeliveryRow<'_>],
    value: impl Fn(&'a AttemptRow<'_>) -> T,
) -> Vec<Option<T>> {
    let of_row = |row: &'a DeliveryRow<'_>| row.first.as_deref().map(&value);
    rows.iter().map(of_row).collect()
}
