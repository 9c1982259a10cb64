//! The one task that writes to the queue's file: whatever waits goes into one transaction.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::open::{move_message, store_queue};
use super::{Command, Line, Lines, Position, Shared, UNREADABLE, bytes_of, number_of};
use crate::Error;
use crate::sqlite::batch;

/// Acknowledgements wait this long for company: losing one only repeats its message.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// At the end, other drivers still flush into the queue; nobody told of anything for this long
/// means that they are done.
const QUIET: Duration = Duration::from_millis(200);

/// After a failed commit, so that a full disk is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// A transaction takes no more than this, so that nobody waits long for its own part.
const TRANSACTION_COMMANDS_MAX: usize = 1024;
const TRANSACTION_BYTES_MAX: u64 = 8 * 1024 * 1024;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: SqliteConnection,
    pub(super) waiting: mpsc::Receiver<Command>,
}

/// What one transaction does, and who is to be told.
#[derive(Default)]
struct Batch {
    inserts: Vec<Insert>,
    moves: Vec<Move>,
    acks: Vec<i64>,
    new_queues: Vec<(i64, String)>,
    handed: Vec<(i64, i64)>,
}

struct Insert {
    position: i64,
    headers: Bytes,
    body: Bytes,
    reply: oneshot::Sender<Result<Position, Error>>,
}

struct Move {
    position: i64,
    target: i64,
    origin: String,
    reason: String,
    reply: oneshot::Sender<Result<(), Error>>,
}

/// What a transaction found: size and place of what it removed and moved.
#[derive(Default)]
struct Written {
    removed: Vec<Gone>,
    moved: Vec<(Gone, i64)>,
}

/// A message that left its queue.
struct Gone {
    position: i64,
    bytes: u64,
}

