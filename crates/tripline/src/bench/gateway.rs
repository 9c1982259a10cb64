//! What calls cost that somebody waits for: through the gateway, where no script is bound and where
//! one runs before the call, beside the same call without the gateway; and of a function directly.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use protocol::functions::v1::{CreateFunctionRequest, DeleteFunctionRequest};
use protocol::gateway::v1::{
    CreateServiceRequest, DeleteScriptRequest, DeleteServiceRequest, PutScriptRequest, Service,
};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::interrupt::Interrupt;
use super::measure::{Target, random_name};
use super::receivers::{Behaviour, Receivers};
use crate::command_line::{Connection, Output};
use crate::failure::Failure;
use crate::output;

/// Calls a second, unless `--rate` says another.
const RATE: f64 = 200.0;

/// What takes longer counts as so long.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Calls that are made before, and not measured.
const WARMUP: Duration = Duration::from_secs(2);

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: u32,
}

/// One way of calling, in microseconds.
#[derive(Debug, Serialize)]
struct Way {
    way: &'static str,
    calls: usize,
    failed: usize,
    /// What the first call that failed was told.
    failure: Option<String>,
    p50_us: u64,
    p99_us: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct GatewayReport {
    rate: f64,
    ways: Vec<Way>,
    /// At the median, above the call without the gateway.
    gateway_adds_p50_us: u64,
    /// At the 99th percentile, above the call through the gateway; the function's own time is in it.
    script_adds_p99_us: u64,
    /// At the 99th percentile, above the call of its address; as near as that is to its own time.
    invocation_adds_p99_us: u64,
}

impl GatewayReport {
    pub(crate) fn failed(&self) -> usize {
        self.ways.iter().map(|way| way.failed).sum()
    }

