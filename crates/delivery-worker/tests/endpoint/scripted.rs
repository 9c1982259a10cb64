//! An endpoint of which the test writes every byte.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;

pub(super) const HELLO: &str =
    "HTTP/1.1 200 OK\r\nx-greeting: hello\r\ncontent-length: 5\r\n\r\nhello";

/// A server of which the test writes every byte.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

/// What to do with a request, by the number of its connection and its own number there, from 1.
pub(super) enum Reply {
    Say(Vec<u8>),
    SayAndClose(Vec<u8>),
    SayAndHold(Vec<u8>),
    /// Without a good-bye.
    Reset,
    /// The first, then the second again and again, as fast as it is taken.
    SayForEver(Vec<u8>, Vec<u8>),
    /// The first at once, then the second again and again, every so often.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

pub(super) fn say(text: &str) -> Reply {
    Reply::Say(text.as_bytes().to_vec())
}

impl Endpoint {
    pub(super) async fn start(
        reply: impl Fn(usize, usize) -> Reply + Clone + Send + 'static,
    ) -> Self {
        Self::start_on("127.0.0.1:0", reply).await
    }

    pub(super) async fn start_on(
        address: impl ToSocketAddrs,
        reply: impl Fn(usize, usize) -> Reply + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(AtomicUsize::new(0));
        let (counter, log) = (Arc::clone(&connections), Arc::clone(&requests));
        let ended = Arc::clone(&closed);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = counter.fetch_add(1, Ordering::SeqCst) + 1;
                let serving = serve(stream, connection, reply.clone(), Arc::clone(&log));
                let ended = Arc::clone(&ended);
                open.spawn(async move {
                    serving.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            connections,
            closed,
            requests,
            _serving: serving,
        }
    }

    pub(super) async fn saying(text: &'static str) -> Self {
        Self::start(move |_, _| say(text)).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of the connections have ended.
    pub(super) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    reply: impl Fn(usize, usize) -> Reply,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut number = 0;
    while let Some(request) = read_request(&mut stream).await {
        number += 1;
        log.lock().unwrap().push(request);
        match reply(connection, number) {
            Reply::Say(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reply::SayAndClose(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                return;
            }
            Reply::SayAndHold(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                pending::<()>().await;
            }
            Reply::SayForEver(first, again) => {
                stream.write_all(&first).await.unwrap();
                while stream.write_all(&again).await.is_ok() {}
                return;
            }
            Reply::Drip(first, again, every) => {
                stream.write_all(&first).await.unwrap();
                let mut ticks = tokio::time::interval(every);
                while stream.write_all(&again).await.is_ok() {
                    ticks.tick().await;
                }
                return;
            }
            Reply::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// Head and body of one request; `None` when the client closed.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
