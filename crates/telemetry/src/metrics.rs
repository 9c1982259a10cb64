//! The numbers of this process, as Prometheus asks for them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// From a local answer to an endpoint that uses up its time-out.
const DURATION_BUCKETS_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Histograms keep every value until they are tidied, so not only when somebody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot take in metrics")]
    Recorder(#[from] BuildError),
    #[error("cannot start the upkeep of metrics")]
    Upkeep(#[source] io::Error),
}

/// The recorder is one per process, however many systems run in it.
static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);

/// What has been measured in this process so far.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: Collector,
}

/// Takes in all metrics of this process from now on; later calls give the same ones.
pub fn install() -> Result<Metrics, Error> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = &*installed {
        return Ok(metrics.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS_SECONDS)?
        .install_recorder()?;
    start_upkeep(handle.clone())?;
    let process = Collector::default();
    process.describe();
    let metrics = Metrics { handle, process };
    *installed = Some(metrics.clone());
    Ok(metrics)
}

/// Installs the recorder if need be and answers `/metrics`.
pub fn metrics_router() -> Result<Router, Error> {
    let metrics = install()?;
    let answer = async move || ([(CONTENT_TYPE, TEXT_FORMAT)], metrics.render()).into_response();
    Ok(Router::new().route("/metrics", get(answer)))
}

/// The recorder lasts as long as the process and belongs to no system that could stop it;
/// neither does this thread, which holds nothing that would have to be finished.
fn start_upkeep(handle: PrometheusHandle) -> Result<(), Error> {
    let upkeep = move || loop {
        thread::park_timeout(UPKEEP_INTERVAL);
        handle.run_upkeep();
    };
    let thread = thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(upkeep);
    thread.map(drop).map_err(Error::Upkeep)
}

impl Metrics {
    /// All metrics in the text format, those of the process itself read just now.
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }
}
