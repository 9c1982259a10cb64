//! What waits, on `PostgreSQL`.

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::WaitReason;
use jiff::Timestamp;
use sqlx::PgPool;

use super::wake::Wake;
use super::{Postgres, ping};
use crate::columns::{from_micros, micros, unsigned};
use crate::waiting_room::{StoredRow, WaitingRow, claim_end, newest, read_reason, read_row};
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
        let rows = newest(rows);
        let ids: Vec<_> = rows.iter().map(|row| row.delivery.uuid()).collect();
        let generations: Vec<_> = rows.iter().map(|row| i64::from(row.generation)).collect();
        let attempts: Vec<_> = rows.iter().map(|row| i64::from(row.next_attempt)).collect();
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
