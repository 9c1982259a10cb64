//! The only client that calls endpoints: bounded in time and size, and never into our own network.

mod answer;
mod connector;
mod fault;
pub mod forward;
mod grant;
mod pool;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::address::EgressPolicy;
use domain::delivery::{ErrorClass, Outcome};
use domain::record::HeaderLines;
use futures::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use self::answer::Answer;
pub use self::connector::SlowestAnswer;
use self::connector::{
    ANSWER_BYTES_MAX, GuardedConnector, WatchedConnector, was_dropped_while_kept,
};
pub use self::grant::Grant;
use self::grant::Grants;
use self::pool::{DrivenBody, Http1Pool, SendError};
pub use self::route::Route;
use self::route::Routes;
use crate::resolver::{NameServers, Resolver};

/// The head of an answer may take this much memory, and this many fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEAD_FIELDS_MAX: usize = 100;

/// What is kept of a body is small, so an HTTP/2 endpoint need not be let far ahead.
const HTTP2_WINDOW_BYTES: u32 = 128 * 1024;

/// An HTTP/2 connection that died without a word is found out by this ping.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

type Connector = WatchedConnector<HttpsConnector<GuardedConnector>>;
type HttpClient = Client<Connector, Full<Bytes>>;
type TlsBuilder = ConfigBuilder<ClientConfig, WantsVerifier>;

/// How endpoints are called.
#[derive(Debug, Clone)]
pub struct EndpointClientConfig {
    pub egress: EgressPolicy,
    /// For name, connection and handshake together.
    pub connect_timeout: Duration,
    /// As much of an answer's body is kept for the log; the rest is not read.
    pub response_body_bytes_max: usize,
    /// Connections kept open to one host; as many as requests may run there at once.
    pub idle_per_host_max: usize,
    pub idle_timeout: Duration,
    /// An answer that has begun and comes more slowly is given up.
    pub slowest_answer: SlowestAnswer,
    /// Whom to trust for `https`.
    pub trust: TlsTrust,
    pub name_servers: NameServers,
}

