//! The request an attempt sends: body and headers by format, ids, attempt number and signature.

mod batch;
mod extras;
mod head;
pub mod session;

use std::time::Duration;

pub use self::batch::{compose_batch, part};
use self::head::{Head, name_of};
use bytes::Bytes;
use domain::Timestamp;
use domain::delivery::{ErrorClass, Outcome, Target};
use domain::event::Event;
use domain::format::{BatchFormat, Format, RenderError, RenderInput, Rendered, render};
use domain::function::Function;
use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER, Lineage};
use domain::record::HeaderLines;
use domain::session::SESSION_HEADER;
use domain::signature;
use domain::template::TemplateInput;
use domain::token::TokenKeys;
use domain::trigger::Trigger;
use http::{HeaderName, HeaderValue, Uri, header};

use crate::outbound::MASKED;
use crate::outbound::endpoint_client::{EndpointRequest, EndpointResponse};

const X_ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");
const X_MAX_ATTEMPTS: HeaderName = HeaderName::from_static("x-max-attempts");
const X_DELIVERY_ID: HeaderName = HeaderName::from_static("x-delivery-id");
const X_EVENT_ID: HeaderName = HeaderName::from_static("x-event-id");
const X_FUNCTION: HeaderName = HeaderName::from_static("x-function");
const X_FUNCTION_HANDLER: HeaderName = HeaderName::from_static("x-function-handler");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER_AGENT: &str = concat!("tripline/", env!("CARGO_PKG_VERSION"));

/// What a line has beside name and value.
const LINE_BYTES: usize = 3;

/// What an attempt needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub event: &'a Event,
    pub target: &'a Target,
    pub function: &'a Function,
    pub trigger: &'a Trigger,
    /// Sent as `traceparent`, when there is a trace.
    pub traceparent: Option<&'a str>,
    /// When the attempt begins; the signature is of this second.
    pub now: Timestamp,
    /// By which the function acts for the event's actor; none without one.
    pub session: Option<&'a str>,
    /// What signs the function's token, where it wants one.
    pub token_keys: Option<&'a TokenKeys>,
    /// This worker's name, as the token says it.
    pub worker: &'a str,
}

/// Makes the request of one attempt.
///
/// # Errors
/// The outcome of the attempt, when no request can ever be made of the event.
pub fn compose(call: &Call<'_>) -> Result<EndpointRequest, Outcome> {
    let input = render_input(call);
    let rendered = rendered(call, &input)?;
    compose_around(call, rendered)
}

/// Makes the request of one attempt around a body that is there already.
///
/// # Errors
/// As [`compose`].
pub fn compose_around(call: &Call<'_>, rendered: Rendered) -> Result<EndpointRequest, Outcome> {
    let function = call.function;
    let uri = uri(function)?;
    let id = call.target.delivery.to_string();
    let signature = signature::sign_for(function, &id, call.now, &rendered.body)
        .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;

    let mut head = event_head(&rendered);
    if let Some(content_type) = &rendered.content_type {
        head.push(header::CONTENT_TYPE, content_type)?;
    }
    let attempts_max = u64::from(call.trigger.retry.retries_max) + 1;
    let user_agent = HeaderValue::from_static(USER_AGENT);
    head.fields.push((header::USER_AGENT, user_agent));
    head.push_display(X_ATTEMPT, call.target.next_attempt)?;
    head.push_display(X_MAX_ATTEMPTS, attempts_max)?;
    head.push_display(WEBHOOK_TIMESTAMP, call.now.as_second())?;
    push_lineage(&mut head, call)?;
    head.push(WEBHOOK_ID, &id)?;
    head.push(WEBHOOK_SIGNATURE, &signature)?;
    head.push(X_DELIVERY_ID, &id)?;
    head.push_display(X_EVENT_ID, call.event.eid)?;
    head.push_display(X_FUNCTION, &function.name)?;
    if let Some(traceparent) = call.traceparent {
        head.push(TRACEPARENT, traceparent)?;
    }
    if let Some(handler) = function.settings.handler_of(&call.event.event_type) {
        head.push(X_FUNCTION_HANDLER, handler.as_str())?;
    }
    push_session(&mut head, call)?;
    let special = extras::add(call, &id, &rendered.body, &mut head.fields)?;
    let retry = &call.trigger.retry;
    Ok(EndpointRequest {
        uri,
        headers: head.fields,
        body: rendered.body,
        connect_timeout: retry.connect_timeout,
        first_byte_timeout: retry.first_byte_timeout,
        timeout: retry.timeout,
        special,
    })
}

fn render_input<'a>(call: &Call<'a>) -> RenderInput<'a> {
    RenderInput {
        event: call.event,
        captures: &call.target.captures,
        secret: call.function.secret_at(call.now),
        function_session: call.session,
        function: &call.target.function,
        endpoint: call.function.settings.endpoint.as_deref(),
        delivery: call.target.delivery,
        node: call.worker,
        call_headers: &[],
    }
}

