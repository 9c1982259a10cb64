//! Takes records from their queue, many messages at once; any replica may take any of them.

use std::time::Duration;

use broker::{Acknowledgement, Consumer, Received};
use domain::record::Record;
use lifecycle::Tasks;
use protocol::envelope::Envelope as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::append::{Appender, Refused};
use crate::metrics;
use crate::put_off::PutOff;

/// How much is stored at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathering {
    pub(crate) records_max: usize,
    pub(crate) messages_max: usize,
    pub(crate) wait: Duration,
}

/// Where so many records come together, what came of deliveries follows soon, and is waited for.
const BUSY_FROM: usize = 50;

/// Consumes until the process stops.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) appender: Appender,
    pub(crate) gathering: Gathering,
    pub(crate) put_off: PutOff,
    /// Messages that were taken.
    pub(crate) taken: u64,
}

/// Messages whose records are stored together.
#[derive(Debug, Default)]
struct Gathered {
    /// Those of the messages, and behind them what was put off and is due.
    records: Vec<Record>,
    due_from: usize,
    messages: Vec<Message>,
}

/// A message and its duty.
#[derive(Debug)]
struct Message {
    number: u64,
    acknowledgement: Acknowledgement,
    /// Where its records begin.
    start: usize,
    /// How much of it is put off.
    open: usize,
}

impl Records {
    pub(crate) async fn run(
        mut self,
        mut prepared: watch::Receiver<bool>,
        tasks: Tasks,
    ) -> anyhow::Result<()> {
        let mut stopping = tasks.stopping();
        tokio::select! {
            () = &mut stopping => return Ok(()),
            _prepared = prepared.wait_for(|prepared| *prepared) => {}
        }
        loop {
            let first = tokio::select! {
                biased;
                () = &mut stopping => break,
                next = self.consumer.next() => match next {
                    Some(first) => Some(first),
                    None => break,
                },
                () = until(self.put_off.next_due()) => None,
            };
            let mut gathered = match first {
                Some(first) => self.gather(first).await,
                None => Gathered::default(),
            };
            self.put_off(&mut gathered);
            let Some(refused) = self.appender.append(&gathered.records).await else {
                // What is in hand goes back to the queue.
                break;
            };
            // Stored first, acknowledged then: a crash in between stores them again, which
            // changes nothing.
            let due_from = gathered.due_from;
            let records = gathered.answer(&refused, &mut self.put_off);
            for lost in refused.iter().filter(|refused| refused.place >= due_from) {
                tracing::error!(reason = lost.reason, "an owed delivery cannot be stored");
            }
            // Those are done with, too.
            let is_open = |place: usize| {
                let mut refused = refused.iter().map(|refused| refused.place);
                place < due_from && refused.any(|refused| refused == place)
            };
            let done_with = records.iter().enumerate();
            let done_with = done_with.filter(|(place, _)| !is_open(*place));
            let done_with = done_with.map(|(_, record)| record);
            let done = self.put_off.stored(done_with, Instant::now());
            done.into_iter().for_each(Acknowledgement::ack);
        }
        self.consumer.cancel().await;
        Ok(())
    }

    /// Leaves out what may be written later, and adds what is to be written now.
    fn put_off(&mut self, gathered: &mut Gathered) {
        let now = Instant::now();
        gathered.due_from = gathered.records.len();
        if gathered.due_from >= BUSY_FROM {
            let mut room = self.put_off.room();
            let ends = gathered.ends();
            for (message, end) in gathered.messages.iter_mut().zip(ends) {
                if room == 0 {
                    break;
                }
                let records = gathered.records.get_mut(message.start..end);
                for record in records.into_iter().flatten() {
                    if let Record::Matched(matched) = record {
                        message.open += self.put_off.take(matched, message.number, now);
                    }
                }
                room -= usize::from(message.open > 0);
            }
        }
        gathered.records.extend(self.put_off.take_due(now));
    }

    async fn gather(&mut self, first: Received) -> Gathered {
        let deadline = Instant::now() + self.gathering.wait;
        let mut gathered = Gathered::default();
        gathered.add(first, self.next_number());
        while gathered.records.len() < self.gathering.records_max
            && gathered.messages.len() < self.gathering.messages_max
            && let Ok(Some(next)) = timeout_at(deadline, self.consumer.next()).await
        {
            gathered.add(next, self.next_number());
        }
        gathered
    }

    const fn next_number(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }
}

impl Gathered {
    /// Where the records of each message end.
    fn ends(&self) -> Vec<usize> {
        let starts = self.messages.iter().skip(1).map(|next| next.start);
        starts.chain([self.due_from]).collect()
    }

    fn add(&mut self, received: Received, number: u64) {
        match Record::read(received.body) {
            Ok(records) => {
                self.messages.push(Message {
                    number,
                    acknowledgement: received.acknowledgement,
                    start: self.records.len(),
                    open: 0,
                });
                self.records.extend(records);
            }
            Err(error) => {
                let reason = match std::error::Error::source(&error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                tracing::error!(
                    reason,
                    "a message of records cannot be read, it is set aside"
                );
                metrics::message_set_aside();
                received.acknowledgement.reject(reason);
            }
        }
    }

    /// Acknowledges the messages, but those of which something is put off, and those with a record
    /// that could not be stored: their other records are stored, and storing them once more would
    /// change nothing. Gives back the records.
    fn answer(self, refused: &[Refused], put_off: &mut PutOff) -> Vec<Record> {
        let ends = self.ends();
        for (message, end) in self.messages.into_iter().zip(ends) {
            let Message {
                number,
                acknowledgement,
                start,
                open,
            } = message;
            let faults: Vec<&Refused> = refused
                .iter()
                .filter(|fault| (start..end).contains(&fault.place))
                .collect();
            let Some(first) = faults.first() else {
                match open {
                    0 => acknowledgement.ack(),
                    open => put_off.hold(number, open, acknowledgement),
                }
                continue;
            };
            let (nth, count) = (first.place - start + 1, end - start);
            let more = match faults.len() {
                1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            let reason = format!(
                "record {nth} of {count} cannot be stored{more}: {}",
                first.reason
            );
            tracing::error!(
                reason,
                "a record cannot be stored, its message is set aside"
            );
            metrics::message_set_aside();
            acknowledgement.reject(reason);
        }
        self.records
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