    pub(crate) fn print(&self, to: Output) -> Result<(), Failure> {
        if to == Output::Json {
            return output::object(self);
        }
        output::line(&format!("{} calls/s", self.rate))?;
        for way in &self.ways {
            output::line(&format!(
                "{:<16} p50 {:>7} µs   p99 {:>7} µs   {} calls, {} failed",
                way.way, way.p50_us, way.p99_us, way.calls, way.failed
            ))?;
            if let Some(failure) = &way.failure {
                output::line(&format!("                 failed with {failure}"))?;
            }
        }
        output::line(&format!(
            "the gateway adds {} µs at the median; a script before the call adds {} µs at p99, the \
             function's own time included; a direct call of a function adds {} µs at p99",
            self.gateway_adds_p50_us, self.script_adds_p99_us, self.invocation_adds_p99_us
        ))
    }
}

/// Measures; what was made for it is gone afterwards, also when it is interrupted.
pub(crate) async fn run(
    run: &Run,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<GatewayReport, Failure> {
    let receivers = Receivers::start(target.receive_on, 2, Behaviour::Answers)?;
    let host = |place: usize| {
        let port = receivers
            .addresses()
            .get(place)
            .map_or(0, |address| address.port());
        let host = target.receiver_host.clone();
        let host = host.unwrap_or_else(|| target.receive_on.to_string());
        format!("http://{host}:{port}")
    };
    let names = Names::new();
    let outcome = interrupt
        .or(async {
            names.make(&target.connection, &host(0), &host(1)).await?;
            measure(run, &target.connection, &names, &host(0)).await
        })
        .await;
    names.remove(&target.connection).await;
    outcome
}

/// What is made for a run.
struct Names {
    service: String,
    function: String,
    event: String,
}

impl Names {
    fn new() -> Self {
        let name = random_name();
        let service = format!("bench-{name}");
        Self {
            // A name begins with a letter.
            function: format!("bench/call-{name}"),
            event: format!("{service}._table.guarded.get.pre_process"),
            service,
        }
    }

    async fn make(
        &self,
        connection: &Connection,
        backend: &str,
        script: &str,
    ) -> Result<(), Failure> {
        let service = Service {
            name: self.service.clone(),
            base_url: backend.to_owned(),
            description: "db".to_owned(),
            ..Service::default()
        };
        let request = CreateServiceRequest {
            service: Some(service),
            ..CreateServiceRequest::default()
        };
        connection.gateway()?.create_service(request).await?;
        let request = CreateFunctionRequest {
            name: self.function.clone(),
            url: format!("{script}/"),
            ..CreateFunctionRequest::default()
        };
        connection.functions()?.create_function(request).await?;
        let request = PutScriptRequest {
            event: self.event.clone(),
            function: self.function.clone(),
            active: Some(true),
            allow_event_modification: true,
            ..PutScriptRequest::default()
        };
        connection.scripts()?.put_script(request).await?;
        Ok(())
    }

    /// As far as it was made.
    async fn remove(&self, connection: &Connection) {
        if let Ok(mut scripts) = connection.scripts() {
            let event = self.event.clone();
            drop(scripts.delete_script(DeleteScriptRequest { event }).await);
        }
        if let Ok(mut functions) = connection.functions() {
            let name = self.function.clone();
            drop(
                functions
                    .delete_function(DeleteFunctionRequest { name })
                    .await,
            );
        }
        if let Ok(mut gateway) = connection.gateway() {
            let name = self.service.clone();
            drop(gateway.delete_service(DeleteServiceRequest { name }).await);
        }
    }
}

async fn measure(
    run: &Run,
    connection: &Connection,
    names: &Names,
    backend: &str,
) -> Result<GatewayReport, Failure> {
    let server = connection.server()?;
    let through = |table: &str| {
        let server = server.as_str().trim_end_matches('/');
        format!("{server}/api/v2/{}/_table/{table}", names.service)
    };
    let invoke = format!(
        "{}/v1/projects/{}/functions/{}/invoke",
        server.as_str().trim_end_matches('/'),
        connection.project.as_deref().unwrap_or("default"),
        names.function
    );
    let get = |way, url| Call {
        way,
        method: Method::GET,
        url,
        body: "",
    };
    let rate = run.rate.unwrap_or(RATE);
    let mut ways = Vec::new();
    for call in [
        get("direct", format!("{backend}/_table/plain")),
        get("gateway", through("plain")),
        get("gateway, script", through("guarded")),
        Call {
            way: "invocation",
            method: Method::POST,
            url: invoke,
            body: r#"{"parameters":{"name":"bench"}}"#,
        },
    ] {
        drop(calls(&call, connection, rate, WARMUP).await?);
        let time = Duration::from_secs(run.seconds.into());
        ways.push(calls(&call, connection, rate, time).await?);
    }
    let p50 = |place: usize| ways.get(place).map_or(0, |way| way.p50_us);
    let p99 = |place: usize| ways.get(place).map_or(0, |way| way.p99_us);
    Ok(GatewayReport {
        rate,
        gateway_adds_p50_us: p50(1).saturating_sub(p50(0)),
        script_adds_p99_us: p99(2).saturating_sub(p99(1)),
        invocation_adds_p99_us: p99(3).saturating_sub(p99(0)),
        ways,
    })
}

/// What is called, again and again.
struct Call {
    way: &'static str,
    method: Method,
    url: String,
    /// JSON, or nothing.
    body: &'static str,
}

/// Calls by a timetable; a call that waits for its turn has begun when it was due.
async fn calls(
    call: &Call,
    connection: &Connection,
    rate: f64,
    time: Duration,
) -> Result<Way, Failure> {
    let url = &call.url;
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let cannot = |error: &dyn std::fmt::Display| Failure::local(format!("{url}: {error}"));
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|error| cannot(&error))?;
    let mut due = interval(Duration::from_secs_f64(1.0 / rate));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut under_way, mut failed, mut made) = (JoinSet::new(), 0, 0);
    let mut failure: Option<String> = None;
    let begun = Instant::now();
    while begun.elapsed() < time || !under_way.is_empty() {
        tokio::select! {
            at = due.tick(), if begun.elapsed() < time => {
                let mut request = Request::builder().method(call.method.clone()).uri(url);
                if !call.body.is_empty() {
                    request = request.header(CONTENT_TYPE, "application/json");
                }
                if let Some(key) = &connection.api_key {
                    request = request.header(AUTHORIZATION, format!("Bearer {key}"));
                }
                let request = request.body(Full::from(call.body)).map_err(|error| cannot(&error))?;
                let client = client.clone();
                made += 1;
                under_way.spawn(async move {
                    let response = client.request(request).await.map_err(|error| error.to_string())?;
                    let status = response.status();
                    let body = response.into_body().collect().await;
                    let body = body.map_err(|error| error.to_string())?.to_bytes();
                    if status.is_success() {
                        return Ok(at.elapsed());
                    }
                    Err(format!("{status} {}", String::from_utf8_lossy(&body)))
                });
            }
            Some(ended) = under_way.join_next() => match ended {
                Ok(Ok(took)) => {
                    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    histogram.saturating_record(micros);
                }
                Ok(Err(reason)) => {
                    failed += 1;
                    failure.get_or_insert(reason);
                }
                Err(_panicked) => failed += 1,
            },
        }
    }
    Ok(Way {
        way: call.way,
        calls: made,
        failed,
        failure,
        p50_us: histogram.value_at_quantile(0.5),
        p99_us: histogram.value_at_quantile(0.99),
    })
}
