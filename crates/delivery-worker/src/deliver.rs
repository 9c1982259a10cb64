//! One attempt: find what is configured, make the request, send it, and say what came of it.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::answer::{BatchAnswer, Body, of_strict};
use domain::chain::{Answer, Chained, events_in, is_chaining};
use domain::delivery::{
    ErrorClass, Outcome, Status, Step, Target, Tried, WaitReason, Waiting, begin_of, next_step,
};
use domain::disable::{Sign, is_watched};
use domain::event::Event;
use domain::function::Function;
use domain::pace::{Exchange, Reaction};
use domain::record::{Attempted, HeaderLines, Record, Settled};
use domain::retry::retry_after;
use domain::token::TokenKeys;
use domain::trigger::Trigger;
use protocol::registry_feed::RegistryView;
use telemetry::trace;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

pub use self::batch::Batched;
use crate::compose::session::mint;
use crate::compose::{Call, batch_format, compose, shown_headers, unsent};
use crate::metrics;
use crate::outbound::MASKED;
use crate::outbound::endpoint_client::{EndpointClient, EndpointResponse};

/// Makes attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliverer {
    pub registry: RegistryView,
    pub client: EndpointClient,
    /// This worker's name, kept with each attempt.
    pub worker: Arc<str>,
    /// How long the session of a request is valid, from the request on.
    pub session_lifetime: Duration,
}

/// What an attempt came to, ready to be made durable.
#[derive(Debug)]
pub struct Settlement {
    pub record: Record,
    /// The next try, when there is one.
    pub waiting: Option<Box<Waiting>>,
    /// What the endpoint did; `None` when it was not asked.
    pub exchange: Option<Exchange>,
    /// What it says of a function that wants to be switched off at some time.
    pub called: Option<Called>,
    /// Events that the answer asked for.
    pub chained: Vec<Event>,
}

/// A function that is watched, and what a call of it says.
#[derive(Debug)]
pub struct Called {
    pub function: Arc<Function>,
    pub sign: Sign,
    pub at: Timestamp,
}

impl Deliverer {
    /// Brings one event to one target, once.
    pub async fn deliver(&self, event: &Event, target: &Target) -> Box<Settlement> {
        let (function, trigger) = {
            let registry = self.registry.read();
            let function = registry.function(&event.project, &target.function).cloned();
            (function, registry.rule_of(&event.project, target))
        };
        match (function, trigger) {
            (Some(function), Some(trigger)) => {
                let span = span_of(event, target);
                self.attempt(event, target, &function, &trigger)
                    .instrument(span)
                    .await
            }
            (None, _) => cancelled(event, target, "function_deleted"),
            (Some(_), None) => cancelled(event, target, "trigger_deleted"),
        }
    }

    async fn attempt(
        &self,
        event: &Event,
        target: &Target,
        function: &Arc<Function>,
        trigger: &Trigger,
    ) -> Box<Settlement> {
        let numbered = self.numbered(event);
        let event = numbered.as_deref().unwrap_or(event);
        let _under_way = metrics::UnderWay::begin();
        let started_at = Timestamp::now();
        let traceparent = trace::outgoing(event.traceparent.as_deref());
        let token_keys = self.token_keys_for(function);
        let call = Call {
            event,
            target,
            function,
            trigger,
            traceparent: Some(&traceparent),
            now: started_at,
            // Made where it is sent.
            session: None,
            token_keys: token_keys.as_deref(),
            worker: &self.worker,
        };
        let (response, headers, request_bytes) = self.send(&call).await;
        let ended_at = ended_at(&call, &response);
        let (outcome, remark) = judged(&call, &response);
        observe(&response, failure(&outcome).0);
        let exchange = exchange(&response, ended_at, trigger.retry.retry_after_max);
        let made = Made {
            called: called(function, &outcome, ended_at),
            outcome,
            remark,
            response,
            headers,
            request_bytes,
        };
        let mut settlement = self.settlement(&call, made);
        settlement.exchange = Some(exchange);
        settlement
    }

