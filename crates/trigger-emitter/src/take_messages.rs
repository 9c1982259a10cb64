//! Takes in messages of Yandex Cloud's triggers: each becomes an event, all of them or none.

use bytes::Bytes;
use domain::messages::{self, Message};
use protocol::fault::Fault;
use uuid::Uuid;

use crate::accept::Call;
use crate::draft::Draft;
use crate::emit::{Accepted, Door};

/// `CloudEvents` extensions that say which events came in one request, and in which order.
const BATCH_ID: &str = "batchid";
const SEQUENCE: &str = "sequence";

/// What became of the messages of a request.
#[derive(Debug)]
pub(crate) struct Taken {
    /// One for each message that became an event, in their order.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) ignored: u32,
}

impl Door {
    /// Brings in the messages of a request; the answer means that all of them are durable.
    ///
    /// # Errors
    /// Names the message at fault; nothing was stored then.
    pub(crate) async fn take_messages(
        &self,
        call: &Call,
        body: &Bytes,
        requires_exchange: bool,
    ) -> Result<Taken, Fault> {
        let read = messages::read(body, requires_exchange).map_err(|error| {
            Fault::invalid(error.field, error.value, error.message, error.allowed)
        })?;
        let ignored = read.ignored;
        if read.messages.is_empty() {
            let accepted = Vec::new();
            return Ok(Taken { accepted, ignored });
        }
        let batch = Uuid::now_v7().to_string();
        let numbered = read.messages.into_iter().enumerate();
        let drafts = numbered.map(|(number, message)| draft(message, &batch, number));
        let accepted = self.emit_all(call, drafts.collect(), None).await;
        let accepted = accepted.map_err(|mut fault| {
            // The caller wrote messages, not events.
            fault.field = fault.field.map(|field| match field.strip_prefix("events") {
                Some(rest) => format!("messages{rest}"),
                None => field,
            });
            fault
        })?;
        Ok(Taken { accepted, ignored })
    }
}

fn draft(message: Message, batch: &str, number: usize) -> Draft {
    let mut extensions = message.extensions;
    extensions.insert(BATCH_ID.to_owned(), batch.to_owned());
    extensions.insert(SEQUENCE.to_owned(), format!("{number:04}"));
    Draft {
        id: Some(message.id),
        source: Some(message.source),
        event_type: Some(message.event_type.as_str().to_owned()),
        subject: Some(message.subject),
        time: message.time,
        data: message.data,
        is_data_known_json: true,
        traceparent: message.traceparent,
        extensions,
        ..Draft::default()
    }
}
