//! Spans reach a collector, in the trace they were given and linked to where they came from.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use telemetry::{Config, trace};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_when_the_guard_is_shut_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let mut servers = JoinSet::new();
    let collector = TraceServiceServer::new(Collector(sender));
    servers.spawn(
        tonic::transport::Server::builder()
            .add_service(collector)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let endpoint = Some(format!("http://{address}").parse().unwrap());
    let config = Config {
        otlp_endpoint: endpoint,
        ..Config::default()
    };
    let guard = telemetry::start("delivery-worker", &config).unwrap();

    let accept = tracing::info_span!("accept");
    assert!(trace::set_parent(&accept, SENT));
    let outgoing = accept.in_scope(|| trace::outgoing(Some(SENT)));
    let deliver = tracing::info_span!("deliver");
    assert!(trace::link(&deliver, &outgoing));
    let passed_on = deliver.in_scope(|| trace::outgoing(Some(SENT)));
    drop((accept, deliver));
    tokio::task::spawn_blocking(|| guard.shutdown())
        .await
        .unwrap();

    let export = timeout(Duration::from_secs(20), received.recv())
        .await
        .unwrap()
        .unwrap();
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert!(
        format!("{resource:?}").contains("delivery-worker"),
        "{resource:?}"
    );
    let spans = &export.resource_spans[0].scope_spans[0].spans;
    let accept = spans.iter().find(|span| span.name == "accept").unwrap();
    assert_eq!(hex(&accept.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&accept.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(
        outgoing,
        format!("00-{}-{}-01", hex(&accept.trace_id), hex(&accept.span_id))
    );
    let deliver = spans.iter().find(|span| span.name == "deliver").unwrap();
    assert_ne!(deliver.trace_id, accept.trace_id);
    assert_eq!(deliver.links[0].span_id, accept.span_id);
    assert!(
        passed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{passed_on}"
    );
}