impl Default for EndpointClientConfig {
    fn default() -> Self {
        Self {
            egress: EgressPolicy::default(),
            connect_timeout: Duration::from_secs(5),
            response_body_bytes_max: 64 * 1024,
            idle_per_host_max: 32,
            idle_timeout: Duration::from_secs(30),
            slowest_answer: SlowestAnswer::default(),
            trust: TlsTrust::System,
            name_servers: NameServers::System,
        }
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum TlsTrust {
    /// The machine's own list of authorities.
    #[default]
    System,
    /// These authorities and no others.
    Only(Vec<CertificateDer<'static>>),
}

/// Why no client can be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("set up the name resolver")]
    Resolver(#[source] hickory_resolver::net::NetError),
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// One request to an endpoint; always a POST.
#[derive(Debug, Clone)]
pub struct EndpointRequest {
    /// Absolute, with the scheme http or https.
    pub uri: Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    /// For name, connection and handshake, where it differs from the client's own.
    pub connect_timeout: Option<Duration>,
    /// From the beginning until the head of the answer is there.
    pub first_byte_timeout: Option<Duration>,
    /// For everything up to the last byte of the answer.
    pub timeout: Duration,
    /// What this endpoint asks for beyond that; most ask for nothing.
    pub special: Option<Box<Special>>,
}

/// What is not the same for every endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Special {
    pub route: Route,
    /// A token by this grant goes into the `Authorization` header.
    pub grant: Option<Grant>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointResponse {
    pub outcome: Outcome,
    /// Also known when the answer broke off after its head.
    pub status: Option<u16>,
    /// As many as the log keeps; values that are no text have their odd bytes replaced.
    pub headers: HeaderLines,
    pub body: Bytes,
    /// Whether the endpoint had more to say than is kept.
    pub truncated: bool,
    pub duration: Duration,
}

/// Calls endpoints over kept connections. Clones share them.
#[derive(Debug, Clone)]
pub struct EndpointClient {
    usual: Channels,
    routes: Routes,
    grants: Grants,
    response_body_bytes_max: usize,
    slowest_answer: SlowestAnswer,
}

impl EndpointClient {
    /// Has to be called within a runtime.
    ///
    /// # Errors
    /// The machine's settings for names or TLS cannot be used.
    pub fn new(config: EndpointClientConfig) -> Result<Self, Error> {
        let resolver =
            Resolver::new(config.egress, config.name_servers).map_err(Error::Resolver)?;
        let foundation = Foundation {
            resolver: Arc::new(resolver),
            tls: tls_builder().map_err(Error::Tls)?,
            roots: Arc::new(roots(config.trust).map_err(Error::Tls)?),
            connect_timeout: config.connect_timeout,
            idle_per_host_max: config.idle_per_host_max,
            idle_timeout: config.idle_timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
            slowest_answer: config.slowest_answer,
        };
        Ok(Self {
            usual: foundation.usual_channels(),
            routes: Routes::new(foundation),
            grants: Grants::default(),
            response_body_bytes_max: config.response_body_bytes_max,
            slowest_answer: config.slowest_answer,
        })
    }

    /// The same client, which keeps so many bytes of an answer's body; over connections of its own, where
    /// answers may be longer than for the others.
    #[must_use]
    pub fn keeping(&self, response_body_bytes_max: usize) -> Self {
        // With what is around it and its chunks, an answer is hardly ever twice its body.
        let answer_bytes_max = response_body_bytes_max.saturating_mul(2);
        if answer_bytes_max <= ANSWER_BYTES_MAX {
            return Self {
                response_body_bytes_max,
                ..self.clone()
            };
        }
        let foundation = Foundation {
            answer_bytes_max,
            ..self.routes.foundation().clone()
        };
        Self {
            usual: foundation.usual_channels(),
            routes: Routes::new(foundation),
            grants: self.grants.clone(),
            response_body_bytes_max,
            slowest_answer: self.slowest_answer,
        }
    }

    /// Sends one request and reads the answer, as far as it is kept. Redirects are not followed.
    pub async fn send(&self, mut request: EndpointRequest) -> EndpointResponse {
        let started = Instant::now();
        let mut answer = Answer::default();
        let EndpointRequest {
            connect_timeout,
            timeout,
            ..
        } = request;
        let exchange = self.exchange(&mut request, &mut answer);
        let exchange = connector::within(connect_timeout, exchange);
        let exchange = tokio::time::timeout(timeout, exchange);
        let outcome = match exchange.await {
            Ok(Ok(status)) => Outcome::Answered { status },
            Ok(Err(outcome)) => outcome,
            Err(_elapsed) => Outcome::Unreachable {
                class: ErrorClass::Timeout,
                message: format!("no whole answer within {timeout:?}"),
            },
        };
        answer.into_response(outcome, started.elapsed())
    }

    async fn exchange(
        &self,
        request: &mut EndpointRequest,
        answer: &mut Answer,
    ) -> Result<u16, Outcome> {
        if !is_callable(&request.uri) {
            return Err(Outcome::Impossible {
                class: ErrorClass::Render,
                message: "the URL is not an absolute http or https URL".to_owned(),
            });
        }
        match request.special.take() {
            None => self.call(&self.usual, request, None, answer).await,
            Some(special) => Box::pin(self.exchange_specially(request, &special, answer)).await,
        }
    }

    async fn exchange_specially(
        &self,
        request: &mut EndpointRequest,
        special: &Special,
        answer: &mut Answer,
    ) -> Result<u16, Outcome> {
        let channels = if special.route.is_usual() {
            self.usual.clone()
        } else {
            self.routes
                .channels(&special.route)
                .map_err(|error| Outcome::Impossible {
                    class: ErrorClass::Tls,
                    message: error.to_string(),
                })?
        };
        let Some(grant) = &special.grant else {
            return self.call(&channels, request, None, answer).await;
        };
        // Token servers are called in the usual way: a function's own authorities and proxy are
        // for its endpoint.
        let token = self.grants.authorization(&self.usual, grant, None).await?;
        let first = &mut request.clone();
        let status = self.call(&channels, first, Some(&token), answer).await?;
        if status != 401 {
            return Ok(status);
        }
        // It may have been taken back before its time. A new one gets one chance.
        let token = self
            .grants
            .authorization(&self.usual, grant, Some(&token))
            .await?;
        *answer = Answer::default();
        self.call(&channels, request, Some(&token), answer).await
    }

    async fn call(
        &self,
        channels: &Channels,
        request: &mut EndpointRequest,
        authorization: Option<&HeaderValue>,
        answer: &mut Answer,
    ) -> Result<u16, Outcome> {
        let first_byte_timeout = request.first_byte_timeout;
        let outgoing = Outgoing {
            uri: &request.uri,
            headers: &mut request.headers,
            body: &mut request.body,
            authorization,
        };
        let answered = until_first_byte(first_byte_timeout, channels.request(outgoing));
        let (head, mut body) = answered.await?.into_parts();
        answer.take_head(&head);
        answer
            .read_body(&mut body, self.response_body_bytes_max, self.slowest_answer)
            .await
            .map_err(|error| fault::outcome_of_body(&error))?;
        channels.kept.give_back(&request.uri, body);
        Ok(head.status.as_u16())
    }
}

/// Waits for the head of an answer no longer than the request says.
fn until_first_byte<T>(
    limit: Option<Duration>,
    head: impl Future<Output = Result<T, Outcome>>,
) -> impl Future<Output = Result<T, Outcome>> {
    let Some(limit) = limit else {
        return Either::Left(head);
    };
    // Seldom; every request would be larger for it.
    Either::Right(Box::pin(async move {
        let in_time = tokio::time::timeout(limit, head).await;
        in_time.unwrap_or_else(|_elapsed| {
            Err(Outcome::Unreachable {
                class: ErrorClass::Timeout,
                message: format!("no answer began within {limit:?}"),
            })
        })
    }))
}

/// What all connections have in common, whatever the way: the one resolver and its guard.
#[derive(Debug, Clone)]
struct Foundation {
    resolver: Arc<Resolver>,
    tls: TlsBuilder,
    roots: Arc<RootCertStore>,
    connect_timeout: Duration,
    idle_per_host_max: usize,
    idle_timeout: Duration,
    /// Of an answer over HTTP/1, with all that is around its body.
    answer_bytes_max: usize,
    slowest_answer: SlowestAnswer,
}

impl Foundation {
    /// The way that every endpoint is reached which asks for no other.
    fn usual_channels(&self) -> Channels {
        self.channels(self.usual_tls(), None)
    }

    fn usual_tls(&self) -> ClientConfig {
        self.tls
            .clone()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth()
    }

    fn channels(&self, tls: ClientConfig, proxy: Option<Uri>) -> Channels {
        let connector = self.connector(tls, proxy);
        let mut builder = self.client_builder();
        let shared = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector.clone());
        let kept = Http1Pool::new(connector, self.idle_per_host_max, self.idle_timeout);
        Channels {
            kept,
            shared,
            fresh,
        }
    }

    fn connector(&self, tls: ClientConfig, proxy: Option<Uri>) -> Connector {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(GuardedConnector::new(Arc::clone(&self.resolver), proxy));
        WatchedConnector::new(
            https,
            self.connect_timeout,
            self.answer_bytes_max,
            self.slowest_answer,
        )
    }

    fn client_builder(&self) -> Builder {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.idle_per_host_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEAD_FIELDS_MAX)
            .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .http2_initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL);
        builder
    }
}

/// Connections that were opened in one way.
#[derive(Debug, Clone)]
struct Channels {
    kept: Http1Pool,
    /// For origins that speak HTTP/2.
    shared: HttpClient,
    /// Opens a connection for every request: for what a kept connection swallowed.
    fresh: HttpClient,
}

impl Channels {
    /// Sends a request, a second time where a kept connection was closed meanwhile.
    async fn request(&self, mut outgoing: Outgoing<'_>) -> Result<Response<DrivenBody>, Outcome> {
        match self.kept.request(&mut outgoing).await {
            Ok(response) => Ok(response),
            Err(SendError::Http2) => {
                let response = Box::pin(self.request_shared(outgoing)).await?;
                Ok(response.map(DrivenBody::from))
            }
            Err(error) => Err(fault::outcome_of_pooled(&error)),
        }
    }

