//! Taking what is due: lanes first, then what each of them may let go.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Error;
use crate::columns::micros;
use crate::waiting_room::lanes::{StoredLane, turns};
use crate::waiting_room::{Claimed, IsPaused, StoredRow, claim_end, sort_claimed};

/// With its `free_at_us` of before.
type ClaimedRow = (
    i64,
    Uuid,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
    i64,
    Option<String>,
    Vec<u8>,
);

/// The lanes are locked in a statement of their own: what follows sees all that was put into them
/// before, and what is put into them later comes behind it.
pub(super) async fn claim_due(
    pool: &PgPool,
    now: Timestamp,
    claim_for: Duration,
    limit: u32,
    is_paused: &IsPaused,
) -> Result<Claimed, Error> {
    let (now_us, claim) = (micros(now), claim_end(now, claim_for));
    let mut transaction = pool.begin().await?;
    let mut lanes: Vec<StoredLane> = sqlx::query_as(
        "SELECT project, function_name, per_second, burst, tokens, tokens_at_us, closed_until_us \
         FROM lanes WHERE due_at_us <= $1 ORDER BY due_at_us LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(now_us)
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    if lanes.is_empty() {
        transaction.rollback().await?;
        return Ok(sort_claimed(Vec::new(), 0, claim));
    }
    if lanes.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
        // More than one round can serve: those of a project with many must not be all of them.
        lanes = sqlx::query_as(include_str!("../../queries/postgres/fair_lanes.sql"))
            .bind(now_us)
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await?;
    }
    let turns = turns(lanes, now_us, limit, is_paused);
    let projects: Vec<_> = turns.iter().map(|turn| turn.project.as_str()).collect();
    let functions: Vec<_> = turns.iter().map(|turn| turn.function.as_str()).collect();
    let called_max: Vec<_> = turns.iter().map(|turn| turn.called_max).collect();
    let due_max: Vec<_> = turns.iter().map(|turn| turn.due_max).collect();
    let rows: Vec<ClaimedRow> =
        sqlx::query_as(include_str!("../../queries/postgres/claim_waiting.sql"))
            .bind(&projects)
            .bind(&functions)
            .bind(called_max)
            .bind(due_max)
            .bind(now_us)
            .bind(claim.0)
            .fetch_all(&mut *transaction)
            .await?;
    let mut taken: HashMap<(&str, &str), i64> = HashMap::new();
    for (free_at, _, project, _, function, ..) in &rows {
        if *free_at >= 0 {
            *taken.entry((project, function)).or_default() += 1;
        }
    }
    let noted: Vec<_> = turns
        .iter()
        .map(|turn| {
            let lane = (turn.project.as_str(), turn.function.as_str());
            turn.after(taken.get(&lane).copied().unwrap_or(0))
        })
        .collect();
    sqlx::query(include_str!("../../queries/postgres/note_turns.sql"))
        .bind(&projects)
        .bind(&functions)
        .bind(noted.iter().map(|each| each.tokens).collect::<Vec<_>>())
        .bind(noted.iter().map(|each| each.not_before).collect::<Vec<_>>())
        .bind(now_us)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let count = turns.len();
    let rows = rows.into_iter().map(split).collect();
    Ok(sort_claimed(rows, count, claim))
}

fn split(row: ClaimedRow) -> (i64, StoredRow) {
    let (
        free_at,
        id,
        project,
        trigger,
        function,
        generation,
        attempt,
        reason,
        since,
        due,
        key,
        payload,
    ) = row;
    let row = (
        id, project, trigger, function, generation, attempt, reason, since, due, key, payload,
    );
    (free_at, row)
}
