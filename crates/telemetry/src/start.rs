//! Sets up logs and traces for the whole process, and flushes them at its end.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, Sampler, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, ParseError, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::{Config, LogFormat};

/// A collector that does not answer must neither hold up the end of the process nor let
/// batches pile up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What sends the spans would otherwise make spans about sending them.
const NEVER_TRACED: [&str; 5] = [
    "opentelemetry=off",
    "h2=off",
    "hyper=off",
    "tonic=off",
    "tower=off",
];

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read the filter {filter:?}")]
    Filter { filter: String, source: ParseError },
    #[error("the share of traces to record is {0}, but must be from 0 to 1")]
    TraceShare(f64),
    #[error("cannot set up the sending of traces")]
    Exporter(#[from] ExporterBuildError),
}

/// Keeps the exporters going; flushes them when dropped.
#[derive(Debug)]
#[must_use = "dropping the guard ends the sending of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is still waiting; blocks its thread for at most the export time-out.
    pub fn shutdown(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(EXPORT_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Logs to standard error from here on, and sends spans if a collector is set; needs a
/// running Tokio runtime in that case. In a process that has set up logging before (a test),
/// that first set-up stays.
pub fn start(service: &str, config: &Config) -> Result<Guard, Error> {
    let logged = filter(&config.log_filter)?;
    let provider = tracer_provider(service, config)?;
    let started = match &provider {
        Some(provider) => {
            let tracer = provider.tracer("tripline");
            let traces = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_threads(false);
            let directives = [&[config.trace_filter.as_str()], &NEVER_TRACED[..]].concat();
            let traced = filter(&directives.join(","))?;
            tracing_subscriber::registry()
                .with(log_layer(config).with_filter(logged.and(events_only())))
                .with(traces.with_filter(traced))
                .try_init()
        }
        // Filters over everything, not of one layer: what nobody hears of is not even made.
        None => tracing_subscriber::registry()
            .with(log_layer(config))
            .with(logged)
            .with(events_only())
            .try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging is set up already");
    }
    Ok(Guard { provider })
}

fn filter(directives: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(directives).map_err(|source| Error::Filter {
        filter: directives.to_owned(),
        source,
    })
}

fn log_layer<S>(config: &Config) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match config.log_format {
        LogFormat::Human => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Spans are for the collector alone.
fn events_only() -> FilterFn {
    filter_fn(is_event as fn(&Metadata<'_>) -> bool)
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

fn tracer_provider(service: &str, config: &Config) -> Result<Option<SdkTracerProvider>, Error> {
    if !(0.0..=1.0).contains(&config.trace_share) {
        return Err(Error::TraceShare(config.trace_share));
    }
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str())
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let instance = match &config.service_instance {
        Some(instance) => instance.clone(),
        None => RandomIdGenerator::default().new_span_id().to_string(),
    };
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.namespace", "tripline"))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_share)));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}
