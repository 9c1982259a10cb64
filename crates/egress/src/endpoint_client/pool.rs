//! Kept HTTP/1 connections, each driven by the request that uses it.
//!
//! A request writes to its connection and reads from it in its own task. With a task for each
//! connection, as hyper-util's client has it, every request wakes another task and is woken by it,
//! for the head and for the body. Connections that speak HTTP/2 are shared
//! by many requests at a time and are not kept here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tower::Service as _;

use super::connector::{Stream, Usage};
use super::{Connector, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Outgoing};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Origins that are known to speak HTTP/2; beyond that they are asked anew.
const HTTP2_ORIGINS_MAX: usize = 10_000;

/// How often connections that were idle too long are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps connections by origin. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Http1Pool {
    shared: Arc<Shared>,
    /// Ends with the last clone.
    _sweeping: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    idle_per_host_max: usize,
    idle_timeout: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one used last is used first, so that the others can go.
    idle: HashMap<Origin, Vec<Idle>>,
    http2: HashSet<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    authority: Authority,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// One connection and the way to send on it.
#[derive(Debug)]
struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    usage: Arc<Usage>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// The origin speaks HTTP/2: the request belongs on a shared connection.
    Http2,
    /// No connection came about.
    Connect(BoxError),
    Exchange(hyper::Error),
    /// The connection was closed before any of the request was written.
    Closed,
}

/// The body of an answer; reading it drives its connection, which is kept if it comes to its end.
#[derive(Debug)]
pub(super) struct DrivenBody {
    incoming: Incoming,
    /// `None` once it is over, and where others drive it.
    link: Option<Box<Link>>,
}

impl Http1Pool {
    /// Has to be called within a runtime.
    pub(super) fn new(
        connector: Connector,
        idle_per_host_max: usize,
        idle_timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            connector,
            idle_per_host_max,
            idle_timeout,
            kept: Mutex::default(),
        });
        let mut sweeping = JoinSet::new();
        let swept = Arc::downgrade(&shared);
        sweeping.spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL.min(idle_timeout));
            loop {
                ticks.tick().await;
                let Some(shared) = swept.upgrade() else {
                    return;
                };
                shared.sweep(Instant::now());
            }
        });
        Self {
            shared,
            _sweeping: Arc::new(sweeping),
        }
    }

    /// Sends a request, a second time where a kept connection was closed meanwhile:
    /// servers close them when they please, and a request that meets this has most likely not been
    /// seen, and says nothing about the endpoint.
    ///
    /// # Errors
    /// There is no answer to be had, or not over HTTP/1.
    pub(super) async fn request(
        &self,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Response<DrivenBody>, SendError> {
        let origin = Origin::of(outgoing.uri).ok_or(SendError::Closed)?;
        if let Some(link) = self.shared.take(&origin)? {
            let usage = Arc::clone(&link.usage);
            match link.send(in_origin_form(outgoing.build())).await {
                Err(error) if usage.was_dropped(&error) => {}
                sent => return sent,
            }
        }
        // Seldom; every request would be larger for it.
        let link = Box::pin(self.connect(origin, outgoing.uri)).await?;
        link.send(in_origin_form(outgoing.build_last())).await
    }

    /// Keeps the connection of an answer that was read to its end, if it can be used again.
    pub(super) fn give_back(&self, uri: &Uri, body: DrivenBody) {
        let Some(mut link) = body.link else { return };
        if let Some(origin) = Origin::of(uri)
            && body.incoming.is_end_stream()
            && link.is_ready()
        {
            self.shared.put(origin, link);
        }
    }

    async fn connect(&self, origin: Origin, uri: &Uri) -> Result<Box<Link>, SendError> {
        let mut connector = self.shared.connector.clone();
        poll_fn(|context| connector.poll_ready(context))
            .await
            .map_err(SendError::Connect)?;
        let stream = connector.call(uri.clone()).await;
        let stream = stream.map_err(SendError::Connect)?;
        if stream.connected().is_negotiated_h2() {
            self.shared.speaks_http2(origin);
            return Err(SendError::Http2);
        }
        let usage = stream.inner().usage();
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEAD_FIELDS_MAX);
        let (sender, connection) = builder
            .handshake(stream)
            .await
            .map_err(SendError::Exchange)?;
        Ok(Box::new(Link {
            sender,
            connection,
            usage,
        }))
    }
}

impl Shared {
    /// A connection that is open as far as is known here.
    fn take(&self, origin: &Origin) -> Result<Option<Box<Link>>, SendError> {
        loop {
            let idle = {
                let mut kept = self.kept();
                if !kept.http2.is_empty() && kept.http2.contains(origin) {
                    return Err(SendError::Http2);
                }
                kept.idle.get_mut(origin).and_then(Vec::pop)
            };
            let Some(mut idle) = idle else {
                return Ok(None);
            };
            if idle.since.elapsed() < self.idle_timeout && idle.link.is_ready() {
                return Ok(Some(idle.link));
            }
        }
    }

