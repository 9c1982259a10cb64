//! Calls a function at once because somebody waits for its answer, and has the log tell of it.
//!
//! Such a call is not queued, waits in no line and is never repeated: what became of it is the
//! caller's to judge. In all else it is an attempt: the same guard, credentials, signature and
//! headers, and an event with one delivery and one attempt in the log.

mod call_log;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::delivery::{ErrorClass, Outcome, Status, Target};
use domain::event::Event;
use domain::event_type::EventType;
use domain::format::Rendered;
use domain::function::Function;
use domain::id::{DeliveryId, EventId};
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::pattern::Captures;
use domain::record::{Attempted, HeaderLines, RESPONSE_BODY_BYTES_MAX, Record};
use domain::redrive::direct_delivery;
use domain::retry::RetryPolicy;
use domain::trigger::Trigger;
use protocol::fault::Fault;
use telemetry::trace;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::call_log::CallLog;
use self::call_log::Entry;
use crate::compose::{Call, compose, compose_around, shown_headers, unsent};
use crate::deliver::{Deliverer, failure, observe};
use crate::metrics;
use crate::outbound::endpoint_client::{EndpointClient, EndpointResponse};

/// Calls under way at a time; more wait, within the time they have.
const CALLS_MAX: usize = 500;

/// As much of an answer is given to whoever called: what Yandex Cloud allows.
pub const ANSWER_BYTES_MAX: usize = 3_500_000;

/// How long a call may take where nobody says otherwise, and at most.
pub const TIMEOUT: Duration = Duration::from_secs(5);
pub const TIMEOUT_MAX: Duration = Duration::from_mins(5);

/// Calls functions at once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallNow {
    deliverer: Deliverer,
    client: EndpointClient,
    log: CallLog,
    room: Arc<Semaphore>,
}

/// One call that is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub function: Arc<Function>,
    /// What the log tells of the call, and what is sent unless `content` is something else.
    pub event: Event,
    pub content: Content,
    /// For all of it, up to the last byte of the answer; at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// The trigger that asks for the call, with its format and template, where one does.
    pub trigger: Option<Arc<Trigger>>,
}

/// What a function is sent.
#[derive(Debug, Clone)]
pub enum Content {
    /// The event, in the function's own format.
    Event,
    /// This JSON, as it is.
    Json(Bytes),
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Answer {
    pub event: EventId,
    pub delivery: DeliveryId,
    /// As they may be shown: nothing in them lets anybody act as us.
    pub request_headers: HeaderLines,
    /// As it was sent; it may hold the function's secret.
    pub request_body: Bytes,
    pub response: EndpointResponse,
}

impl Answer {
    pub const fn is_success(&self) -> bool {
        matches!(
            self.response.outcome,
            Outcome::Answered { status: 200..=299 }
        )
    }

    /// Why it is no success, and what is to be said of it.
    pub fn failure(&self) -> Option<(ErrorClass, String)> {
        let (class, message) = failure(&self.response.outcome);
        class.zip(message)
    }
}

impl Ask {
    /// A call by the function's own format and the usual time.
    pub const fn new(function: Arc<Function>, event: Event) -> Self {
        Self {
            function,
            event,
            content: Content::Event,
            timeout: TIMEOUT,
            trigger: None,
        }
    }

