//! What happened can be found: by every condition, page by page, and by any name of an event.

use domain::id::DeliveryId;
use protocol::logs::v1::{DeliveryFilter, GetEventRequest, ListDeliveriesRequest};

use crate::harness::{Database, System, attempted, event, matched, start};

/// Three events: two for `welcome`, of which one is processed, and one for nobody.
async fn fill(system: &System) {
    let (first, second, third) = (
        event(1, "order.placed"),
        event(2, "AUTH_REGISTER"),
        event(3, "order.paid"),
    );
    system
        .publish(&[
            matched(&first, &["welcome"]),
            attempted(&first, "welcome", 1, 200),
            matched(&second, &["welcome", "audit"]),
            attempted(&second, "audit", 1, 500),
            matched(&third, &[]),
        ])
        .await;
    system.lines("", 4).await;
}

async fn every_condition_narrows_the_listing(system: &System) {
    fill(system).await;
    for (question, count) in [
        ("event=event-2", 2),
        ("type=2001", 2),
        ("type=auth.user.register", 2),
        ("type=order.paid", 1),
        ("function=welcome", 2),
        ("trigger=audit", 1),
        ("status=processed", 1),
        ("status=staged,processed", 3),
        ("status=failed", 0),
        ("since=2020-01-01T00:00:00Z", 4),
        ("until=2020-01-01T00:00:00Z", 0),
        ("function=welcome&status=staged", 1),
    ] {
        system.lines(question, count).await;
    }
    let newest = system.lines("", 4).await;
    assert_eq!(newest[0]["event_id"], "event-3", "newest first");
}

#[tokio::test]
async fn every_condition_narrows_the_listing_on_sqlite() {
    every_condition_narrows_the_listing(&start(Database::Sqlite).await).await;
}

#[tokio::test]
async fn every_condition_narrows_the_listing_on_postgres() {
    every_condition_narrows_the_listing(&start(Database::Postgres).await).await;
}

#[tokio::test]
async fn pages_give_every_line_once() {
    let system = start(Database::Sqlite).await;
    fill(&system).await;
    let mut client = system.client().await;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListDeliveriesRequest {
            filter: None,
            page_size: 1,
            page_token,
        };
        let page = client.list_deliveries(request).await.unwrap().into_inner();
        seen.extend(
            page.deliveries
                .into_iter()
                .map(|line| (line.event_id, line.trigger)),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[tokio::test]
async fn an_event_is_found_by_any_of_its_names() {
    let system = start(Database::Sqlite).await;
    fill(&system).await;
    let mut client = system.client().await;
    let filter = Some(DeliveryFilter {
        trigger: "audit".to_owned(),
        ..Default::default()
    });
    let request = ListDeliveriesRequest {
        filter,
        ..Default::default()
    };
    let line = client
        .list_deliveries(request)
        .await
        .unwrap()
        .into_inner()
        .deliveries
        .remove(0);
    let event: domain::id::EventId = line.eid.parse().unwrap();
    assert_eq!(
        line.delivery_id,
        DeliveryId::derive(event, "audit").to_string()
    );
    for id in [line.eid, line.delivery_id, line.event_id] {
        let answer = client
            .get_event(GetEventRequest { id })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.event.unwrap().number, Some(2001));
        assert_eq!(answer.deliveries.len(), 2);
    }
    let missing = client
        .get_event(GetEventRequest {
            id: "nobody".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_question_that_is_not_understood_is_a_problem_that_says_what_is() {
    let system = start(Database::Sqlite).await;
    for (question, field) in [
        ("status=done", "status"),
        ("colour=red", "colour"),
        ("page_size=2000", "page_size"),
        ("page_size=x", "page_size"),
        ("page_token=x", "page_token"),
        ("since=yesterday", "since"),
        ("function=A", "function"),
        ("type=7", "type"),
    ] {
        let path = format!("/v1/projects/default/deliveries?{question}");
        let (status, problem) = system.get(&path).await;
        assert_eq!(
            (status.as_u16(), problem["field"].as_str()),
            (400, Some(field)),
            "{problem}"
        );
        assert!(!problem["allowed"].as_str().unwrap().is_empty());
    }
    let (status, _) = system.get("/v1/projects/nobody/deliveries").await;
    assert_eq!(status, 404);
}
