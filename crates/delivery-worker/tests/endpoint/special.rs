//! Endpoints that ask for more: certificates of their own, a token, a proxy.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use delivery_worker::outbound::endpoint_client::{
    EndpointClient, EndpointClientConfig, EndpointRequest, EndpointResponse, Grant, Route, Special,
    TlsTrust,
};
use delivery_worker::outbound::resolver::NameServers;
use domain::address::EgressPolicy;
use domain::delivery::{ErrorClass, Outcome};
use domain::function::ClientCertificate;
use rustls::pki_types::CertificateDer;
use testkit::{Answer, NameServer, Receiver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::certificates::{Authority, TlsServer};
use crate::scripted::{Endpoint, HELLO};

fn client(trust: Vec<CertificateDer<'static>>) -> EndpointClient {
    EndpointClient::new(EndpointClientConfig {
        egress: EgressPolicy::parse::<&str>(&[], true).unwrap(),
        trust: TlsTrust::Only(trust),
        ..EndpointClientConfig::default()
    })
    .unwrap()
}

fn request(url: &str, special: Special) -> EndpointRequest {
    EndpointRequest {
        uri: url.parse().unwrap(),
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        connect_timeout: None,
        first_byte_timeout: None,
        timeout: Duration::from_secs(20),
        special: Some(Box::new(special)),
    }
}

fn route(route: Route) -> Special {
    Special { route, grant: None }
}

fn by_authority(authority: &Authority, certificate: Option<ClientCertificate>) -> Special {
    route(Route {
        authorities: Some(authority.pem()),
        certificate,
        proxy: None,
    })
}

fn status(response: &EndpointResponse) -> Option<u16> {
    match response.outcome {
        Outcome::Answered { status } => Some(status),
        _ => None,
    }
}

fn said(response: &EndpointResponse) -> (Option<ErrorClass>, &str) {
    match &response.outcome {
        Outcome::Answered { .. } => (None, ""),
        Outcome::Unreachable { class, message } | Outcome::Impossible { class, message } => {
            (Some(*class), message)
        }
    }
}

#[tokio::test]
async fn r11_a_function_may_trust_an_authority_of_its_own_and_only_that() {
    let (own, other) = (Authority::new(), Authority::new());
    let server = TlsServer::start(&own.sign("localhost"), None, "hello").await;
    let url = format!("https://localhost:{}/", server.address.port());
    let client = client(vec![other.der()]);
    let response = client.send(request(&url, by_authority(&own, None))).await;
    assert_eq!(status(&response), Some(200), "{response:?}");
    for special in [by_authority(&other, None), Special::default()] {
        let response = client.send(request(&url, special)).await;
        let expected = (
            Some(ErrorClass::Tls),
            "the certificate's issuer is not trusted",
        );
        assert_eq!(said(&response), expected, "{response:?}");
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn r11_a_client_certificate_is_shown_to_an_endpoint_that_asks_for_it() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = TlsServer::start(&servers.sign("localhost"), Some(&clients), "hello").await;
    let url = format!("https://localhost:{}/", server.address.port());
    let client = client(Vec::new());
    let certificate = clients.sign("tripline").as_client();
    let known = by_authority(&servers, Some(certificate.clone()));
    assert_eq!(
        status(&client.send(request(&url, known)).await),
        Some(200),
        "its certificate is known"
    );
    // A kept connection of the one way is never used for another.
    let stranger = by_authority(&servers, Some(servers.sign("stranger").as_client()));
    for special in [by_authority(&servers, None), stranger] {
        let response = client.send(request(&url, special)).await;
        assert_eq!(status(&response), None, "{response:?}");
    }
    assert_eq!(server.count(), 1);

    let key_of_another = ClientCertificate {
        key_pem: clients.sign("other").as_client().key_pem,
        ..certificate
    };
    let unusable = ClientCertificate {
        chain_pem: "no certificate".to_owned(),
        key_pem: "no key".to_owned(),
    };
    for certificate in [key_of_another, unusable] {
        let special = by_authority(&servers, Some(certificate));
        let response = client.send(request(&url, special)).await;
        assert!(
            matches!(response.outcome, Outcome::Impossible { .. }),
            "{response:?}"
        );
        let expected = "the function's client certificate or its key cannot be used";
        assert_eq!(said(&response), (Some(ErrorClass::Tls), expected));
    }
}

#[tokio::test]
async fn r11_an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let expired = authority.sign_until("localhost", 2020);
    let server = TlsServer::start(&expired, None, "hello").await;
    let url = format!("https://localhost:{}/", server.address.port());
    let response = client(vec![authority.der()])
        .send(request(&url, Special::default()))
        .await;
    let expected = (Some(ErrorClass::Tls), "the certificate has expired");
    assert_eq!(said(&response), expected, "{response:?}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn r11_tls_1_1_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let _bytes = stream.read(&mut hello).await.unwrap();
        // ServerHello of version 1.1 with a cipher suite that this version has.
        let mut answer = vec![0x16, 3, 2, 0, 0x2a, 2, 0, 0, 0x26, 3, 2];
        answer.extend([7; 32]);
        answer.extend([0, 0xc0, 0x13, 0]);
        stream.write_all(&answer).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok();
        said
    });
    let response = client(Vec::new())
        .send(request(
            &format!("https://localhost:{port}/"),
            Special::default(),
        ))
        .await;
    let expected = (
        Some(ErrorClass::Tls),
        "the endpoint does not speak TLS 1.2 or later",
    );
    assert_eq!(said(&response), expected, "{response:?}");
    let said = server.join_next().await.unwrap().unwrap();
    // A fatal alert: protocol_version.
    assert!(said.ends_with(&[2, 70]), "{said:?}");
}