    /// What the log names as the trigger.
    fn trigger_name(&self) -> TriggerName {
        let name = |trigger: &Arc<Trigger>| trigger.name.clone();
        self.trigger
            .as_ref()
            .map_or_else(TriggerName::direct_call, name)
    }
}

/// An event that is told of a call; its id is new.
pub fn event_of_call(project: &ProjectName, event_type: EventType, data: Bytes) -> Event {
    let random = *uuid::Uuid::new_v4().as_bytes();
    let mut ten = [0_u8; 10];
    ten.iter_mut()
        .zip(random)
        .for_each(|(target, source)| *target = source);
    let eid = EventId::new(Timestamp::now(), ten);
    Event::of_type(eid, project.clone(), event_type, data)
}

impl CallNow {
    pub fn new(deliverer: Deliverer, log: CallLog) -> Self {
        let client = deliverer.client.keeping(ANSWER_BYTES_MAX);
        Self {
            deliverer,
            client,
            log,
            room: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    pub fn deliverer(&self) -> &Deliverer {
        &self.deliverer
    }

    /// A function that may be called.
    ///
    /// # Errors
    /// When there is none of that name, or it or its project is paused or switched off.
    pub fn function(
        &self,
        project: &ProjectName,
        name: &FunctionName,
    ) -> Result<Arc<Function>, Fault> {
        let registry = self.deliverer.registry.read();
        let function = registry.function(project, name).cloned();
        let function = function.ok_or_else(|| Fault::not_found("function", name))?;
        if registry.is_paused(project, name) {
            let message = format!("the function {name} is paused or switched off");
            return Err(Fault::unavailable(message));
        }
        Ok(function)
    }

    /// Calls a function once, now. The log tells of it, also when nobody waits any more.
    pub async fn call(&self, ask: &Ask) -> Answer {
        let target = target_of(ask);
        let mut entry = Entry::open(&self.log, &ask.event, &target);
        let started_at = Timestamp::now();
        let traceparent = trace::outgoing(ask.event.traceparent.as_deref());
        let answer = self.exchange_as(ask, &target, Some(&traceparent)).await;
        entry.close(self.record(ask, &target, &answer, (started_at, traceparent)));
        answer
    }

    /// The same, of which the log tells nothing: for trying a function out.
    pub async fn exchange(&self, ask: &Ask) -> Answer {
        let target = target_of(ask);
        self.exchange_as(ask, &target, None).await
    }

    async fn exchange_as(&self, ask: &Ask, target: &Target, traceparent: Option<&str>) -> Answer {
        let asked_at = tokio::time::Instant::now();
        let in_all = ask.timeout.min(TIMEOUT_MAX);
        let answer = |request_headers, request_body, response| Answer {
            event: ask.event.eid,
            delivery: target.delivery,
            request_headers,
            request_body,
            response,
        };
        let nothing = |outcome| answer(HeaderLines::default(), Bytes::new(), unsent(outcome));
        let Ok(Ok(_room)) = timeout(in_all, self.room.acquire()).await else {
            return nothing(Outcome::Unreachable {
                class: ErrorClass::Timeout,
                message: format!("{CALLS_MAX} other calls were under way for {in_all:?}"),
            });
        };
        let _under_way = metrics::UnderWay::begin();
        let left = in_all.saturating_sub(asked_at.elapsed());
        let trigger = rule_of(ask, left);
        let function = &*ask.function;
        let token_keys = self
            .deliverer
            .registry
            .read()
            .token_keys_of(function)
            .cloned();
        let call = Call {
            event: &ask.event,
            target,
            function,
            trigger: &trigger,
            traceparent,
            now: Timestamp::now(),
            session: None,
            token_keys: token_keys.as_deref(),
            worker: &self.deliverer.worker,
        };
        let request = match &ask.content {
            Content::Event => compose(&call),
            Content::Json(body) => compose_around(&call, json(body)),
        };
        let request = match request {
            Ok(request) => request,
            Err(outcome) => return nothing(outcome),
        };
        let (headers, body) = (shown_headers(&request), request.body.clone());
        let response = self.client.send(request).await;
        observe(&response, failure(&response.outcome).0);
        answer(headers, body, response)
    }

    fn record(
        &self,
        ask: &Ask,
        target: &Target,
        answer: &Answer,
        (started_at, traceparent): (Timestamp, String),
    ) -> Record {
        let response = &answer.response;
        let (error_class, error) = failure(&response.outcome);
        let kept = response.body.get(..RESPONSE_BODY_BYTES_MAX);
        let status = if answer.is_success() {
            Status::Processed
        } else {
            Status::Failed
        };
        metrics::settled(status);
        Record::Attempted(Box::new(Attempted {
            project: ask.event.project.clone(),
            event: ask.event.eid,
            delivery: target.delivery,
            trigger: target.trigger.clone(),
            function: target.function.clone(),
            number: 1,
            generation: 0,
            started_at,
            duration: response.duration,
            url: ask.function.url.to_string(),
            response_status: response.status,
            error_class,
            error,
            request_headers: answer.request_headers.clone(),
            request_bytes: u64::try_from(answer.request_body.len()).unwrap_or(u64::MAX),
            response_headers: response.headers.clone(),
            response_body: kept.map_or_else(|| response.body.clone(), Bytes::copy_from_slice),
            is_response_truncated: response.truncated || kept.is_some(),
            worker: self.deliverer.worker.to_string(),
            traceparent: Some(traceparent),
            status,
            remark: (status == Status::Failed).then(|| "called_once".to_owned()),
            next_attempt_at: None,
        }))
    }
}

/// The one delivery of a call.
fn target_of(ask: &Ask) -> Target {
    Target {
        delivery: direct_delivery(ask.event.eid, &ask.function.name),
        trigger: ask.trigger_name(),
        function: ask.function.name.clone(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: ask.function.revision,
        is_held: false,
    }
}

/// A rule that exists for this call only: one attempt, in this time.
fn rule_of(ask: &Ask, timeout: Duration) -> Trigger {
    let rule = match &ask.trigger {
        Some(trigger) => trigger.as_ref().clone(),
        None => Trigger::direct(&ask.function, ask.trigger_name()),
    };
    Trigger {
        retry: RetryPolicy {
            retries_max: 0,
            timeout,
            ..rule.retry
        },
        ..rule
    }
}

fn json(body: &Bytes) -> Rendered {
    Rendered {
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: body.clone(),
    }
}
