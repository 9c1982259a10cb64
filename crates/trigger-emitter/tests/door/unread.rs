//! A refusal reaches clients that write their whole request before they read.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use coordination::EmbeddedCoordination;
use serde_json::Value;

use crate::harness::{EVENTS, GENEROUS, embedded, open};

const MIB: usize = 1024 * 1024;
const JSON: &str = "content-type: application/json\r\n";

/// How a client says where its body ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
}

/// Writes all of a request with a body of blanks, and only then reads the status and the problem.
async fn write_then_read(
    address: SocketAddr,
    headers: &'static str,
    framing: Framing,
    body_bytes: usize,
) -> (u16, Value) {
    let exchange = move || {
        let mut stream = connect(address)?;
        let framed = match framing {
            Framing::Length => format!("content-length: {body_bytes}"),
            Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        };
        stream.write_all(head(headers, &framed).as_bytes())?;
        let piece = vec![b' '; MIB];
        let mut left = body_bytes;
        while left > 0 {
            let bytes = left.min(MIB);
            match framing {
                Framing::Length => stream.write_all(&piece[..bytes])?,
                Framing::Chunked => {
                    stream.write_all(format!("{bytes:x}\r\n").as_bytes())?;
                    stream.write_all(&piece[..bytes])?;
                    stream.write_all(b"\r\n")?;
                }
            }
            left -= bytes;
        }
        if matches!(framing, Framing::Chunked) {
            stream.write_all(b"0\r\n\r\n")?;
        }
        read_answer(stream)
    };
    let exchanged = tokio::task::spawn_blocking(exchange).await.unwrap();
    exchanged.unwrap_or_else(|error| {
        panic!("no answer to {headers:?} {framing:?} of {body_bytes} bytes: {error}")
    })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_write_timeout(Some(GENEROUS))?;
    stream.set_read_timeout(Some(GENEROUS))?;
    Ok(stream)
}

fn head(headers: &str, framed: &str) -> String {
    format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: tripline\r\nconnection: close\r\n{headers}{framed}\r\n\r\n"
    )
}

fn read_answer(mut stream: TcpStream) -> io::Result<(u16, Value)> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.contains("application/problem+json"), "{answer}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, serde_json::from_str(body).unwrap()))
}

#[tokio::test]
async fn a_request_that_is_too_large_is_told_so_after_it_was_written() {
    let system = open().await;
    let address = system.listen().await;
    for body_bytes in [4 * MIB + 1, 8 * MIB, 40 * MIB] {
        for framing in [Framing::Length, Framing::Chunked] {
            let (status, problem) = write_then_read(address, JSON, framing, body_bytes).await;
            assert_eq!(status, 413, "{problem}");
            assert_eq!(problem["code"], "too_large");
            assert_eq!(problem["field"], "body");
            assert_eq!(problem["allowed"], "at most 4194304 bytes");
        }
    }
    assert_eq!(system.messages_stored(), 0);
}

#[tokio::test]
async fn a_refusal_by_the_headers_alone_arrives_too() {
    let system = embedded(true, Arc::new(EmbeddedCoordination::default())).await;
    let address = system.listen().await;
    let (status, problem) = write_then_read(address, JSON, Framing::Length, 8 * MIB).await;
    assert_eq!(
        (status, &problem["code"]),
        (401, &Value::from("unauthenticated"))
    );

    let system = open().await;
    let address = system.listen().await;
    let csv = "content-type: text/csv\r\n";
    let (status, problem) = write_then_read(address, csv, Framing::Length, 8 * MIB).await;
    assert_eq!(
        (status, &problem["code"]),
        (415, &Value::from("unsupported_media_type"))
    );
}

#[tokio::test]
async fn a_request_that_announces_more_than_is_discarded_is_answered_at_once() {
    let system = open().await;
    let address = system.listen().await;
    let exchange = move || {
        let mut stream = connect(address)?;
        let framed = format!("content-length: {}", 64 * MIB + 1);
        stream.write_all(head(JSON, &framed).as_bytes())?;
        // Nothing of the body is sent: whoever waits for it does not answer.
        read_answer(stream)
    };
    let started = std::time::Instant::now();
    let (status, problem) = tokio::task::spawn_blocking(exchange)
        .await
        .unwrap()
        .unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(3));
    assert_eq!((status, &problem["field"]), (413, &Value::from("body")));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_not_told_to_go_on() {
    let system = open().await;
    let address = system.listen().await;
    let exchange = move || {
        let mut stream = connect(address)?;
        let framed = format!("expect: 100-continue\r\ncontent-length: {}", 8 * MIB);
        stream.write_all(head(JSON, &framed).as_bytes())?;
        read_answer(stream)
    };
    let (status, _) = tokio::task::spawn_blocking(exchange)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status, 413);
}
