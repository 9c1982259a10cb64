//! What a sender of webhooks must defend against, each with an attacker that really tries. The
//! names begin with the number of the requirement.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery_worker::outbound::endpoint_client::{
    EndpointClient, EndpointClientConfig, EndpointRequest, EndpointResponse, Grant, Route,
    SlowestAnswer, Special,
};
use delivery_worker::outbound::resolver::NameServers;
use domain::address::EgressPolicy;
use domain::delivery::{ErrorClass, Outcome};
use testkit::NameServer;
use tokio::net::{TcpListener, UdpSocket};

use crate::scripted::{Endpoint, HELLO, Reply, say};

const PATIENCE: Duration = Duration::from_secs(20);
const HELLO_AND_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";

fn client_of(egress: EgressPolicy, name_server: SocketAddr) -> EndpointClient {
    EndpointClient::new(EndpointClientConfig {
        egress,
        name_servers: NameServers::Only(vec![name_server]),
        connect_timeout: Duration::from_secs(2),
        ..EndpointClientConfig::default()
    })
    .unwrap()
}

fn loopback_client() -> EndpointClient {
    EndpointClient::new(EndpointClientConfig {
        egress: EgressPolicy::parse::<&str>(&[], true).unwrap(),
        ..EndpointClientConfig::default()
    })
    .unwrap()
}

fn allowing(entries: &[&str]) -> EgressPolicy {
    EgressPolicy::parse(entries, false).unwrap()
}

fn request(url: &str) -> EndpointRequest {
    EndpointRequest {
        uri: url.parse().unwrap(),
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        connect_timeout: None,
        first_byte_timeout: None,
        timeout: PATIENCE,
        special: None,
    }
}

async fn send(client: &EndpointClient, url: &str) -> EndpointResponse {
    client.send(request(url)).await
}

fn is_refused(response: &EndpointResponse) -> bool {
    matches!(
        response.outcome,
        Outcome::Impossible {
            class: ErrorClass::Egress,
            ..
        }
    )
}

fn said(response: &EndpointResponse) -> (Option<ErrorClass>, &str) {
    match &response.outcome {
        Outcome::Answered { .. } => (None, ""),
        Outcome::Unreachable { class, message } | Outcome::Impossible { class, message } => {
            (Some(*class), message)
        }
    }
}

fn answered(response: &EndpointResponse) -> Option<u16> {
    match response.outcome {
        Outcome::Answered { status } => Some(status),
        _ => None,
    }
}

/// Two endpoints with one port, at 127.0.0.2, which is allowed, and 127.0.0.3, which is not.
async fn allowed_and_inside() -> (Endpoint, Endpoint, u16) {
    loop {
        let allowed = Endpoint::start_on("127.0.0.2:0", |_, _| close_after(HELLO_AND_CLOSE)).await;
        let port = allowed.address.port();
        if TcpListener::bind(("127.0.0.3", port)).await.is_ok() {
            let inside =
                Endpoint::start_on(("127.0.0.3", port), |_, _| close_after(HELLO_AND_CLOSE)).await;
            return (allowed, inside, port);
        }
    }
}

fn close_after(text: &str) -> Reply {
    Reply::SayAndClose(text.as_bytes().to_vec())
}

#[tokio::test]
async fn r1_a_name_that_changes_its_answer_is_refused_at_the_next_connection() {
    let (allowed, inside, port) = allowed_and_inside().await;
    let names = NameServer::start().await;
    names.answers("hook.example", &[&["127.0.0.2"], &["127.0.0.3"]]);
    let client = client_of(allowing(&["127.0.0.2"]), names.address());
    let url = format!("http://hook.example:{port}/");
    assert_eq!(answered(&send(&client, &url).await), Some(200));
    assert!(is_refused(&send(&client, &url).await));
    assert_eq!((allowed.connections(), inside.connections()), (1, 0));
}

#[tokio::test]
async fn r1_the_address_that_was_checked_is_the_one_that_is_dialled() {
    let (allowed, inside, port) = allowed_and_inside().await;
    let names = NameServer::start().await;
    names.answers("hook.example", &[&["127.0.0.2"], &["127.0.0.3"]]);
    let client = client_of(allowing(&["127.0.0.2"]), names.address());
    let response = send(&client, &format!("http://hook.example:{port}/")).await;
    assert_eq!(answered(&response), Some(200), "{response:?}");
    assert_eq!(names.asked(), ["hook.example"], "looked up once");
    assert_eq!((allowed.connections(), inside.connections()), (1, 0));
    let request = allowed.requests().remove(0);
    let host = format!("host: hook.example:{port}\r\n");
    assert!(request.contains(&host), "the name stays: {request}");
}

