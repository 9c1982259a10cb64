//! Opening connections to vetted addresses only, and noticing when a kept one was dropped.

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Either, FutureExt};
use http::{Extensions, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::Service;

use super::pool::SendError;
use crate::resolver::{ResolveError, Resolver};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    /// How long a connection may take that is opened for the request at hand.
    static CONNECT_TIMEOUT: Duration;
}

/// Runs a request whose connection, should one be opened for it, may take so long.
pub(super) fn within<T>(
    connect_timeout: Option<Duration>,
    request: impl Future<Output = T>,
) -> impl Future<Output = T> {
    match connect_timeout {
        // Seldom; every request would be larger for it.
        Some(timeout) => Either::Left(Box::pin(CONNECT_TIMEOUT.scope(timeout, request))),
        None => Either::Right(request),
    }
}

/// No connection within the time allowed for name, connection and handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(Duration);

/// The proxy did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the proxy opened no connection to the endpoint")]
pub(super) struct NoTunnel(#[source] BoxError);

/// The endpoint goes on and on, before its answer or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
pub(super) struct AnswerTooLong(usize);

/// The endpoint keeps its caller waiting with a byte now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer came too slowly: {0}")]
pub(super) struct AnswerTooSlow(pub(super) SlowestAnswer);

/// How slowly an answer may come once it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowestAnswer {
    pub bytes: usize,
    /// In each time of this length.
    pub within: Duration,
}

impl Default for SlowestAnswer {
    fn default() -> Self {
        Self {
            bytes: 100,
            within: Duration::from_secs(10),
        }
    }
}

impl fmt::Display for SlowestAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "under {} bytes in {:?}", self.bytes, self.within)
    }
}

/// An HTTP/1 answer, with all that may come before it and after it, is never longer. A body that is
/// kept whole needs up to six times its size, if it comes in chunks of one byte.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// For answers that are passed on as they come: whoever reads them sets the pace.
pub(super) const ANSWER_WITHOUT_END: usize = usize::MAX;

/// Resolves and checks a host, then dials exactly the addresses that were checked.
#[derive(Debug, Clone)]
pub(super) struct GuardedConnector {
    resolver: Arc<Resolver>,
    /// Asked to open the connection instead, to an address that was checked.
    proxy: Option<Uri>,
}

impl GuardedConnector {
    pub(super) const fn new(resolver: Arc<Resolver>, proxy: Option<Uri>) -> Self {
        Self { resolver, proxy }
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let resolver = Arc::clone(&self.resolver);
        let proxy = self.proxy.clone();
        async move {
            let addresses = vetted(&resolver, &uri).await?;
            let Some(proxy) = proxy else {
                return Ok(dialler(addresses).call(uri).await?);
            };
            // The proxy is told the address, not the name: it could resolve it to another one.
            let target = addresses
                .iter()
                .find(|address| address.is_ipv4())
                .or_else(|| addresses.first())
                .map(|address| SocketAddr::new(*address, port(&uri)))
                .ok_or(ResolveError::NoAddress)?;
            let target = Uri::try_from(format!("http://{target}"))?;
            let to_proxy = dialler(vetted(&resolver, &proxy).await?);
            let tunnel = Tunnel::new(proxy, to_proxy).call(target);
            Ok(tunnel.await.map_err(|error| NoTunnel(error.into()))?)
        }
        .boxed()
    }
}

async fn vetted(resolver: &Resolver, uri: &Uri) -> Result<Vec<IpAddr>, ResolveError> {
    resolver
        .resolve(uri.host().unwrap_or_default(), port(uri))
        .await
}

fn port(uri: &Uri) -> u16 {
    let is_https = uri.scheme_str() == Some("https");
    uri.port_u16().unwrap_or(if is_https { 443 } else { 80 })
}

fn dialler(addresses: Vec<IpAddr>) -> HttpConnector<Vetted> {
    let mut dialler = HttpConnector::new_with_resolver(Vetted(addresses.into()));
    dialler.enforce_http(false);
    dialler.set_nodelay(true);
    dialler
}

/// Answers every question with the addresses that were checked: nothing is looked up twice.
#[derive(Debug, Clone)]
struct Vetted(Arc<[IpAddr]>);

impl Service<Name> for Vetted {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Name) -> Self::Future {
        // The connector fills in the URL's port where there is none.
        let addresses: Vec<_> = self
            .0
            .iter()
            .map(|address| SocketAddr::new(*address, 0))
            .collect();
        ready(Ok(addresses.into_iter()))
    }
}

/// Bounds how long a connection may take, and watches what passes over it, above TLS.
#[derive(Debug, Clone)]
pub(super) struct WatchedConnector<C> {
    inner: C,
    timeout: Duration,
    answer_bytes_max: usize,
    slowest: SlowestAnswer,
}

impl<C> WatchedConnector<C> {
    pub(super) fn new(
        inner: C,
        timeout: Duration,
        answer_bytes_max: usize,
        slowest: SlowestAnswer,
    ) -> Self {
        Self {
            inner,
            timeout,
            answer_bytes_max,
            slowest,
        }
    }
}

