//! What waits, on `PostgreSQL`.

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::WaitReason;
use domain::name::ProjectName;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::wake::Wake;
use super::{Postgres, ping};
use crate::columns::{from_micros, micros, unsigned};
use crate::waiting_room::{
    MADE_DUE_MAX, Owner, StoredRow, WaitingRow, claim_end, newest, read_reason, read_row,
};
use crate::{Error, WaitingRoom};

const CHANNEL: &str = "tripline_waiting";

#[derive(Debug)]
pub(super) struct Room {
    pool: PgPool,
    wake: Wake,
}

impl Room {
    pub(super) fn new(postgres: &Postgres) -> Self {
        let wake = Wake::new(postgres.listening.clone(), CHANNEL);
        Self {
            pool: postgres.pool.clone(),
            wake,
        }
    }
}

#[async_trait]
impl WaitingRoom for Room {
    async fn put(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        let rows = newest(rows);
        if rows.is_empty() {
            return Ok(());
        }
        let column = |text: fn(&WaitingRow) -> String| -> Vec<String> {
            rows.iter().map(|row| text(row)).collect()
        };
        let number = |number: fn(&WaitingRow) -> i64| -> Vec<i64> {
            rows.iter().map(|row| number(row)).collect()
        };
        let ids: Vec<_> = rows.iter().map(|row| row.delivery.uuid()).collect();
        let payloads: Vec<&[u8]> = rows.iter().map(|row| &*row.payload).collect();
        sqlx::query(include_str!("../queries/postgres/put_waiting.sql"))
            .bind(ids)
            .bind(column(|row| row.project.to_string()))
            .bind(column(|row| row.trigger.to_string()))
            .bind(column(|row| row.function.to_string()))
            .bind(number(|row| i64::from(row.generation)))
            .bind(number(|row| i64::from(row.next_attempt)))
            .bind(column(|row| row.reason.as_str().to_owned()))
            .bind(number(|row| micros(row.since)))
            .bind(number(|row| micros(row.due_at)))
            .bind(payloads)
            .bind(CHANNEL)
            .execute(&self.pool)
            .await?;
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
            "WITH made_due AS (UPDATE waiting_room SET free_at_us = $3 \
             WHERE delivery_id = ANY(ARRAY( \
             SELECT delivery_id FROM waiting_room WHERE project = $1 AND {column} = $2 \
             AND free_at_us > $3 AND free_at_us = due_at_us \
             ORDER BY free_at_us LIMIT $4 FOR UPDATE SKIP LOCKED)) RETURNING 1) \
             SELECT rows, pg_notify($5, '') FROM (SELECT count(*) AS rows FROM made_due) AS counted \
             WHERE rows > 0",
            column = owner.column()
        );
        let mut total = 0;
        loop {
            let rows: Option<i64> = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
                .bind(project.as_str())
                .bind(owner.name())
                .bind(micros(now))
                .bind(i64::from(MADE_DUE_MAX))
                .bind(CHANNEL)
                .fetch_optional(&self.pool)
                .await?;
            let rows = unsigned(rows.unwrap_or(0));
            total += rows;
            if rows < u64::from(MADE_DUE_MAX) {
                return Ok(total);
            }
        }
    }

    async fn put_back(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        let (ids, generations, attempts) = versions(rows);
        sqlx::query(
            "UPDATE waiting_room SET free_at_us = due_at_us \
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) \
             AS early (delivery_id, generation, next_attempt) \
             WHERE waiting_room.delivery_id = early.delivery_id \
             AND (waiting_room.generation, waiting_room.next_attempt) \
             = (early.generation, early.next_attempt)",
        )
        .bind(ids)
        .bind(generations)
        .bind(attempts)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        claim_for: Duration,
        limit: u32,
    ) -> Result<Vec<WaitingRow>, Error> {
        let rows: Vec<StoredRow> = sqlx::query_as(
            "UPDATE waiting_room SET free_at_us = $2 WHERE delivery_id = ANY(ARRAY( \
             SELECT delivery_id FROM waiting_room WHERE free_at_us <= $1 \
             ORDER BY free_at_us LIMIT $3 FOR UPDATE SKIP LOCKED)) \
             RETURNING delivery_id, project, trigger_name, function_name, generation, \
             next_attempt, reason, since_us, due_at_us, payload",
        )
        .bind(micros(now))
        .bind(claim_end(now, claim_for))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let mut rows: Vec<_> = rows.into_iter().map(read_row).collect::<Result<_, _>>()?;
        rows.sort_by_key(|row| row.due_at);
        Ok(rows)
    }

    async fn remove(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        let (ids, generations, attempts) = versions(rows);
        sqlx::query(
            "DELETE FROM waiting_room USING UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) \
             AS gone (delivery_id, generation, next_attempt) \
             WHERE waiting_room.delivery_id = gone.delivery_id \
             AND (waiting_room.generation, waiting_room.next_attempt) \
             <= (gone.generation, gone.next_attempt)",
        )
        .bind(ids)
        .bind(generations)
        .bind(attempts)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error> {
        let due_at: Option<i64> = sqlx::query_scalar("SELECT min(free_at_us) FROM waiting_room")
            .fetch_one(&self.pool)
            .await?;
        due_at.map(from_micros).transpose()
    }

    async fn changed(&self, poll: Duration) {
        self.wake.wait(poll).await;
    }

    async fn counts(&self) -> Result<Vec<(WaitReason, u64)>, Error> {
        let counts: Vec<(String, i64)> =
            sqlx::query_as("SELECT reason, count(*) FROM waiting_room GROUP BY reason")
                .fetch_all(&self.pool)
                .await?;
        counts
            .iter()
            .map(|(reason, count)| Ok((read_reason(reason)?, unsigned(*count))))
            .collect()
    }

    async fn ping(&self) -> Result<(), Error> {
        ping(&self.pool).await
    }
}

/// The columns that say which attempts these are: ids, generations, numbers.
fn versions(rows: &[WaitingRow]) -> (Vec<Uuid>, Vec<i64>, Vec<i64>) {
    let rows = newest(rows);
    let ids = rows.iter().map(|row| row.delivery.uuid()).collect();
    let generations = rows.iter().map(|row| i64::from(row.generation)).collect();
    let attempts = rows.iter().map(|row| i64::from(row.next_attempt)).collect();
    (ids, generations, attempts)
}