#[tokio::test]
async fn r1_one_inside_address_among_allowed_ones_refuses_the_name() {
    let (allowed, inside, port) = allowed_and_inside().await;
    let names = NameServer::start().await;
    for (name, addresses) in [
        ("first.example", ["127.0.0.3", "127.0.0.2"]),
        ("last.example", ["127.0.0.2", "127.0.0.3"]),
    ] {
        names.answers(name, &[&addresses]);
        let client = client_of(allowing(&["127.0.0.2"]), names.address());
        let response = send(&client, &format!("http://{name}:{port}/")).await;
        assert!(is_refused(&response), "{response:?}");
    }
    assert_eq!((allowed.connections(), inside.connections()), (0, 0));
}

#[tokio::test]
async fn r2_a_name_that_leads_inside_is_refused_in_whatever_form_it_is_wrapped() {
    let names = NameServer::start().await;
    let client = client_of(EgressPolicy::default(), names.address());
    for (place, address) in [
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fd00:ec2::254",
        "fec0::1",
        "fe80::1",
        "ff02::1",
        "4000::1",
        // Mapped, compatible, translated, NAT64, 6to4, ISATAP, Teredo.
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::1",
        "2606:4700::5efe:127.0.0.1",
        "2001:0:808:808:0:0:f5ff:fffe",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{place}.example");
        names.answers(&name, &[&[address]]);
        let response = send(&client, &format!("http://{name}/")).await;
        assert!(is_refused(&response), "{address}: {response:?}");
    }
}

#[tokio::test]
async fn r3_no_search_domain_is_ever_appended_to_a_name() {
    let names = NameServer::start().await;
    let client = client_of(EgressPolicy::default(), names.address());
    for name in ["orders", "orders.shop"] {
        let response = send(&client, &format!("http://{name}/")).await;
        assert_eq!(said(&response).0, Some(ErrorClass::Dns), "{response:?}");
    }
    assert_eq!(names.asked(), ["orders", "orders.shop"]);
}

#[tokio::test]
async fn r3_a_port_of_another_service_is_not_called() {
    let names = NameServer::start().await;
    names.answers("mail.example", &[&["8.8.8.8"]]);
    let client = client_of(EgressPolicy::default(), names.address());
    for url in ["http://mail.example:25/", "http://8.8.8.8:22/"] {
        let response = send(&client, url).await;
        assert!(is_refused(&response), "{response:?}");
        assert_eq!(said(&response).1, "the port may not be called from here");
    }
}

