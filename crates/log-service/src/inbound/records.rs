//! Takes records from their queue, many messages at once; any replica may take any of them.

use std::time::Duration;

use broker::{Acknowledgement, Consumer, Received};
use domain::record::Record;
use lifecycle::Tasks;
use protocol::envelope::Envelope as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::append::{Appender, Refused};
use crate::metrics;

/// How much is stored at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathering {
    pub(crate) records_max: usize,
    pub(crate) messages_max: usize,
    pub(crate) wait: Duration,
}

/// Consumes until the process stops.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) appender: Appender,
    pub(crate) gathering: Gathering,
}

/// Messages whose records are stored together.
#[derive(Debug, Default)]
struct Gathered {
    records: Vec<Record>,
    /// Each message's duty, and where its records begin.
    messages: Vec<(Acknowledgement, usize)>,
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
                next = self.consumer.next() => next,
            };
            let Some(first) = first else { break };
            let gathered = self.gather(first).await;
            let Some(refused) = self.appender.append(&gathered.records).await else {
                // What is in hand goes back to the queue.
                break;
            };
            // Stored first, acknowledged then: a crash in between stores them again, which
            // changes nothing.
            gathered.answer(&refused);
        }
        self.consumer.cancel().await;
        Ok(())
    }

    async fn gather(&mut self, first: Received) -> Gathered {
        let deadline = Instant::now() + self.gathering.wait;
        let mut gathered = Gathered::default();
        gathered.add(first);
        while gathered.records.len() < self.gathering.records_max
            && gathered.messages.len() < self.gathering.messages_max
            && let Ok(Some(next)) = timeout_at(deadline, self.consumer.next()).await
        {
            gathered.add(next);
        }
        gathered
    }
}

impl Gathered {
    fn add(&mut self, received: Received) {
        match Record::read(received.body) {
            Ok(records) => {
                self.messages
                    .push((received.acknowledgement, self.records.len()));
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

    /// Acknowledges the messages, but those with a record that could not be stored: their other
    /// records are stored, and storing them once more would change nothing.
    fn answer(self, refused: &[Refused]) {
        let ends = self.messages.iter().skip(1).map(|(_, start)| *start);
        let ends: Vec<usize> = ends.chain([self.records.len()]).collect();
        for ((acknowledgement, start), end) in self.messages.into_iter().zip(ends) {
            let faults: Vec<&Refused> = refused
                .iter()
                .filter(|fault| (start..end).contains(&fault.place))
                .collect();
            let Some(first) = faults.first() else {
                acknowledgement.ack();
                continue;
            };
            let (number, count) = (first.place - start + 1, end - start);
            let more = match faults.len() {
                1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            let reason = format!(
                "record {number} of {count} cannot be stored{more}: {}",
                first.reason
            );
            tracing::error!(
                reason,
                "a record cannot be stored, its message is set aside"
            );
            metrics::message_set_aside();
            acknowledgement.reject(reason);
        }
    }
}
