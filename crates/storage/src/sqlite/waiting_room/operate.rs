//! What operators see and do of what waits.

use std::time::Duration;

use domain::id::DeliveryId;
use domain::name::ProjectName;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::wake_lane;
use crate::Error;
use crate::columns::micros;
use crate::sqlite::File;
use crate::waiting_room::{
    BEHIND, BacklogLine, COLUMNS, Claim, SHOWN_COLUMNS, Shown, ShownRow, State, StoredBacklog,
    StoredRow, Taken, WaitingFilter, WaitingRow, claim_end, read_backlog, read_row, read_shown,
    state,
};

pub(super) async fn list(
    file: &File,
    project: &ProjectName,
    filter: &WaitingFilter,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Shown>, Error> {
    let statement = format!(
        "SELECT {SHOWN_COLUMNS}, free_at_us, fault FROM waiting_room \
         WHERE project = $1 AND ($2 IS NULL OR function_name = $2) \
         AND ($3 IS NULL OR trigger_name = $3) AND ($4 IS NULL OR reason = $4) \
         AND ($5 IS NULL OR delivery_id > $5) ORDER BY delivery_id LIMIT $6"
    );
    let rows: Vec<ShownRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(project.as_str())
        .bind(filter.function.as_ref().map(ToString::to_string))
        .bind(filter.trigger.as_ref().map(ToString::to_string))
        .bind(filter.reason.map(|reason| reason.as_str()))
        .bind(after.map(|delivery| delivery.uuid()))
        .bind(limit)
        .fetch_all(&file.readers)
        .await?;
    rows.into_iter().map(read_shown).collect()
}

pub(super) async fn backlog(file: &File, project: &ProjectName) -> Result<Vec<BacklogLine>, Error> {
    let rows: Vec<StoredBacklog> = sqlx::query_as(
        "SELECT function_name, reason, count(*), min(since_us), min(due_at_us) \
         FROM waiting_room WHERE project = ? \
         GROUP BY function_name, reason ORDER BY function_name, reason",
    )
    .bind(project.as_str())
    .fetch_all(&file.readers)
    .await?;
    rows.into_iter().map(read_backlog).collect()
}

pub(super) async fn reschedule(
    file: &File,
    project: &ProjectName,
    delivery: DeliveryId,
    due_at: Timestamp,
) -> Result<Taken<WaitingRow>, Error> {
    let mut transaction = file.begin().await?;
    let (mut row, free_at) = match find(&mut transaction, project, delivery).await? {
        Taken::Done(found) => found,
        Taken::NotThere => return Ok(Taken::NotThere),
        Taken::UnderWay => return Ok(Taken::UnderWay),
    };
    row.due_at = due_at;
    let due_at = micros(due_at);
    sqlx::query(
        "UPDATE waiting_room SET due_at_us = ?, free_at_us = ?, fault = NULL WHERE delivery_id = ?",
    )
    .bind(due_at)
    // Behind another it stays there.
    .bind(if free_at == BEHIND { BEHIND } else { due_at })
    .bind(delivery.uuid())
    .execute(&mut *transaction)
    .await?;
    let function = row.function.to_string();
    wake_lane(&mut transaction, row.project.as_str(), &function, due_at).await?;
    transaction.commit().await?;
    Ok(Taken::Done(row))
}

pub(super) async fn claim(
    file: &File,
    project: &ProjectName,
    delivery: DeliveryId,
    now: Timestamp,
    claim_for: Duration,
) -> Result<Taken<(WaitingRow, Claim)>, Error> {
    let mut transaction = file.begin().await?;
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
    sqlx::query("UPDATE waiting_room SET free_at_us = ? WHERE delivery_id = ?")
        .bind(claim.0)
        .bind(delivery.uuid())
        .execute(&mut *transaction)
        .await?;
    let function = row.function.to_string();
    wake_lane(&mut transaction, row.project.as_str(), &function, claim.0).await?;
    transaction.commit().await?;
    Ok(Taken::Done((row, claim)))
}

/// The row, and when it is free, if it waits and nobody holds it.
async fn find(
    connection: &mut SqliteConnection,
    project: &ProjectName,
    delivery: DeliveryId,
) -> Result<Taken<(WaitingRow, i64)>, Error> {
    let statement =
        format!("SELECT {COLUMNS} FROM waiting_room WHERE delivery_id = ? AND project = ?");
    let row: Option<StoredRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(delivery.uuid())
        .bind(project.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Taken::NotThere);
    };
    let (free_at, fault): (i64, Option<String>) =
        sqlx::query_as("SELECT free_at_us, fault FROM waiting_room WHERE delivery_id = ?")
            .bind(delivery.uuid())
            .fetch_one(connection)
            .await?;
    let row = read_row(row)?;
    match state(row.reason, free_at, micros(row.due_at), fault) {
        State::UnderWay => Ok(Taken::UnderWay),
        State::Waiting | State::Behind | State::Aside(_) => Ok(Taken::Done((row, free_at))),
    }
}
