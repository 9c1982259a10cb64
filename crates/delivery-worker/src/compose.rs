//! The request an attempt sends: body and headers by format, ids, attempt number and signature.

mod batch;
mod extras;
pub mod session;

use std::time::Duration;

pub use self::batch::{compose_batch, part};
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

const USER_AGENT: &str = concat!("tripline/", env!("CARGO_PKG_VERSION"));

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
    let timestamp_s = call.now.as_second();
    let signature = signature::sign_for(function, &id, call.now, &rendered.body)
        .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;

    let mut headers = event_headers(&rendered);
    if let Some(content_type) = &rendered.content_type {
        let value = HeaderValue::try_from(content_type)
            .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;
        headers.push((header::CONTENT_TYPE, value));
    }
    let attempts_max = u64::from(call.trigger.retry.retries_max) + 1;
    headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    headers.push((
        HeaderName::from_static("x-attempt"),
        call.target.next_attempt.into(),
    ));
    headers.push((
        HeaderName::from_static("x-max-attempts"),
        attempts_max.into(),
    ));
    headers.push((
        HeaderName::from_static("webhook-timestamp"),
        timestamp_s.into(),
    ));
    let eid = call.event.eid.to_string();
    let function_name = function.name.to_string();
    push_lineage(&mut headers, call)?;
    let texts = [
        ("webhook-id", id.as_str()),
        ("webhook-signature", signature.as_str()),
        ("x-delivery-id", id.as_str()),
        ("x-event-id", eid.as_str()),
        ("x-function", function_name.as_str()),
    ];
    let trace = call
        .traceparent
        .map(|traceparent| ("traceparent", traceparent));
    let handler = function.settings.handler_of(&call.event.event_type);
    let handler = handler.map(|handler| ("x-function-handler", handler.as_str()));
    for (name, value) in texts.into_iter().chain(trace).chain(handler) {
        let value = HeaderValue::try_from(value)
            .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;
        headers.push((HeaderName::from_static(name), value));
    }
    push_session(&mut headers, call)?;
    let special = extras::add(call, &id, &rendered.body, &mut headers)?;
    let retry = &call.trigger.retry;
    Ok(EndpointRequest {
        uri,
        headers,
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

/// Headers that carry the event, with room for the others.
fn event_headers(rendered: &Rendered) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(rendered.headers.len() + 16);
    for (name, value) in &rendered.headers {
        // What comes from the event may be anything: it is left out of the head if it cannot be
        // one, since the body or another format still carries it.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.push((name, value));
        }
    }
    headers
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
fn push_lineage(
    headers: &mut Vec<(HeaderName, HeaderValue)>,
    call: &Call<'_>,
) -> Result<(), Outcome> {
    let lineage = Lineage::of_call(call.event, &call.function.name);
    let ancestry = HeaderValue::try_from(lineage.ancestry_text())
        .map_err(|error| impossible(ErrorClass::Render, error.to_string()))?;
    headers.push((HeaderName::from_static(DEPTH_HEADER), lineage.depth.into()));
    headers.push((HeaderName::from_static(ANCESTRY_HEADER), ancestry));
    Ok(())
}

/// In a header where the body has no place for it.
fn push_session(
    headers: &mut Vec<(HeaderName, HeaderValue)>,
    call: &Call<'_>,
) -> Result<(), Outcome> {
    let format = format_of(call.function, call.trigger);
    let Some(session) = call.session else {
        return Ok(());
    };
    if !session::is_in_body(call.trigger, format) {
        let name = HeaderName::from_static(SESSION_HEADER);
        headers.push((name, extras::secret(session)?));
    }
    Ok(())
}

/// The request's headers as they may be shown and kept; nothing in them lets anybody act as us.
pub fn shown_headers(request: &EndpointRequest) -> HeaderLines {
    let text = |value: &HeaderValue| match value.is_sensitive() {
        true => MASKED.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    let by_grant = request
        .special
        .as_ref()
        .and_then(|special| special.grant.as_ref())
        .map(|_it_is_fetched_later| (header::AUTHORIZATION.as_str(), MASKED.to_owned()));
    let fields = request.headers.iter();
    fields
        .map(|(name, value)| (name.as_str(), text(value)))
        .chain(by_grant)
        .collect()
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
