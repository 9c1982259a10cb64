//! A partition of each log table for each UTC day: made ahead, made when missed, dropped whole.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::id::first_id_at;
use domain::record::Record;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::Error;
use crate::log_store::days::{Day, day_of};

const TABLES: [&str; 3] = ["events", "deliveries", "attempts"];

const DAYS_AHEAD: i64 = 3;

/// How far back a day may lie before the retention was ever told.
const RETENTION_UNTOLD: Duration = Duration::from_hours(31 * 24);

/// Only one replica at a time makes and drops partitions. Any number would do.
const ADVISORY_LOCK: i64 = 0x7472_6970_6c6f_6773;

/// Behind a statement that takes longer, nobody else would get at the table either.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<Known>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    days: BTreeSet<Day>,
    retention: Option<Duration>,
}

impl Known {
    fn retention(&self) -> Duration {
        self.retention.unwrap_or(RETENTION_UNTOLD)
    }
}

impl Partitions {
    /// Answers with the records for which there are partitions, making those that are missing.
    /// The others are too old or too far ahead to be kept.
    pub(super) async fn prepare<'a>(
        &self,
        pool: &PgPool,
        records: &'a [Record],
    ) -> Result<Vec<&'a Record>, Error> {
        let days: BTreeSet<Day> = records.iter().map(day_of).collect();
        let known = self.known().clone();
        if days.is_subset(&known.days) {
            return Ok(records.iter().collect());
        }
        let now = Timestamp::now();
        let oldest = Day::oldest_kept(now, known.retention());
        let latest = Day::of(now).plus(DAYS_AHEAD);
        let (kept, skipped): (Vec<_>, Vec<_>) = records
            .iter()
            .partition(|record| (oldest..=latest).contains(&day_of(record)));
        if !skipped.is_empty() {
            tracing::warn!(records = skipped.len(), %oldest, %latest, "records left out of the log: their days are not kept");
        }
        let missing = days
            .into_iter()
            .filter(|day| (oldest..=latest).contains(day));
        let missing: BTreeSet<Day> = missing.filter(|day| !known.days.contains(day)).collect();
        if !missing.is_empty() {
            self.make(pool, &missing).await?;
        }
        Ok(kept)
    }

    async fn make(&self, pool: &PgPool, days: &BTreeSet<Day>) -> Result<(), Error> {
        let mut transaction = pool.begin().await?;
        let existing = lock_and_list(&mut transaction).await?;
        for day in days.difference(&existing) {
            make_day(&mut transaction, *day).await?;
        }
        transaction.commit().await?;
        let mut known = self.known();
        known.days.extend(existing);
        known.days.extend(days);
        Ok(())
    }

    /// Makes the partitions around `now` and drops those past `retention`; answers with the names
    /// of those dropped.
    pub(super) async fn keep(
        &self,
        pool: &PgPool,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<String>, Error> {
        let oldest = Day::oldest_kept(now, retention);
        let today = Day::of(now);
        let mut transaction = pool.begin().await?;
        let mut days = lock_and_list(&mut transaction).await?;
        for ahead in -1..=DAYS_AHEAD {
            let day = today.plus(ahead);
            if day >= oldest && days.insert(day) {
                make_day(&mut transaction, day).await?;
            }
        }
        transaction.commit().await?;
        let mut dropped = Vec::new();
        for day in days.range(..oldest) {
            dropped.extend(drop_day(pool, *day).await?);
        }
        let days = days.split_off(&oldest);
        *self.known() = Known {
            days,
            retention: Some(retention),
        };
        Ok(dropped)
    }

    /// Forgets which partitions there are, but not how long they are kept.
    pub(super) fn forget(&self) {
        self.known().days.clear();
    }

    /// A panic elsewhere leaves the list whole, so a poisoned lock is still good.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps other replicas out until the transaction ends, and lists the days that are there.
async fn lock_and_list(connection: &mut PgConnection) -> Result<BTreeSet<Day>, Error> {
    sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(ADVISORY_LOCK)
        .execute(&mut *connection)
        .await?;
    // The table made last tells which days are whole; they are made in one transaction anyway.
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT partition.relname::text FROM pg_inherits \
         JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid \
         WHERE pg_inherits.inhparent = 'logs.attempts'::regclass",
    )
    .fetch_all(connection)
    .await?;
    Ok(names
        .iter()
        .filter_map(|name| Day::parse(name.strip_prefix("attempts_")?))
        .collect())
}

/// The tables are made apart and then attached, which keeps nobody out of the others.
async fn make_day(connection: &mut PgConnection, day: Day) -> Result<(), Error> {
    let (first, end) = (first_id_at(day.start()), first_id_at(day.plus(1).start()));
    for table in TABLES {
        let statements = format!(
            "CREATE TABLE logs.{table}_{day} (LIKE logs.{table} INCLUDING ALL); \
             ALTER TABLE logs.{table} ATTACH PARTITION logs.{table}_{day} \
             FOR VALUES FROM ('{first}') TO ('{end}')"
        );
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Each day on its own, so that tables are locked for a moment only.
async fn drop_day(pool: &PgPool, day: Day) -> Result<Vec<String>, Error> {
    let mut transaction = pool.begin().await?;
    if !lock_and_list(&mut transaction).await?.contains(&day) {
        return Ok(Vec::new());
    }
    let names = TABLES.map(|table| format!("{table}_{day}"));
    for name in &names {
        let statement = format!("DROP TABLE IF EXISTS logs.{name}");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(names.into())
}
