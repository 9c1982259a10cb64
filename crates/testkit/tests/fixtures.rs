//! The fixtures on the shared test servers, and the scripted endpoint, do what they say.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use testkit::{Answer, Receiver};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_test_has_a_database_a_vhost_and_a_redis_of_its_own() {
    let (one, other) = tokio::join!(testkit::postgres(), testkit::postgres());
    assert_ne!(one.url(), other.url());

    let (one, other) = tokio::join!(testkit::rabbitmq_vhost(), testkit::rabbitmq_vhost());
    assert_ne!(one.url(), other.url());
    assert_eq!(one.queues().await.unwrap(), vec![]);
    assert_eq!(one.close_connections().await.unwrap(), 0);

    assert_ne!(testkit::redis().url(), testkit::redis().url());
}

#[tokio::test]
async fn a_receiver_answers_in_turn_and_keeps_to_the_last_answer() {
    let receiver = Receiver::start().await;
    receiver.answer_sequence([500, 204]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(receiver.address(), "/hook?x=1", "{\"a\":1}").await);
    }
    assert_eq!(statuses, ["500", "204", "204"]);

    let received = receiver.wait_for(3, SOON).await;
    assert_eq!(received[0].path, "/hook");
    assert_eq!(received[0].method, "POST");
    assert_eq!(received[0].header("content-type"), Some("application/json"));
    assert_eq!(received[2].json()["a"], 1);
}

#[tokio::test]
async fn a_receiver_decides_by_the_request_and_redirects() {
    let receiver = Receiver::start().await;
    receiver.answer_by(|received| match received.path.as_str() {
        "/gone" => Answer::status(410).with_body("gone"),
        _ => Answer::status(200).after(Duration::from_millis(1)),
    });
    assert_eq!(post(receiver.address(), "/gone", "").await, "410");
    assert_eq!(post(receiver.address(), "/here", "").await, "200");
    receiver.redirect_to("http://127.0.0.1:9/elsewhere");
    assert_eq!(post(receiver.address(), "/here", "").await, "302");
}

#[tokio::test]
async fn a_stopped_receiver_refuses_and_comes_back_at_the_same_address() {
    let receiver = Receiver::start().await;
    let address = receiver.stop().await;
    assert!(TcpStream::connect(address).is_err());
    let receiver = Receiver::start_on(address).await;
    assert_eq!(post(receiver.address(), "/", "").await, "200");
}

/// Posts without any library of ours between, and gives the status.
async fn post(address: SocketAddr, path: &'static str, body: &'static str) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let (send, receive) = tokio::sync::oneshot::channel();
    thread::spawn(move || send.send(exchange()));
    receive.await.unwrap()
}
