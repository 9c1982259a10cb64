//! What waits, on `SQLite`, where one writer at a time makes locks needless.

mod claim;
mod line;
mod operate;

use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::{Allowance, Ended, WaitReason};
use domain::id::DeliveryId;
use domain::name::{FunctionName, ProjectName};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::{Mutex, watch};

use super::{File, batch, wait_for};
use crate::columns::{duration_micros, from_micros, micros, unsigned};
use crate::waiting_room::{
    BEHIND, BacklogLine, Claim, Claimed, IDLE_LANE, IsPaused, MADE_DUE_MAX, Owner, Shown, Taken,
    WaitingFilter, WaitingRow, newest, newest_allowances, read_reason,
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

    fn told(&self) {
        self.changed.send_replace(());
    }
}

/// Has a lane looked at from a time on: project, function, time.
async fn wake_lane(
    connection: &mut SqliteConnection,
    project: &str,
    function: &str,
    due_at: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO lanes AS lane (project, function_name, due_at_us) VALUES (?, ?, ?) \
         ON CONFLICT (project, function_name) DO UPDATE \
         SET due_at_us = min(COALESCE(lane.due_at_us, excluded.due_at_us), excluded.due_at_us)",
    )
    .bind(project)
    .bind(function)
    .bind(due_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// The same for each of many rows: project, function, since, free at.
async fn wake_lanes(
    connection: &mut SqliteConnection,
    rows: Vec<(String, String, i64, i64)>,
) -> Result<(), Error> {
    let mut lanes = std::collections::BTreeMap::new();
    for (project, function, since, free_at) in rows {
        if free_at < BEHIND {
            let due_at = lanes.entry((project, function)).or_insert(i64::MAX);
            *due_at = free_at.max(since).min(*due_at);
        }
    }
    for ((project, function), due_at) in lanes {
        wake_lane(connection, &project, &function, due_at).await?;
    }
    Ok(())
}

#[async_trait]
impl WaitingRoom for Room {
    async fn put(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        let rows = newest(rows);
        if rows.is_empty() {
            return Ok(());
        }
        let mut transaction = self.file.begin().await?;
        let mut stored = Vec::new();
        for rows in batch::runs(&rows) {
            let insert = batch::values(INSERT, 11, rows.len());
            let mut query = sqlx::query_as(AssertSqlSafe(insert + REPLACE));
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
            stored.extend(query.fetch_all(&mut *transaction).await?);
        }
        wake_lanes(&mut transaction, stored).await?;
        transaction.commit().await?;
        self.told();
        Ok(())
    }

    async fn line_up(&self, rows: &[WaitingRow]) -> Result<(), Error> {
        line::line_up(&self.file, rows).await?;
        self.told();
        Ok(())
    }

    async fn allow(&self, allowances: &[Allowance]) -> Result<(), Error> {
        let allowances = newest_allowances(allowances);
        if allowances.is_empty() {
            return Ok(());
        }
        let mut transaction = self.file.begin().await?;
        for allowance in allowances {
            sqlx::query(ALLOW)
                .bind(allowance.project.as_str())
                .bind(allowance.function.to_string())
                .bind(allowance.per_second)
                .bind(allowance.burst)
                .bind(allowance.closed_until.map(micros))
                .bind(micros(allowance.at))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.told();
        Ok(())
    }

    async fn end(&self, ended: &[Ended]) -> Result<(), Error> {
        if !ended.is_empty() {
            line::end(&self.file, ended).await?;
            self.told();
        }
        Ok(())
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
            "UPDATE waiting_room SET free_at_us = -$3 WHERE delivery_id IN ( \
             SELECT delivery_id FROM waiting_room WHERE project = $1 AND {column} = $2 {and} \
             AND free_at_us >= 0 AND free_at_us IN (due_at_us, {BEHIND}) \
             ORDER BY free_at_us LIMIT $4) RETURNING project, function_name, $3, $3"
        );
        let mut total = 0;
        loop {
            let mut transaction = self.file.begin().await?;
            let made_due: Vec<(String, String, i64, i64)> =
                sqlx::query_as(AssertSqlSafe(statement.as_str()))
                    .bind(project.as_str())
                    .bind(owner.name())
                    .bind(micros(now))
                    .bind(MADE_DUE_MAX)
                    .fetch_all(&mut *transaction)
                    .await?;
            let rows = u64::try_from(made_due.len()).unwrap_or(u64::MAX);
            wake_lanes(&mut transaction, made_due).await?;
            transaction.commit().await?;
            if rows > 0 {
                self.told();
            }
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
        claim::claim_due(&self.file, now, claim_for, limit, is_paused).await
    }

    async fn remove(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
        line::remove(&self.file, rows, claim).await?;
        self.told_of_lines(rows);
        Ok(())
    }

    async fn put_back(&self, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
        line::put_back(&self.file, rows, claim).await?;
        self.told();
        Ok(())
    }

    async fn hold(&self, rows: &[WaitingRow], claim: Claim, until: Timestamp) -> Result<(), Error> {
        let mut transaction = self.file.begin().await?;
        for row in rows {
            // The lane is looked at when the claim would have run out, and finds this time.
            sqlx::query(
                "UPDATE waiting_room SET free_at_us = ? WHERE delivery_id = ? AND free_at_us = ?",
            )
            .bind(micros(until))
            .bind(row.delivery.uuid())
            .bind(claim.0)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn set_aside(&self, rows: &[(DeliveryId, String)], claim: Claim) -> Result<(), Error> {
        line::set_aside(&self.file, rows, claim).await?;
        self.told();
        Ok(())
    }

    async fn behind(&self, rows: &[WaitingRow]) -> Result<Vec<WaitingRow>, Error> {
        line::behind(&self.file, rows).await
    }

    async fn wake(
        &self,
        project: &ProjectName,
        function: Option<&FunctionName>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.file.begin().await?;
        sqlx::query(
            "UPDATE lanes SET due_at_us = $3 WHERE project = $1 \
             AND ($2 IS NULL OR function_name = $2) AND due_at_us > $3",
        )
        .bind(project.as_str())
        .bind(function.map(ToString::to_string))
        .bind(micros(now))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.told();
        Ok(())
    }

    async fn mend(&self, now: Timestamp) -> Result<(), Error> {
        let mut transaction = self.file.begin().await?;
        let found: Vec<(String, String, i64, i64)> = sqlx::query_as(FIND_LANES)
            .fetch_all(&mut *transaction)
            .await?;
        wake_lanes(&mut transaction, found).await?;
        sqlx::query(
            "DELETE FROM lanes WHERE due_at_us IS NULL AND COALESCE(allowance_at_us, 0) < ?",
        )
        .bind(micros(now).saturating_sub(duration_micros(IDLE_LANE)))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn next_due_at(&self) -> Result<Option<Timestamp>, Error> {
        let due_at: Option<i64> = sqlx::query_scalar("SELECT min(due_at_us) FROM lanes")
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

    async fn list(
        &self,
        project: &ProjectName,
        filter: &WaitingFilter,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Shown>, Error> {
        operate::list(&self.file, project, filter, after, limit).await
    }

    async fn backlog(&self, project: &ProjectName) -> Result<Vec<BacklogLine>, Error> {
        operate::backlog(&self.file, project).await
    }

    async fn reschedule(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        due_at: Timestamp,
    ) -> Result<Taken<WaitingRow>, Error> {
        let taken = operate::reschedule(&self.file, project, delivery, due_at).await;
        self.told();
        taken
    }

    async fn claim(
        &self,
        project: &ProjectName,
        delivery: DeliveryId,
        now: Timestamp,
        claim_for: Duration,
    ) -> Result<Taken<(WaitingRow, Claim)>, Error> {
        operate::claim(&self.file, project, delivery, now, claim_for).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.file.ping().await
    }
}

impl Room {
    /// What leaves a line lets the next one go.
    fn told_of_lines(&self, rows: &[WaitingRow]) {
        if rows.iter().any(|row| row.order_key.is_some()) {
            self.told();
        }
    }
}

const INSERT: &str = "INSERT INTO waiting_room AS held (delivery_id, project, trigger_name, \
     function_name, generation, next_attempt, reason, since_us, due_at_us, free_at_us, payload)";

const REPLACE: &str = " ON CONFLICT (delivery_id) DO UPDATE SET \
     generation = excluded.generation, next_attempt = excluded.next_attempt, \
     reason = excluded.reason, since_us = excluded.since_us, due_at_us = excluded.due_at_us, \
     free_at_us = CASE held.free_at_us WHEN 9223372036854775806 THEN held.free_at_us \
     ELSE excluded.free_at_us END, fault = NULL, payload = excluded.payload \
     WHERE (held.generation, held.next_attempt) < (excluded.generation, excluded.next_attempt) \
     OR ((held.generation, held.next_attempt) = (excluded.generation, excluded.next_attempt) \
     AND (held.since_us <> excluded.since_us OR held.reason <> excluded.reason)) \
     RETURNING project, function_name, since_us, free_at_us";

/// What went before a rate was known was not counted, so it begins with one.
const ALLOW: &str = "INSERT INTO lanes AS lane (project, function_name, per_second, burst, \
     tokens, tokens_at_us, closed_until_us, allowance_at_us) \
     VALUES ($1, $2, $3, $4, 1, $6, $5, $6) \
     ON CONFLICT (project, function_name) DO UPDATE SET \
     per_second = excluded.per_second, burst = excluded.burst, \
     closed_until_us = excluded.closed_until_us, allowance_at_us = excluded.allowance_at_us, \
     tokens = CASE WHEN lane.per_second IS NULL THEN 1 ELSE min(lane.burst, lane.tokens \
     + lane.per_second * max(0, excluded.tokens_at_us - lane.tokens_at_us) / 1e6) END, \
     tokens_at_us = max(lane.tokens_at_us, excluded.tokens_at_us), \
     due_at_us = min(lane.due_at_us, excluded.allowance_at_us) \
     WHERE lane.allowance_at_us IS NULL OR lane.allowance_at_us < excluded.allowance_at_us";

/// One index probe for each lane. A lane that has a time keeps it if it is earlier.
const FIND_LANES: &str = "WITH RECURSIVE found (project, function_name) AS ( \
     SELECT * FROM (SELECT project, function_name FROM waiting_room \
     ORDER BY project, function_name LIMIT 1) \
     UNION ALL SELECT held.project, held.function_name FROM found JOIN waiting_room AS held \
     ON held.rowid = (SELECT rowid FROM waiting_room AS next \
     WHERE (next.project, next.function_name) > (found.project, found.function_name) \
     ORDER BY next.project, next.function_name LIMIT 1)) \
     SELECT found.project, found.function_name, 0, max(0, (SELECT min(free_at_us) \
     FROM waiting_room AS held WHERE held.project = found.project \
     AND held.function_name = found.function_name)) FROM found";
