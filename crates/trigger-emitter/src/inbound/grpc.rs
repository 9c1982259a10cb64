//! gRPC: one event, many, or a stream whose events are acknowledged one by one.

mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::access::Scope;
use domain::reply::{Verdict, WAIT, WAIT_MAX, WAIT_MIN};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use lifecycle::Tasks;
use protocol::access::{Caller, admit};
use protocol::events::v1 as wire;
use protocol::events::v1::event_service_server::{EventService, EventServiceServer};
use protocol::fault::Fault;
use protocol::well_known::Timestamp;
use protocol::{from_duration, from_timestamp};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::accept::Call;
use crate::draft::{Dialect, Draft};
use crate::emit::{Accepted, Came, Door, Waited};
use crate::inbound::http::check_idempotency_key;
use crate::inbound::{call_span, lineage};
use crate::metrics;

/// Besides the events' own bytes a message has some of its own.
const FRAME_BYTES: usize = 64 * 1024;

const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// The service; clones share the door.
#[derive(Clone)]
pub(crate) struct Emitting {
    door: Door,
    stopping: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl fmt::Debug for Emitting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Emitting")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Emitting {
    pub(crate) fn new(door: Door, tasks: &Tasks) -> Self {
        let tasks = tasks.clone();
        Self {
            door,
            stopping: Arc::new(move || Box::pin(tasks.stopping())),
        }
    }

    pub(crate) fn server(&self, request_bytes_max: usize) -> EventServiceServer<Self> {
        EventServiceServer::new(self.clone())
            .max_decoding_message_size(request_bytes_max.saturating_add(FRAME_BYTES))
    }

    fn call(&self, metadata: &MetadataMap) -> Result<Call, Fault> {
        let caller = self.admit(metadata)?;
        Ok(Call {
            project: caller.project().clone(),
            session: caller.session().cloned(),
            dialect: Dialect::Grpc,
            traceparent: traceparent(metadata).map(ToOwned::to_owned),
            // What is not ASCII is no lineage, but it is not an absent one either.
            lineage: lineage(|name| Some(metadata.get(name)?.to_str().unwrap_or_default()))?,
        })
    }

    fn admit(&self, metadata: &MetadataMap) -> Result<Caller, Fault> {
        self.door
            .admit(|view, keys_required| admit(view, metadata, Scope::Emit, keys_required))
    }

    async fn emit_event(
        &self,
        request: Request<wire::EmitEventRequest>,
    ) -> Result<Result<wire::EmitEventResponse, Status>, Fault> {
        let call = self.call(request.metadata())?;
        let request = request.into_inner();
        let wait = request.event.as_ref().map(wait).transpose();
        let wait = wait.map_err(|fault| fault.within("event"))?.flatten();
        let draft = draft(request.event).map_err(|fault| fault.within("event"))?;
        let _room = self.door.room(draft.data.len())?;
        let key = idempotency_key(&request.idempotency_key)?;
        let Some(wait) = wait else {
            let accepted = self.door.emit(&call, draft, key).await;
            let accepted = accepted.map_err(|fault| fault.within("event"))?;
            return Ok(Ok(wire::EmitEventResponse {
                accepted: Some(accepted.into()),
                reply: None,
            }));
        };
        let waited = self.door.emit_and_wait(&call, draft, key, wait).await;
        Ok(answer_of(waited.map_err(|fault| fault.within("event"))?))
    }

    async fn take_messages(
        &self,
        request: Request<wire::TakeMessagesRequest>,
    ) -> Result<wire::TakeMessagesResponse, Fault> {
        let call = self.call(request.metadata())?;
        let wire::TakeMessagesRequest {
            body,
            require_exchange,
        } = request.into_inner();
        let _room = self.door.room(body.len())?;
        let taken = self.door.take_messages(&call, &body, require_exchange);
        let taken = taken.await?;
        Ok(wire::TakeMessagesResponse {
            accepted: taken.accepted.into_iter().map(Into::into).collect(),
            ignored: taken.ignored,
        })
    }

    async fn emit_events(
        &self,
        request: Request<wire::EmitEventsRequest>,
    ) -> Result<wire::EmitEventsResponse, Fault> {
        let call = self.call(request.metadata())?;
        let events = request.into_inner().events;
        let _room = self
            .door
            .room(events.iter().map(|event| event.data.len()).sum())?;
        let mut drafts = Vec::with_capacity(events.len());
        for (number, event) in events.into_iter().enumerate() {
            let draft = draft_without_wait(event);
            drafts.push(draft.map_err(|fault| fault.within(&format!("events[{number}]")))?);
        }
        let accepted = self.door.emit_all(&call, drafts, None).await?;
        Ok(wire::EmitEventsResponse {
            accepted: accepted.into_iter().map(Into::into).collect(),
        })
    }

    fn refuse(fault: Fault) -> Status {
        metrics::refused(fault.kind.code());
        fault.into()
    }
}

#[tonic::async_trait]
impl EventService for Emitting {
    async fn emit_event(
        &self,
        request: Request<wire::EmitEventRequest>,
    ) -> Result<Response<wire::EmitEventResponse>, Status> {
        let span = call_span(traceparent(request.metadata()));
        let answer = Self::emit_event(self, request).instrument(span).await;
        answer.map_err(Self::refuse)?.map(Response::new)
    }

