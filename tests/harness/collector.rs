//! A collector of traces, as OpenTelemetry's protocol wants one, that keeps what it is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

type Exports = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A running collector; gone when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    exports: Exports,
    // Ended when dropped.
    _server: JoinSet<Result<(), tonic::transport::Error>>,
}

#[derive(Debug)]
struct Keep(Exports);

#[tonic::async_trait]
impl TraceService for Keep {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("a listener has an address");
        let exports = Exports::default();
        let service = TraceServiceServer::new(Keep(Arc::clone(&exports)));
        let mut server = JoinSet::new();
        server.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)),
        );
        Self {
            address,
            exports,
            _server: server,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that came so far, each with the name of the service that sent it.
    pub fn spans_of(&self, trace_id: &str) -> Vec<(String, Span)> {
        let exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let spans = resources.flat_map(|resource| {
            let service = format!("{:?}", resource.resource);
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| (service.clone(), span.clone()))
        });
        spans
            .filter(|(_, span)| hex(&span.trace_id) == trace_id)
            .collect()
    }

    /// Everything that came so far, as text in which every name and value can be found.
    pub fn text(&self) -> String {
        format!(
            "{:?}",
            self.exports.lock().unwrap_or_else(PoisonError::into_inner)
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
