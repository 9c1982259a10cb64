//! Calls that no script sees: who may make them, where they lead, and that they come as they are.

use domain::api_event::DescriptionKind;
use domain::gateway::AccessRule;
use http::{Method, StatusCode};
use serde_json::json;
use testkit::{Answer, Receiver, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::{KEY, READER, SOON, World};

#[tokio::test]
async fn a_call_leads_below_the_services_address_and_the_key_stays_here() {
    let backend = Receiver::start().await;
    backend.answer(
        Answer::status(201)
            .with_body("made")
            .with_header("x-own", "1"),
    );
    let mut world = World::start().await;
    world.service("db", &backend.url("/v1"), DescriptionKind::Db);
    let answered = world
        .call(
            Method::POST,
            "/api/v2/db/_table/contact?limit=5&a=%20",
            "{}",
        )
        .await;
    assert_eq!(answered.status, StatusCode::CREATED);
    assert_eq!(
        (answered.body.as_ref(), &answered.headers["x-own"]),
        (&b"made"[..], &"1".parse().unwrap())
    );
    let request = &backend.requests()[0];
    assert_eq!(request.uri, "/v1/_table/contact?limit=5&a=%20");
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.body, "{}");
    assert_eq!(
        request.header("authorization"),
        None,
        "the gateway's key is not the service's"
    );
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(world.scripts.phases(), Vec::<String>::new());
}

#[tokio::test]
async fn s5_13_who_may_not_call_runs_no_script_and_reaches_no_service() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    world.bind_all("db.*");
    let reader = format!("Bearer {READER}");
    for (headers, status) in [
        (vec![], StatusCode::UNAUTHORIZED),
        (
            vec![("authorization", "Bearer tlk_unknown.x")],
            StatusCode::UNAUTHORIZED,
        ),
        (
            vec![("authorization", reader.as_str())],
            StatusCode::FORBIDDEN,
        ),
        (
            vec![("x-dreamfactory-api-key", "wrong")],
            StatusCode::UNAUTHORIZED,
        ),
        (
            vec![("authorization", "Bearer tls_e30.AAAA")],
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let answered = world
            .call_as(Method::GET, "/api/v2/db/_table", &headers, "")
            .await;
        assert_eq!(answered.status, status, "{headers:?}");
        assert!(
            answered.json()["error"]["message"].is_string(),
            "{answered:?}"
        );
    }
    let unknown = world.call(Method::GET, "/api/v2/nothing/x", "").await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (StatusCode::NOT_FOUND, json!("not_found"))
    );
    assert_eq!(world.scripts.phases(), Vec::<String>::new());
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn an_open_service_sees_what_its_callers_show() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service_for(
        "shop",
        &backend.url("/"),
        DescriptionKind::None,
        AccessRule::Open,
    );
    let headers = [("authorization", "Basic dTpw")];
    let answered = world
        .call_as(Method::GET, "/api/v2/shop/a", &headers, "")
        .await;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(
        backend.requests()[0].header("authorization"),
        Some("Basic dTpw")
    );
    // A key of ours that does not let anybody in is not shown to the service either.
    let reader = format!("Bearer {READER}");
    let headers = [("authorization", reader.as_str())];
    let answered = world
        .call_as(Method::GET, "/api/v2/shop/a", &headers, "")
        .await;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(backend.requests()[1].header("authorization"), None);
    // With the key in its own header both get theirs.
    let headers = [
        ("authorization", "Basic dTpw"),
        ("x-dreamfactory-api-key", KEY),
    ];
    world
        .call_as(Method::GET, "/api/v2/shop/a", &headers, "")
        .await;
    let request = &backend.requests()[2];
    assert_eq!(request.header("authorization"), Some("Basic dTpw"));
    assert_eq!(request.header("x-dreamfactory-api-key"), None);
}

