//! The embedded broker's queues: durable lines of messages in one `SQLite` file.
//!
//! [`EmbeddedQueue`] is what `broker` offers behind its own traits:
//!
//! - [`EmbeddedQueue::enqueue`] puts a message in line and answers with a [`Durable`], which
//!   resolves to the message's [`Position`] once it is on disk. Everything that waits is written
//!   by one task in one transaction, so a thousand callers cost a few syncs. Messages keep the
//!   order in which `enqueue` was called.
//! - [`EmbeddedQueue::load`] reads messages after a position, in order: to catch up after a start
//!   or when memory is full. A message just enqueued may be handed over directly instead.
//! - [`EmbeddedQueue::handed`] notes up to where messages are in somebody's hands. Those that
//!   still are when the process dies count one crash each; over [`Limits::crashes_max`] they are
//!   set aside when the file is opened again.
//! - [`EmbeddedQueue::ack`] removes a message, within a few milliseconds; if the process dies
//!   before that, the message comes again.
//! - [`EmbeddedQueue::set_aside`] moves a message to the queue [`UNREADABLE`].
//!
//! **Invariant:** a resolved [`Durable`] survives the loss of power.

mod open;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::Error;

pub(crate) use open::open;

/// Where messages are kept that nobody could read; `broker` calls its queue the same.
pub const UNREADABLE: &str = "unreadable.v1";

/// Callers beyond this many wait before their message is even taken.
const WAITING_MAX: usize = 4096;

/// The bits of a position below its queue's number.
const SEQUENCE_BITS: u32 = 48;

/// What the queues may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Headers and bodies of one queue, in bytes.
    pub queue_bytes_max: u64,
    /// A message that was in hand at more crashes than this is set aside.
    pub crashes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_bytes_max: 1024 * 1024 * 1024,
            crashes_max: 20,
        }
    }
}

/// A message's place: unique in the file, growing along its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(i64);

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A message as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    pub position: Position,
    /// Whatever the broker wants to keep beside the body.
    pub headers: Bytes,
    pub body: Bytes,
    /// At how many crashes it was in hand; over 0 means it was given before.
    pub crashes: u32,
    /// Only in [`UNREADABLE`]: which queue it comes from, and why.
    pub set_aside: Option<SetAside>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub queue: String,
    pub reason: String,
}

/// How much a queue holds, in hand or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub messages: u64,
    pub bytes: u64,
}

/// A handle; clones share one file and one writer.
#[derive(Debug, Clone)]
pub struct EmbeddedQueue {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// Resolves when a message is on disk, or cannot be put there.
#[derive(Debug)]
pub struct Durable(oneshot::Receiver<Result<Position, Error>>);

#[derive(Debug)]
struct Shared {
    readers: SqlitePool,
    limits: Limits,
    lines: Mutex<Lines>,
    /// Told of every acknowledgement, so that the writer need not look.
    acknowledged: Notify,
}

/// What is known without asking the file.
#[derive(Debug, Default)]
struct Lines {
    numbers: HashMap<String, i64>,
    queues: HashMap<i64, Line>,
    /// Acknowledged, and not yet removed from the file.
    acks: Vec<i64>,
    /// Whether some `handed_up_to` is not in the file yet.
    has_new_handed: bool,
}

#[derive(Debug, Default)]
struct Line {
    name: String,
    depth: Depth,
    /// The last position given to a message.
    last: i64,
    handed_up_to: i64,
    /// Whether the file knows the queue's number.
    is_stored: bool,
}

#[derive(Debug)]
enum Command {
    Enqueue {
        queue: i64,
        headers: Bytes,
        body: Bytes,
        reply: oneshot::Sender<Result<Position, Error>>,
    },
    SetAside {
        position: i64,
        reason: String,
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

impl EmbeddedQueue {
    /// Puts a message at the end of a queue, which comes into being with its first message.
    /// Waits while thousands of callers are ahead.
    ///
    /// # Errors
    /// `Full` when the queue may hold no more, `Closed` when the system is stopping.
    pub async fn enqueue(
        &self,
        queue: &str,
        headers: Bytes,
        body: Bytes,
    ) -> Result<Durable, Error> {
        let permit = self
            .commands
            .reserve()
            .await
            .map_err(|_closed| Error::Closed)?;
        let (reply, durable) = oneshot::channel();
        let queue = self.shared.reserve(queue, bytes_of(&headers, &body))?;
        permit.send(Command::Enqueue {
            queue,
            headers,
            body,
            reply,
        });
        Ok(Durable(durable))
    }

    /// Removes a message, soon. Doing so twice is harmless.
    pub fn ack(&self, position: Position) {
        self.shared.lines().acks.push(position.0);
        self.shared.acknowledged.notify_one();
    }

    /// Notes that every message of the position's queue, up to it, is or was in somebody's hands.
    pub fn handed(&self, position: Position) {
        let mut lines = self.shared.lines();
        if let Some(line) = lines.queues.get_mut(&number_of(position.0))
            && line.handed_up_to < position.0
        {
            line.handed_up_to = position.0;
            lines.has_new_handed = true;
            drop(lines);
            self.shared.acknowledged.notify_one();
        }
    }

    /// Moves a message to [`UNREADABLE`]; one that is gone already is no fault.
    ///
    /// # Errors
    /// `Full` when [`UNREADABLE`] may hold no more: the message stays where it is.
    pub async fn set_aside(&self, position: Position, reason: &str) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let command = Command::SetAside {
            position: position.0,
            reason: reason.to_owned(),
            reply,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_closed| Error::Closed)?;
        done.await.map_err(|_closed| Error::Closed)?
    }

    /// Up to `limit` messages of a queue that follow `after`, or the first ones, in order. What
    /// was acknowledged a moment ago may still be among them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn load(
        &self,
        queue: &str,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<QueuedMessage>, Error> {
        let Some(number) = self.shared.lines().numbers.get(queue).copied() else {
            return Ok(Vec::new());
        };
        let after = after.map_or_else(|| first_of(number), |position| position.0);
        let rows = sqlx::query(
            "SELECT position, headers, body, crashes, origin, reason FROM messages \
             WHERE position > $1 AND position < $2 ORDER BY position LIMIT $3",
        )
        .bind(after)
        .bind(first_of(number + 1))
        .bind(i64::from(limit))
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(read_message).collect()
    }

    /// How much a queue holds.
    pub fn depth(&self, queue: &str) -> Depth {
        let lines = self.shared.lines();
        let line = lines
            .numbers
            .get(queue)
            .and_then(|number| lines.queues.get(number));
        line.map(|line| line.depth).unwrap_or_default()
    }
}

impl Future for Durable {
    type Output = Result<Position, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|settled| settled.unwrap_or(Err(Error::Closed)))
    }
}