    /// What follows from an attempt for its delivery.
    fn settlement(&self, call: &Call<'_>, made: Made) -> Box<Settlement> {
        let Call {
            event,
            target,
            function,
            trigger,
            now: started_at,
            ..
        } = *call;
        let Made {
            outcome,
            remark: noticed,
            response,
            headers,
            request_bytes,
            called,
        } = made;
        let ended_at = ended_at(call, &response);
        let tried = Tried {
            outcome: &outcome,
            retry_after: rest_asked_for(&response, ended_at),
            number: target.next_attempt,
            began_at: begin_of(event, target, started_at),
            ended_at,
        };
        let disable_on_gone = function.settings.disable_on_gone;
        // A success waits for nothing that would have to be spread.
        let spread = match outcome {
            Outcome::Answered { status: 200..=299 } => 0.0,
            Outcome::Answered { .. } | Outcome::Unreachable { .. } | Outcome::Impossible { .. } => {
                random()
            }
        };
        let step = next_step(&trigger.retry, disable_on_gone, &tried, spread);
        let (error_class, error) = failure(&outcome);
        let chained = self.chained(&response, step, call);
        let (status, remark, next_attempt_at) = fate(step);
        let attempted = Attempted {
            project: event.project.clone(),
            event: event.eid,
            delivery: target.delivery,
            trigger: target.trigger.clone(),
            function: target.function.clone(),
            number: target.next_attempt,
            generation: target.generation,
            started_at,
            duration: response.duration,
            url: function.url.as_str().to_owned(),
            response_status: response.status,
            error_class,
            error,
            request_headers: headers,
            request_bytes,
            response_headers: response.headers,
            response_body: response.body,
            is_response_truncated: response.truncated,
            worker: self.worker.to_string(),
            traceparent: call.traceparent.map(str::to_owned),
            status,
            remark: remark.or(chained.remark).or(noticed),
            next_attempt_at,
        };
        metrics::settled(status);
        Box::new(Settlement {
            record: Record::Attempted(Box::new(attempted)),
            waiting: next_attempt_at.map(|due_at| next_try(event, target, ended_at, due_at)),
            exchange: None,
            called,
            chained: chained.events,
        })
    }

    /// What an answer that ends the delivery well asks for, where answers are looked into.
    fn chained(&self, response: &EndpointResponse, step: Step, call: &Call<'_>) -> Chained {
        let is_success = matches!(step, Step::Finish);
        let is_asked = is_chaining(call.function, call.trigger);
        if !is_success || response.body.is_empty() || !is_asked {
            return Chained::default();
        }
        let answer = Answer {
            event: call.event,
            function: &call.target.function,
            delivery: call.target.delivery,
            generation: call.target.generation,
            body: &response.body,
            is_truncated: response.truncated,
            now: Timestamp::now(),
        };
        events_in(&answer, &self.registry.read())
    }

    /// The event with the number that its project has given to its type; `None` where it has given
    /// none.
    pub fn numbered(&self, event: &Event) -> Option<Box<Event>> {
        let registry = self.registry.read();
        let event_type = registry.numbered(&event.project, &event.event_type)?;
        Some(Box::new(Event {
            event_type,
            ..event.clone()
        }))
    }

    /// What signs the function's token; most want none.
    fn token_keys_for(&self, function: &Function) -> Option<Arc<TokenKeys>> {
        function.token()?;
        self.registry.read().token_keys_of(function).cloned()
    }

    /// The session by which the function acts for the event's actor in this attempt.
    ///
    /// # Errors
    /// The outcome of the attempt, when one is owed and none can be made.
    pub fn session_for(
        &self,
        event: &Event,
        target: &Target,
        now: Timestamp,
    ) -> Result<Option<String>, Outcome> {
        if event.actor.is_none() {
            return Ok(None);
        }
        let keys = self.registry.read().token_keys(None).cloned();
        mint(event, target, keys.as_ref(), now, self.session_lifetime)
    }

    /// The answer, and what may be shown of the request: its headers and the size of its body.
    async fn send(&self, call: &Call<'_>) -> (EndpointResponse, HeaderLines, u64) {
        let session = match self.session_for(call.event, call.target, call.now) {
            Ok(session) => session,
            Err(outcome) => return (unsent(outcome), HeaderLines::default(), 0),
        };
        let call = &Call {
            session: session.as_deref(),
            ..*call
        };
        let request = match compose(call) {
            Ok(request) => request,
            Err(outcome) => return (unsent(outcome), HeaderLines::default(), 0),
        };
        let headers = shown_headers(&request);
        let bytes = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        let mut response = self.client.send(request).await;
        let secret = call.function.secret_at(call.now);
        mask_echoes(&mut response, [Some(secret), call.session]);
        (response, headers, bytes)
    }
}

/// A request that was made, or could not be, and what came of it for one delivery.
struct Made {
    /// By the status and, where that counts, by what the answer says.
    outcome: Outcome,
    /// What else is worth knowing of it.
    remark: Option<String>,
    response: EndpointResponse,
    headers: HeaderLines,
    request_bytes: u64,
    called: Option<Called>,
}

fn ended_at(call: &Call<'_>, response: &EndpointResponse) -> Timestamp {
    let ended_at = call.now.saturating_add(response.duration);
    ended_at.unwrap_or(call.now)
}

/// What an answer comes to for the only delivery of its request, and what is to be remarked.
fn judged(call: &Call<'_>, response: &EndpointResponse) -> (Outcome, Option<String>) {
    let body = Body {
        bytes: &response.body,
        is_truncated: response.truncated,
    };
    let outcome = strictly(call, &response.outcome, body);
    if batch_format(call.function, call.trigger).is_none() {
        return (outcome, None);
    }
    let answer = BatchAnswer::read(body);
    let id = call.event.id.as_str();
    let remark = answer.unknown(std::iter::once(id));
    (answer.outcome(id, &outcome), remark)
}