    async fn request_shared(
        &self,
        mut outgoing: Outgoing<'_>,
    ) -> Result<Response<Incoming>, Outcome> {
        let sent = self.shared.request(outgoing.build()).await;
        let response = match sent {
            // Servers close kept connections when they please; a request that meets this has
            // most likely not been seen, and says nothing about the endpoint.
            Err(error) if was_dropped_while_kept(&error) => {
                self.fresh.request(outgoing.build_last()).await
            }
            sent => sent,
        };
        let response = response.map_err(|error| fault::outcome_of_send(&error))?;
        connector::mark_kept(response.extensions());
        Ok(response)
    }
}

fn is_callable(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
}

/// A request on its way to a connection.
struct Outgoing<'a> {
    uri: &'a Uri,
    headers: &'a mut Vec<(HeaderName, HeaderValue)>,
    body: &'a mut Bytes,
    authorization: Option<&'a HeaderValue>,
}

impl Outgoing<'_> {
    /// May be built anew for a second try: names and values are shared, not copied.
    fn build(&self) -> Request<Full<Bytes>> {
        self.around(self.headers.iter().cloned(), self.body.clone())
    }

    /// For the last try: what waits for an answer holds nothing that it does not need.
    fn build_last(&mut self) -> Request<Full<Bytes>> {
        let headers = std::mem::take(self.headers);
        let body = std::mem::take(self.body);
        self.around(headers.into_iter(), body)
    }

    fn around(
        &self,
        fields: impl ExactSizeIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        // With the host and the length, and no more: hyper keeps the map for as long as it waits for
        // the answer, and the next size is twice as large.
        let count = fields.len() + 2 + usize::from(self.authorization.is_some());
        let mut headers = HeaderMap::with_capacity(count);
        for (name, value) in fields {
            headers.append(name, value);
        }
        if let Some(authorization) = self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let mut built = Request::new(Full::new(body));
        *built.method_mut() = Method::POST;
        *built.uri_mut() = self.uri.clone();
        *built.headers_mut() = headers;
        built
    }
}

/// TLS 1.2 and 1.3, and every certificate verified: there is no way to ask for less.
fn tls_builder() -> Result<TlsBuilder, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn roots(trust: TlsTrust) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    match trust {
        TlsTrust::Only(certificates) => {
            for certificate in certificates {
                roots.add(certificate)?;
            }
        }
        TlsTrust::System => {
            let loaded = rustls_native_certs::load_native_certs();
            let (_valid, _ignored) = roots.add_parsable_certificates(loaded.certs);
            if roots.is_empty() {
                warn_of_missing_roots(&loaded.errors);
            }
        }
    }
    Ok(roots)
}

/// Not a reason to stop: endpoints by plain http can still be called.
fn warn_of_missing_roots(errors: &[rustls_native_certs::Error]) {
    tracing::warn!(
        ?errors,
        "no certificate authorities found: no https endpoint will be trusted"
    );
}
