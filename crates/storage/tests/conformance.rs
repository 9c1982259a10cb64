//! The promises of the three stores, kept by PostgreSQL and by SQLite alike.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken set-up should stop the test"
)]

#[path = "conformance/gateways.rs"]
mod gateways;
#[path = "conformance/lanes.rs"]
mod lanes;
#[path = "conformance/lines.rs"]
mod lines;
#[path = "conformance/log_listing.rs"]
mod log_listing;
#[path = "conformance/logs.rs"]
mod logs;
#[path = "conformance/owed.rs"]
mod owed;
#[path = "conformance/packages.rs"]
mod packages;
#[path = "conformance/records.rs"]
mod records;
#[path = "conformance/redrives.rs"]
mod redrives;
#[path = "conformance/registry.rs"]
mod registry;
#[path = "conformance/schedules.rs"]
mod schedules;
#[path = "conformance/sessions.rs"]
mod sessions;
#[path = "conformance/token_keys.rs"]
mod token_keys;
#[path = "conformance/types.rs"]
mod types;
#[path = "conformance/waiting_room.rs"]
mod waiting_room;

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use storage::{
    Cipher, Config, Error, LogStore, Redrives, RegistryStore, WaitingRoom, postgres, sqlite,
};

/// Far longer than anything here takes; only a failing test waits that long.
const DEADLINE: Duration = Duration::from_secs(20);

/// The stores of one database of the test's own.
struct Stores {
    registry: Arc<dyn RegistryStore>,
    waiting_room: Arc<dyn WaitingRoom>,
    logs: Arc<dyn LogStore>,
    redrives: Arc<dyn Redrives>,
    raw: Raw,
}

/// The same tables, without the stores in between.
enum Raw {
    Postgres {
        pool: sqlx::PgPool,
        _database: testkit::TestDatabase,
    },
    Sqlite {
        tripline: sqlx::SqlitePool,
        logs: sqlx::SqlitePool,
        _folder: tempfile::TempDir,
    },
}

impl Raw {
    /// Runs a statement on the tables of registry and waiting room; `NUMBERS` are the numbers
    /// 1 to 100,000, as a table with the column `n`.
    async fn execute(&self, statement: &str) {
        match self {
            Self::Postgres { pool, .. } => {
                let statement =
                    format!("SET search_path TO functions, delivery, logs; {statement}");
                let numbers = "(SELECT * FROM generate_series(1, 100000)) AS numbers (n)";
                let statement = statement.replace("NUMBERS", numbers);
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(pool)
                    .await
                    .unwrap();
            }
            Self::Sqlite { tripline, .. } => {
                let numbers = "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL \
                    SELECT n + 1 FROM numbers WHERE n < 100000) SELECT n FROM numbers)";
                let statement = statement.replace("NUMBERS", numbers);
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(tripline)
                    .await
                    .unwrap();
            }
        }
    }

    /// How many rows a question about the log has.
    async fn count_of_logs(&self, table: &str) -> i64 {
        let question = format!("SELECT count(*) FROM {table}");
        match self {
            Self::Postgres { pool, .. } => {
                let question = question.replace("FROM ", "FROM logs.");
                sqlx::query_scalar(AssertSqlSafe(question))
                    .fetch_one(pool)
                    .await
                    .unwrap()
            }
            Self::Sqlite { logs, .. } => sqlx::query_scalar(AssertSqlSafe(question))
                .fetch_one(logs)
                .await
                .unwrap(),
        }
    }

    /// A column of bytes or text, of every row.
    async fn bytes_of_functions(&self, column: &str) -> Vec<Vec<u8>> {
        match self {
            Self::Postgres { pool, .. } => {
                let question = format!("SELECT {column} FROM functions.functions");
                sqlx::query_scalar(AssertSqlSafe(question))
                    .fetch_all(pool)
                    .await
                    .unwrap()
            }
            Self::Sqlite { tripline, .. } => {
                let question = format!("SELECT {column} FROM functions");
                sqlx::query_scalar(AssertSqlSafe(question))
                    .fetch_all(tripline)
                    .await
                    .unwrap()
            }
        }
    }
}

fn cipher() -> Cipher {
    Cipher::from_key([42; 32])
}