/// What an outcome is where the trigger expects more than a status.
fn strictly(call: &Call<'_>, outcome: &Outcome, body: Body<'_>) -> Outcome {
    if call.trigger.retry.expects_json {
        of_strict(outcome, body)
    } else {
        outcome.clone()
    }
}

/// An endpoint that sends back what it was sent must not bring our secrets into the log.
pub(crate) fn mask_echoes(response: &mut EndpointResponse, secrets: [Option<&str>; 2]) {
    for secret in secrets.into_iter().flatten() {
        if secret.is_empty() {
            continue;
        }
        if let Ok(body) = std::str::from_utf8(&response.body)
            && body.contains(secret)
        {
            response.body = body.replace(secret, MASKED).into();
        }
        if response.headers.as_str().contains(secret) {
            let masked = response.headers.as_str().replace(secret, MASKED);
            response.headers = HeaderLines::from_text(masked);
        }
    }
}

/// The delivery's state from now on, why if it has failed, and when it is tried again.
fn fate(step: Step) -> (Status, Option<String>, Option<Timestamp>) {
    match step {
        Step::Finish => (Status::Processed, None, None),
        Step::RetryAt(due_at) => (Status::Staged, None, Some(due_at)),
        Step::GiveUp(reason) => (Status::Failed, Some(reason.remark().to_owned()), None),
    }
}

fn called(function: &Arc<Function>, outcome: &Outcome, at: Timestamp) -> Option<Called> {
    if !is_watched(&function.settings) {
        return None;
    }
    let sign = Sign::of(outcome)?;
    let function = Arc::clone(function);
    Some(Called { function, sign, at })
}

/// What the attempt says about the endpoint. The rest it asks for is given it no longer than the
/// trigger says.
fn exchange(response: &EndpointResponse, now: Timestamp, rest_max: Duration) -> Exchange {
    Exchange {
        reaction: Reaction::of(&response.outcome),
        took: response.duration,
        rest: rest_asked_for(response, now).map(|rest| rest.min(rest_max)),
        is_probe: false,
    }
}

/// How long the endpoint asks to be left alone.
fn rest_asked_for(response: &EndpointResponse, now: Timestamp) -> Option<Duration> {
    let mut fields = response.headers.iter();
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    retry_after(value, now)
}

/// For metrics and, where spans are recorded, the attempt's span.
pub(crate) fn observe(response: &EndpointResponse, error_class: Option<ErrorClass>) {
    metrics::attempted(response);
    let span = Span::current();
    if let Some(status) = response.status {
        span.record("http.response.status_code", status);
    }
    if let Some(class) = error_class {
        span.record("error.type", class.as_str());
    }
}

/// The attempt's place in the event's trace, for a collector if there is one.
fn span_of(event: &Event, target: &Target) -> Span {
    let span = info_span!(
        "deliver",
        otel.kind = "client",
        event.id = %event.eid,
        delivery.id = %target.delivery,
        function.name = %target.function,
        attempt.number = target.next_attempt,
        http.request.method = "POST",
        http.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled()
        && let Some(traceparent) = &event.traceparent
    {
        // What cannot be read begins a trace of its own.
        let _is_part: bool = trace::set_parent(&span, traceparent);
    }
    span
}

fn next_try(event: &Event, target: &Target, since: Timestamp, due_at: Timestamp) -> Box<Waiting> {
    let mut target = target.clone();
    target.next_attempt = target.next_attempt.saturating_add(1);
    Box::new(Waiting {
        event: event.clone(),
        target,
        reason: WaitReason::Retry,
        since,
        due_at,
    })
}

/// A delivery that ends without a request.
pub(crate) fn cancelled(event: &Event, target: &Target, remark: &str) -> Box<Settlement> {
    metrics::settled(Status::Cancel);
    let settled = Settled {
        project: event.project.clone(),
        event: event.eid,
        delivery: target.delivery,
        trigger: target.trigger.clone(),
        function: target.function.clone(),
        generation: target.generation,
        status: Status::Cancel,
        remark: remark.to_owned(),
        at: Timestamp::now(),
    };
    Box::new(Settlement {
        record: Record::Settled(settled),
        waiting: None,
        exchange: None,
        called: None,
        chained: Vec::new(),
    })
}

/// What went wrong with an attempt, if anything did.
pub(crate) fn failure(outcome: &Outcome) -> (Option<ErrorClass>, Option<String>) {
    match outcome {
        Outcome::Answered { status: 200..=299 } => (None, None),
        Outcome::Answered { status } => (
            Some(ErrorClass::Status),
            Some(format!("the endpoint answered {status}")),
        ),
        Outcome::Unreachable { class, message } | Outcome::Impossible { class, message } => {
            (Some(*class), Some(message.clone()))
        }
    }
}

/// Between 0 and 1; only spreads waits, so it need not be unguessable.
fn random() -> f64 {
    let bits = uuid::Uuid::new_v4().as_u128();
    f64::from(u32::try_from(bits & 0xffff_ffff).unwrap_or(0)) / f64::from(u32::MAX)
}
