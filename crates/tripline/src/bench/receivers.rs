//! What is called: one listener for each function, answering 204 at once or as a run wants it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener as BoundListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use super::told::Told;
use crate::failure::Failure;

/// Where `cloudevents-binary` carries the event's id.
const ID_HEADER: &str = "ce-subject";

/// No descriptor is free, or the connection broke at once: nothing gets better by hurrying.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What receivers do with a call, after it is noted.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    Answers,
    AnswersAfter(Duration),
    Hangs,
    /// What it refuses did not arrive.
    AsTold(Arc<Told>),
}

/// Calls that are not answered yet, and the most there were at once.
#[derive(Debug, Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One call, until it is answered or broken off.
#[derive(Debug)]
struct Call<'a>(&'a Open);

/// Receivers in a thread of their own, so that the generator does not delay the time they note.
#[derive(Debug)]
pub(crate) struct Receivers {
    addresses: Vec<SocketAddr>,
    desk: Arc<Desk>,
    open: Arc<Open>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    pub(crate) fn start(
        on: IpAddr,
        functions: usize,
        behaviour: Behaviour,
    ) -> Result<Self, Failure> {
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
        let open = Arc::<Open>::default();
        let service = Service {
            desk: Arc::clone(&desk),
            open: Arc::clone(&open),
            behaviour,
        };
        let run = move || runtime.block_on(receive(listeners, &service, stopped));
        let thread = thread::Builder::new()
            .name("receivers".to_owned())
            .spawn(run)
            .map_err(cannot)?;
        Ok(Self {
            addresses,
            desk,
            open,
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

    /// The most calls that were unanswered at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.open.most.load(Ordering::Relaxed)
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

/// What every listener needs.
#[derive(Debug, Clone)]
struct Service {
    desk: Arc<Desk>,
    open: Arc<Open>,
    behaviour: Behaviour,
}

async fn receive(listeners: Vec<BoundListener>, service: &Service, stopped: oneshot::Receiver<()>) {
    let mut doors = JoinSet::new();
    for (function, listener) in listeners.into_iter().enumerate() {
        if let Ok(listener) = TcpListener::from_std(listener) {
            doors.spawn(accept(listener, function, service.clone()));
        }
    }
    // A dropped sender is the word to stop.
    drop(stopped.await);
}

async fn accept(listener: TcpListener, function: usize, service: Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(answer(stream, function, service.clone()));
                }
                Err(_out_of_descriptors) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn answer(stream: TcpStream, function: usize, with: Service) {
    // Without it small answers wait for more; with it set or not, the calls count all the same.
    drop(stream.set_nodelay(true));
    let service = service_fn(|request: Request<Incoming>| {
        let with = &with;
        async move {
            let _call = Call::begin(&with.open);
            let now = Instant::now();
            let status = match &with.behaviour {
                Behaviour::AsTold(told) => told.judge(id_of(&request), now),
                _ => StatusCode::NO_CONTENT,
            };
            if status.is_success() {
                note_arrival(&request, function, &with.desk, now);
            }
            let mut body = request.into_body();
            while let Some(Ok(_frame)) = body.frame().await {}
            match with.behaviour {
                Behaviour::Answers | Behaviour::AsTold(_) => {}
                Behaviour::AnswersAfter(wait) => tokio::time::sleep(wait).await,
                Behaviour::Hangs => std::future::pending().await,
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = status;
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

impl<'a> Call<'a> {
    fn begin(open: &'a Open) -> Self {
        let now = open.now.fetch_add(1, Ordering::Relaxed) + 1;
        open.most.fetch_max(now, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

fn id_of(request: &Request<Incoming>) -> Option<&str> {
    let id = request.headers().get(ID_HEADER)?;
    id.to_str().ok()
}

fn note_arrival(request: &Request<Incoming>, function: usize, desk: &Desk, now: Instant) {
    if let (Some(id), Some(ledger)) = (id_of(request), desk.ledger()) {
        // Where each event calls only one of many functions, they count as one.
        let function = function.checked_rem(ledger.functions()).unwrap_or(0);
        ledger.arrive(function, id, ledger.at_us(now));
    }
}
