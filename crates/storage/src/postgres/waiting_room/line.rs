//! Lines of deliveries that wait for each other, and what leaves them.
//!
//! Whoever changes who is first in a line locks it: else one could come behind a row that leaves
//! at the same moment, and nobody would ever let it go.

use domain::delivery::Ended;
use domain::id::DeliveryId;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::{CHANNEL, Columns};
use crate::Error;
use crate::waiting_room::{
    ASIDE, BEHIND, COLUMNS, Claim, LINE_MAX, StoredRow, WaitingRow, newest, read_row,
};

/// A line: project, trigger, order key.
type Line = (String, String, String);

pub(super) async fn line_up(pool: &PgPool, rows: &[WaitingRow]) -> Result<(), Error> {
    let rows: Vec<_> = once_each(rows);
    if rows.is_empty() {
        return Ok(());
    }
    let lines = lines_of(&rows);
    let keys: Vec<_> = rows.iter().map(|row| row.order_key.as_deref()).collect();
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, &lines).await?;
    Columns::of(&rows)
        .bind(include_str!("../../queries/postgres/line_up_waiting.sql"))
        .bind(keys)
        .execute(&mut *transaction)
        .await?;
    let_go_first(&mut transaction, &lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn end(pool: &PgPool, ended: &[Ended]) -> Result<(), Error> {
    if ended.is_empty() {
        return Ok(());
    }
    let mut ended: Vec<_> = ended
        .iter()
        .map(|each| (each.delivery.uuid(), i64::from(each.generation)))
        .collect();
    ended.sort_unstable();
    let (ids, generations): (Vec<Uuid>, Vec<i64>) = ended.into_iter().unzip();
    let mut transaction = pool.begin().await?;
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT DISTINCT project, trigger_name, order_key FROM waiting_room \
         WHERE delivery_id = ANY($1) AND order_key IS NOT NULL",
    )
    .bind(&ids)
    .fetch_all(&mut *transaction)
    .await?;
    lock(&mut transaction, &lines).await?;
    sqlx::query(
        "DELETE FROM waiting_room USING UNNEST($1::uuid[], $2::bigint[]) \
         AS ended (delivery_id, generation) \
         WHERE waiting_room.delivery_id = ended.delivery_id \
         AND waiting_room.generation <= ended.generation",
    )
    .bind(&ids)
    .bind(generations)
    .execute(&mut *transaction)
    .await?;
    let_go_first(&mut transaction, &lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn remove(pool: &PgPool, rows: &[WaitingRow], claim: Claim) -> Result<(), Error> {
    let statement = format!(
        "DELETE FROM waiting_room USING {MEANT} WHERE {IS_MEANT} \
         AND waiting_room.free_at_us IN ($5, {BEHIND})"
    );
    change(pool, rows, claim, &statement, None).await
}

pub(super) async fn put_back(
    pool: &PgPool,
    rows: &[WaitingRow],
    claim: Claim,
) -> Result<(), Error> {
    // In line it is as if others stood before it, until who is first is let go.
    let statement = format!(
        "WITH back AS (UPDATE waiting_room SET due_at_us = meant.due_at_us, \
         free_at_us = CASE WHEN order_key IS NULL THEN meant.due_at_us ELSE {BEHIND} END \
         FROM {MEANT} WHERE {IS_MEANT} AND waiting_room.free_at_us = $5 \
         RETURNING project, function_name, free_at_us), \
         woken AS (INSERT INTO lanes AS lane (project, function_name, due_at_us) \
         SELECT project, function_name, min(free_at_us) FROM back WHERE free_at_us < {BEHIND} \
         GROUP BY project, function_name ORDER BY project, function_name \
         ON CONFLICT (project, function_name) DO UPDATE \
         SET due_at_us = LEAST(lane.due_at_us, EXCLUDED.due_at_us)) \
         SELECT pg_notify($6, '') WHERE EXISTS (SELECT 1 FROM back)"
    );
    change(pool, rows, claim, &statement, Some(CHANNEL)).await
}

/// The parameters that say which rows are meant, in which version.
const MEANT: &str = "UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) \
     AS meant (delivery_id, generation, next_attempt, due_at_us)";

const IS_MEANT: &str = "waiting_room.delivery_id = meant.delivery_id \
     AND (waiting_room.generation, waiting_room.next_attempt) \
     = (meant.generation, meant.next_attempt)";

async fn change(
    pool: &PgPool,
    rows: &[WaitingRow],
    claim: Claim,
    statement: &str,
    channel: Option<&str>,
) -> Result<(), Error> {
    let rows = newest(rows);
    if rows.is_empty() {
        return Ok(());
    }
    let lines = lines_of(&rows);
    let columns = Columns::of(&rows);
    let mut query = sqlx::query(AssertSqlSafe(statement))
        .bind(columns.ids)
        .bind(columns.generations)
        .bind(columns.attempts)
        .bind(columns.due_at)
        .bind(claim.0);
    if let Some(channel) = channel {
        query = query.bind(channel);
    }
    if lines.is_empty() {
        query.execute(pool).await?;
        return Ok(());
    }
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, &lines).await?;
    query.execute(&mut *transaction).await?;
    let_go_first(&mut transaction, &lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn set_aside(
    pool: &PgPool,
    rows: &[(DeliveryId, String)],
    claim: Claim,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = rows.iter().map(|(delivery, _)| delivery.uuid()).collect();
    let faults: Vec<_> = rows.iter().map(|(_, fault)| fault.as_str()).collect();
    let mut transaction = pool.begin().await?;
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT DISTINCT project, trigger_name, order_key FROM waiting_room \
         WHERE delivery_id = ANY($1) AND order_key IS NOT NULL",
    )
    .bind(&ids)
    .fetch_all(&mut *transaction)
    .await?;
    lock(&mut transaction, &lines).await?;
    let statement = format!(
        "UPDATE waiting_room SET free_at_us = {ASIDE}, fault = meant.fault, \
         order_key = NULL, position = NULL \
         FROM UNNEST($1::uuid[], $2::text[]) AS meant (delivery_id, fault) \
         WHERE waiting_room.delivery_id = meant.delivery_id AND waiting_room.free_at_us = $3"
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(&ids)
        .bind(faults)
        .bind(claim.0)
        .execute(&mut *transaction)
        .await?;
    let_go_first(&mut transaction, &lines).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn behind(pool: &PgPool, rows: &[WaitingRow]) -> Result<Vec<WaitingRow>, Error> {
    let rows: Vec<_> = rows.iter().filter(|row| row.order_key.is_some()).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.delivery.uuid()).collect();
    let statement = format!(
        "SELECT {COLUMNS} FROM (SELECT later.*, first.number FROM ( \
         SELECT held.project, held.trigger_name, held.order_key, held.position, meant.number \
         FROM UNNEST($1::uuid[]) WITH ORDINALITY AS meant (delivery_id, number) \
         JOIN waiting_room AS held ON held.delivery_id = meant.delivery_id \
         WHERE held.order_key IS NOT NULL) AS first \
         CROSS JOIN LATERAL (SELECT * FROM waiting_room AS held \
         WHERE held.project = first.project AND held.trigger_name = first.trigger_name \
         AND held.order_key = first.order_key AND held.position > first.position \
         AND held.free_at_us = {BEHIND} \
         ORDER BY held.position LIMIT {LINE_MAX}) AS later) AS lines \
         ORDER BY number, position"
    );
    let rows: Vec<StoredRow> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(ids)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(read_row).collect()
}

/// Each delivery once, in the order given.
fn once_each(rows: &[WaitingRow]) -> Vec<&WaitingRow> {
    let mut seen = std::collections::HashSet::new();
    rows.iter()
        .filter(|row| row.order_key.is_some() && seen.insert(row.delivery))
        .collect()
}

fn lines_of(rows: &[&WaitingRow]) -> Vec<Line> {
    let mut lines: Vec<Line> = rows
        .iter()
        .filter_map(|row| {
            let key = row.order_key.clone()?;
            Some((row.project.to_string(), row.trigger.to_string(), key))
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Until the end of the transaction. Lines share a thousand locks, always taken in one order.
pub(super) async fn lock(connection: &mut PgConnection, lines: &[Line]) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lines
        .iter()
        .map(|(project, trigger, key)| format!("{project}\n{trigger}\n{key}"))
        .collect();
    sqlx::query(
        "SELECT pg_advisory_xact_lock(1414680908, slot) FROM ( \
         SELECT DISTINCT hashtext(name) & 1023 AS slot FROM UNNEST($1::text[]) AS line (name) \
         ORDER BY slot) AS slots",
    )
    .bind(names)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn let_go_first(
    connection: &mut PgConnection,
    lines: &[Line],
) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let column = |text: fn(&Line) -> &str| -> Vec<&str> { lines.iter().map(text).collect() };
    sqlx::query(include_str!("../../queries/postgres/let_go_first.sql"))
        .bind(column(|line| &line.0))
        .bind(column(|line| &line.1))
        .bind(column(|line| &line.2))
        .bind(CHANNEL)
        .execute(connection)
        .await?;
    Ok(())
}
