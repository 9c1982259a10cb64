//! What happened, on `SQLite`; a day is dropped in small steps.

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
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use uuid::Uuid;

use super::{File, batch};
use crate::columns::{count, from_duration_micros, from_micros, micros, parse, unsigned};
use crate::log_store::days::{Day, day_of};
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

/// Rows deleted at a time, so that those who record never wait long.
const ROWS_DELETED_MAX: i64 = 2000;

#[derive(Debug)]
pub(super) struct Logs {
    file: File,
}

impl Logs {
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    async fn insert(&self, records: &[&Record]) -> Result<(), Error> {
        let Tables {
            events,
            deliveries,
            mut attempts,
            owed,
        } = Rows::of(records)?.into_tables();
        let mut transaction = self.file.begin().await?;
        insert_events(&mut transaction, &events).await?;
        let left = insert_deliveries(&mut transaction, &deliveries).await?;
        attempts.extend(unknown(&mut transaction, left).await?);
        insert_attempts(&mut transaction, &attempts).await?;
        for (project, owed) in &owed {
            insert_owed(&mut transaction, project, owed).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl LogStore for Logs {
    async fn record(&self, records: &[Record]) -> Result<(), Error> {
        let all: Vec<&Record> = records.iter().collect();
        match self.insert(&all).await {
            Err(Error::Refused(_) | Error::Corrupt { .. }) => {}
            other => return other,
        }
        // One by one, so that one record that is refused does not hold up the others.
        for record in all {
            match self.insert(&[record]).await {
                Err(error @ (Error::Refused(_) | Error::Corrupt { .. })) => {
                    let cause = std::error::Error::source(&error);
                    tracing::error!(%error, ?cause, project = %record.project(), day = %day_of(record), "record left out of the log: the database refuses it");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn make_owed(&self, told_before: Timestamp) -> Result<bool, Error> {
        let mut transaction = self.file.begin().await?;
        let told: Option<(String, Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "DELETE FROM owed WHERE owed_id = (SELECT owed_id FROM owed WHERE told_at_us < $1 \
             ORDER BY owed_id LIMIT 1) RETURNING project, eids, deliveries",
        )
        .bind(micros(told_before))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((project, eids, deliveries)) = told else {
            return Ok(false);
        };
        let told: Vec<(Uuid, Uuid)> = ids(&eids).zip(ids(&deliveries)).collect();
        let mut events = BTreeSet::new();
        for run in batch::runs(&told) {
            let told = batch::values("WITH told (eid, delivery_id) AS (", 2, run.len());
            let question = told
                + ") SELECT eid FROM told WHERE NOT EXISTS (SELECT 1 FROM deliveries AS known \
                   WHERE known.project = ? AND known.delivery_id = told.delivery_id)";
            let mut query = sqlx::query_scalar(AssertSqlSafe(question));
            for (event, delivery) in run {
                query = query.bind(*event).bind(*delivery);
            }
            let missing: Vec<Uuid> = query.bind(&project).fetch_all(&mut *transaction).await?;
            events.extend(missing);
        }
        let events: Vec<Uuid> = events.into_iter().collect();
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
        list(&self.file.readers, project, filter, before, limit).await
    }

    async fn lines(
        &self,
        project: &ProjectName,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<DeliveryLine>, Error> {
        lines(&self.file.readers, project, deliveries).await
    }

    async fn event(
        &self,
        project: &ProjectName,
        event: &EventReference,
    ) -> Result<Option<EventHistory>, Error> {
        history(&self.file.readers, project, event).await
    }

    /// There is nothing to be made ahead; the answer names what partitions would be called.
    async fn keep_partitions(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<String>, Error> {
        let end = domain::id::first_id_at(Day::oldest_kept(now, retention).start());
        let mut dropped = BTreeSet::new();
        for (table, column) in [
            ("attempts", "delivery_id"),
            ("deliveries", "delivery_id"),
            ("events", "eid"),
        ] {
            let statement = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} \
                 WHERE {column} < $1 LIMIT $2) RETURNING {column}"
            );
            loop {
                let mut transaction = self.file.begin().await?;
                let gone: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(statement.clone()))
                    .bind(end)
                    .bind(ROWS_DELETED_MAX)
                    .fetch_all(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                if gone.is_empty() {
                    break;
                }
                let days = gone
                    .into_iter()
                    .map(|id| Day::of(EventId::from_uuid(id).accepted_at()));
                dropped.extend(days.map(|day| format!("{table}_{day}")));
            }
        }
        Ok(dropped.into_iter().collect())
    }

    async fn ping(&self) -> Result<(), Error> {
        self.file.ping().await
    }
}

implement_log_reading!(sqlx::Sqlite, SqliteRow);

const INSERT_EVENTS: &str = "INSERT INTO events (project, eid, client_id, source, event_type, \
     subject, time_us, accepted_at_us, data_content_type, data, attributes, owed)";

async fn insert_events(
    connection: &mut SqliteConnection,
    rows: &[EventRow<'_>],
) -> Result<(), Error> {
    for rows in batch::runs(rows) {
        let insert = batch::values(INSERT_EVENTS, 12, rows.len()) + " ON CONFLICT DO NOTHING";
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for row in rows {
            query = query
                .bind(row.project)
                .bind(row.eid)
                .bind(row.client_id.as_deref())
                .bind(row.source.as_ref())
                .bind(row.event_type)
                .bind(row.subject.as_deref())
                .bind(row.time_us)
                .bind(row.accepted_at_us)
                .bind(row.data_content_type.as_deref())
                .bind(row.data)
                .bind(row.attributes.as_deref())
                .bind(row.owed.as_deref());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_owed(
    connection: &mut SqliteConnection,
    project: &str,
    owed: &[Owing],
) -> Result<(), Error> {
    let bytes = |id: fn(&Owing) -> &Uuid| -> Vec<u8> {
        let ids = owed.iter().map(|one| id(one).as_bytes());
        ids.flatten().copied().collect()
    };
    sqlx::query("INSERT INTO owed (told_at_us, project, eids, deliveries) VALUES (?, ?, ?, ?)")
        .bind(micros(Timestamp::now()))
        .bind(project)
        .bind(bytes(|one| &one.eid))
        .bind(bytes(|one| &one.delivery))
        .execute(connection)
        .await?;
    Ok(())
}

/// Ids that stand one behind the other.
fn ids(bytes: &[u8]) -> impl Iterator<Item = Uuid> {
    let ids = bytes.chunks_exact(16);
    ids.filter_map(|id| Uuid::from_slice(id).ok())
}

/// Answers with the first attempts that found their delivery's row further than themselves: they
/// are kept as the other attempts are.
async fn insert_deliveries<'a>(
    connection: &mut SqliteConnection,
    rows: &[DeliveryRow<'a>],
) -> Result<Vec<OfProject<'a>>, Error> {
    let mut left = Vec::new();
    for rows in batch::runs(rows) {
        let insert = batch::values(INSERT_DELIVERIES, 27, rows.len()) + KEEP_FURTHEST;
        let mut query = sqlx::query_scalar(AssertSqlSafe(insert));
        for row in rows {
            let first = row.first.as_deref();
            query = query
                .bind(row.project)
                .bind(row.delivery)
                .bind(row.eid)
                .bind(row.trigger)
                .bind(row.function.as_str())
                .bind(row.generation)
                .bind(row.step)
                .bind(row.last.attempts)
                .bind(row.status.as_str())
                .bind(row.remark.as_deref())
                .bind(row.next_attempt_at_us)
                .bind(row.last.at_us)
                .bind(row.last.duration_us)
                .bind(row.last.response_status)
                .bind(row.last.error_class)
                .bind(row.last.error.as_deref())
                .bind(first.map(|first| first.started_at_us))
                .bind(first.map(|first| first.duration_us))
                .bind(first.and_then(|first| first.response_status))
                .bind(first.map(|first| first.url.as_ref()))
                .bind(first.map(|first| first.request_headers.as_ref()))
                .bind(first.map(|first| first.request_bytes))
                .bind(first.map(|first| first.response_headers.as_ref()))
                .bind(first.map(|first| first.response_body))
                .bind(first.map(|first| first.is_response_truncated))
                .bind(first.map(|first| first.worker.as_ref()))
                .bind(first.and_then(|first| first.traceparent.as_deref()));
        }
        let written: Vec<Uuid> = query.fetch_all(&mut *connection).await?;
        left.extend(left_over(rows, &written));
    }
    Ok(left)
}

const INSERT_ATTEMPTS: &str = "INSERT INTO attempts (delivery_id, generation, number, \
     started_at_us, duration_us, url, response_status, error_class, error, request_headers, \
     request_bytes, response_headers, response_body, is_response_truncated, worker, traceparent, \
     status, remark, next_attempt_at_us)";

async fn insert_attempts(
    connection: &mut SqliteConnection,
    rows: &[AttemptRow<'_>],
) -> Result<(), Error> {
    for rows in batch::runs(rows) {
        let insert = batch::values(INSERT_ATTEMPTS, 19, rows.len()) + " ON CONFLICT DO NOTHING";
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for row in rows {
            query = query
                .bind(row.delivery)
                .bind(row.generation)
                .bind(row.number)
                .bind(row.started_at_us)
                .bind(row.duration_us)
                .bind(row.url.as_ref())
                .bind(row.response_status)
                .bind(row.error_class)
                .bind(row.error.as_deref())
                .bind(row.request_headers.as_ref())
                .bind(row.request_bytes)
                .bind(row.response_headers.as_ref())
                .bind(row.response_body)
                .bind(row.is_response_truncated)
                .bind(row.worker.as_ref())
                .bind(row.traceparent.as_deref())
                .bind(row.status)
                .bind(row.remark.as_deref())
                .bind(row.next_attempt_at_us);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
