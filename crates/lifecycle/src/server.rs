//! One port for HTTP/1.1 and HTTP/2, so that JSON, gRPC, health and metrics share a router.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tower::Service as _;

use crate::Tasks;

/// What one server allows its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// More connections than this wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long a connection may take for the head of a request, idle time before it
    /// included: longer than the 60 s for which ingresses keep an idle connection, so that
    /// they never send into one we have just closed.
    pub head_timeout: Duration,
    /// All header lines of one request together.
    pub head_bytes_max: u32,
    /// How long open requests and streams may go on after all other work has ended.
    pub cut_off_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            streams_max: 1024,
            head_timeout: Duration::from_secs(75),
            head_bytes_max: 64 * 1024,
            cut_off_after: Duration::from_secs(2),
        }
    }
}

const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// hyper refuses to work with less.
const HTTP1_BUFFER_BYTES_MIN: usize = 8192;

/// Running out of descriptors does not end by trying at once; a connection must close first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the router until the tasks stop; see [`serve_within`] for other limits.
pub fn serve(listener: TcpListener, router: Router, tasks: &Tasks) {
    serve_within(Limits::default(), listener, router, tasks);
}

/// Serves the router until the tasks stop: then takes no new connection, lets the open
/// requests finish, and cuts off what is left some time after all other work has ended.
///
/// A request carries its peer's address as [`ConnectInfo`]`<SocketAddr>`.
pub fn serve_within(limits: Limits, listener: TcpListener, router: Router, tasks: &Tasks) {
    let name = match listener.local_addr() {
        Ok(address) => format!("server {address}"),
        Err(_) => "server".to_owned(),
    };
    let server = Server {
        slots: Arc::new(Semaphore::new(limits.connections_max)),
        builder: Arc::new(connection_builder(&limits)),
        limits,
        router,
        tasks: tasks.clone(),
    };
    tasks.spawn_serving(name.into(), server.run(listener));
}

struct Server {
    limits: Limits,
    builder: Arc<Builder<TokioExecutor>>,
    router: Router,
    slots: Arc<Semaphore>,
    tasks: Tasks,
}

fn connection_builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(
            usize::try_from(limits.head_bytes_max)
                .unwrap_or(usize::MAX)
                .max(HTTP1_BUFFER_BYTES_MIN),
        );
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.head_bytes_max);
    builder
}

impl Server {
    async fn run(self, listener: TcpListener) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        let mut stopping = self.tasks.stopping();
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.accept(&listener) => if let Some((stream, peer, slot)) = accepted {
                    connections.spawn(self.connection(stream, peer, slot));
                },
            }
        }
        drop(listener);
        self.drain(connections).await;
        Ok(())
    }

    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        // The semaphore is never closed, so this only waits.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, slot)),
            Err(error) => {
                if !concerns_one_connection(&error) {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
                None
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let router = self.router.clone();
        let builder = Arc::clone(&self.builder);
        let stopping = self.tasks.stopping();
        let silent_max = self.limits.head_timeout;
        async move {
            let _slot = slot;
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "connection is gone already");
                return;
            }
            let heard = Arc::new(AtomicBool::new(false));
            let hear = Arc::clone(&heard);
            let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                hear.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(ConnectInfo(peer));
                router.clone().call(request)
            });
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            let mut stopping = pin!(async {
                // hyper's own time limit begins after the protocol is known, so a client
                // that never says enough to tell would hold its slot for ever.
                tokio::select! {
                    () = stopping => {}
                    () = until_silent(&heard, silent_max) => {}
                }
            });
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = &mut stopping => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%peer, error = %error, "connection ended with an error");
            }
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let cut_off = async {
            self.tasks.work_ended().await;
            sleep(self.limits.cut_off_after).await;
        };
        tokio::select! {
            () = all_ended => return,
            () = cut_off => {}
        }
        tracing::info!(connections = connections.len(), "open requests are cut off");
        connections.shutdown().await;
    }
}

/// Completes if no request came within the limit; otherwise never.
async fn until_silent(heard: &AtomicBool, silent_max: Duration) {
    sleep(silent_max).await;
    if heard.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request handler panicked, its connection is closed");
    }
}
