//! The migrations, as part of the program: forward only, each run once.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Each with the number of its file; a number once given away is never another's.
type Listed = [(i64, &'static str, &'static str)];

const POSTGRES: &Listed = &[
    (
        1,
        "functions",
        include_str!("../migrations/postgres/0001_functions.sql"),
    ),
    (
        2,
        "delivery",
        include_str!("../migrations/postgres/0002_delivery.sql"),
    ),
    (
        3,
        "logs",
        include_str!("../migrations/postgres/0003_logs.sql"),
    ),
    (
        4,
        "settings",
        include_str!("../migrations/postgres/0004_settings.sql"),
    ),
    (
        5,
        "lanes",
        include_str!("../migrations/postgres/0005_lanes.sql"),
    ),
    (
        6,
        "token keys",
        include_str!("../migrations/postgres/0006_token_keys.sql"),
    ),
    (
        7,
        "redrive",
        include_str!("../migrations/postgres/0007_redrive.sql"),
    ),
    (
        8,
        "first_attempts",
        include_str!("../migrations/postgres/0008_first_attempts.sql"),
    ),
    (
        9,
        "sessions and types",
        include_str!("../migrations/postgres/0009_sessions_and_types.sql"),
    ),
    (
        11,
        "packages",
        include_str!("../migrations/postgres/0011_packages.sql"),
    ),
    (
        12,
        "gateway",
        include_str!("../migrations/postgres/0012_gateway.sql"),
    ),
    (
        14,
        "owed",
        include_str!("../migrations/postgres/0014_owed.sql"),
    ),
    (
        15,
        "lanes_open",
        include_str!("../migrations/postgres/0015_lanes_open.sql"),
    ),
];

const SQLITE_TRIPLINE: &Listed = &[
    (
        1,
        "functions",
        include_str!("../migrations/sqlite/tripline/0001_functions.sql"),
    ),
    (
        2,
        "delivery",
        include_str!("../migrations/sqlite/tripline/0002_delivery.sql"),
    ),
    (
        3,
        "settings",
        include_str!("../migrations/sqlite/tripline/0003_settings.sql"),
    ),
    (
        4,
        "lanes",
        include_str!("../migrations/sqlite/tripline/0004_lanes.sql"),
    ),
    (
        5,
        "token keys",
        include_str!("../migrations/sqlite/tripline/0005_token_keys.sql"),
    ),
    (
        6,
        "sessions and types",
        include_str!("../migrations/sqlite/tripline/0006_sessions_and_types.sql"),
    ),
    (
        8,
        "packages",
        include_str!("../migrations/sqlite/tripline/0008_packages.sql"),
    ),
    (
        9,
        "gateway",
        include_str!("../migrations/sqlite/tripline/0009_gateway.sql"),
    ),
];

const SQLITE_LOGS: &Listed = &[
    (
        1,
        "logs",
        include_str!("../migrations/sqlite/logs/0001_logs.sql"),
    ),
    (
        2,
        "redrive",
        include_str!("../migrations/sqlite/logs/0002_redrive.sql"),
    ),
    (
        3,
        "first_attempts",
        include_str!("../migrations/sqlite/logs/0003_first_attempts.sql"),
    ),
    (
        4,
        "owed",
        include_str!("../migrations/sqlite/logs/0004_owed.sql"),
    ),
];

const SQLITE_QUEUE: &Listed = &[(
    1,
    "queue",
    include_str!("../migrations/sqlite/queue/0001_queue.sql"),
)];

pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

pub(crate) fn sqlite_tripline() -> Migrator {
    migrator(SQLITE_TRIPLINE)
}

pub(crate) fn sqlite_logs() -> Migrator {
    migrator(SQLITE_LOGS)
}

pub(crate) fn sqlite_queue() -> Migrator {
    migrator(SQLITE_QUEUE)
}

fn migrator(listed: &Listed) -> Migrator {
    let migrations = listed.iter().map(|&(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // While a release is rolled out, old processes start beside a newer database.
    migrator.set_ignore_missing(true);
    migrator
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_file_of_migrations_is_part_of_the_program() {
        let folders = [
            ("postgres", POSTGRES),
            ("sqlite/tripline", SQLITE_TRIPLINE),
            ("sqlite/logs", SQLITE_LOGS),
            ("sqlite/queue", SQLITE_QUEUE),
        ];
        for (folder, listed) in folders {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("migrations")
                .join(folder);
            let files: BTreeSet<String> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            let listed: BTreeSet<String> = listed
                .iter()
                .map(|(number, name, _)| format!("{number:04}_{}.sql", name.replace(' ', "_")))
                .collect();
            assert_eq!(files, listed, "in {folder}");
        }
    }
}
