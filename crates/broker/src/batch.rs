//! Gathers what arrives while the last publishes are under way into the next message.
//!
//! A message costs far more than what it carries, so under load batches form by themselves, and
//! the first item after idle leaves at once. Order is kept: what one caller put in line first
//! goes out first.

mod pace;
mod waiters;

mod run;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lifecycle::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::publish::{Message, PublishError, Publisher};
use crate::topology::Queue;
pub use pace::StreamRate;
use run::Loop;

/// How items become a message.
pub struct Encoding<T> {
    /// About how many bytes the item adds to a message.
    pub bytes_of: fn(&T) -> usize,
    pub encode: fn(&[T]) -> Message,
}

/// What one batcher allows.
#[derive(Debug, Clone)]
pub struct BatchLimits {
    /// Items in one message.
    pub items_max: usize,
    /// Bytes in one message; an item that is larger goes alone.
    pub bytes_max: usize,
    /// Messages on their way at a time. With 1, a refused message is never overtaken.
    pub publishes_in_flight_max: usize,
    /// Items that may wait for their turn or for their confirm.
    pub waiting_items_max: u32,
    /// Bytes that may wait for their turn or for their confirm.
    pub waiting_bytes_max: u32,
    /// How long a caller waits for room before it is told [`PublishError::Busy`].
    pub room_timeout: Duration,
    /// Above this rate of pushes per second an interval between messages begins to grow …
    pub interval_from: u32,
    /// … and at this rate it is [`interval_max`](Self::interval_max).
    pub interval_full_at: u32,
    pub interval_max: Duration,
    /// Beyond that, as long as more keeps coming and the message is not full, it goes on growing:
    /// at this rate it is [`long_interval_max`](Self::long_interval_max).
    pub long_interval_at: u32,
    pub long_interval_max: Duration,
    /// Lines that are started with clones of these limits count their rate together.
    pub stream: StreamRate,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            items_max: 256,
            bytes_max: 256 * 1024,
            publishes_in_flight_max: 2,
            waiting_items_max: 20_000,
            waiting_bytes_max: 32 * 1024 * 1024,
            room_timeout: Duration::from_secs(1),
            interval_from: 1_000,
            interval_full_at: 2_000,
            interval_max: Duration::from_millis(5),
            long_interval_at: 8_000,
            long_interval_max: Duration::from_millis(20),
            stream: StreamRate::default(),
        }
    }
}

impl BatchLimits {
    /// For what nobody waits for, such as records: however slowly it comes, some of it is
    /// gathered first, because a message costs far more than what it carries.
    #[must_use]
    pub fn unhurried() -> Self {
        Self {
            interval_from: 0,
            interval_full_at: 1,
            interval_max: Duration::from_millis(10),
            ..Self::default()
        }
    }
}

/// Puts items into one queue, many to a message; clones share the line.
pub struct Batcher<T> {
    line: mpsc::UnboundedSender<Group<T>>,
    room: Arc<Room>,
    bytes_of: fn(&T) -> usize,
}

/// Items that were put in line together.
struct Group<T> {
    items: Vec<T>,
    /// Whether to try again for as long as the process runs.
    until_durable: bool,
    settled: oneshot::Sender<Result<(), PublishError>>,
    room: [OwnedSemaphorePermit; 2],
}

/// What may wait at a time; the line itself is not bounded.
struct Room {
    items: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: BatchLimits,
}

/// Resolves when everything that was put in line together is durable.
#[derive(Debug)]
pub struct Pushed(oneshot::Receiver<Result<(), PublishError>>);