#[tokio::test]
async fn r4_a_redirect_to_the_metadata_address_is_only_recorded() {
    let target = Endpoint::saying(HELLO).await;
    for status in [301, 302, 303, 307, 308] {
        for location in [
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            target.url(),
        ] {
            let head = format!(
                "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
            );
            let endpoint = Endpoint::start(move |_, _| say(&head)).await;
            let response = send(&loopback_client(), &endpoint.url()).await;
            assert_eq!(answered(&response), Some(status), "{response:?}");
            assert_eq!(endpoint.requests().len(), 1);
        }
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn r5_a_refusal_does_not_tell_whether_anybody_listens() {
    let open = Endpoint::saying(HELLO).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let names = NameServer::start().await;
    names.answers("inside.example", &[&["127.0.0.1"]]);
    let client = client_of(EgressPolicy::default(), names.address());
    let mut texts = Vec::new();
    for port in [open.address.port(), closed.port()] {
        for host in ["127.0.0.1", "inside.example", "10.255.255.1"] {
            let response = send(&client, &format!("http://{host}:{port}/")).await;
            assert!(is_refused(&response), "{response:?}");
            texts.push(said(&response).1.to_owned());
        }
    }
    texts.dedup();
    assert_eq!(texts, ["the address may not be called from here"]);
    assert_eq!(open.connections(), 0);
}

#[tokio::test]
async fn r6_a_token_server_and_a_proxy_are_guarded_like_any_endpoint() {
    let endpoint = Endpoint::saying(HELLO).await;
    let inside = Endpoint::start_on("127.0.0.3:0", |_, _| say(HELLO)).await;
    let names = NameServer::start().await;
    names.answers("inside.example", &[&["127.0.0.3"]]);
    let client = client_of(allowing(&["127.0.0.1"]), names.address());
    for host in ["127.0.0.3", "inside.example"] {
        let url = format!("http://{host}:{}/", inside.address.port());
        let by_token = Special {
            grant: Some(Grant {
                token_url: url.parse().unwrap(),
                client_id: "tripline".to_owned(),
                client_secret: "s3cret".to_owned(),
                scope: String::new(),
            }),
            ..Special::default()
        };
        let by_proxy = Special {
            route: Route {
                proxy: Some(url.parse().unwrap()),
                ..Route::default()
            },
            ..Special::default()
        };
        for special in [by_token, by_proxy] {
            let response = client
                .send(EndpointRequest {
                    special: Some(Box::new(special)),
                    ..request(&endpoint.url())
                })
                .await;
            assert!(is_refused(&response), "{response:?}");
        }
    }
    assert_eq!((endpoint.connections(), inside.connections()), (0, 0));
}

#[tokio::test]
async fn r12_what_would_begin_another_header_cannot_be_sent() {
    for value in ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\0b"] {
        assert!(http::HeaderValue::try_from(value).is_err(), "{value:?}");
    }
    let endpoint = Endpoint::saying(HELLO).await;
    // In the URL: %0d%0a stays as it is written.
    let url = format!("http://{}/%0d%0ax-evil:%201", endpoint.address);
    send(&loopback_client(), &url).await;
    let request = endpoint.requests().remove(0);
    assert!(!request.contains("\r\nx-evil"), "{request}");
}

#[tokio::test]
async fn r13_a_body_without_end_is_cut_at_the_limit() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
    ] {
        let endpoint = Endpoint::start(move |_, _| {
            Reply::SayForEver(head.as_bytes().to_vec(), vec![b'x'; 16 * 1024])
        })
        .await;
        let response = send(&loopback_client(), &endpoint.url()).await;
        assert_eq!(answered(&response), Some(200), "{response:?}");
        assert_eq!(response.body.len(), 64 * 1024);
        assert!(response.truncated);
    }
}

#[tokio::test]
async fn r13_a_body_in_the_smallest_chunks_is_cut_at_the_limit() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let endpoint =
        Endpoint::start(move |_, _| Reply::SayForEver(head.clone(), b"1\r\nx\r\n".repeat(1000)))
            .await;
    let response = send(&loopback_client(), &endpoint.url()).await;
    assert_eq!(answered(&response), Some(200), "{response:?}");
    assert_eq!(response.body.len(), 64 * 1024);
    assert!(response.truncated);
}

#[tokio::test]
async fn r13_a_body_that_drips_is_given_up_at_the_timeout_of_the_whole_answer() {
    for (first, again) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\n", "a"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let endpoint = Endpoint::start(move |_, _| {
            let every = Duration::from_millis(20);
            Reply::Drip(first.into(), again.into(), every)
        })
        .await;
        let started = Instant::now();
        let response = loopback_client()
            .send(EndpointRequest {
                timeout: Duration::from_millis(400),
                ..request(&endpoint.url())
            })
            .await;
        assert_eq!(said(&response).0, Some(ErrorClass::Timeout), "{response:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn r13_an_answer_that_drips_or_stops_is_given_up_long_before_its_timeout() {
    let slowest_answer = SlowestAnswer {
        bytes: 100,
        within: Duration::from_millis(300),
    };
    let client = EndpointClient::new(EndpointClientConfig {
        egress: EgressPolicy::parse::<&str>(&[], true).unwrap(),
        slowest_answer,
        ..EndpointClientConfig::default()
    })
    .unwrap();
    let drips = Duration::from_millis(20);
    for (first, again, every) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            "x",
            drips,
        ),
        ("HTTP/1.1 200 OK\r\n", "a", drips),
        // Nothing more comes within the patience of the test.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            "x",
            PATIENCE,
        ),
    ] {
        let endpoint =
            Endpoint::start(move |_, _| Reply::Drip(first.into(), again.into(), every)).await;
        let response = send(&client, &endpoint.url()).await;
        let expected = "the answer came too slowly: under 100 bytes in 300ms";
        assert_eq!(said(&response), (Some(ErrorClass::Timeout), expected));
    }
}