impl<C> Service<Uri> for WatchedConnector<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Response: Connection,
    C::Future: Send + 'static,
{
    type Response = TokioIo<WatchedStream<C::Response>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        // The pool begins to connect while it is asked for a connection, in the request's task.
        let asked = CONNECT_TIMEOUT.try_with(|timeout| *timeout);
        let timeout = asked.unwrap_or(self.timeout);
        let answer_bytes_max = self.answer_bytes_max;
        let slowest = self.slowest;
        async move {
            let stream = tokio::time::timeout(timeout, connecting)
                .await
                .map_err(|_elapsed| ConnectTimeout(timeout))??;
            let is_http2 = stream.connected().is_negotiated_h2();
            let usage = Arc::new(Usage::new(is_http2, answer_bytes_max));
            Ok(TokioIo::new(WatchedStream {
                stream: TokioIo::new(stream),
                usage,
                slowest,
                window: None,
            }))
        }
        .boxed()
    }
}

/// A connection to an endpoint, with TLS or without.
pub(super) type Stream = WatchedStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// What a connection has been used for.
#[derive(Debug)]
pub(super) struct Usage {
    /// Many requests share an HTTP/2 connection, so its bytes cannot be told apart.
    is_http2: bool,
    /// An answer has come over it before.
    is_kept: AtomicBool,
    /// Bytes were written and none have come back since.
    awaits_answer: AtomicBool,
    /// What came over it since bytes were last written.
    bytes_read: AtomicUsize,
    answer_bytes_max: usize,
}

impl Usage {
    const fn new(is_http2: bool, answer_bytes_max: usize) -> Self {
        Self {
            is_http2,
            is_kept: AtomicBool::new(false),
            awaits_answer: AtomicBool::new(false),
            bytes_read: AtomicUsize::new(0),
            answer_bytes_max,
        }
    }

    /// Remembers that an answer came over it.
    pub(super) fn mark_kept(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Whether a request failed because this connection, which was kept, was closed before the
    /// answer's first byte.
    pub(super) fn was_dropped(&self, error: &SendError) -> bool {
        let is_lost = match error {
            SendError::Closed => true,
            SendError::Exchange(error) => {
                error.is_canceled()
                    || self.awaits_answer.load(Ordering::Relaxed)
                        && super::fault::is_connection_lost(error)
            }
            SendError::Http2 | SendError::Connect(_) => false,
        };
        is_lost && self.is_kept.load(Ordering::Relaxed)
    }

    /// Whether what comes over it is one answer at a time, and not passed on as it comes.
    const fn is_bounded(&self) -> bool {
        !self.is_http2 && self.answer_bytes_max != ANSWER_WITHOUT_END
    }

    fn wrote(&self) {
        self.awaits_answer.store(true, Ordering::Relaxed);
        self.bytes_read.store(0, Ordering::Relaxed);
    }

    fn read(&self, bytes: usize) -> io::Result<()> {
        self.awaits_answer.store(false, Ordering::Relaxed);
        let before = self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        // HTTP/2 has windows, and its own limits of what is no body.
        if !self.is_http2 && before.saturating_add(bytes) > self.answer_bytes_max {
            return Err(io::Error::other(AnswerTooLong(self.answer_bytes_max)));
        }
        Ok(())
    }
}

/// Remembers that an answer came over the connection that gave these extensions.
pub(super) fn mark_kept(extensions: &Extensions) {
    if let Some(usage) = extensions.get::<Arc<Usage>>() {
        usage.mark_kept();
    }
}

/// Whether a request failed because a kept connection was closed before the answer's first byte.
pub(super) fn was_dropped_while_kept(error: &hyper_util::client::legacy::Error) -> bool {
    let Some(connected) = error.connect_info() else {
        return false;
    };
    let mut extensions = Extensions::new();
    connected.get_extras(&mut extensions);
    let Some(usage) = extensions.get::<Arc<Usage>>() else {
        return false;
    };
    usage.is_kept.load(Ordering::Relaxed)
        && (usage.awaits_answer.load(Ordering::Relaxed) || usage.is_http2)
        && super::fault::is_connection_lost(error)
}

/// A connection that tells [`Usage`] what passes over it.
#[derive(Debug)]
pub(super) struct WatchedStream<S> {
    stream: TokioIo<S>,
    usage: Arc<Usage>,
    slowest: SlowestAnswer,
    /// Since when so many bytes of an answer have come.
    window: Option<(Instant, usize)>,
}

impl<S> WatchedStream<S> {
    pub(super) fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }

    /// A head that drips is seen here; a body that stops altogether, where it is read.
    fn read(&mut self, bytes: usize) -> io::Result<()> {
        self.usage.read(bytes)?;
        if !self.usage.is_bounded() {
            return Ok(());
        }
        let now = Instant::now();
        let (since, before) = *self.window.get_or_insert((now, 0));
        let (bytes, slowest) = (before + bytes, self.slowest);
        let is_over = now.saturating_duration_since(since) >= slowest.within;
        if is_over && bytes < slowest.bytes {
            return Err(io::Error::other(AnswerTooSlow(slowest)));
        }
        self.window = Some(if is_over { (now, 0) } else { (since, bytes) });
        Ok(())
    }

    fn wrote(&mut self) {
        self.window = None;
        self.usage.wrote();
    }
}

impl<S: Connection> Connection for WatchedStream<S> {
    fn connected(&self) -> Connected {
        self.stream
            .inner()
            .connected()
            .extra(Arc::clone(&self.usage))
    }
}

impl<S: Read + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - filled_before;
        if bytes > 0 {
            self.read(bytes)?;
        }
        read
    }
}

impl<S: Write + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wrote();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wrote();
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}
