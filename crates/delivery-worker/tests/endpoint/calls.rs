//! The client that calls endpoints, against servers that behave well and badly.

use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery_worker::outbound::endpoint_client::{
    EndpointClient, EndpointClientConfig, EndpointRequest, EndpointResponse, TlsTrust,
};
use domain::address::EgressPolicy;
use domain::delivery::{ErrorClass, Outcome};
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use testkit::eventually;
use tokio::net::TcpListener;

use crate::scripted::{Endpoint, HELLO, Reply, say};
use crate::tls::tls_endpoint;

/// Longer than any answer here takes, shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(egress: EgressPolicy) -> EndpointClientConfig {
    EndpointClientConfig {
        egress,
        ..EndpointClientConfig::default()
    }
}

fn loopback() -> EgressPolicy {
    EgressPolicy::parse::<&str>(&[], true).unwrap()
}

fn client() -> EndpointClient {
    EndpointClient::new(config(loopback())).unwrap()
}

fn request(url: &str) -> EndpointRequest {
    EndpointRequest {
        uri: url.parse().unwrap(),
        headers: vec![(
            HeaderName::from_static("webhook-id"),
            HeaderValue::from_static("dlv_1"),
        )],
        body: Bytes::from_static(b"{\"a\":1}"),
        connect_timeout: None,
        first_byte_timeout: None,
        timeout: PATIENCE,
        special: None,
    }
}

async fn send(client: &EndpointClient, url: &str) -> EndpointResponse {
    client.send(request(url)).await
}

const fn answered(status: u16) -> Outcome {
    Outcome::Answered { status }
}

fn class(response: &EndpointResponse) -> Option<ErrorClass> {
    match &response.outcome {
        Outcome::Answered { .. } => None,
        Outcome::Unreachable { class, .. } | Outcome::Impossible { class, .. } => Some(*class),
    }
}

