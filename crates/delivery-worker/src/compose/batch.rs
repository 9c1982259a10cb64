//! The request that brings several deliveries at once.

use bytes::Bytes;
use domain::delivery::Outcome;
use domain::format::BatchFormat;
use domain::id::BatchId;
use domain::lineage::Lineage;
use domain::signature;
use http::{HeaderName, HeaderValue, header};

use super::{
    Call, ErrorClass, USER_AGENT, event_headers, extras, impossible, push_lineage, render_input,
    unrenderable, uri,
};
use crate::outbound::endpoint_client::EndpointRequest;

/// How many deliveries the request carries.
const BATCH_SIZE: HeaderName = HeaderName::from_static("x-tripline-batch-size");

/// One delivery's part of the body.
///
/// # Errors
/// The outcome of its attempt, when none can ever be made of the event.
pub fn part(call: &Call<'_>, format: BatchFormat) -> Result<Bytes, Outcome> {
    let part = format.part(&render_input(call));
    part.map_err(|error| unrenderable(&error))
}

/// Makes the request that carries these parts, each of its own call of one and the same function.
///
/// It is signed as a whole, under an id that follows from the deliveries in it and their order. What
/// is said once of a request is said of the call that needs the most: the longest time allowed, and
/// the most events behind it.
///
/// # Errors
/// The outcome of each attempt, when no request can be made.
pub fn compose_batch(
    calls: &[Call<'_>],
    format: BatchFormat,
    parts: &[Bytes],
) -> Result<EndpointRequest, Outcome> {
    let nothing = || impossible(ErrorClass::Render, "there is nothing to send".to_owned());
    let first = calls.first().ok_or_else(nothing)?;
    let function = first.function;
    let uri = uri(function)?;
    let rendered = format.whole(parts);
    let deliveries: Vec<_> = calls
        .iter()
        .map(|call| (call.target.delivery, call.target.generation))
        .collect();
    let id = BatchId::derive(&deliveries).to_string();
    let unsendable = |error: String| impossible(ErrorClass::Render, error);
    let signature = signature::sign_for(function, &id, first.now, &rendered.body)
        .map_err(|error| unsendable(error.to_string()))?;
    let mut headers = event_headers(&rendered);
    headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    headers.push((BATCH_SIZE, calls.len().into()));
    headers.push((
        HeaderName::from_static("webhook-timestamp"),
        first.now.as_second().into(),
    ));
    let depth = |call: &&Call<'_>| Lineage::of_call(call.event, &function.name).depth;
    if let Some(deepest) = calls.iter().max_by_key(depth) {
        push_lineage(&mut headers, deepest)?;
    }
    let function_name = function.name.to_string();
    let content_type = rendered.content_type.as_deref().unwrap_or_default();
    let texts = [
        ("content-type", content_type),
        ("webhook-id", id.as_str()),
        ("webhook-signature", signature.as_str()),
        ("x-function", function_name.as_str()),
    ];
    let trace = first.traceparent.map(|trace| ("traceparent", trace));
    for (name, value) in texts.into_iter().chain(trace) {
        let value = HeaderValue::try_from(value).map_err(|error| unsendable(error.to_string()))?;
        headers.push((HeaderName::from_static(name), value));
    }
    let special = extras::add(first, &id, &rendered.body, &mut headers)?;
    let policies = || calls.iter().map(|call| &call.trigger.retry);
    Ok(EndpointRequest {
        uri,
        headers,
        body: rendered.body,
        // Where one of them leaves it to the worker, the worker's own counts.
        connect_timeout: policies()
            .map(|policy| policy.connect_timeout)
            .reduce(|one, other| Some(one?.max(other?)))
            .flatten(),
        first_byte_timeout: policies()
            .map(|policy| policy.first_byte_timeout)
            .reduce(|one, other| Some(one?.max(other?)))
            .flatten(),
        timeout: policies()
            .map(|policy| policy.timeout)
            .max()
            .unwrap_or_default(),
        special,
    })
}
