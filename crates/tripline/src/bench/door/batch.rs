//! Many events in each gRPC call.

use std::sync::Arc;
use std::time::Duration;

use protocol::events::v1::EmitEventsRequest;
use tokio::time::timeout;

use super::{Emission, senders};
use crate::bench::ledger::Ledger;
use crate::bench::pace::Turn;
use crate::command_line::Connection;
use crate::failure::Failure;

const BATCH_EVENTS_MAX: usize = 100;
/// The door takes 4 MiB; ids and types need a little room.
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// A door that has not answered by then does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn emit(emission: &Arc<Emission>, connection: &Connection) -> Result<(), Failure> {
    let client = connection.events()?;
    let fitting = BATCH_BYTES_MAX / emission.sample.data_bytes().max(1);
    let count_max = fitting.clamp(1, BATCH_EVENTS_MAX);
    senders(emission, || {
        let (emission, mut client) = (Arc::clone(emission), client.clone());
        async move {
            let ledger = &emission.ledger;
            let mut turns = Vec::with_capacity(count_max);
            loop {
                turns.clear();
                emission.pace.next_up_to(count_max, &mut turns).await;
                if turns.is_empty() {
                    return;
                }
                let events = turns.iter().map(|turn| {
                    ledger.begin(turn.event, turn.at_us);
                    emission.sample.message(ledger.tag(), turn.event)
                });
                let request = EmitEventsRequest {
                    events: events.collect(),
                };
                match timeout(ANSWER_TIMEOUT, client.emit_events(request)).await {
                    Ok(Ok(_accepted)) => turns.iter().for_each(|turn| ledger.accept(turn.event)),
                    Ok(Err(status)) => note_failure(ledger, &turns, &Failure::from(status)),
                    Err(_elapsed) => ledger.give_up(|| format!("no answer in {ANSWER_TIMEOUT:?}")),
                }
            }
        }
    })
    .await
}

fn note_failure(ledger: &Ledger, turns: &[Turn], failure: &Failure) {
    // Refused for what they are, or for who sends them; anything else may have been accepted.
    if matches!(failure.exit_code, 3..=6) {
        for turn in turns {
            ledger.refuse(turn.event, || failure.message.clone());
        }
    } else {
        ledger.give_up(|| failure.message.clone());
    }
}
