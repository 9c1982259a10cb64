//! What comes in: the same events by HTTP and by gRPC.

pub mod grpc;
pub mod http;

use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER, Lineage};
use protocol::fault::Fault;
use tracing::Span;

/// The span of one call, in the trace it came with.
fn call_span(traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!("emit");
    if let Some(traceparent) = traceparent.filter(|_| !span.is_disabled()) {
        telemetry::trace::set_parent(&span, traceparent);
    }
    span
}

/// What a function passed on of the event it was called for; `header` gives a header's text.
///
/// # Errors
/// Names the header that is not as the function was sent it.
fn lineage<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Lineage>, Fault> {
    Lineage::read(header(DEPTH_HEADER), header(ANCESTRY_HEADER))
        .map_err(|error| Fault::invalid(error.header, error.value, error.message, error.allowed))
}