/// A token server that numbers its tokens, and an endpoint that accepts what it is told to.
struct Guarded {
    tokens: Receiver,
    endpoint: Receiver,
    accepted: Arc<Mutex<String>>,
}

impl Guarded {
    async fn start(expires_in: &'static str) -> Self {
        let (tokens, endpoint) = (Receiver::start().await, Receiver::start().await);
        let issued = AtomicU16::new(0);
        tokens.answer_by(move |_| {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!(
                r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{expires_in}}}"#
            );
            Answer::status(200).with_body(body)
        });
        let accepted = Arc::new(Mutex::new("Bearer token-1".to_owned()));
        let known = Arc::clone(&accepted);
        endpoint.answer_by(move |request| {
            let is_known = request.header("authorization") == Some(&*known.lock().unwrap());
            Answer::status(if is_known { 200 } else { 401 })
        });
        Self {
            tokens,
            endpoint,
            accepted,
        }
    }

    fn request(&self) -> EndpointRequest {
        let grant = Grant {
            token_url: self.tokens.url("/token").parse().unwrap(),
            client_id: "tripline:1".to_owned(),
            client_secret: "s3cret +".to_owned(),
            scope: "hooks write".to_owned(),
        };
        let special = Special {
            grant: Some(grant),
            ..Special::default()
        };
        request(&self.endpoint.url("/hook"), special)
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_until_it_is_about_to_expire() {
    let world = Guarded::start("3600").await;
    let client = client(Vec::new());
    for _ in 0..3 {
        let response = client.send(world.request()).await;
        assert_eq!(status(&response), Some(200), "{response:?}");
    }
    let asked = world.tokens.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].body.as_ref(),
        b"grant_type=client_credentials&scope=hooks+write"
    );
    // RFC 6749, 2.3.1: both are encoded before they are joined.
    assert_eq!(
        asked[0].header("authorization"),
        Some("Basic dHJpcGxpbmUlM0ExOnMzY3JldCslMkI=")
    );

    let short_lived = Guarded::start("\"0\"").await;
    short_lived.endpoint.answer_with(200);
    for _ in 0..2 {
        client.send(short_lived.request()).await;
    }
    assert_eq!(short_lived.tokens.count(), 2, "its time was over at once");
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_fetched_anew_once() {
    let world = Guarded::start("3600").await;
    let client = client(Vec::new());
    assert_eq!(status(&client.send(world.request()).await), Some(200));
    *world.accepted.lock().unwrap() = "Bearer token-2".to_owned();
    assert_eq!(status(&client.send(world.request()).await), Some(200));
    assert_eq!((world.tokens.count(), world.endpoint.count()), (2, 3));

    *world.accepted.lock().unwrap() = "nothing".to_owned();
    assert_eq!(status(&client.send(world.request()).await), Some(401));
    assert_eq!((world.tokens.count(), world.endpoint.count()), (3, 5));
}

