//! Opening the queue's file: what a crash left behind is counted, and the writer is started.

use std::sync::{Arc, Mutex};

use lifecycle::Tasks;
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use tokio::sync::{Notify, mpsc};

use super::writer::Writer;
use super::{
    Depth, EmbeddedQueue, Limits, Line, Lines, Shared, UNREADABLE, WAITING_MAX, first_of, number_of,
};
use crate::Error;

/// `connection` is the only one that ever writes to the file; its tables exist.
pub(crate) async fn open(
    mut connection: SqliteConnection,
    readers: SqlitePool,
    limits: Limits,
    tasks: &Tasks,
) -> Result<EmbeddedQueue, Error> {
    count_crashes(&mut connection, limits.crashes_max).await?;
    let lines = Mutex::new(read_lines(&mut connection).await?);
    let (commands, waiting) = mpsc::channel(WAITING_MAX);
    let shared = Arc::new(Shared {
        readers,
        limits,
        lines,
        acknowledged: Notify::new(),
    });
    let writer = Writer {
        shared: Arc::clone(&shared),
        connection,
        waiting,
    };
    let closing = tasks.closing();
    tasks.spawn_background("queue writer", async move {
        writer.run(closing).await;
        Ok(())
    });
    Ok(EmbeddedQueue { shared, commands })
}

/// Counts one crash for what was in hand when the process died, and sets aside what was in hand
/// too often: reading it may be what kills us.
async fn count_crashes(connection: &mut SqliteConnection, crashes_max: u32) -> Result<(), Error> {
    sqlx::query(
        "UPDATE messages SET crashes = crashes + 1 WHERE position IN \
         (SELECT messages.position FROM queues CROSS JOIN messages \
          WHERE queues.handed_up_to > 0 AND messages.position > (queues.number << 48) \
          AND messages.position <= queues.handed_up_to)",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE queues SET handed_up_to = 0")
        .execute(&mut *connection)
        .await?;
    let deadly: Vec<(i64, String)> = sqlx::query_as(
        "SELECT messages.position, queues.name FROM messages \
         JOIN queues ON queues.number = messages.position >> 48 \
         WHERE messages.crashes > $1 AND messages.origin IS NULL ORDER BY messages.position",
    )
    .bind(crashes_max)
    .fetch_all(&mut *connection)
    .await?;
    if deadly.is_empty() {
        return Ok(());
    }
    let mut lines = read_lines(connection).await?;
    let number = lines.number(UNREADABLE);
    store_queue(connection, number, UNREADABLE).await?;
    let mut target = lines
        .queues
        .get(&number)
        .map_or_else(|| first_of(number), |line| line.last);
    for (position, origin) in deadly {
        target += 1;
        tracing::error!(
            queue = origin,
            position,
            crashes_max,
            "message set aside: it was in hand at too many crashes"
        );
        let reason = format!("in hand at more than {crashes_max} crashes");
        move_message(connection, position, target, &origin, &reason).await?;
    }
    Ok(())
}

pub(super) async fn store_queue(
    connection: &mut SqliteConnection,
    number: i64,
    name: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO queues (number, name) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(number)
        .bind(name)
        .execute(connection)
        .await
        .map(drop)
}

/// Sets a message aside under a new position.
pub(super) async fn move_message(
    connection: &mut SqliteConnection,
    position: i64,
    target: i64,
    origin: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE messages SET position = $2, origin = $3, reason = $4 WHERE position = $1")
        .bind(position)
        .bind(target)
        .bind(origin)
        .bind(reason)
        .execute(connection)
        .await
        .map(drop)
}

async fn read_lines(connection: &mut SqliteConnection) -> Result<Lines, Error> {
    let mut lines = Lines::default();
    let queues: Vec<(i64, String)> = sqlx::query_as("SELECT number, name FROM queues")
        .fetch_all(&mut *connection)
        .await?;
    for (number, name) in queues {
        lines.numbers.insert(name.clone(), number);
        let line = Line {
            name,
            last: first_of(number),
            is_stored: true,
            ..Line::default()
        };
        lines.queues.insert(number, line);
    }
    let depths = sqlx::query(
        "SELECT max(position) AS last, count(*) AS messages, \
         sum(length(headers) + length(body)) AS bytes FROM messages GROUP BY position >> 48",
    )
    .fetch_all(connection)
    .await?;
    for row in depths {
        let last: i64 = row.try_get("last")?;
        if let Some(line) = lines.queues.get_mut(&number_of(last)) {
            line.last = last;
            line.depth = Depth {
                messages: row.try_get("messages")?,
                bytes: row.try_get("bytes")?,
            };
        }
    }
    Ok(lines)
}
