//! One gRPC stream on which each event is acknowledged by itself.

use std::sync::Arc;
use std::time::Duration;

use protocol::events::v1::stream_events_response::Result as Answer;
use protocol::events::v1::{StreamEventsRequest, StreamEventsResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Emission;
use crate::command_line::Connection;
use crate::failure::Failure;

/// The server stops reading a stream with more unacknowledged events than this.
const WINDOW_MAX: usize = 1_024;

/// A door that has been silent for this long does not answer any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) async fn emit(emission: &Arc<Emission>, connection: &Connection) -> Result<(), Failure> {
    let window = emission.concurrency.min(WINDOW_MAX);
    let (say, said) = mpsc::channel(window);
    let room = Semaphore::new(window);
    let mut client = connection.events()?;
    let listen = async {
        let answers = client.stream_events(ReceiverStream::new(said)).await;
        let heard = match answers {
            Ok(answers) => hear(answers.into_inner(), emission, &room, window).await,
            Err(status) => Err(status),
        };
        if let Err(status) = heard {
            emission.ledger.give_up(|| Failure::from(status).message);
        }
        // Whoever waits for room would wait for ever.
        room.close();
    };
    tokio::join!(speak(emission, &room, say), listen);
    Ok(())
}

async fn speak(emission: &Emission, room: &Semaphore, say: mpsc::Sender<StreamEventsRequest>) {
    while let Ok(permit) = room.acquire().await {
        permit.forget();
        let Some(turn) = emission.pace.next().await else {
            return;
        };
        emission.ledger.begin(turn.event, turn.at_us);
        let request = StreamEventsRequest {
            sequence: u64::try_from(turn.event).unwrap_or(u64::MAX),
            event: Some(emission.sample.message(emission.ledger.tag(), turn.event)),
            idempotency_key: String::new(),
        };
        if say.send(request).await.is_err() {
            return;
        }
    }
}

async fn hear(
    mut answers: Streaming<StreamEventsResponse>,
    emission: &Emission,
    room: &Semaphore,
    window: usize,
) -> Result<(), Status> {
    loop {
        let answer = match timeout(SILENCE_MAX, answers.message()).await {
            Ok(answer) => answer?,
            // Nothing is owed: the timetable is slow. One permit is with whoever waits for a turn.
            Err(_elapsed) if room.available_permits() + 1 >= window => continue,
            Err(_elapsed) => return Err(Status::deadline_exceeded("the stream is silent")),
        };
        let Some(answer) = answer else {
            return Ok(());
        };
        room.add_permits(1);
        let event = usize::try_from(answer.sequence).unwrap_or(usize::MAX);
        match answer.result {
            Some(Answer::Accepted(_)) => emission.ledger.accept(event),
            Some(Answer::Refused(refused)) => emission.ledger.refuse(event, || refused.message),
            None => emission
                .ledger
                .refuse(event, || "an answer without a result".to_owned()),
        }
    }
}