#[tokio::test]
async fn what_could_be_read_as_another_call_is_refused() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    for path in [
        "/api/v2/db//_table",
        "/api/v2/db/_table%2Fcontact",
        "/api/v2/db/a/%2e%2e/b",
    ] {
        let answered = world.call(Method::GET, path, "").await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let bearer = format!("Bearer {KEY}");
    let upgrade = [
        ("authorization", bearer.as_str()),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    let answered = world
        .call_as(Method::GET, "/api/v2/db/_table", &upgrade, "")
        .await;
    assert_eq!(
        (answered.status, answered.code()),
        (StatusCode::NOT_IMPLEMENTED, json!("upgrade"))
    );
    let overridden = [
        ("authorization", bearer.as_str()),
        ("x-http-method-override", "DELETE"),
    ];
    world
        .call_as(Method::POST, "/api/v2/db/_table/contact", &overridden, "")
        .await;
    assert_eq!(backend.count(), 1);
    assert_eq!(backend.requests()[0].header("x-http-method-override"), None);
}

#[tokio::test]
async fn a_service_that_is_away_or_inside_is_told_without_its_address() {
    let mut world = World::start().await;
    world.service("gone", "http://127.0.0.1:1/", DescriptionKind::None);
    world.service("inside", "http://10.1.2.3/", DescriptionKind::None);
    for name in ["gone", "inside"] {
        let answered = world
            .call(Method::GET, &format!("/api/v2/{name}/x"), "")
            .await;
        assert_eq!(answered.status, StatusCode::BAD_GATEWAY, "{name}");
        let text = String::from_utf8_lossy(&answered.body);
        assert!(
            !text.contains("127.0.0.1") && !text.contains("10.1.2.3"),
            "{text}"
        );
    }
}

/// A service that says what it is told to over a raw connection: one piece, then the next whenever it
/// is told to go on; when nobody tells it any more it hangs up.
async fn raw_service(pieces: Vec<&'static str>) -> (String, mpsc::Sender<()>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (go_on, mut told) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _read = stream.read(&mut head).await.unwrap();
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            if told.recv().await.is_none() {
                return;
            }
        }
    });
    (url, go_on, running)
}

async fn open(world: &World, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text is there, or the connection ends.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let mut piece = [0; 4096];
    let reading = async {
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) => all.push_str(&String::from_utf8_lossy(&piece[..count])),
            }
            if all.contains(text) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap();
    all
}

#[tokio::test]
async fn an_answer_that_nobody_looks_into_comes_piece_by_piece() {
    let (url, go_on, _running) = raw_service(vec![
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "6\r\nsecond\r\n0\r\n\r\n",
    ])
    .await;
    let mut world = World::start().await;
    world.service("live", &url, DescriptionKind::None);
    let mut stream = open(&world, "/api/v2/live/feed").await;
    // The second piece is not even written yet.
    let read = read_until(&mut stream, "first").await;
    assert!(read.contains("first"), "{read}");
    go_on.send(()).await.unwrap();
    let read = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(read.contains("second"), "{read}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly a part",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    ] {
        let (url, go_on, _running) = raw_service(vec![head]).await;
        let mut world = World::start().await;
        world.service("live", &url, DescriptionKind::None);
        let mut stream = open(&world, "/api/v2/live/feed").await;
        drop(go_on);
        let read = read_until(&mut stream, "this never comes").await;
        // Cut off: fewer bytes than announced, or no last chunk.
        assert!(!read.contains("0\r\n\r\n"), "{read}");
        assert!(read.len() < 300, "{read}");
    }
}

#[tokio::test]
async fn a_gateway_that_stops_gives_an_error_and_no_half_answer() {
    let (url, _go_on, _running) = raw_service(vec![
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    ])
    .await;
    let mut world = World::start().await;
    world.service("live", &url, DescriptionKind::None);
    let mut stream = open(&world, "/api/v2/live/feed").await;
    let read = read_until(&mut stream, "first").await;
    assert!(read.contains("first"), "{read}");
    world.stop().await;
    let read = read_until(&mut stream, "this never comes").await;
    assert!(
        !read.contains("0\r\n\r\n"),
        "the answer looks whole: {read}"
    );
}

#[tokio::test]
async fn a_call_without_scripts_is_passed_on_within_a_millisecond() {
    let backend = Receiver::start().await;
    let mut world = World::start().await;
    world.service("db", &backend.url("/"), DescriptionKind::Db);
    // Scripts of other calls do not count.
    for table in 0..20 {
        world.bind_all(&format!("db._table.other{table}.get"));
    }
    let direct = backend.url("/_table/contact");
    let mut medians = Vec::new();
    for url in [
        direct,
        format!("http://{}/api/v2/db/_table/contact", world.address),
    ] {
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Empty<bytes::Bytes>>();
        let mut times = Vec::new();
        for _ in 0..200 {
            let request = http::Request::get(&url)
                .header("authorization", format!("Bearer {KEY}"))
                .body(http_body_util::Empty::new())
                .unwrap();
            let started = std::time::Instant::now();
            let answered = client.request(request).await.unwrap();
            times.push(started.elapsed());
            assert_eq!(answered.status(), StatusCode::OK);
        }
        times.sort_unstable();
        medians.push(times[100]);
    }
    // Unoptimised, and on a busy machine: the benchmark holds it to one.
    let added = medians[1].saturating_sub(medians[0]);
    assert!(added.as_millis() < 10, "{medians:?}");
    eventually(SOON, "no script was asked", async || {
        world.scripts.phases().is_empty().then_some(())
    })
    .await;
}