    async fn emit_events(
        &self,
        request: Request<wire::EmitEventsRequest>,
    ) -> Result<Response<wire::EmitEventsResponse>, Status> {
        let span = call_span(traceparent(request.metadata()));
        let answer = Self::emit_events(self, request).instrument(span).await;
        answer.map(Response::new).map_err(Self::refuse)
    }

    async fn take_messages(
        &self,
        request: Request<wire::TakeMessagesRequest>,
    ) -> Result<Response<wire::TakeMessagesResponse>, Status> {
        let span = call_span(traceparent(request.metadata()));
        let answer = Self::take_messages(self, request).instrument(span).await;
        answer.map(Response::new).map_err(Self::refuse)
    }

    type StreamEventsStream = BoxStream<'static, Result<wire::StreamEventsResponse, Status>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<wire::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let (metadata, _, events) = request.into_parts();
        // Refused before anything is read; and asked again later, since a key may be revoked.
        self.admit(&metadata).map_err(Self::refuse)?;
        let answers = stream::acknowledge(self.clone(), metadata, events, (self.stopping)());
        Ok(Response::new(answers))
    }
}

impl From<Accepted> for wire::Accepted {
    fn from(accepted: Accepted) -> Self {
        Self {
            id: accepted.id,
            duplicate: accepted.is_duplicate,
            eid: accepted.eid.to_string(),
        }
    }
}

/// How long to wait for the answer of a function; `None` where nobody does.
fn wait(event: &wire::NewEvent) -> Result<Option<Duration>, Fault> {
    let wait = event.wait.as_ref();
    let named = wait.map(|wait| {
        let span = from_duration(wait);
        let span = span.filter(|span| (WAIT_MIN..=WAIT_MAX).contains(span));
        span.ok_or_else(|| {
            let value = format!("{} s {} ns", wait.seconds, wait.nanos);
            Fault::invalid("wait", value, "is out of range", "10 ms to 60 s")
        })
    });
    let wait = named.transpose()?.unwrap_or(WAIT);
    Ok(event.is_synchronous.then_some(wait))
}

/// What somebody who waited is answered.
fn answer_of(waited: Waited) -> Result<wire::EmitEventResponse, Status> {
    let reply = match waited.came {
        Came::Duplicate => None,
        Came::Verdict(Verdict::Answered(answered)) => Some(answered.into()),
        Came::Verdict(Verdict::NoMatch) => {
            let message = "no_matching_trigger: no function is called by this event";
            return Err(Status::not_found(message));
        }
        Came::Verdict(Verdict::AllFailed) => {
            let message = format!("every function that {} called failed", waited.accepted.id);
            return Err(Status::aborted(message));
        }
        Came::Nothing => {
            let message = format!(
                "no function has answered to {} in time; its delivery goes on",
                waited.accepted.id
            );
            return Err(Status::deadline_exceeded(message));
        }
    };
    Ok(wire::EmitEventResponse {
        accepted: Some(waited.accepted.into()),
        reply,
    })
}

fn traceparent(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(telemetry::trace::HEADER)?.to_str().ok()
}

fn idempotency_key(key: &str) -> Result<Option<&str>, Fault> {
    if key.is_empty() {
        return Ok(None);
    }
    check_idempotency_key(IDEMPOTENCY_KEY, key).map(Some)
}

/// An event of many: nobody waits for the answer to one of them.
pub(super) fn draft_without_wait(event: wire::NewEvent) -> Result<Draft, Fault> {
    if event.is_synchronous {
        let message = "is for an event that is emitted alone";
        let allowed = "EmitEvent";
        return Err(Fault::invalid("is_synchronous", "true", message, allowed));
    }
    draft(Some(event))
}

/// An empty field is an absent one.
fn draft(event: Option<wire::NewEvent>) -> Result<Draft, Fault> {
    let event = event.unwrap_or_default();
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let read_time = |field: &'static str, time: &Timestamp| {
        from_timestamp(time).ok_or_else(|| {
            let value = format!("{} s {} ns", time.seconds, time.nanos);
            Fault::invalid(field, value, "is not a time", "years -9999 to 9999")
        })
    };
    let time = event.time.as_ref().map(|time| read_time("time", time));
    let deliver_at = event.deliver_at.as_ref();
    let deliver_at = deliver_at.map(|time| read_time("deliver_at", time));
    let delay = event.delay.as_ref().map(|delay| {
        from_duration(delay).ok_or_else(|| {
            let value = format!("{} s {} ns", delay.seconds, delay.nanos);
            Fault::invalid("delay", value, "is not a time span", "0 s to 6 days")
        })
    });
    Ok(Draft {
        id: given(event.id),
        source: given(event.source),
        event_type: given(event.r#type),
        subject: given(event.subject),
        time: time.transpose()?,
        data_content_type: given(event.data_content_type),
        data: event.data,
        is_data_known_json: false,
        actor_id: given(event.actor_id),
        actor_kind: given(event.actor_kind),
        partition_key: given(event.partition_key),
        correlation_id: given(event.correlation_id),
        causation_id: given(event.causation_id),
        depth: event.depth,
        traceparent: given(event.traceparent),
        deliver_at: deliver_at.transpose()?,
        delay: delay.transpose()?,
        extensions: event.extensions.into_iter().collect(),
    })
}