fn message(response: &EndpointResponse) -> &str {
    match &response.outcome {
        Outcome::Answered { .. } => "",
        Outcome::Unreachable { message, .. } | Outcome::Impossible { message, .. } => message,
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_its_answer_comes_back() {
    let endpoint = Endpoint::saying(HELLO).await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(response.outcome, answered(200));
    assert_eq!(response.status, Some(200));
    assert_eq!(&response.body[..], b"hello");
    assert!(
        response
            .headers
            .iter()
            .any(|field| field == ("x-greeting", "hello"))
    );
    assert!(!response.truncated);

    let request = endpoint.requests().remove(0);
    assert!(
        request.starts_with("POST /hook?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("host: {}\r\n", endpoint.address)),
        "{request}"
    );
    assert!(request.contains("webhook-id: dlv_1\r\n"), "{request}");
    assert!(
        !request.to_ascii_lowercase().contains("accept-encoding"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let endpoint = Endpoint::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(response.outcome, answered(204));
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn r4_a_redirect_is_not_followed() {
    let target = Endpoint::saying(HELLO).await;
    let head = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.url()
    );
    let endpoint = Endpoint::start(move |_, _| say(&head)).await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(response.outcome, answered(302));
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let endpoint = Endpoint::saying(HELLO).await;
    let client = client();
    for _ in 0..20 {
        assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_it_has_been_idle_for_long() {
    let endpoint = Endpoint::saying(HELLO).await;
    let client = EndpointClient::new(EndpointClientConfig {
        idle_timeout: Duration::from_millis(200),
        ..config(loopback())
    })
    .unwrap();
    assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    assert_eq!(endpoint.closed(), 0);
    eventually(PATIENCE, "the connection to be closed", async || {
        (endpoint.closed() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_kept_connection_that_was_dropped_is_replaced_at_once() {
    let endpoint = Endpoint::start(|connection, number| match (connection, number) {
        (1, 2) => Reply::SayAndClose(Vec::new()),
        _ => say(HELLO),
    })
    .await;
    let client = client();
    assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    assert_eq!(endpoint.connections(), 2);
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn a_kept_connection_that_was_reset_is_replaced_at_once() {
    let endpoint = Endpoint::start(|connection, number| match (connection, number) {
        (1, 3) => Reply::Reset,
        _ => say(HELLO),
    })
    .await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    }
    assert_eq!(endpoint.connections(), 2);
    assert_eq!(endpoint.requests().len(), 4);
}

#[tokio::test]
async fn a_new_connection_that_is_reset_is_a_failed_attempt() {
    let endpoint = Endpoint::start(|_, _| Reply::Reset).await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(class(&response), Some(ErrorClass::Connect), "{response:?}");
    assert_eq!(
        message(&response),
        "the connection failed: connection reset"
    );
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn a_dropped_request_is_sent_a_second_time_only_once() {
    let endpoint = Endpoint::start(|connection, number| match (connection, number) {
        (1, 1) => say(HELLO),
        _ => Reply::SayAndClose(Vec::new()),
    })
    .await;
    let client = client();
    assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    let response = send(&client, &endpoint.url()).await;
    assert_eq!(class(&response), Some(ErrorClass::Protocol), "{response:?}");
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn a_new_connection_that_is_dropped_is_a_failed_attempt() {
    let endpoint = Endpoint::start(|_, _| Reply::SayAndClose(Vec::new())).await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(class(&response), Some(ErrorClass::Protocol), "{response:?}");
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let endpoint = Endpoint::start(|connection, number| match (connection, number) {
        (1, 2) => Reply::SayAndClose(b"HTTP/1.1 200 OK\r\nx-gree".to_vec()),
        _ => say(HELLO),
    })
    .await;
    let client = client();
    assert_eq!(send(&client, &endpoint.url()).await.outcome, answered(200));
    let response = send(&client, &endpoint.url()).await;
    assert_eq!(class(&response), Some(ErrorClass::Protocol), "{response:?}");
    assert_eq!(endpoint.requests().len(), 2);
}

#[tokio::test]
async fn r13_the_timeout_counts_to_the_last_byte_of_the_body() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let endpoint = Endpoint::start(move |_, _| Reply::SayAndHold(head.clone())).await;
    let timeout = Duration::from_millis(200);
    let started = Instant::now();
    let response = client()
        .send(EndpointRequest {
            timeout,
            ..request(&endpoint.url())
        })
        .await;
    assert_eq!(class(&response), Some(ErrorClass::Timeout), "{response:?}");
    assert_eq!(message(&response), "no whole answer within 200ms");
    assert_eq!(response.status, Some(200));
    assert_eq!(&response.body[..], b"abc", "what had come is kept");
    assert!(response.duration >= timeout && started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn r13_an_endpoint_that_says_nothing_times_out() {
    let endpoint = Endpoint::start(|_, _| Reply::SayAndHold(Vec::new())).await;
    let timeout = Duration::from_millis(200);
    let response = client()
        .send(EndpointRequest {
            timeout,
            ..request(&endpoint.url())
        })
        .await;
    assert_eq!(class(&response), Some(ErrorClass::Timeout), "{response:?}");
    assert_eq!(response.status, None);
}

#[tokio::test]
async fn the_head_of_an_answer_may_have_less_time_than_the_whole() {
    let silent = Endpoint::start(|_, _| Reply::SayAndHold(Vec::new())).await;
    let first_byte_timeout = Some(Duration::from_millis(200));
    let send = async |url: String| {
        client()
            .send(EndpointRequest {
                first_byte_timeout,
                timeout: Duration::from_millis(800),
                ..request(&url)
            })
            .await
    };
    let response = send(silent.url()).await;
    assert_eq!(message(&response), "no answer began within 200ms");
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let slow = Endpoint::start(move |_, _| Reply::SayAndHold(head.clone())).await;
    let response = send(slow.url()).await;
    assert_eq!(message(&response), "no whole answer within 800ms");
}

#[tokio::test]
async fn a_request_says_how_long_its_connection_may_take() {
    // Taken by the system and never answered: the handshake of TLS does not come about.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let response = client()
        .send(EndpointRequest {
            connect_timeout: Some(Duration::from_millis(200)),
            ..request(&url)
        })
        .await;
    assert_eq!(message(&response), "no connection within 200ms");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let endpoint = Endpoint::start(move |_, _| Reply::SayAndClose(head.clone())).await;
    let response = send(&client(), &endpoint.url()).await;
    assert_eq!(class(&response), Some(ErrorClass::Protocol), "{response:?}");
    assert_eq!(response.status, Some(200));
}

#[tokio::test]
async fn x_11_r14_only_the_beginning_of_a_long_body_is_kept() {
    let long = "x".repeat(1_000_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    );
    // The client hangs up in the middle, so the endpoint cannot always say it all.
    let endpoint = Endpoint::start(move |_, _| Reply::SayAndHold(answer[..500_000].into())).await;
    let client = EndpointClient::new(EndpointClientConfig {
        response_body_bytes_max: 1000,
        ..config(loopback())
    })
    .unwrap();
    let response = send(&client, &endpoint.url()).await;
    assert_eq!(response.outcome, answered(200));
    assert_eq!(response.body.len(), 1000);
    assert!(response.truncated);
}

#[tokio::test]
async fn r14_a_body_of_exactly_the_limit_is_whole() {
    let client = EndpointClient::new(EndpointClientConfig {
        response_body_bytes_max: 5,
        ..config(loopback())
    })
    .unwrap();
    let in_chunks =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    for answer in [HELLO, in_chunks] {
        let endpoint = Endpoint::saying(answer).await;
        let response = send(&client, &endpoint.url()).await;
        assert_eq!(
            (&response.body[..], response.truncated),
            (&b"hello"[..], false)
        );
    }
}

#[tokio::test]
async fn r13_what_is_not_http_or_has_no_end_is_a_protocol_failure() {
    let head_without_end = format!("HTTP/1.1 200 OK\r\nx-long: {}", "y".repeat(200_000));
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        head_without_end,
        many_fields,
    ] {
        let endpoint = Endpoint::start(move |_, _| {
            Reply::SayAndHold(
                answer
                    .as_bytes()
                    .get(..100_000)
                    .unwrap_or(answer.as_bytes())
                    .into(),
            )
        })
        .await;
        let response = send(&client(), &endpoint.url()).await;
        assert_eq!(class(&response), Some(ErrorClass::Protocol), "{response:?}");
    }
}

#[tokio::test]
async fn r5_a_refused_connection_is_named_without_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for host in ["127.0.0.1", "localhost"] {
        let response = send(&client(), &format!("http://{host}:{port}/")).await;
        assert_eq!(class(&response), Some(ErrorClass::Connect), "{response:?}");
        assert_eq!(
            message(&response),
            "the connection failed: connection refused"
        );
        assert!(
            matches!(response.outcome, Outcome::Unreachable { .. }),
            "refusals are retried"
        );
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    let response = send(&client(), "http://nowhere.invalid/").await;
    assert_eq!(class(&response), Some(ErrorClass::Dns), "{response:?}");
    assert!(
        matches!(response.outcome, Outcome::Unreachable { .. }),
        "{response:?}"
    );
}

#[tokio::test]
async fn r3_inside_addresses_are_never_called_in_any_notation() {
    let endpoint = Endpoint::saying(HELLO).await;
    let port = endpoint.address.port();
    let strict = EndpointClient::new(config(EgressPolicy::default())).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "hook.localhost",
        "orders.shop.svc.cluster.local",
        "metadata.google.internal",
        "169.254.169.254",
        "public.example@127.0.0.1",
        "[::ffff:a9fe:a9fe]",
    ] {
        let response = send(&strict, &format!("http://{host}:{port}/")).await;
        assert!(
            matches!(
                response.outcome,
                Outcome::Impossible {
                    class: ErrorClass::Egress,
                    ..
                }
            ),
            "{host}: {response:?}"
        );
        assert!(
            message(&response).ends_with("may not be called from here"),
            "{response:?}"
        );
    }
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn names_are_resolved_and_what_they_lead_to_is_checked() {
    let endpoint = Endpoint::saying(HELLO).await;
    let port = endpoint.address.port();
    let url = format!("http://localhost:{port}/");
    assert_eq!(send(&client(), &url).await.outcome, answered(200));

    let named = EgressPolicy::parse(&[format!("localhost:{port}")], false).unwrap();
    let named = EndpointClient::new(config(named)).unwrap();
    assert_eq!(send(&named, &url).await.outcome, answered(200));
    let by_address = send(&named, &endpoint.url()).await;
    assert_eq!(
        class(&by_address),
        Some(ErrorClass::Egress),
        "only the name was allowed"
    );

    let networks = EgressPolicy::parse(&["127.0.0.0/8"], false).unwrap();
    let networks = EndpointClient::new(config(networks)).unwrap();
    assert_eq!(
        send(&networks, &endpoint.url()).await.outcome,
        answered(200)
    );
}

#[tokio::test]
async fn what_is_no_http_url_can_never_be_called() {
    for url in ["/only/a/path", "ftp://example.com/"] {
        let response = send(&client(), url).await;
        assert!(
            matches!(
                response.outcome,
                Outcome::Impossible {
                    class: ErrorClass::Render,
                    ..
                }
            ),
            "{url}: {response:?}"
        );
    }
}

#[tokio::test]
async fn r13_a_handshake_that_never_ends_times_out() {
    let endpoint = Endpoint::start(|_, _| Reply::SayAndHold(Vec::new())).await;
    let address = endpoint.address;
    let silent = EndpointClient::new(EndpointClientConfig {
        connect_timeout: Duration::from_millis(200),
        ..config(loopback())
    })
    .unwrap();
    let response = send(&silent, &format!("https://{address}/")).await;
    assert_eq!(class(&response), Some(ErrorClass::Timeout), "{response:?}");
    assert_eq!(message(&response), "no connection within 200ms");
}

#[tokio::test]
async fn https_is_spoken_in_the_newest_version_both_know() {
    let authority = CertificateDer::from_slice(include_bytes!("../samples/authority.der"));
    let client = EndpointClient::new(EndpointClientConfig {
        trust: TlsTrust::Only(vec![authority]),
        ..config(loopback())
    })
    .unwrap();
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let (address, _serving) = tls_endpoint(protocols).await;
        for _ in 0..3 {
            let response = send(&client, &format!("https://localhost:{}/", address.port())).await;
            assert_eq!(response.outcome, answered(200), "{response:?}");
            assert_eq!(&response.body[..], version.as_bytes());
        }
        let response = send(&client, &format!("https://{address}/")).await;
        assert_eq!(class(&response), Some(ErrorClass::Tls), "{response:?}");
        assert_eq!(
            message(&response),
            "the certificate is for another host name"
        );
    }
}

#[tokio::test]
async fn r11_a_certificate_of_an_unknown_authority_is_refused() {
    let (address, _serving) = tls_endpoint(&["h2"]).await;
    let response = send(&client(), &format!("https://localhost:{}/", address.port())).await;
    assert_eq!(class(&response), Some(ErrorClass::Tls), "{response:?}");
    assert_eq!(
        message(&response),
        "the certificate's issuer is not trusted"
    );
}

#[tokio::test]
async fn whoever_waits_for_an_answer_gets_up_to_three_and_a_half_megabytes_of_it() {
    let endpoint = testkit::Receiver::start().await;
    endpoint.answer(testkit::Answer::status(200).with_body("x".repeat(3_400_000)));
    let usual = client();
    let response = send(&usual.keeping(3_500_000), &endpoint.url("/")).await;
    assert_eq!(response.outcome, answered(200));
    assert_eq!(
        (response.body.len(), response.truncated),
        (3_400_000, false)
    );
    // What is only for the log stays short.
    let response = send(&usual, &endpoint.url("/")).await;
    assert_eq!(response.outcome, answered(200));
    assert!(response.truncated && response.body.len() <= 64 * 1024);
}
