//! Taking what is due: lanes first, then what each of them may let go.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::Error;
use crate::columns::micros;
use crate::sqlite::File;
use crate::waiting_room::lanes::{StoredLane, Turn, turns};
use crate::waiting_room::{
    BEHIND, COLUMNS, Claim, Claimed, IsPaused, StoredRow, claim_end, sort_claimed,
};

const LANE: &str =
    "project, function_name, per_second, burst, tokens, tokens_at_us, closed_until_us";

pub(super) async fn claim_due(
    file: &File,
    now: Timestamp,
    claim_for: Duration,
    limit: u32,
    is_paused: &IsPaused,
) -> Result<Claimed, Error> {
    let (now_us, claim) = (micros(now), claim_end(now, claim_for));
    let is_anything_due: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM lanes WHERE due_at_us <= ?)")
            .bind(now_us)
            .fetch_one(&file.readers)
            .await?;
    if !is_anything_due {
        return Ok(sort_claimed(Vec::new(), 0, claim));
    }
    let mut transaction = file.begin().await?;
    let turns = turns(
        due_lanes(&mut transaction, now_us, limit).await?,
        now_us,
        limit,
        is_paused,
    );
    let mut rows = Vec::new();
    for turn in &turns {
        let called = take(
            &mut transaction,
            turn,
            (i64::MIN, -1),
            turn.called_max,
            claim,
        )
        .await?;
        let due = take(&mut transaction, turn, (0, now_us), turn.due_max, claim).await?;
        let taken = i64::try_from(due.len()).unwrap_or(i64::MAX);
        rows.extend(called.into_iter().map(|row| (-1, row)));
        rows.extend(due.into_iter().map(|row| (0, row)));
        note(&mut transaction, turn, taken, now_us).await?;
    }
    transaction.commit().await?;
    Ok(sort_claimed(rows, turns.len(), claim))
}

async fn due_lanes(
    connection: &mut SqliteConnection,
    now: i64,
    limit: u32,
) -> Result<Vec<StoredLane>, Error> {
    let lanes: Vec<StoredLane> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {LANE} FROM lanes WHERE due_at_us <= ? ORDER BY due_at_us LIMIT ?"
    )))
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if lanes.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        return Ok(lanes);
    }
    // More than one round can serve: those of a project with many must not be all of them.
    let projects: Vec<String> = sqlx::query_scalar(
        "SELECT project FROM lanes WHERE due_at_us <= ? \
         GROUP BY project ORDER BY min(due_at_us) LIMIT ?",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let each = limit / u32::try_from(projects.len().max(1)).unwrap_or(u32::MAX);
    let mut lanes = Vec::new();
    for project in projects {
        let of_project: Vec<StoredLane> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {LANE} FROM lanes WHERE project = ? AND due_at_us <= ? \
             ORDER BY due_at_us LIMIT ?"
        )))
        .bind(project)
        .bind(now)
        .bind(each.max(1))
        .fetch_all(&mut *connection)
        .await?;
        lanes.extend(of_project);
    }
    Ok(lanes)
}

async fn take(
    connection: &mut SqliteConnection,
    turn: &Turn,
    free: (i64, i64),
    rows_max: i64,
    claim: Claim,
) -> Result<Vec<StoredRow>, Error> {
    if rows_max == 0 {
        return Ok(Vec::new());
    }
    let statement = format!(
        "UPDATE waiting_room SET free_at_us = $6 WHERE delivery_id IN ( \
         SELECT delivery_id FROM waiting_room WHERE project = $1 AND function_name = $2 \
         AND free_at_us BETWEEN $3 AND $4 ORDER BY free_at_us LIMIT $5) RETURNING {COLUMNS}"
    );
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(&turn.project)
        .bind(&turn.function)
        .bind(free.0)
        .bind(free.1)
        .bind(rows_max)
        .bind(claim.0)
        .fetch_all(connection)
        .await?)
}

async fn note(
    connection: &mut SqliteConnection,
    turn: &Turn,
    taken: i64,
    now: i64,
) -> Result<(), Error> {
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(free_at_us) FROM waiting_room WHERE project = ? AND function_name = ?",
    )
    .bind(&turn.project)
    .bind(&turn.function)
    .fetch_one(&mut *connection)
    .await?;
    let noted = turn.after(taken);
    let due_at = next.filter(|free_at| *free_at < BEHIND).map(|free_at| {
        // Called: no gate holds it up.
        if free_at < 0 {
            now
        } else {
            free_at.max(noted.not_before)
        }
    });
    sqlx::query(
        "UPDATE lanes SET tokens = ?, tokens_at_us = max(tokens_at_us, ?), due_at_us = ? \
         WHERE project = ? AND function_name = ?",
    )
    .bind(noted.tokens)
    .bind(now)
    .bind(due_at)
    .bind(&turn.project)
    .bind(&turn.function)
    .execute(connection)
    .await?;
    Ok(())
}