    fn put(&self, origin: Origin, link: Box<Link>) {
        let since = Instant::now();
        let mut kept = self.kept();
        let idle = kept.idle.entry(origin).or_default();
        if idle.len() < self.idle_per_host_max {
            idle.push(Idle { link, since });
        }
    }

    fn speaks_http2(&self, origin: Origin) {
        let mut kept = self.kept();
        if kept.http2.len() >= HTTP2_ORIGINS_MAX {
            kept.http2.clear();
        }
        kept.http2.insert(origin);
    }

    /// Closes what has been idle too long. What the other side has closed is idle too, until it is
    /// found out.
    fn sweep(&self, now: Instant) {
        let origins: Vec<Origin> = self.kept().idle.keys().cloned().collect();
        for origin in origins {
            // One origin at a time, and nothing is closed under the lock, so that nobody waits for
            // long.
            drop(self.take_stale(origin, now));
        }
    }

    fn take_stale(&self, origin: Origin, now: Instant) -> Vec<Idle> {
        let mut kept = self.kept();
        let Entry::Occupied(mut entry) = kept.idle.entry(origin) else {
            return Vec::new();
        };
        let idle = entry.get_mut();
        let is_fresh = |idle: &Idle| now.saturating_duration_since(idle.since) < self.idle_timeout;
        // Those used last are the last.
        let fresh_from = idle.iter().position(is_fresh).unwrap_or(idle.len());
        let stale = idle.drain(..fresh_from).collect();
        if idle.is_empty() {
            entry.remove();
        }
        stale
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        Some(Self {
            scheme: uri.scheme()?.clone(),
            authority: uri.authority()?.clone(),
        })
    }
}

impl Link {
    /// Sends a request and waits for the head of its answer.
    async fn send(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<DrivenBody>, SendError> {
        let mut answered = pin!(self.sender.send_request(request));
        let (response, is_over) = poll_fn(|context| {
            let over = Pin::new(&mut self.connection).poll(context);
            match answered.as_mut().poll(context) {
                Poll::Ready(answered) => Poll::Ready(
                    answered
                        .map(|response| (response, over.is_ready()))
                        .map_err(SendError::Exchange),
                ),
                Poll::Pending => match over {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(SendError::Exchange(error))),
                    Poll::Ready(Ok(())) => Poll::Ready(Err(SendError::Closed)),
                },
            }
        })
        .await?;
        self.usage.mark_kept();
        let link = (!is_over).then_some(self);
        Ok(response.map(|incoming| DrivenBody { incoming, link }))
    }

    /// Whether the next request may be sent. Reads what the other side said meanwhile: mostly that
    /// it has closed the connection.
    fn is_ready(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let over = Pin::new(&mut self.connection).poll(&mut context);
        over.is_pending() && self.sender.is_ready()
    }
}

impl From<Incoming> for DrivenBody {
    /// Of an answer on a shared connection, which is driven there.
    fn from(incoming: Incoming) -> Self {
        Self {
            incoming,
            link: None,
        }
    }
}

impl Body for DrivenBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let body = self.get_mut();
        // What is there already, or else the wish for more, which the connection has to hear of.
        if let Poll::Ready(frame) = Pin::new(&mut body.incoming).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if let Some(link) = &mut body.link
            && let Poll::Ready(over) = Pin::new(&mut link.connection).poll(context)
        {
            body.link = None;
            over?;
        }
        Pin::new(&mut body.incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// As it stands on the wire: the path alone, and the host in a header of its own.
fn in_origin_form(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let uri = request.uri();
    let host = host_header(uri);
    let path = uri.path_and_query().cloned();
    if let Some(host) = host {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request
}

/// With the port, unless it is the scheme's own.
fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.host()?;
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let text = match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::from_str(host),
    };
    text.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_named_with_its_port_unless_that_is_usual() {
        for (uri, host, path) in [
            ("http://one.example/a?b=c", "one.example", "/a?b=c"),
            ("http://one.example:80/", "one.example", "/"),
            ("https://one.example:443/", "one.example", "/"),
            ("https://one.example:80", "one.example:80", "/"),
            ("http://[::1]:8080/x", "[::1]:8080", "/x"),
        ] {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = uri.parse().unwrap();
            let request = in_origin_form(request);
            assert_eq!(request.headers()[header::HOST], host, "{uri}");
            assert_eq!(request.uri(), path, "{uri}");
        }
    }
}