/// The format of a call's request.
pub fn format_of(function: &Function, trigger: &Trigger) -> Format {
    trigger.format.unwrap_or(function.format)
}

/// How a delivery shares a request with others, where it may: not when a template makes its body.
pub fn batch_format(function: &Function, trigger: &Trigger) -> Option<BatchFormat> {
    match trigger.template {
        Some(_) => None,
        None => format_of(function, trigger).batch(),
    }
}

fn uri(function: &Function) -> Result<Uri, Outcome> {
    function.url.as_str().parse().map_err(|error| {
        impossible(
            ErrorClass::Render,
            format!("the function's URL cannot be called: {error}"),
        )
    })
}

/// Headers that carry the event.
fn event_head(rendered: &Rendered) -> Head {
    let mut head = Head::new();
    for (name, value) in &rendered.headers {
        // What comes from the event may be anything: it is left out of the head if it cannot be
        // one, since the body or another format still carries it.
        if let Some(name) = name_of(name) {
            drop(head.try_push(name, value));
        }
    }
    head
}

/// The body and what goes with it: by the trigger's template, else by the format.
fn rendered(call: &Call<'_>, input: &RenderInput<'_>) -> Result<Rendered, Outcome> {
    let format = format_of(call.function, call.trigger);
    let by_format = |format| render(format, input).map_err(|error| unrenderable(&error));
    let Some(template) = &call.trigger.template else {
        return by_format(format);
    };
    let template_input = TemplateInput {
        event: call.event,
        captures: &call.target.captures,
        attempt: call.target.next_attempt,
    };
    let body = template
        .render(&template_input)
        .map_err(|error| impossible(ErrorClass::Render, format!("the template failed: {error}")))?;
    let headers = match format {
        // The event's attributes go in the head, whatever the body is.
        Format::CloudEventsBinary => by_format(format)?.headers,
        Format::Schmuckli
        | Format::CloudEventsStructured
        | Format::CloudEventsBatch
        | Format::SpaceCloud
        | Format::Yandex
        | Format::Extremum
        | Format::Kii
        | Format::DreamFactory => Vec::new(),
    };
    Ok(Rendered {
        content_type: Some(template.content_type().to_owned()),
        headers,
        body,
    })
}

/// Where the event comes from, for a function that emits events itself to pass on.
fn push_lineage(head: &mut Head, call: &Call<'_>) -> Result<(), Outcome> {
    let lineage = Lineage::of_call(call.event, &call.function.name);
    head.push_display(HeaderName::from_static(DEPTH_HEADER), lineage.depth)?;
    let ancestry = HeaderName::from_static(ANCESTRY_HEADER);
    head.push(ancestry, &lineage.ancestry_text())
}

/// In a header where the body has no place for it.
fn push_session(head: &mut Head, call: &Call<'_>) -> Result<(), Outcome> {
    let format = format_of(call.function, call.trigger);
    let Some(session) = call.session else {
        return Ok(());
    };
    if !session::is_in_body(call.trigger, format) {
        let name = HeaderName::from_static(SESSION_HEADER);
        head.fields.push((name, extras::secret(session)?));
    }
    Ok(())
}

/// The request's headers as they may be shown and kept; nothing in them lets anybody act as us.
pub fn shown_headers(request: &EndpointRequest) -> HeaderLines {
    // As much as they take: they are held for as long as the request is under way.
    let fields = request.headers.iter();
    let bytes = fields.map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
    let mut lines = HeaderLines::with_capacity(bytes.sum());
    for (name, value) in &request.headers {
        match value.is_sensitive() {
            true => lines.push(name.as_str(), MASKED),
            false => lines.push(name.as_str(), &String::from_utf8_lossy(value.as_bytes())),
        }
    }
    let grant = request.special.as_ref().map(|special| &special.grant);
    if let Some(Some(_it_is_fetched_later)) = grant {
        lines.push(header::AUTHORIZATION.as_str(), MASKED);
    }
    lines
}

/// What is said of an attempt whose request could not be made.
pub fn unsent(outcome: Outcome) -> EndpointResponse {
    EndpointResponse {
        outcome,
        status: None,
        headers: HeaderLines::default(),
        body: Bytes::new(),
        truncated: false,
        duration: Duration::ZERO,
    }
}

/// What cannot be rendered once never can.
fn unrenderable(error: &RenderError) -> Outcome {
    let class = match error {
        RenderError::TooLarge { .. } => ErrorClass::TooLarge,
        RenderError::ContentType(_) | RenderError::Json(_) => ErrorClass::Render,
    };
    impossible(class, error.to_string())
}

const fn impossible(class: ErrorClass, message: String) -> Outcome {
    Outcome::Impossible { class, message }
}
