//! Whoever follows sees what is recorded from then on, and every change.

use protocol::logs::v1::{DeliveryFilter, DeliveryLine, FollowDeliveriesRequest};
use tokio::time::timeout;
use tonic::Streaming;

use crate::harness::{Database, GENEROUS, attempted, event, matched, start};

async fn next(lines: &mut Streaming<DeliveryLine>) -> (String, String, u32) {
    let line = timeout(GENEROUS, lines.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    (line.event_id, line.status, line.attempts)
}

#[tokio::test]
async fn a_follower_sees_new_lines_and_changes_and_nothing_old() {
    let system = start(Database::Sqlite).await;
    system
        .publish(&[matched(&event(1, "order.placed"), &["welcome"])])
        .await;
    system.lines("", 1).await;
    let mut client = system.client().await;
    let mut lines = client
        .follow_deliveries(FollowDeliveriesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let filter = Some(DeliveryFilter {
        statuses: vec!["processed".to_owned()],
        ..Default::default()
    });
    let mut processed = client
        .follow_deliveries(FollowDeliveriesRequest { filter })
        .await
        .unwrap()
        .into_inner();

    let second = event(2, "order.placed");
    system.publish(&[matched(&second, &["welcome"])]).await;
    assert_eq!(
        next(&mut lines).await,
        ("event-2".to_owned(), "staged".to_owned(), 0)
    );
    system
        .publish(&[attempted(&second, "welcome", 1, 500)])
        .await;
    assert_eq!(
        next(&mut lines).await,
        ("event-2".to_owned(), "staged".to_owned(), 1)
    );
    system
        .publish(&[attempted(&second, "welcome", 2, 200)])
        .await;
    let last = ("event-2".to_owned(), "processed".to_owned(), 2);
    assert_eq!(next(&mut lines).await, last);
    assert_eq!(
        next(&mut processed).await,
        last,
        "the filter holds for those who follow too"
    );
}

#[tokio::test]
async fn following_ends_when_the_log_stops() {
    let system = start(Database::Sqlite).await;
    let mut client = system.client().await;
    let mut lines = client
        .follow_deliveries(FollowDeliveriesRequest::default())
        .await
        .unwrap()
        .into_inner();
    system.tasks.stop();
    let end = timeout(GENEROUS, lines.message()).await.unwrap();
    assert!(matches!(end, Ok(None)), "{end:?}");
}