impl Writer {
    pub(super) async fn run(mut self, mut closing: impl Future<Output = ()> + Unpin) {
        let mut ack_deadline: Option<Instant> = None;
        loop {
            let deadline = ack_deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = &mut closing => break,
                command = self.waiting.recv() => match command {
                    Some(command) => {
                        self.commit_with(Some(command)).await;
                        ack_deadline = None;
                    }
                    // Every handle is gone: what was acknowledged is still to be removed.
                    None => break,
                },
                () = tokio::time::sleep_until(deadline), if ack_deadline.is_some() => {
                    self.commit_with(None).await;
                    ack_deadline = None;
                }
                () = self.shared.acknowledged.notified(), if ack_deadline.is_none() => {
                    ack_deadline = Some(Instant::now() + ACK_DELAY);
                }
            }
        }
        self.close().await;
    }

    /// Serves those who flush last, until all is quiet; then notes that nothing is in hand any
    /// more.
    async fn close(mut self) {
        loop {
            tokio::select! {
                biased;
                command = self.waiting.recv() => match command {
                    Some(command) => self.commit_with(Some(command)).await,
                    None => break,
                },
                () = self.shared.acknowledged.notified() => self.commit_with(None).await,
                () = tokio::time::sleep(QUIET) => break,
            }
        }
        self.waiting.close();
        while let Some(command) = self.waiting.recv().await {
            self.commit_with(Some(command)).await;
        }
        self.commit_with(None).await;
        let forgotten = sqlx::query("UPDATE queues SET handed_up_to = 0")
            .execute(&mut self.connection)
            .await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "what was in hand will be counted as if the process had crashed");
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "queue file was not closed in good order");
        }
    }

    async fn commit_with(&mut self, first: Option<Command>) {
        let mut batch = self.gather(first);
        match self.write(&batch).await {
            Ok(written) => self.settle(batch, &written),
            Err(error) => {
                tracing::error!(%error, "queue could not be written");
                self.undo(&mut batch, &Error::from(error));
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    /// Takes what waits, up to the limits of a transaction.
    fn gather(&mut self, first: Option<Command>) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut commands = 0;
        let mut next = first;
        let mut lines = self.shared.lines();
        while let Some(command) = next {
            match command {
                Command::Enqueue {
                    queue,
                    headers,
                    body,
                    reply,
                } => {
                    bytes += bytes_of(&headers, &body);
                    let position = lines.queues.entry(queue).or_default().next();
                    batch.inserts.push(Insert {
                        position,
                        headers,
                        body,
                        reply,
                    });
                }
                Command::SetAside {
                    position,
                    reason,
                    reply,
                } => {
                    match lines.place_aside(position, self.shared.limits.queue_bytes_max) {
                        Ok((origin, target)) => {
                            batch.moves.push(Move {
                                position,
                                target,
                                origin,
                                reason,
                                reply,
                            });
                        }
                        // The caller may have gone away meanwhile.
                        Err(full) => drop(reply.send(Err(full))),
                    }
                }
            }
            commands += 1;
            let has_room = commands < TRANSACTION_COMMANDS_MAX && bytes < TRANSACTION_BYTES_MAX;
            next = if has_room {
                self.waiting.try_recv().ok()
            } else {
                None
            };
        }
        batch.acks = std::mem::take(&mut lines.acks);
        let unknown = lines.queues.iter().filter(|(_, line)| !line.is_stored);
        batch.new_queues = unknown
            .map(|(number, line)| (*number, line.name.clone()))
            .collect();
        if std::mem::take(&mut lines.has_new_handed) {
            let handed = lines
                .queues
                .iter()
                .map(|(number, line)| (*number, line.handed_up_to));
            batch.handed = handed.filter(|(_, position)| *position > 0).collect();
        }
        batch
    }

    async fn write(&mut self, batch: &Batch) -> Result<Written, sqlx::Error> {
        let mut written = Written::default();
        if batch.is_empty() {
            return Ok(written);
        }
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (number, name) in &batch.new_queues {
            store_queue(&mut transaction, *number, name).await?;
        }
        for rows in batch::runs(&batch.inserts) {
            let sql = batch::values(
                "INSERT INTO messages (position, headers, body)",
                3,
                rows.len(),
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in rows {
                query = query
                    .bind(row.position)
                    .bind(&*row.headers)
                    .bind(&*row.body);
            }
            query.execute(&mut *transaction).await?;
        }
        for Move {
            position,
            target,
            origin,
            reason,
            ..
        } in &batch.moves
        {
            if let Some(bytes) = size_of(&mut transaction, *position).await? {
                move_message(&mut transaction, *position, *target, origin, reason).await?;
                written.moved.push((
                    Gone {
                        position: *position,
                        bytes,
                    },
                    *target,
                ));
            }
        }
        written.removed = remove(&mut transaction, &batch.acks).await?;
        for (number, position) in &batch.handed {
            sqlx::query("UPDATE queues SET handed_up_to = $2 WHERE number = $1")
                .bind(number)
                .bind(position)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(written)
    }

    fn settle(&self, batch: Batch, written: &Written) {
        {
            let mut lines = self.shared.lines();
            for (number, _) in &batch.new_queues {
                lines.queues.entry(*number).or_default().is_stored = true;
            }
            for (gone, target) in &written.moved {
                lines.release(number_of(gone.position), gone.bytes);
                let depth = &mut lines.queues.entry(number_of(*target)).or_default().depth;
                depth.messages += 1;
                depth.bytes += gone.bytes;
            }
            for gone in &written.removed {
                lines.release(number_of(gone.position), gone.bytes);
            }
        }
        // A caller that went away does not need its answer.
        for insert in batch.inserts {
            drop(insert.reply.send(Ok(Position(insert.position))));
        }
        for moved in batch.moves {
            drop(moved.reply.send(Ok(())));
        }
    }

    /// Tells everyone who waits, and keeps the rest for the next try.
    fn undo(&self, batch: &mut Batch, error: &Error) {
        let mut lines = self.shared.lines();
        for insert in batch.inserts.drain(..) {
            lines.release(
                number_of(insert.position),
                bytes_of(&insert.headers, &insert.body),
            );
            drop(insert.reply.send(Err(error.clone())));
        }
        for moved in batch.moves.drain(..) {
            drop(moved.reply.send(Err(error.clone())));
        }
        lines.acks.append(&mut batch.acks);
        lines.has_new_handed |= !batch.handed.is_empty();
        drop(lines);
        self.shared.acknowledged.notify_one();
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.inserts.is_empty()
            && self.moves.is_empty()
            && self.acks.is_empty()
            && self.new_queues.is_empty()
            && self.handed.is_empty()
    }
}

impl Line {
    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }
}

impl Lines {
    /// The queue a message comes from, and its place among those set aside.
    fn place_aside(&mut self, position: i64, bytes_max: u64) -> Result<(String, i64), Error> {
        let origin = self.queues.get(&number_of(position));
        let origin = origin.map(|line| line.name.clone()).unwrap_or_default();
        let number = self.number(UNREADABLE);
        let unreadable = self.queues.entry(number).or_default();
        if unreadable.depth.bytes >= bytes_max {
            return Err(Error::Full {
                queue: UNREADABLE.to_owned(),
                bytes_max,
            });
        }
        Ok((origin, unreadable.next()))
    }
}

async fn size_of(
    connection: &mut SqliteConnection,
    position: i64,
) -> Result<Option<u64>, sqlx::Error> {
    sqlx::query_scalar("SELECT length(headers) + length(body) FROM messages WHERE position = $1")
        .bind(position)
        .fetch_optional(connection)
        .await
}

/// Removes messages; answers with those that were there.
async fn remove(
    connection: &mut SqliteConnection,
    positions: &[i64],
) -> Result<Vec<Gone>, sqlx::Error> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = String::with_capacity(positions.len() * 18);
    for position in positions {
        let separator = if list.is_empty() { '[' } else { ',' };
        write!(list, "{separator}{position}").map_err(|error| sqlx::Error::Encode(error.into()))?;
    }
    list.push(']');
    let rows = sqlx::query(
        "DELETE FROM messages WHERE position IN (SELECT value FROM json_each($1)) \
         RETURNING position, length(headers) + length(body) AS bytes",
    )
    .bind(list)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Gone {
                position: row.try_get("position")?,
                bytes: row.try_get("bytes")?,
            })
        })
        .collect()
}