#[tokio::test]
async fn r13_an_answer_that_comes_slowly_enough_to_be_read_is_read() {
    let client = EndpointClient::new(EndpointClientConfig {
        egress: EgressPolicy::parse::<&str>(&[], true).unwrap(),
        slowest_answer: SlowestAnswer {
            bytes: 10,
            within: Duration::from_millis(200),
        },
        ..EndpointClientConfig::default()
    })
    .unwrap();
    let endpoint = Endpoint::start(|_, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
        Reply::Drip(
            head.into(),
            "x".repeat(50).into(),
            Duration::from_millis(40),
        )
    })
    .await;
    let response = send(&client, &endpoint.url()).await;
    assert_eq!(answered(&response), Some(200), "{response:?}");
    assert_eq!(response.body.len(), 1000);
}

#[tokio::test]
async fn r13_nothing_is_ever_decompressed() {
    // 25 MB of zeros: 25 KB of gzip.
    let bomb = include_bytes!("../samples/zeros.gz");
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    answer.extend(bomb);
    let endpoint = Endpoint::start(move |_, _| Reply::Say(answer.clone())).await;
    let response = send(&loopback_client(), &endpoint.url()).await;
    assert_eq!(answered(&response), Some(200), "{response:?}");
    assert_eq!(&response.body[..], bomb, "kept as it came");
    let request = endpoint.requests().remove(0).to_ascii_lowercase();
    assert!(!request.contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn r13_a_head_that_is_too_large_or_has_too_many_fields_is_a_failure() {
    let too_long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "y".repeat(200_000));
    let too_many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        "a: b\r\n".repeat(101)
    );
    for answer in [too_long, too_many] {
        let endpoint =
            Endpoint::start(move |_, _| Reply::SayAndHold(answer.as_bytes().to_vec())).await;
        let response = send(&loopback_client(), &endpoint.url()).await;
        let expected = (Some(ErrorClass::Protocol), "the answer's head is too large");
        assert_eq!(said(&response), expected, "{response:?}");
    }
}

#[tokio::test]
async fn r13_a_flood_of_interim_answers_is_cut() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    ] {
        let endpoint = Endpoint::start(move |_, _| {
            Reply::SayForEver(Vec::new(), interim.repeat(100).into_bytes())
        })
        .await;
        let response = send(&loopback_client(), &endpoint.url()).await;
        let expected = "the answer is longer than 1048576 bytes";
        assert_eq!(
            said(&response),
            (Some(ErrorClass::Protocol), expected),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn r13_trailers_without_end_are_cut() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
    let endpoint = Endpoint::start(move |_, _| {
        Reply::SayForEver(head.as_bytes().to_vec(), b"x-more: y\r\n".repeat(100))
    })
    .await;
    let response = send(&loopback_client(), &endpoint.url()).await;
    assert_eq!(
        said(&response).0,
        Some(ErrorClass::Protocol),
        "{response:?}"
    );
    assert_eq!(&response.body[..], b"hi", "what had come is kept");
}

#[tokio::test]
async fn r13_a_name_server_that_never_answers_costs_no_more_than_the_time_to_connect() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = client_of(EgressPolicy::default(), silent.local_addr().unwrap());
    let started = Instant::now();
    let response = send(&client, "http://hook.example/").await;
    assert_eq!(said(&response).0, Some(ErrorClass::Timeout), "{response:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn r14_a_little_of_the_headers_is_kept_and_no_cookie() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nset-cookie: session=between-us\r\n{}content-length: 0\r\n\r\n",
        format!("x-padding: {}\r\n", "z".repeat(1000)).repeat(20)
    );
    let endpoint = Endpoint::start(move |_, _| say(&head)).await;
    let response = send(&loopback_client(), &endpoint.url()).await;
    let kept: usize = response
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!((1000..=8 * 1024).contains(&kept), "{kept}");
    let cookie = response
        .headers
        .iter()
        .find(|(name, _)| *name == "set-cookie");
    assert_eq!(cookie, Some(("set-cookie", "***")));
}
