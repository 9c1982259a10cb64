//! What waits, on `PostgreSQL`.

mod claim;
mod line;
mod operate;

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::{Allowance, Ended, WaitReason};
use domain::id::DeliveryId;
use domain::name::{FunctionName, ProjectName};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::wake::Wake;
use super::{Postgres, ping};
use crate::columns::{duration_micros, from_micros, micros, unsigned};
use crate::waiting_room::{
    BEHIND, BacklogLine, Claim, Claimed, IDLE_LANE, IsPaused, LOOK_INTERVAL, MADE_DUE_MAX, Owner,
    Shown, Taken, WaitingFilter, WaitingRow, newest, newest_allowances, read_reason,
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
        let columns = Columns::of(&rows);
        let looked_at = micros(Timestamp::now()).saturating_add(duration_micros(LOOK_INTERVAL));
        columns
            .bind(include_str!("../queries/postgres/put_waiting.sql"))
            .bind(CHANNEL)
            .bind(looked_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn line_up(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        line::line_up(&self.pool, rows).await
    }

    async fn allow(&self, allowances: &[Allowance]) -> Result<(), Error> {
        let allowances = newest_allowances(allowances);
        if allowances.is_empty() {
            return Ok(());
        }
        let text = |text: fn(&Allowance) -> String| -> Vec<String> {
            allowances.iter().map(|each| text(each)).collect()
        };
        let number = |number: fn(&Allowance) -> Option<i64>| -> Vec<Option<i64>> {
            allowances.iter().map(|each| number(each)).collect()
        };
        let per_second: Vec<_> = allowances.iter().map(|each| each.per_second).collect();
        sqlx::query(include_str!("../queries/postgres/allow_waiting.sql"))
            .bind(text(|each| each.project.to_string()))
            .bind(text(|each| each.function.to_string()))
            .bind(per_second)
            .bind(number(|each| Some(i64::from(each.burst))))
            .bind(number(|each| each.closed_until.map(micros)))
            .bind(number(|each| Some(micros(each.at))))
            .bind(CHANNEL)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn end(&self, ended: &[Ended]) -> Result<(), Error> {
        line::end(&self.pool, ended).await
    }

    async fn make_due(
        &self,
        project: &ProjectName,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<u64, Error> {
        // `free_at_us` differs from `due_at_us` where somebody holds the row.
        let (column, and) = owner.condition();
        let statement = format!(
            "WITH made_due AS (UPDATE waiting_room SET free_at_us = -$3 \
             WHERE delivery_id = ANY(ARRAY( \
             SELECT delivery_id FROM waiting_room WHERE project = $1 AND {column} = $2 {and} \
             AND free_at_us >= 0 AND free_at_us IN (due_at_us, {BEHIND}) \
             ORDER BY free_at_us LIMIT $4 FOR UPDATE SKIP LOCKED)) \
             RETURNING project, function_name), \
             woken AS (INSERT INTO lanes AS lane (project, function_name, due_at_us) \
             SELECT DISTINCT project, function_name, $3 FROM made_due \
             ORDER BY project, function_name \
             ON CONFLICT (project, function_name) DO UPDATE \
             SET due_at_us = LEAST(lane.due_at_us, EXCLUDED.due_at_us)) \
             SELECT rows, pg_notify($5, '') FROM (SELECT count(*) AS rows FROM made_due) AS counted \
             WHERE rows > 0"
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

    async fn claim_due(
        &self,
        now: Timestamp,
        claim_for: Duration,
        limit: u32,
        is_paused: &IsPaused,
    ) -> Result<Claimed, Error> {
        claim::claim_due(&self.pool, now, claim_for, limit, is_paused).await
    }

    async fn remove(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
        line::remove(&self.pool, rows, claim).await
    }

    async fn put_back(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
        line::put_back(&self.pool, rows, claim).await
    }

    async fn hold(&self, rows: &[WaitingRow], claim: Claim, until: Timestamp) -> Result<(), Error> {
        let ids: Vec<_> = newest(rows).iter().map(|row| row.delivery.uuid()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        // The lane is looked at when the claim would have run out, and finds this time.
        sqlx::query(
            "UPDATE waiting_room SET free_at_us = $3 \
             WHERE delivery_id = ANY($1) AND free_at_us = $2",
        )
        .bind(ids)
        .bind(claim.0)
        .bind(micros(until))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn set_aside(&self, rows: &[(DeliveryId, String)], claim: Claim) -> Result<(), Error> {
        line::set_aside(&self.pool, rows, claim).await
    }

    async fn behind(&self, rows: &[WaitingRow]) -> Result<Vec<WaitingRow>, Error> {
        line::behind(&self.pool, rows).await
    }

    async fn wake(
        &self,
        project: &ProjectName,
        function: Option<&FunctionName>,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "WITH woken AS (UPDATE lanes SET due_at_us = $3 \
             WHERE (project, function_name) IN (SELECT project, function_name FROM lanes \
             WHERE project = $1 AND ($2::text IS NULL OR function_name = $2) AND due_at_us > $3 \
             ORDER BY project, function_name FOR UPDATE) RETURNING 1) \
             SELECT pg_notify($4, '') WHERE EXISTS (SELECT 1 FROM woken)",
        )
        .bind(project.as_str())
        .bind(function.map(ToString::to_string))
        .bind(micros(now))
        .bind(CHANNEL)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn mend(&self, now: Timestamp) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/postgres/mend_lanes.sql"))
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "DELETE FROM lanes WHERE due_at_us IS NULL \
             AND COALESCE(allowance_at_us, 0) < $1",
        )
        .bind(micros(now).saturating_sub(duration_micros(IDLE_LANE)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error> {
        let due_at: Option<i64> = sqlx::query_scalar("SELECT min(due_at_us) FROM lanes")
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

    async fn list(
        &self,
        project: &ProjectName,
        filter: &WaitingFilter,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Shown>, Error> {
        operate::list(&self.pool, project, filter, after, limit).await
    }

    async fn backlog(&self, project: &ProjectName) -> Result<Vec<BacklogLine>, Error> {
        operate::backlog(&self.pool, project).await
    }

    async fn reschedule(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        due_at: Timestamp,
    ) -> Result<Taken<WaitingRow>, Error> {
        operate::reschedule(&self.pool, project, delivery, due_at).await
    }

    async fn claim(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        now: Timestamp,
        claim_for: Duration,
    ) -> Result<Taken<(WaitingRow, Claim)>, Error> {
        operate::claim(&self.pool, project, delivery, now, claim_for).await
    }

    async fn ping(&self) -> Result<(), Error> {
        ping(&self.pool).await
    }
}

/// Rows, column by column.
struct Columns<'a> {
    ids: Vec<Uuid>,
    projects: Vec<&'a str>,
    triggers: Vec<&'a str>,
    functions: Vec<String>,
    generations: Vec<i64>,
    attempts: Vec<i64>,
    reasons: Vec<&'static str>,
    since: Vec<i64>,
    due_at: Vec<i64>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[&'a WaitingRow]) -> Self {
        Self {
            ids: rows.iter().map(|row| row.delivery.uuid()).collect(),
            projects: rows.iter().map(|row| row.project.as_str()).collect(),
            triggers: rows.iter().map(|row| row.trigger.as_str()).collect(),
            functions: rows.iter().map(|row| row.function.to_string()).collect(),
            generations: rows.iter().map(|row| i64::from(row.generation)).collect(),
            attempts: rows.iter().map(|row| i64::from(row.next_attempt)).collect(),
            reasons: rows.iter().map(|row| row.reason.as_str()).collect(),
            since: rows.iter().map(|row| micros(row.since)).collect(),
            due_at: rows.iter().map(|row| micros(row.due_at)).collect(),
            payloads: rows.iter().map(|row| &*row.payload).collect(),
        }
    }

    /// As the first ten parameters.
    fn bind(self, statement: &'static str) -> Bound<'a> {
        sqlx::query(statement)
            .bind(self.ids)
            .bind(self.projects)
            .bind(self.triggers)
            .bind(self.functions)
            .bind(self.generations)
            .bind(self.attempts)
            .bind(self.reasons)
            .bind(self.since)
            .bind(self.due_at)
            .bind(self.payloads)
    }
}

type Bound<'a> = sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments>;