impl Shared {
    /// A panic elsewhere leaves the counts whole, so a poisoned lock is still good.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room in a queue, and answers with its number.
    fn reserve(&self, queue: &str, bytes: u64) -> Result<i64, Error> {
        let bytes_max = self.limits.queue_bytes_max;
        let mut lines = self.lines();
        let number = lines.number(queue);
        match lines.queues.get_mut(&number) {
            Some(line) if line.depth.bytes.saturating_add(bytes) <= bytes_max => {
                line.depth.messages += 1;
                line.depth.bytes += bytes;
                Ok(number)
            }
            _ => Err(Error::Full {
                queue: queue.to_owned(),
                bytes_max,
            }),
        }
    }
}

impl Lines {
    fn number(&mut self, queue: &str) -> i64 {
        if let Some(number) = self.numbers.get(queue) {
            return *number;
        }
        let number = self.queues.keys().max().map_or(1, |highest| highest + 1);
        let line = Line {
            name: queue.to_owned(),
            last: first_of(number),
            ..Line::default()
        };
        self.queues.insert(number, line);
        self.numbers.insert(queue.to_owned(), number);
        number
    }

    fn release(&mut self, number: i64, bytes: u64) {
        if let Some(line) = self.queues.get_mut(&number) {
            line.depth.messages = line.depth.messages.saturating_sub(1);
            line.depth.bytes = line.depth.bytes.saturating_sub(bytes);
        }
    }
}

fn read_message(row: &sqlx::sqlite::SqliteRow) -> Result<QueuedMessage, Error> {
    let origin: Option<String> = row.try_get("origin")?;
    let reason: Option<String> = row.try_get("reason")?;
    Ok(QueuedMessage {
        position: Position(row.try_get("position")?),
        headers: row.try_get::<Vec<u8>, _>("headers")?.into(),
        body: row.try_get::<Vec<u8>, _>("body")?.into(),
        crashes: row.try_get("crashes")?,
        set_aside: origin
            .zip(reason)
            .map(|(queue, reason)| SetAside { queue, reason }),
    })
}

/// The position before the first message of a queue.
const fn first_of(number: i64) -> i64 {
    number << SEQUENCE_BITS
}

const fn number_of(position: i64) -> i64 {
    position >> SEQUENCE_BITS
}

fn bytes_of(headers: &Bytes, body: &Bytes) -> u64 {
    u64::try_from(headers.len().saturating_add(body.len())).unwrap_or(u64::MAX)
}
