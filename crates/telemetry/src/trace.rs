//! Trace context in and out: the W3C header `traceparent`, and the spans it belongs to.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of the header, in HTTP, gRPC and AMQP alike.
pub const HEADER: &str = "traceparent";

/// How long a `traceparent` is.
const TEXT_BYTES: usize = 55;

/// The place in a trace from which a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: TraceFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no W3C traceparent")]
pub struct Invalid;

impl TraceParent {
    /// The beginning of a new trace that nobody records.
    pub fn random() -> Self {
        let ids = RandomIdGenerator::default();
        let (trace_id, span_id) = (ids.new_trace_id(), ids.new_span_id());
        Self {
            trace_id,
            span_id,
            flags: TraceFlags::NOT_SAMPLED,
        }
    }

    /// A place in the trace of this id: 32 hex digits, or 16 that are padded with zeros.
    pub fn in_trace(trace_id: &str) -> Result<Self, Invalid> {
        let trace_id = match trace_id.len() {
            16 => hex::<8>(trace_id).map(|short| u128::from(u64::from_be_bytes(short)))?,
            _ => u128::from_be_bytes(hex::<16>(trace_id)?),
        };
        let trace_id = TraceId::from_bytes(trace_id.to_be_bytes());
        if trace_id == TraceId::INVALID {
            return Err(Invalid);
        }
        let span_id = RandomIdGenerator::default().new_span_id();
        Ok(Self {
            trace_id,
            span_id,
            flags: TraceFlags::SAMPLED,
        })
    }

    /// Another place in the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span_id: RandomIdGenerator::default().new_span_id(),
            ..self
        }
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> String {
        self.trace_id.to_string()
    }

    /// The 16 hex digits that were padded, if this is a padded id.
    pub fn short_trace_id(&self) -> Option<String> {
        self.trace_id()
            .strip_prefix("0000000000000000")
            .map(str::to_owned)
    }

    /// 16 hex digits.
    pub fn span_id(&self) -> String {
        self.span_id.to_string()
    }

    pub fn is_sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let (trace_id, span_id) = (
            span.span_context().trace_id(),
            span.span_context().span_id(),
        );
        let flags = span.span_context().trace_flags();
        span.span_context().is_valid().then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    fn span_context(self) -> SpanContext {
        SpanContext::new(
            self.trace_id,
            self.span_id,
            self.flags,
            true,
            TraceState::NONE,
        )
    }
}

impl FromStr for TraceParent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(Invalid);
        let [version] = hex::<1>(next()?)?;
        let trace_id = TraceId::from_bytes(hex::<16>(next()?)?);
        let span_id = SpanId::from_bytes(hex::<8>(next()?)?);
        let [flags] = hex::<1>(next()?)?;
        // A later version may add parts; this one has none, and 255 will never be a version.
        let has_more = parts.next().is_some();
        if version == u8::MAX || (version == 0 && has_more) {
            return Err(Invalid);
        }
        if trace_id == TraceId::INVALID || span_id == SpanId::INVALID {
            return Err(Invalid);
        }
        let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
        Ok(Self {
            trace_id,
            span_id,
            flags,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// The bytes of exactly `2 * N` lower-case digits, as the standard asks for.
fn hex<const N: usize>(text: &str) -> Result<[u8; N], Invalid> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return Err(Invalid);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(Invalid),
            };
            *byte = (*byte << 4) | value;
        }
    }
    Ok(bytes)
}

/// The place of the current span, if spans are recorded in this process.
pub fn current_traceparent() -> Option<String> {
    TraceParent::of(&Span::current()).map(|current| current.to_string())
}

/// What to send along with a call that belongs to the trace received: the current span if it
/// is part of that trace, else a new place in it. Nothing received, or nothing that can be
/// read, begins a trace, so that there always is one, even if nobody here records spans.
pub fn outgoing(received: Option<&str>) -> String {
    let received: Option<TraceParent> = received.and_then(|text| text.parse().ok());
    let current = TraceParent::of(&Span::current());
    let outgoing = match (received, current) {
        (Some(received), Some(current)) if current.trace_id == received.trace_id => current,
        (Some(received), _) => received.child(),
        (None, Some(current)) => current,
        (None, None) => TraceParent::random(),
    };
    let mut text = String::with_capacity(TEXT_BYTES);
    // Writing into a text does not fail.
    let _written: fmt::Result = write!(text, "{outgoing}");
    text
}

/// Makes the span part of the trace received; before the span is entered. False if the text
/// cannot be read or the span is not recorded.
pub fn set_parent(span: &Span, traceparent: &str) -> bool {
    let Ok(parent) = traceparent.parse::<TraceParent>() else {
        return false;
    };
    span.set_parent(Context::new().with_remote_span_context(parent.span_context()))
        .is_ok()
}

/// Lets the span point to where it came from, without becoming part of that trace. False if
/// the text cannot be read.
pub fn link(span: &Span, traceparent: &str) -> bool {
    let Ok(origin) = traceparent.parse::<TraceParent>() else {
        return false;
    };
    span.add_link(origin.span_context());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(text: &str) -> Result<String, Invalid> {
        text.parse::<TraceParent>().map(|parsed| parsed.to_string())
    }

    #[test]
    fn a_valid_one_comes_back_as_it_was() {
        assert_eq!(check(SENT).as_deref(), Ok(SENT));
    }

    #[test]
    fn a_later_version_is_read_as_ours() {
        let later = SENT.replacen("00", "01", 1) + "-more";
        assert_eq!(check(&later).as_deref(), Ok(SENT));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(check(text), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let parent: TraceParent = SENT.parse().unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert!(child.is_sampled());
    }

    #[test]
    fn a_short_trace_id_is_padded_and_given_back() {
        let padded = TraceParent::in_trace("dd52ace79c62892f").unwrap();
        assert_eq!(padded.trace_id(), "0000000000000000dd52ace79c62892f");
        assert_eq!(padded.short_trace_id().as_deref(), Some("dd52ace79c62892f"));
        let parent: TraceParent = SENT.parse().unwrap();
        assert_eq!(
            TraceParent::in_trace(&parent.trace_id())
                .unwrap()
                .short_trace_id(),
            None
        );
        assert_eq!(TraceParent::in_trace("0000000000000000"), Err(Invalid));
        assert_eq!(TraceParent::in_trace("dd52"), Err(Invalid));
    }

    #[test]
    fn the_trace_goes_on_even_if_nobody_records_it() {
        assert_eq!(current_traceparent(), None);
        let sent: TraceParent = SENT.parse().unwrap();
        let passed_on: TraceParent = outgoing(Some(SENT)).parse().unwrap();
        assert_eq!(passed_on.trace_id(), sent.trace_id());
        assert_ne!(passed_on.span_id(), sent.span_id());
        let begun: TraceParent = outgoing(Some("nonsense")).parse().unwrap();
        assert!(!begun.is_sampled());
    }
}
