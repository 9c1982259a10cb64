//! The request that brings several deliveries at once.

use bytes::Bytes;
use domain::delivery::Outcome;
use domain::format::BatchFormat;
use domain::id::BatchId;
use domain::lineage::Lineage;
use domain::signature;
use http::{HeaderName, HeaderValue, header};

use super::{
    Call, ErrorClass, TRACEPARENT, USER_AGENT, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    X_FUNCTION, event_head, extras, impossible, push_lineage, render_input, unrenderable, uri,
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
    let mut head = event_head(&rendered);
    let user_agent = HeaderValue::from_static(USER_AGENT);
    head.fields.push((header::USER_AGENT, user_agent));
    let size = u32::try_from(calls.len()).unwrap_or(u32::MAX);
    head.push_display(BATCH_SIZE, size)?;
    head.push_display(WEBHOOK_TIMESTAMP, first.now.as_second())?;
    let depth = |call: &&Call<'_>| Lineage::of_call(call.event, &function.name).depth;
    if let Some(deepest) = calls.iter().max_by_key(depth) {
        push_lineage(&mut head, deepest)?;
    }
    let content_type = rendered.content_type.as_deref().unwrap_or_default();
    head.push(header::CONTENT_TYPE, content_type)?;
    head.push(WEBHOOK_ID, &id)?;
    head.push(WEBHOOK_SIGNATURE, &signature)?;
    head.push(X_FUNCTION, &function.name.to_string())?;
    if let Some(traceparent) = first.traceparent {
        head.push(TRACEPARENT, traceparent)?;
    }
    let special = extras::add(first, &id, &rendered.body, &mut head.fields)?;
    let policies = || calls.iter().map(|call| &call.trigger.retry);
    Ok(EndpointRequest {
        uri,
        headers: head.fields,
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
