//! What operators see and do of what waits.

use std::time::Duration;

use domain::id::DeliveryId;
use domain::name::ProjectName;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{CHANNEL, line};
use crate::Error;
use crate::columns::micros;
use crate::waiting_room::{
    BEHIND, BacklogLine, COLUMNS, Claim, SHOWN_COLUMNS, Shown, ShownRow, State, StoredBacklog,
    StoredRow, Taken, WaitingFilter, WaitingRow, claim_end, read_backlog, read_row, read_shown,
    state,
};

pub(super) async fn list(
    pool: &PgPool,
    project: &ProjectName,
    filter: &WaitingFilter,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Shown>, Error> {
    let statement = format!(
        "SELECT {SHOWN_COLUMNS}, free_at_us, fault FROM waiting_room \
         WHERE project = $1 AND ($2::text IS NULL OR function_name = $2) \
         AND ($3::text IS NULL OR trigger_name = $3) AND ($4::text IS NULL OR reason = $4) \
         AND ($5::uuid IS NULL OR delivery_id > $5) ORDER BY delivery_id LIMIT $6"
    );
    let rows: Vec<ShownRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(project.as_str())
        .bind(filter.function.as_ref().map(ToString::to_string))
        .bind(filter.trigger.as_ref().map(ToString::to_string))
        .bind(filter.reason.map(|reason| reason.as_str()))
        .bind(after.map(|delivery| delivery.uuid()))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(read_shown).collect()
}

pub(super) async fn backlog(
    pool: &PgPool,
    project: &ProjectName,
) -> Result<Vec<BacklogLine>, Error> {
    let rows: Vec<StoredBacklog> = sqlx::query_as(
        "SELECT function_name, reason, count(*), min(since_us), min(due_at_us) \
         FROM waiting_room WHERE project = $1 \
         GROUP BY function_name, reason ORDER BY function_name, reason",
    )
    .bind(project.as_str())
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(read_backlog).collect()
}

pub(super) async fn reschedule(
    pool: &PgPool,
    project: &ProjectName,
    delivery: DeliveryId,
    due_at: Timestamp,
) -> Result<Taken<WaitingRow>, Error> {
    let mut transaction = pool.begin().await?;
    let (mut row, free_at) = match find(&mut transaction, project, delivery).await? {
        Taken::Done(found) => found,
        Taken::NotThere => return Ok(Taken::NotThere),
        Taken::UnderWay => return Ok(Taken::UnderWay),
    };
    // Behind another it stays there.
    sqlx::query(
        "WITH moved AS (UPDATE waiting_room SET due_at_us = $2, free_at_us = $3, fault = NULL \
         WHERE delivery_id = $1 RETURNING project, function_name), \
         woken AS (INSERT INTO lanes AS lane (project, function_name, due_at_us) \
         SELECT project, function_name, $2 FROM moved \
         ON CONFLICT (project, function_name) DO UPDATE \
         SET due_at_us = LEAST(lane.due_at_us, EXCLUDED.due_at_us)) \
         SELECT pg_notify($4, '') FROM moved",
    )
    .bind(delivery.uuid())
    .bind(micros(due_at))
    .bind(if free_at == BEHIND {
        BEHIND
    } else {
        micros(due_at)
    })
    .bind(CHANNEL)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    row.due_at = due_at;
    Ok(Taken::Done(row))
}

pub(super) async fn claim(
    pool: &PgPool,
    project: &ProjectName,
    delivery: DeliveryId,
    now: Timestamp,
    claim_for: Duration,
) -> Result<Taken<(WaitingRow, Claim)>, Error> {
    let mut transaction = pool.begin().await?;
    let (row, free_at) = match find(&mut transaction, project, delivery).await? {
        Taken::Done(found) => found,
        Taken::NotThere => return Ok(Taken::NotThere),
        Taken::UnderWay => return Ok(Taken::UnderWay),
    };
    let claim = claim_end(now, claim_for);
    if free_at == BEHIND {
        // Nobody takes it there, and it must not come out of its turn.
        return Ok(Taken::Done((row, claim)));
    }
    sqlx::query(
        "WITH taken AS (UPDATE waiting_room SET free_at_us = $2 WHERE delivery_id = $1 \
         RETURNING project, function_name) \
         INSERT INTO lanes AS lane (project, function_name, due_at_us) \
         SELECT project, function_name, $2 FROM taken \
         ON CONFLICT (project, function_name) DO UPDATE \
         SET due_at_us = LEAST(lane.due_at_us, EXCLUDED.due_at_us)",
    )
    .bind(delivery.uuid())
    .bind(claim.0)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Taken::Done((row, claim)))
}

/// The row, locked, and when it is free, if it waits and nobody holds it.
async fn find(
    connection: &mut PgConnection,
    project: &ProjectName,
    delivery: DeliveryId,
) -> Result<Taken<(WaitingRow, i64)>, Error> {
    let line: Option<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT project, trigger_name, order_key FROM waiting_room \
         WHERE delivery_id = $1 AND project = $2",
    )
    .bind(delivery.uuid())
    .bind(project.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((project, trigger, Some(key))) = line {
        line::lock(connection, &[(project, trigger, key)]).await?;
    }
    let statement = format!(
        "SELECT {COLUMNS} FROM waiting_room WHERE delivery_id = $1 AND project = $2 FOR UPDATE"
    );
    let row: Option<StoredRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(delivery.uuid())
        .bind(project.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Taken::NotThere);
    };
    let (free_at, fault): (i64, Option<String>) =
        sqlx::query_as("SELECT free_at_us, fault FROM waiting_room WHERE delivery_id = $1")
            .bind(delivery.uuid())
            .fetch_one(connection)
            .await?;
    let row = read_row(row)?;
    match state(row.reason, free_at, micros(row.due_at), fault) {
        State::UnderWay => Ok(Taken::UnderWay),
        State::Waiting | State::Behind | State::Aside(_) => Ok(Taken::Done((row, free_at))),
    }
}
