//! Lines of deliveries that wait for each other, and what leaves them.

use std::collections::{BTreeSet, HashSet};

use domain::delivery::Ended;
use domain::id::DeliveryId;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::wake_lanes;
use crate::Error;
use crate::columns::micros;
use crate::sqlite::File;
use crate::waiting_room::{
    ASIDE, BEHIND, COLUMNS, Claim, LINE_MAX, StoredRow, WaitingRow, newest, read_row,
};

/// A line: project, trigger, order key.
type Line = (String, String, String);

pub(super) async fn line_up(file: &File, rows: &[WaitingRow]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.order_key.is_some() && seen.insert(row.delivery))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut transaction = file.begin().await?;
    let last: i64 = sqlx::query_scalar("UPDATE positions SET last = last + ? RETURNING last")
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .fetch_one(&mut *transaction)
        .await?;
    for (behind, row) in (0_i64..)
        .zip(rows.iter().rev())
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        sqlx::query(LINE_UP)
            .bind(row.delivery.uuid())
            .bind(row.project.as_str())
            .bind(row.trigger.as_str())
            .bind(row.function.to_string())
            .bind(row.generation)
            .bind(row.next_attempt)
            .bind(row.reason.as_str())
            .bind(micros(row.since))
            .bind(micros(row.due_at))
            .bind(BEHIND)
            .bind(&*row.payload)
            .bind(row.order_key.as_deref())
            .bind(last - behind)
            .execute(&mut *transaction)
            .await?;
    }
    let_go_first(&mut transaction, lines_of(&rows)).await?;
    transaction.commit().await?;
    Ok(())
}

/// All of them as if others stood before them; who is first is let go afterwards.
const LINE_UP: &str = "INSERT INTO waiting_room AS held (delivery_id, project, trigger_name, \
     function_name, generation, next_attempt, reason, since_us, due_at_us, free_at_us, payload, \
     order_key, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     ON CONFLICT (delivery_id) DO UPDATE SET reason = excluded.reason, \
     since_us = excluded.since_us, due_at_us = excluded.due_at_us, \
     free_at_us = excluded.free_at_us, order_key = excluded.order_key, \
     position = excluded.position, payload = excluded.payload \
     WHERE held.order_key IS NULL \
     AND (held.generation, held.next_attempt) = (excluded.generation, excluded.next_attempt)";

pub(super) async fn end(file: &File, ended: &[Ended]) -> Result<(), Error> {
    let mut transaction = file.begin().await?;
    let mut lines = BTreeSet::new();
    for each in ended {
        let gone: Option<(String, String, Option<String>)> = sqlx::query_as(
            "DELETE FROM waiting_room WHERE delivery_id = ? AND generation <= ? \
             RETURNING project, trigger_name, order_key",
        )
        .bind(each.delivery.uuid())
        .bind(each.generation)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some((project, trigger, Some(key))) = gone {
            lines.insert((project, trigger, key));
        }
    }
    let_go_first(&mut transaction, lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn remove(file: &File, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
    let rows = newest(rows);
    let mut transaction = file.begin().await?;
    for row in &rows {
        sqlx::query(
            "DELETE FROM waiting_room WHERE delivery_id = ? \
             AND (generation, next_attempt) = (?, ?) AND free_at_us IN (?, ?)",
        )
        .bind(row.delivery.uuid())
        .bind(row.generation)
        .bind(row.next_attempt)
        .bind(claim.0)
        .bind(BEHIND)
        .execute(&mut *transaction)
        .await?;
    }
    let_go_first(&mut transaction, lines_of(&rows)).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn put_back(file: &File, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
    let rows = newest(rows);
    let mut transaction = file.begin().await?;
    let mut back = Vec::new();
    for row in &rows {
        // In line it is as if others stood before it, until who is first is let go.
        let given: Option<(String, String, i64, i64)> = sqlx::query_as(
            "UPDATE waiting_room SET due_at_us = $2, \
             free_at_us = CASE WHEN order_key IS NULL THEN $2 ELSE $3 END \
             WHERE delivery_id = $1 AND (generation, next_attempt) = ($4, $5) \
             AND free_at_us = $6 RETURNING project, function_name, 0, free_at_us",
        )
        .bind(row.delivery.uuid())
        .bind(micros(row.due_at))
        .bind(BEHIND)
        .bind(row.generation)
        .bind(row.next_attempt)
        .bind(claim.0)
        .fetch_optional(&mut *transaction)
        .await?;
        back.extend(given);
    }
    wake_lanes(&mut transaction, back).await?;
    let_go_first(&mut transaction, lines_of(&rows)).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn set_aside(
    file: &File,
    rows: &[(DeliveryId, String)],
    claim: Claim,
) -> Result<(), Error> {
    let mut transaction = file.begin().await?;
    let mut lines = BTreeSet::new();
    for (delivery, fault) in rows {
        let line: Option<(String, String, Option<String>)> = sqlx::query_as(
            "SELECT project, trigger_name, order_key FROM waiting_room \
             WHERE delivery_id = ? AND free_at_us = ?",
        )
        .bind(delivery.uuid())
        .bind(claim.0)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some((project, trigger, Some(key))) = line {
            lines.insert((project, trigger, key));
        }
        sqlx::query(
            "UPDATE waiting_room SET free_at_us = ?, fault = ?, order_key = NULL, \
             position = NULL WHERE delivery_id = ? AND free_at_us = ?",
        )
        .bind(ASIDE)
        .bind(fault)
        .bind(delivery.uuid())
        .bind(claim.0)
        .execute(&mut *transaction)
        .await?;
    }
    let_go_first(&mut transaction, lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn behind(file: &File, rows: &[WaitingRow]) -> Result<Vec<WaitingRow>, Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM waiting_room \
         WHERE project = $1 AND trigger_name = $2 AND order_key = $3 AND free_at_us = {BEHIND} \
         AND position > (SELECT position FROM waiting_room WHERE delivery_id = $4) \
         ORDER BY position LIMIT {LINE_MAX}"
    );
    let mut behind = Vec::new();
    for row in rows.iter().filter(|row| row.order_key.is_some()) {
        let later: Vec<StoredRow> = sqlx::query_as(AssertSqlSafe(statement.as_str()))
            .bind(row.project.as_str())
            .bind(row.trigger.as_str())
            .bind(row.order_key.as_deref())
            .bind(row.delivery.uuid())
            .fetch_all(&file.readers)
            .await?;
        behind.extend(later);
    }
    behind.into_iter().map(read_row).collect()
}

fn lines_of(rows: &[&WaitingRow]) -> BTreeSet<Line> {
    rows.iter()
        .filter_map(|row| {
            let key = row.order_key.clone()?;
            Some((row.project.to_string(), row.trigger.to_string(), key))
        })
        .collect()
}

async fn let_go_first(
    connection: &mut SqliteConnection,
    lines: BTreeSet<Line>,
) -> Result<(), Error> {
    let mut let_go = Vec::new();
    for (project, trigger, key) in lines {
        let first: Option<(String, String, i64, i64)> = sqlx::query_as(
            "UPDATE waiting_room SET free_at_us = due_at_us WHERE delivery_id = ( \
             SELECT delivery_id FROM waiting_room \
             WHERE project = ? AND trigger_name = ? AND order_key = ? \
             ORDER BY position LIMIT 1) AND free_at_us = ? \
             RETURNING project, function_name, since_us, free_at_us",
        )
        .bind(project)
        .bind(trigger)
        .bind(key)
        .bind(BEHIND)
        .fetch_optional(&mut *connection)
        .await?;
        let_go.extend(first);
    }
    wake_lanes(connection, let_go).await
}
