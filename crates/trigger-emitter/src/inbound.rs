//! What comes in: the same events by HTTP and by gRPC.

pub mod grpc;
pub mod http;

use tracing::Span;

/// The span of one call, in the trace it came with.
fn call_span(traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!("emit");
    if let Some(traceparent) = traceparent.filter(|_| !span.is_disabled()) {
        telemetry::trace::set_parent(&span, traceparent);
    }
    span
}
