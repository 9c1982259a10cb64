//! A stream of events: read in order, put in line in order, acknowledged as the confirms come.

use std::future::ready;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use protocol::events::v1 as wire;
use protocol::events::v1::stream_events_response::Result as Outcome;
use protocol::fault::Fault;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::{Emitting, draft_without_wait, idempotency_key};
use crate::accept::Call;
use crate::emit::{Candidate, Placed};
use crate::metrics;

/// What has come in meanwhile is placed together, so that keys are asked for once.
const TOGETHER_MAX: usize = 256;

/// With those that are being placed, 1,024 events are unacknowledged at most.
const SETTLING_MAX: usize = 1_024 - TOGETHER_MAX;

type Answer = Result<wire::StreamEventsResponse, Status>;

/// The acknowledgements of a stream. When `stopping` completes no more is read, and the stream
/// ends with its last acknowledgement.
pub(super) fn acknowledge(
    emitting: Emitting,
    metadata: MetadataMap,
    events: Streaming<wire::StreamEventsRequest>,
    stopping: BoxFuture<'static, ()>,
) -> BoxStream<'static, Answer> {
    events
        .take_until(stopping)
        .ready_chunks(TOGETHER_MAX)
        .then(move |together| {
            let (emitting, metadata) = (emitting.clone(), metadata.clone());
            async move { place(&emitting, &metadata, together).await }
        })
        .flat_map(stream::iter)
        .buffer_unordered(SETTLING_MAX)
        .boxed()
}

/// Puts what came in together in line; each answer then waits for its own confirm.
async fn place(
    emitting: &Emitting,
    metadata: &MetadataMap,
    together: Vec<Result<wire::StreamEventsRequest, Status>>,
) -> Vec<BoxFuture<'static, Answer>> {
    let call = match emitting.call(metadata) {
        Ok(call) => call,
        Err(fault) => return vec![ready(Err(Emitting::refuse(fault))).boxed()],
    };
    let mut answers = Vec::with_capacity(together.len());
    let mut candidates = Vec::with_capacity(together.len());
    let mut sequences = Vec::with_capacity(together.len());
    for request in together {
        match request {
            Err(status) => answers.push(ready(Err(status)).boxed()),
            Ok(request) => {
                let sequence = request.sequence;
                match check(emitting, &call, request) {
                    Ok(candidate) => {
                        candidates.push(candidate);
                        sequences.push(sequence);
                    }
                    Err(fault) => {
                        metrics::refused(fault.kind.code());
                        answers.push(ready(Ok(refused(sequence, fault))).boxed());
                    }
                }
            }
        }
    }
    let placed = emitting.door.place(candidates).await;
    for (sequence, placed) in sequences.into_iter().zip(placed) {
        answers.push(settle(emitting.clone(), sequence, placed).boxed());
    }
    answers
}

fn check(
    emitting: &Emitting,
    call: &Call,
    request: wire::StreamEventsRequest,
) -> Result<Candidate, Fault> {
    let key = idempotency_key(&request.idempotency_key)?;
    let candidate = draft_without_wait(request.event.unwrap_or_default())
        .and_then(|draft| emitting.door.check(call, draft, key));
    candidate.map_err(|fault| fault.within("event"))
}

async fn settle(emitting: Emitting, sequence: u64, placed: Placed) -> Answer {
    Ok(match emitting.door.settle(placed).await {
        Ok(accepted) => {
            let result = Some(Outcome::Accepted(accepted.into()));
            wire::StreamEventsResponse { sequence, result }
        }
        Err(fault) => refused(sequence, fault),
    })
}

fn refused(sequence: u64, fault: Fault) -> wire::StreamEventsResponse {
    let refused = wire::Refused {
        code: fault.kind.grpc_code().into(),
        message: fault.to_string(),
        field: fault.field.unwrap_or_default(),
    };
    wire::StreamEventsResponse {
        sequence,
        result: Some(Outcome::Refused(refused)),
    }
}
