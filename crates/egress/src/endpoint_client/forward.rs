//! Passes requests on to services behind the gateway, and their answers back, as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::address::EgressPolicy;
use domain::delivery::{ErrorClass, Outcome};
use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Client;

use super::connector::{ANSWER_WITHOUT_END, SlowestAnswer, was_dropped_while_kept};
use super::{
    Connector, Error, Foundation, NameServers, Resolver, TlsTrust, fault, is_callable, roots,
    tls_builder,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How services are called.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    pub egress: EgressPolicy,
    /// For name, connection and handshake together.
    pub connect_timeout: Duration,
    /// Connections kept open to one host.
    pub idle_per_host_max: usize,
    pub idle_timeout: Duration,
    pub trust: TlsTrust,
    pub name_servers: NameServers,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            egress: EgressPolicy::default(),
            connect_timeout: Duration::from_secs(5),
            idle_per_host_max: 256,
            idle_timeout: Duration::from_secs(30),
            trust: TlsTrust::System,
            name_servers: NameServers::System,
        }
    }
}

/// Calls services over kept connections, guarded like every other call. Clones share them.
#[derive(Debug, Clone)]
pub struct ForwardClient<B> {
    pooled: Client<Connector, B>,
    /// Opens a connection for every request: for what a kept connection swallowed.
    fresh: Client<Connector, B>,
}

impl<B> ForwardClient<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Default + Unpin + Send + 'static,
{
    /// Has to be called within a runtime.
    ///
    /// # Errors
    /// The machine's settings for names or TLS cannot be used.
    pub fn new(config: ForwardConfig) -> Result<Self, Error> {
        let resolver =
            Resolver::new(config.egress, config.name_servers).map_err(Error::Resolver)?;
        let foundation = Foundation {
            resolver: Arc::new(resolver),
            tls: tls_builder().map_err(Error::Tls)?,
            roots: Arc::new(roots(config.trust).map_err(Error::Tls)?),
            connect_timeout: config.connect_timeout,
            idle_per_host_max: config.idle_per_host_max,
            idle_timeout: config.idle_timeout,
            answer_bytes_max: ANSWER_WITHOUT_END,
            // Nothing of it applies to what is passed on as it comes.
            slowest_answer: SlowestAnswer::default(),
        };
        let connector = foundation.connector(foundation.usual_tls(), None);
        let mut builder = foundation.client_builder();
        let pooled = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Ok(Self { pooled, fresh })
    }

    /// Sends a request and answers with the head of what comes back; the body comes as it is read.
    /// A request without a body whose kept connection was closed meanwhile is sent once more, if it
    /// may be repeated by its method.
    ///
    /// # Errors
    /// What became of it where no answer began.
    pub async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, Outcome> {
        if !is_callable(request.uri()) {
            return Err(Outcome::Impossible {
                class: ErrorClass::Render,
                message: "the URL is not an absolute http or https URL".to_owned(),
            });
        }
        let again = copy(&request);
        let sent = self.pooled.request(request).await;
        let response = match (sent, again) {
            (Err(error), Some(again)) if was_dropped_while_kept(&error) => {
                self.fresh.request(again).await
            }
            (sent, _) => sent,
        };
        let response = response.map_err(|error| fault::outcome_of_send(&error))?;
        super::connector::mark_kept(response.extensions());
        Ok(response)
    }
}

/// The same request, where it may be sent twice.
fn copy<B: Body + Default>(request: &Request<B>) -> Option<Request<B>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(B::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = Uri::clone(request.uri());
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
