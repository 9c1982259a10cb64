//! A real HTTP endpoint on loopback that records what it is sent and answers as it is told.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// Larger than anything the system may send, so that a test sees what was really sent.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub received_at: SystemTime,
    /// For measuring the time between two requests; `received_at` is for reading.
    pub received_instant: Instant,
}

impl Received {
    /// A header's text; `None` when it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What the endpoint does with one request.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    wait: Wait,
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    For(Duration),
    Forever,
}

impl Answer {
    /// # Panics
    ///
    /// When `code` is no HTTP status.
    pub fn status(code: u16) -> Self {
        let status = StatusCode::from_u16(code).expect("a status between 100 and 999");
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            wait: Wait::For(Duration::ZERO),
        }
    }

    /// Takes the request and never answers.
    pub fn hang() -> Self {
        Self {
            wait: Wait::Forever,
            ..Self::status(200)
        }
    }

    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// # Panics
    ///
    /// When name or value are no valid header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a valid header value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// Answers only after this time.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.wait = Wait::For(wait);
        self
    }
}

type AnswerBy = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

enum Script {
    Always(Answer),
    /// The last one stays.
    Sequence(VecDeque<Answer>),
    By(AnswerBy),
}

impl Script {
    fn next(&mut self, received: &Received) -> Answer {
        match self {
            Self::Always(answer) => answer.clone(),
            Self::By(answer_by) => answer_by(received),
            Self::Sequence(answers) if answers.len() > 1 => {
                answers.pop_front().unwrap_or_else(|| Answer::status(200))
            }
            Self::Sequence(answers) => answers
                .front()
                .cloned()
                .unwrap_or_else(|| Answer::status(200)),
        }
    }
}

struct Recorder {
    script: Mutex<Script>,
    requests: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Recorder")
            .field("requests", &lock(&self.requests))
            .finish_non_exhaustive()
    }
}

/// A running endpoint; it answers 200 until told otherwise, and is gone when dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<()>,
}

impl Receiver {
    /// Listens on a port of 127.0.0.1 chosen by the operating system.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Listens where an earlier receiver was, as an endpoint that comes back.
    ///
    /// # Panics
    ///
    /// When the address is taken.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("the receiver should listen");
        let address = listener.local_addr().expect("a listener has an address");
        let recorder = Arc::new(Recorder {
            script: Mutex::new(Script::Always(Answer::status(200))),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&recorder));
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async {
                // A dropped sender means the same as a sent word.
                drop(stopped.await);
            });
            drop(serving.await);
        });
        Self {
            address,
            recorder,
            stop: Some(stop),
            server,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn answer_with(&self, status: u16) {
        self.answer(Answer::status(status));
    }

    pub fn answer(&self, answer: Answer) {
        self.set(Script::Always(answer));
    }

    /// Each answer once, the last one for ever.
    pub fn answer_sequence(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers_in_turn(statuses.into_iter().map(Answer::status));
    }

    /// Each answer once, the last one for ever.
    pub fn answers_in_turn(&self, answers: impl IntoIterator<Item = Answer>) {
        self.set(Script::Sequence(answers.into_iter().collect()));
    }

    pub fn answer_by(&self, answer_by: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.set(Script::By(Arc::new(answer_by)));
    }

    /// Takes requests and never answers them.
    pub fn hang(&self) {
        self.answer(Answer::hang());
    }

    pub fn redirect_to(&self, url: &str) {
        self.answer(Answer::status(302).with_header(header::LOCATION.as_str(), url));
    }

    /// Everything received so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.recorder.requests).clone()
    }

    pub fn count(&self) -> usize {
        *self.recorder.count.borrow()
    }

    /// Forgets what was received so far.
    pub fn clear(&self) {
        let mut requests = lock(&self.recorder.requests);
        requests.clear();
        self.recorder.count.send_replace(0);
    }

    /// Everything received, as soon as it is at least `count` requests.
    ///
    /// # Panics
    ///
    /// When the deadline has passed before, saying how many there were.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> Vec<Received> {
        let mut counted = self.recorder.count.subscribe();
        let enough = counted.wait_for(|received| *received >= count);
        if tokio::time::timeout(deadline, enough).await.is_err() {
            let received = self.count();
            panic!(
                "{received} of {count} requests arrived at {} in {deadline:?}",
                self.address
            );
        }
        self.requests()
    }

    /// Stops listening and closes idle connections; what hangs is cut after a second. Returns the
    /// address, for [`Receiver::start_on`].
    pub async fn stop(mut self) -> SocketAddr {
        drop(self.stop.take());
        let goodbye = tokio::time::timeout(Duration::from_secs(1), self.server.join_next());
        drop(goodbye.await);
        self.address
    }

    fn set(&self, script: Script) {
        *lock(&self.recorder.script) = script;
    }
}

async fn answer(State(recorder): State<Arc<Recorder>>, request: Request) -> Response {
    let received_instant = Instant::now();
    let received_at = SystemTime::now();
    let (parts, body) = request.into_parts();
    let Ok(body) = body::to_bytes(body, BODY_BYTES_MAX).await else {
        return respond(Answer::status(413));
    };
    let received = Received {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        uri: parts.uri,
        headers: parts.headers,
        body,
        received_at,
        received_instant,
    };
    let answer = lock(&recorder.script).next(&received);
    {
        let mut requests = lock(&recorder.requests);
        requests.push(received);
        recorder.count.send_replace(requests.len());
    }
    match answer.wait {
        Wait::For(wait) if wait.is_zero() => {}
        Wait::For(wait) => tokio::time::sleep(wait).await,
        Wait::Forever => std::future::pending().await,
    }
    respond(answer)
}

fn respond(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// A test that panics while holding the lock has failed already; the others read on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
