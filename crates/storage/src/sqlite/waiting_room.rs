//! What waits, on `SQLite`.

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::WaitReason;
use domain::name::ProjectName;
use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use tokio::sync::{Mutex, watch};

use super::{File, batch, wait_for};
use crate::columns::{from_micros, micros, unsigned};
use crate::waiting_room::{
    MADE_DUE_MAX, Owner, StoredRow, WaitingRow, claim_end, newest, read_reason, read_row,
};
use crate::{Error, WaitingRoom};

#[derive(Debug)]
pub(super) struct Room {
    file: File,
    changed: watch::Sender<()>,
    seen: Mutex<watch::Receiver<()>>,
}

impl Room {
    /// `changed` is told of every row that is put or made due, by every room of this file.
    pub(super) fn new(file: File, changed: watch::Sender<()>) -> Self {
        let seen = Mutex::new(changed.subscribe());
        Self {
            file,
            changed,
            seen,
        }
    }

    /// Does `what` (a statement without its condition) to these rows, unless a newer attempt has
    /// replaced them.
    async fn do_to(&self, what: &str, rows: &[WaitingRow]) -> Result<(), Error> {
        let rows = newest(rows);
        let mut transaction = self.file.begin().await?;
        for rows in batch::runs(&rows) {
            let meant = batch::values("", 3, rows.len());
            let mut query = sqlx::query(AssertSqlSafe(format!(
                "{what} WHERE rowid IN ( \
                 SELECT held.rowid FROM ({meant}) AS meant \
                 CROSS JOIN waiting_room AS held ON held.delivery_id = meant.column1 \
                 WHERE (held.generation, held.next_attempt) <= (meant.column2, meant.column3))"
            )));
            for row in rows {
                query = query
                    .bind(row.delivery.uuid())
                    .bind(row.generation)
                    .bind(row.next_attempt);
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl WaitingRoom for Room {
    async fn put(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        let rows = newest(rows);
        let mut transaction = self.file.begin().await?;
        for rows in batch::runs(&rows) {
            let insert = batch::values(INSERT, 11, rows.len());
            let mut query = sqlx::query(AssertSqlSafe(insert + KEEP_NEWEST));
            for row in rows {
                query = query
                    .bind(row.delivery.uuid())
                    .bind(row.project.as_str())
                    .bind(row.trigger.as_str())
                    .bind(row.function.to_string())
                    .bind(row.generation)
                    .bind(row.next_attempt)
                    .bind(row.reason.as_str())
                    .bind(micros(row.since))
                    .bind(micros(row.due_at))
                    .bind(micros(row.due_at))
                    .bind(&*row.payload);
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.changed.send_replace(());
        Ok(())
    }

    async fn make_due(
        &self,
        project: &ProjectName,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<u64, Error> {
        // `free_at_us` differs from `due_at_us` where somebody holds the row.
        let statement = format!(
            "UPDATE waiting_room SET free_at_us = $3 WHERE delivery_id IN ( \
             SELECT delivery_id FROM waiting_room WHERE project = $1 AND {column} = $2 \
             AND free_at_us > $3 AND free_at_us = due_at_us ORDER BY free_at_us LIMIT $4)",
            column = owner.column()
        );
        let mut total = 0;
        loop {
            let mut transaction = self.file.begin().await?;
            let done = sqlx::query(AssertSqlSafe(statement.as_str()))
                .bind(project.as_str())
                .bind(owner.name())
                .bind(micros(now))
                .bind(MADE_DUE_MAX)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            let rows = done.rows_affected();
            if rows > 0 {
                self.changed.send_replace(());
            }
            total += rows;
            if rows < u64::from(MADE_DUE_MAX) {
                return Ok(total);
            }
        }
    }

    async fn put_back(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        self.do_to("UPDATE waiting_room SET free_at_us = due_at_us", rows)
            .await
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        claim_for: Duration,
        limit: u32,
    ) -> Result<Vec<WaitingRow>, Error> {
        let mut transaction = self.file.begin().await?;
        let rows: Vec<StoredRow> = sqlx::query_as(
            "UPDATE waiting_room SET free_at_us = $2 WHERE delivery_id IN ( \
             SELECT delivery_id FROM waiting_room WHERE free_at_us <= $1 \
             ORDER BY free_at_us LIMIT $3) \
             RETURNING delivery_id, project, trigger_name, function_name, generation, \
             next_attempt, reason, since_us, due_at_us, payload",
        )
        .bind(micros(now))
        .bind(claim_end(now, claim_for))
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let mut rows: Vec<_> = rows.into_iter().map(read_row).collect::<Result<_, _>>()?;
        rows.sort_by_key(|row| row.due_at);
        Ok(rows)
    }

    async fn remove(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        self.do_to("DELETE FROM waiting_room", rows).await
    }

    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error> {
        let due_at: Option<i64> = sqlx::query_scalar("SELECT min(free_at_us) FROM waiting_room")
            .fetch_one(&self.file.readers)
            .await?;
        due_at.map(from_micros).transpose()
    }

    async fn changed(&self, poll: Duration) {
        wait_for(&self.seen, poll).await;
    }

    async fn counts(&self) -> Result<Vec<(WaitReason, u64)>, Error> {
        let counts: Vec<(String, i64)> =
            sqlx::query_as("SELECT reason, count(*) FROM waiting_room GROUP BY reason")
                .fetch_all(&self.file.readers)
                .await?;
        counts
            .iter()
            .map(|(reason, count)| Ok((read_reason(reason)?, unsigned(*count))))
            .collect()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.file.ping().await
    }
}

const INSERT: &str = "INSERT INTO waiting_room AS held (delivery_id, project, trigger_name, \
     function_name, generation, next_attempt, reason, since_us, due_at_us, free_at_us, payload)";

const KEEP_NEWEST: &str = " ON CONFLICT (delivery_id) DO UPDATE SET \
     generation = excluded.generation, next_attempt = excluded.next_attempt, \
     reason = excluded.reason, since_us = excluded.since_us, due_at_us = excluded.due_at_us, \
     free_at_us = excluded.free_at_us, payload = excluded.payload \
     WHERE (held.generation, held.next_attempt) < (excluded.generation, excluded.next_attempt)";
