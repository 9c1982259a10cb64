//! One port answers both protocols, and a stop finishes requests but not endless streams.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lifecycle::server::{Limits, serve_within};
use lifecycle::{Ended, Tasks, run_until_stopped};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

const GENEROUS: Duration = Duration::from_secs(20);

struct System {
    tasks: Tasks,
    address: SocketAddr,
    /// Drives the clients' connections.
    clients: JoinSet<()>,
}

impl System {
    async fn start(limits: Limits, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::default();
        serve_within(limits, listener, router, &tasks);
        Self {
            tasks,
            address,
            clients: JoinSet::new(),
        }
    }

    async fn http1(&mut self) -> http1::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.clients.spawn(async move { drop(connection.await) });
        sender
    }

    async fn http2(&mut self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        self.clients.spawn(async move { drop(connection.await) });
        sender
    }

    fn request(&self, path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://{}{path}", self.address))
            .body(Empty::new())
            .unwrap()
    }

    async fn stop(&self) -> Ended {
        timeout(
            GENEROUS,
            run_until_stopped(self.tasks.clone(), async {}, GENEROUS),
        )
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn both_protocols_are_answered_on_one_port() {
    let say = get(
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>, version: Version| {
            format!("{version:?} {}", peer.ip())
        },
    );
    let mut system = System::start(Limits::default(), Router::new().route("/", say)).await;

    let request = system.request("/");
    let old = system
        .http1()
        .await
        .send_request(request.clone())
        .await
        .unwrap();
    let new = system.http2().await.send_request(request).await.unwrap();

    let text = async |response: http::Response<hyper::body::Incoming>| {
        response.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(text(old).await, "HTTP/1.1 127.0.0.1");
    assert_eq!(text(new).await, "HTTP/2.0 127.0.0.1");
    let ended = system.stop().await;
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_the_stop() {
    let (begun, mut begins) = mpsc::channel(1);
    let tasks_of_server = std::sync::Arc::new(std::sync::OnceLock::<Tasks>::new());
    let shared = std::sync::Arc::clone(&tasks_of_server);
    let slow = get(async move || {
        begun.send(()).await.unwrap();
        shared.get().unwrap().stopping().await;
        "answered"
    });
    let mut system = System::start(Limits::default(), Router::new().route("/", slow)).await;
    tasks_of_server.set(system.tasks.clone()).unwrap();
    let request = system.request("/");
    let mut client = system.http1().await;

    let (response, ended) = tokio::join!(client.send_request(request), async {
        begins.recv().await.unwrap();
        system.stop().await
    });

    let body = response
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body, "answered");
    assert!(matches!(ended, Ended::Drained), "{ended:?}");
    TcpStream::connect(system.address).await.unwrap_err();
}

#[tokio::test]
async fn an_endless_stream_does_not_hold_up_the_stop() {
    let endless = get(async || {
        let first = stream::once(async { Ok::<_, std::io::Error>("first") });
        Body::from_stream(first.chain(stream::pending()))
    });
    let limits = Limits {
        cut_off_after: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut system = System::start(limits, Router::new().route("/", endless)).await;
    let request = system.request("/");
    let mut body = system
        .http2()
        .await
        .send_request(request)
        .await
        .unwrap()
        .into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );

    let ended = system.stop().await;

    assert!(matches!(ended, Ended::Drained), "{ended:?}");
    timeout(GENEROUS, body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let system = System::start(limits, Router::new()).await;
    let mut silent = TcpStream::connect(system.address).await.unwrap();
    let read = timeout(GENEROUS, silent.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_above_the_limit_waits_for_a_free_slot() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let hello = Router::new().route("/", get(async || "hello"));
    let mut system = System::start(limits, hello).await;
    let request = system.request("/");
    let mut first = system.http1().await;
    assert!(
        first
            .send_request(request.clone())
            .await
            .unwrap()
            .status()
            .is_success()
    );

    let mut second = system.http1().await;
    let answer = second.send_request(request);
    tokio::pin!(answer);
    timeout(Duration::from_millis(50), answer.as_mut())
        .await
        .unwrap_err();
    drop(first);
    let response = timeout(GENEROUS, answer).await.unwrap().unwrap();
    assert!(response.status().is_success());
}