#[tokio::test]
async fn without_a_token_the_endpoint_is_not_called_and_it_is_tried_again() {
    let world = Guarded::start("3600").await;
    let client = client(Vec::new());
    for (answer, expected) in [
        (Answer::status(503), "the token server answered 503"),
        (
            Answer::status(200).with_body("<html>"),
            "the token server answered without a token",
        ),
        (
            Answer::status(200).with_body(r#"{"access_token":"a","token_type":"mac"}"#),
            "the token server gave a token that is no bearer token",
        ),
        (
            Answer::status(200).with_body(r#"{"access_token":"a\r\nx-evil: 1"}"#),
            "the token server gave a token that fits no header",
        ),
    ] {
        world.tokens.answer(answer);
        let response = client.send(world.request()).await;
        assert!(
            matches!(response.outcome, Outcome::Unreachable { .. }),
            "{response:?}"
        );
        assert_eq!(said(&response).1, expected);
    }
    assert_eq!(world.endpoint.count(), 0);
}

#[tokio::test]
async fn r11_a_token_server_is_verified_like_any_other_whatever_the_function_trusts() {
    let own = Authority::new();
    let token_server = TlsServer::start(&own.sign("localhost"), None, "{}").await;
    let world = Guarded::start("3600").await;
    let mut request = world.request();
    let special = request.special.as_mut().unwrap();
    special.route.authorities = Some(own.pem());
    let url = format!("https://localhost:{}/", token_server.address.port());
    special.grant.as_mut().unwrap().token_url = url.parse().unwrap();
    let response = client(Vec::new()).send(request).await;
    let expected = (
        Some(ErrorClass::Tls),
        "the token server: the certificate's issuer is not trusted",
    );
    assert_eq!(said(&response), expected, "{response:?}");
    assert_eq!((token_server.count(), world.endpoint.count()), (0, 0));
}

/// A proxy that opens a connection to wherever it is asked, on loopback.
async fn proxy() -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(pass_on(stream, Arc::clone(&log)));
        }
    });
    (address, asked, serving)
}

async fn pass_on(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    let target = line.split(' ').nth(1).unwrap().to_owned();
    log.lock().unwrap().push(line);
    let Ok(mut upstream) = TcpStream::connect(&target).await else {
        stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            .await
            .unwrap();
        return;
    };
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .unwrap();
    tokio::io::copy_bidirectional(&mut stream, &mut upstream)
        .await
        .ok();
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_connection_to_the_checked_address() {
    let authority = Authority::new();
    let secure = TlsServer::start(&authority.sign("hook.example"), None, "hello").await;
    let plain = Endpoint::saying(HELLO).await;
    let names = NameServer::start().await;
    names.answers("hook.example", &[&["127.0.0.1"]]);
    names.answers("inside.example", &[&["127.0.0.3"]]);
    let client = EndpointClient::new(EndpointClientConfig {
        egress: EgressPolicy::parse(&["127.0.0.1"], false).unwrap(),
        trust: TlsTrust::Only(vec![authority.der()]),
        name_servers: NameServers::Only(vec![names.address()]),
        ..EndpointClientConfig::default()
    })
    .unwrap();
    let (address, asked, _serving) = proxy().await;
    let by_proxy = || {
        route(Route {
            proxy: Some(format!("http://{address}").parse().unwrap()),
            ..Route::default()
        })
    };
    let ports = [secure.address.port(), plain.address.port()];
    let urls = [
        format!("https://hook.example:{}/", ports[0]),
        format!("http://hook.example:{}/", ports[1]),
    ];
    for url in &urls {
        let response = client.send(request(url, by_proxy())).await;
        assert_eq!(status(&response), Some(200), "{response:?}");
    }
    let expected = ports.map(|port| format!("CONNECT 127.0.0.1:{port} HTTP/1.1"));
    assert_eq!(*asked.lock().unwrap(), expected);

    for inside in ["http://inside.example/", "http://169.254.169.254/"] {
        let response = client.send(request(inside, by_proxy())).await;
        assert_eq!(said(&response).0, Some(ErrorClass::Egress), "{response:?}");
    }
    assert_eq!(asked.lock().unwrap().len(), 2, "the proxy was not asked");

    let nobody = format!("http://127.0.0.1:{}/", testkit::free_port());
    let response = client.send(request(&nobody, by_proxy())).await;
    let expected = (
        Some(ErrorClass::Connect),
        "the proxy opened no connection to the endpoint",
    );
    assert_eq!(said(&response), expected, "{response:?}");
}