async fn postgres_stores() -> Stores {
    let database = testkit::postgres().await;
    let config = Config::at(database.url().parse().unwrap());
    let postgres = postgres::connect(&config).unwrap();
    // Two processes that start at once both bring the tables up to date.
    let (one, other) = tokio::join!(postgres.migrate(), postgres.migrate());
    one.unwrap();
    other.unwrap();
    let pool = sqlx::PgPool::connect(&database.url()).await.unwrap();
    Stores {
        registry: postgres.registry(cipher()),
        waiting_room: postgres.waiting_room(),
        logs: postgres.logs(),
        redrives: postgres.redrives(),
        raw: Raw::Postgres {
            pool,
            _database: database,
        },
    }
}

async fn sqlite_stores() -> Stores {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = sqlite::open(&folder.path().join("data")).await.unwrap();
    let raw = async |name: &str| {
        let url = format!(
            "sqlite://{}",
            folder.path().join("data").join(name).display()
        );
        sqlx::SqlitePool::connect(&url).await.unwrap()
    };
    let (tripline, logs) = (raw("tripline.db").await, raw("logs.db").await);
    Stores {
        registry: sqlite.registry(cipher()),
        waiting_room: sqlite.waiting_room(),
        logs: sqlite.logs(),
        redrives: sqlite.redrives(),
        raw: Raw::Sqlite {
            tripline,
            logs,
            _folder: folder,
        },
    }
}

macro_rules! on_both_databases {
    ($($module:ident: $($case:ident),+;)+) => {
        mod on_postgres {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(&super::postgres_stores().await).await;
                }
            )+)+
        }

        mod on_sqlite {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(&super::sqlite_stores().await).await;
                }
            )+)+
        }
    };
}

