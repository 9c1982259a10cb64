//! What is called: one listener for each function, answering 204 at once.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener as BoundListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::ledger::Desk;
use crate::failure::Failure;

/// Where `cloudevents-binary` carries the event's id.
const ID_HEADER: &str = "ce-subject";

/// No descriptor is free, or the connection broke at once: nothing gets better by hurrying.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Receivers in a thread of their own, so that the generator does not delay the time they note.
#[derive(Debug)]
pub(crate) struct Receivers {
    addresses: Vec<SocketAddr>,
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    pub(crate) fn start(on: IpAddr, functions: usize) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::local(format!("cannot receive calls on {on}: {error}"))
        };
        let bind = |_| {
            let listener = BoundListener::bind((on, 0))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners: Vec<_> = (0..functions)
            .map(bind)
            .collect::<Result<_, _>>()
            .map_err(cannot)?;
        let addresses = listeners.iter().map(BoundListener::local_addr);
        let addresses = addresses.collect::<Result<_, _>>().map_err(cannot)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let desk = Arc::<Desk>::default();
        let (stop, stopped) = oneshot::channel();
        let at_desk = Arc::clone(&desk);
        let run = move || runtime.block_on(receive(listeners, &at_desk, stopped));
        let thread = thread::Builder::new()
            .name("receivers".to_owned())
            .spawn(run)
            .map_err(cannot)?;
        Ok(Self {
            addresses,
            desk,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// One for each function.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A receiver that panicked has said so on standard error.
            drop(thread.join());
        }
    }
}

async fn receive(listeners: Vec<BoundListener>, desk: &Arc<Desk>, stopped: oneshot::Receiver<()>) {
    let mut doors = JoinSet::new();
    for (function, listener) in listeners.into_iter().enumerate() {
        if let Ok(listener) = TcpListener::from_std(listener) {
            doors.spawn(accept(listener, function, Arc::clone(desk)));
        }
    }
    // A dropped sender is the word to stop.
    drop(stopped.await);
}

async fn accept(listener: TcpListener, function: usize, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(answer(stream, function, Arc::clone(&desk)));
                }
                Err(_out_of_descriptors) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn answer(stream: TcpStream, function: usize, desk: Arc<Desk>) {
    // Without it small answers wait for more; with it set or not, the calls count all the same.
    drop(stream.set_nodelay(true));
    let service = service_fn(|request: Request<Incoming>| {
        let desk = &desk;
        async move {
            note_arrival(&request, function, desk);
            let mut body = request.into_body();
            while let Some(Ok(_frame)) = body.frame().await {}
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok::<_, Infallible>(response)
        }
    });
    // A connection that breaks off is the sender's to report.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

fn note_arrival(request: &Request<Incoming>, function: usize, desk: &Desk) {
    let now = Instant::now();
    let id = request
        .headers()
        .get(ID_HEADER)
        .and_then(|id| id.to_str().ok());
    if let (Some(id), Some(ledger)) = (id, desk.ledger()) {
        ledger.arrive(function, id, ledger.at_us(now));
    }
}