impl<T: Send + 'static> Batcher<T> {
    /// Starts the batcher of one queue. It publishes what is in line before the process ends.
    pub fn start(
        publisher: Arc<dyn Publisher>,
        queue: Queue,
        encoding: Encoding<T>,
        limits: BatchLimits,
        tasks: &Tasks,
    ) -> Self {
        let (line, arrivals) = mpsc::unbounded_channel();
        let room = Arc::new(Room {
            items: Arc::new(Semaphore::new(as_usize(limits.waiting_items_max))),
            bytes: Arc::new(Semaphore::new(as_usize(limits.waiting_bytes_max))),
            limits: limits.clone(),
        });
        let bytes_of = encoding.bytes_of;
        let driver = Loop::new(publisher, queue, encoding, limits, arrivals);
        tasks.spawn_background(format!("batcher {queue}"), driver.run(tasks.closing()));
        Self {
            line,
            room,
            bytes_of,
        }
    }

    /// Puts one item in line and waits until it is durable.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when there is no room in time, else what the publisher said.
    pub async fn push(&self, item: T) -> Result<(), PublishError> {
        self.put(vec![item]).await?.await
    }

    /// Puts items in line, in their order, and waits once for all of them. After a failure some
    /// of them may be durable.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when there is no room in time, else what the publisher said first.
    pub async fn push_all(&self, items: Vec<T>) -> Result<(), PublishError> {
        self.put(items).await?.await
    }

    /// Puts items in line, in their order, and answers with what tells when they are durable.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when there is no room in time.
    pub async fn put(&self, items: Vec<T>) -> Result<Pushed, PublishError> {
        let reserved = timeout(self.room.limits.room_timeout, self.reserve(&items)).await;
        let room = reserved.unwrap_or(Err(PublishError::Busy))?;
        self.enqueue(items, room, false)
    }

    /// As [`put`](Self::put), for what must not be lost: waits for room as long as it takes, and
    /// publishes again and again, in order, until it is durable or the process ends.
    ///
    /// # Errors
    /// Only when the batcher has ended.
    pub async fn put_until_durable(&self, items: Vec<T>) -> Result<Pushed, PublishError> {
        let room = self.reserve(&items).await?;
        self.enqueue(items, room, true)
    }

    /// As [`push_all`](Self::push_all), for what must not be lost: waits for room as long as it
    /// takes, and publishes again and again, in order, until it is durable or the process ends.
    ///
    /// # Errors
    /// Only when the process ends first.
    pub async fn push_until_durable(&self, items: Vec<T>) -> Result<(), PublishError> {
        self.put_until_durable(items).await?.await
    }

    async fn reserve(&self, items: &[T]) -> Result<[OwnedSemaphorePermit; 2], PublishError> {
        let limits = &self.room.limits;
        let bytes: usize = items.iter().map(self.bytes_of).sum();
        let count = u32::try_from(items.len())
            .unwrap_or(u32::MAX)
            .min(limits.waiting_items_max);
        let bytes = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(limits.waiting_bytes_max);
        let gone = |_closed| PublishError::Unavailable;
        let items = Arc::clone(&self.room.items)
            .acquire_many_owned(count)
            .await
            .map_err(gone)?;
        let bytes = Arc::clone(&self.room.bytes)
            .acquire_many_owned(bytes)
            .await
            .map_err(gone)?;
        Ok([items, bytes])
    }

    fn enqueue(
        &self,
        items: Vec<T>,
        room: [OwnedSemaphorePermit; 2],
        until_durable: bool,
    ) -> Result<Pushed, PublishError> {
        let (settled, waiting) = oneshot::channel();
        let group = Group {
            items,
            until_durable,
            settled,
            room,
        };
        self.line
            .send(group)
            .map_err(|_ended| PublishError::Unavailable)?;
        Ok(Pushed(waiting))
    }
}

impl Future for Pushed {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|settled| settled.unwrap_or(Err(PublishError::Unavailable)))
    }
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        Self {
            line: self.line.clone(),
            room: Arc::clone(&self.room),
            bytes_of: self.bytes_of,
        }
    }
}

impl<T> fmt::Debug for Batcher<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batcher")
            .field("items_free", &self.room.items.available_permits())
            .field("bytes_free", &self.room.bytes.available_permits())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Encoding<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Encoding").finish_non_exhaustive()
    }
}

fn as_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