on_both_databases! {
    registry:
        a_project_is_made_once_and_with_its_first_key,
        a_paused_project_is_told_to_everybody,
        a_revoked_key_keeps_its_first_time,
        a_function_and_its_trigger_come_back_as_given,
        secrets_are_in_no_table_in_clear,
        names_that_are_taken_or_missing_are_told,
        nothing_is_stored_when_the_trigger_is_taken,
        listings_come_in_pages_by_name,
        updates_replace_and_keep_the_time_of_making,
        deleting_a_function_deletes_its_triggers_and_says_so,
        what_is_made_again_after_a_deletion_is_there,
        a_thousand_changes_are_all_seen,
        a_reader_misses_nothing_that_is_changed_meanwhile,
        who_lags_too_far_behind_gets_a_snapshot,
        a_change_wakes_those_who_wait,
        a_row_without_settings_has_their_defaults,
        a_hundred_thousand_triggers_load;
    schedules:
        a_schedule_comes_back_as_given_and_goes_with_its_trigger,
        a_schedule_that_is_due_is_claimed_once_and_moves_on,
        replicas_never_share_a_strike;
    packages:
        a_version_is_kept_as_it_is_and_put_in_force_as_a_whole,
        a_version_that_cannot_be_put_in_force_leaves_everything,
        of_two_who_deploy_at_once_one_is_told_to_try_again,
        schedules_of_a_version_come_and_go_and_keep_their_time;
    gateways:
        services_are_kept_with_what_their_calls_fire,
        a_script_is_kept_as_it_was_made;
    token_keys:
        token_keys_are_made_once_and_replaced,
        token_keys_are_in_no_table_in_clear;
    sessions:
        revoked_sessions_are_told_and_forgotten;
    types:
        a_registered_type_has_a_number_of_its_project,
        a_deleted_types_number_is_given_to_its_own_name_alone;
    waiting_room:
        a_row_comes_when_it_is_due_and_only_once,
        a_claim_that_runs_out_comes_again,
        only_a_newer_attempt_replaces_a_row,
        removing_leaves_a_newer_attempt,
        claimers_never_share_a_row,
        a_row_that_is_put_wakes_those_who_wait,
        what_is_made_due_comes_at_once_and_nothing_else,
        making_due_leaves_what_somebody_holds,
        a_row_that_is_put_back_waits_until_it_is_due,
        thousands_are_made_due_in_one_call,
        a_row_that_is_made_due_wakes_those_who_wait,
        rows_are_counted_by_reason;
    lanes:
        a_project_with_many_lanes_does_not_starve_one_with_a_single_lane,
        a_lane_lets_go_what_its_allowance_says,
        what_comes_while_nothing_may_go_goes_as_soon_as_it_may,
        an_allowance_is_shared_by_all_who_take,
        what_is_paused_stays_until_it_is_woken,
        the_same_attempt_handed_back_is_stored_and_not_removed_with_the_old_one,
        what_cannot_be_read_holds_up_nobody,
        a_lane_that_was_lost_is_mended,
        a_lane_in_which_nothing_waits_any_more_is_left_alone,
        operators_see_and_move_what_waits;
    lines:
        only_the_first_of_a_line_comes_until_it_has_ended,
        a_first_that_must_be_tried_again_holds_up_its_own_line_alone,
        a_line_goes_on_when_its_first_is_removed_or_set_aside,
        what_is_put_back_stays_first,
        what_waited_for_its_time_joins_a_line_at_its_end,
        an_operator_takes_one_out_of_the_middle_of_a_line,
        no_line_is_ever_left_standing;
    log_listing:
        a_listing_shows_everything_newest_first_in_pages,
        filters_by_delivery_narrow_a_listing,
        filters_by_event_narrow_a_listing,
        events_are_found_by_every_name,
        lines_of_some_deliveries,
        another_project_sees_nothing;
    logs:
        an_event_tells_its_whole_story,
        records_say_the_same_in_any_order_and_number,
        a_success_at_once_is_told_once_however_it_is_reported,
        a_state_never_goes_back,
        an_ending_without_an_attempt_keeps_the_last_one,
        a_redrive_begins_again,
        a_zero_byte_does_not_hold_up_a_batch,
        x_12_days_past_their_time_are_dropped,
        s2_16_s2_17_s2_18_views_have_the_columns_of_space_cloud,
        a_large_batch_is_stored_whole;
    owed:
        what_is_owed_is_known_with_its_event_before_it_has_a_row,
        only_what_nothing_else_is_known_of_is_given_a_row,
        what_is_for_later_says_when_with_and_without_a_row,
        where_little_goes_on_or_one_event_owes_much_there_are_rows_at_once;
    redrives:
        an_order_comes_back_as_it_was_given,
        what_an_order_is_about_comes_oldest_first,
        a_batch_is_planned_once_and_read_again_as_it_was,
        only_who_holds_an_order_goes_on_with_it,
        an_order_ends_and_is_forgotten_with_what_it_planned,
        what_is_ordered_anew_is_staged_and_can_end_again;
}

/// A store that listens holds a connection, which must not hold up the end.
#[tokio::test]
async fn a_closed_database_gives_back_its_connections() {
    let database = testkit::postgres().await;
    let config = Config::at(database.url().parse().unwrap());
    let postgres = postgres::connect(&config).unwrap();
    postgres.migrate().await.unwrap();
    let registry = postgres.registry(cipher());
    registry.changed(Duration::from_millis(1)).await;
    registry.changed(Duration::from_millis(300)).await;
    tokio::time::timeout(DEADLINE, postgres.close())
        .await
        .unwrap();
    assert!(matches!(registry.ping().await, Err(Error::Unavailable(_))));
}

/// A database that is away stops nobody from starting, and waiting for changes goes on.
#[tokio::test]
async fn a_database_that_is_away_is_told_and_waited_for() {
    let port = testkit::free_port();
    let url = format!("postgres://nobody@127.0.0.1:{port}/nothing");
    let mut config = Config::at(url.parse().unwrap());
    config.acquire_timeout = settings::Duration::from_millis(300);
    let postgres = postgres::connect(&config).unwrap();
    assert!(matches!(
        postgres.logs().ping().await,
        Err(Error::Unavailable(_))
    ));
    let registry = postgres.registry(cipher());
    tokio::time::timeout(DEADLINE, registry.changed(Duration::from_millis(500)))
        .await
        .unwrap();
}

/// Only PostgreSQL is divided by day.
#[tokio::test]
async fn a_record_too_old_to_be_kept_holds_nothing_up() {
    logs::a_record_too_old_to_be_kept_holds_nothing_up(&postgres_stores().await).await;
}
