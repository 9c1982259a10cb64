//! A function reads the log of its own delivery with its session, and nothing else.

use std::time::Duration;

use domain::Timestamp;
use domain::event::{Actor, Event};
use domain::id::DeliveryId;
use domain::lineage::Lineage;
use domain::registry::{Change, Update};
use domain::session::{LIFETIME_DEFAULT, Session, SessionKeys};
use domain::signature::ed25519;
use domain::token::{TokenKey, TokenKeys};
use protocol::fault::{Fault, FaultKind};
use protocol::logs::v1::{FollowDeliveriesRequest, GetEventRequest, ListDeliveriesRequest};
use protocol::redrive::v1::ListRedrivesRequest;
use protocol::redrive::v1::redrive_service_client::RedriveServiceClient;
use tonic::Request;

use crate::harness::{Database, System, attempted, event, matched, start};

fn keys() -> TokenKeys {
    TokenKeys {
        project: None,
        keys: vec![TokenKey {
            kid: "k1".to_owned(),
            secret: ed25519::encode_private_key(&[1; 32]).unwrap(),
            signs_from: Timestamp::UNIX_EPOCH,
        }],
        revision: 1,
    }
}

fn session(event: &Event, trigger: &str, ago: Duration) -> String {
    let issued_at = Timestamp::from_second((Timestamp::now() - ago).as_second()).unwrap();
    let session = Session {
        id: "s1".to_owned(),
        project: event.project.clone(),
        actor: Actor {
            id: "u_17".to_owned(),
            kind: "user".to_owned(),
        },
        function: trigger.parse().unwrap(),
        delivery: DeliveryId::derive(event.eid, trigger),
        event: event.eid,
        lineage: Lineage::default(),
        issued_at,
        expires_at: issued_at + LIFETIME_DEFAULT,
    };
    session.sign(&keys().keys[0]).unwrap()
}

/// Two events of two functions each.
async fn fill(system: &System) -> (Event, Event) {
    system.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![Change::SessionKeys(SessionKeys::of(&keys()))],
    });
    let (own, other) = (event(1, "order.placed"), event(2, "order.paid"));
    let both = ["welcome", "audit"];
    system
        .publish(&[
            matched(&own, &both),
            attempted(&own, "welcome", 1, 200),
            attempted(&own, "audit", 1, 500),
            matched(&other, &both),
        ])
        .await;
    system.lines("", 4).await;
    (own, other)
}

#[tokio::test]
async fn a_session_reads_its_own_delivery_by_any_name_of_it() {
    let system = start(Database::Sqlite).await;
    let (own, _) = fill(&system).await;
    let session = session(&own, "welcome", Duration::ZERO);
    let delivery = DeliveryId::derive(own.eid, "welcome").to_string();
    for name in [own.eid.to_string(), delivery.clone(), own.id.clone()] {
        let path = format!("/v1/projects/default/events/{name}");
        let (status, story) = system.get_as(&session, &path).await;
        assert_eq!(status, 200, "{story}");
        let deliveries = story["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 1, "not those of other functions");
        let path = format!("/v1/projects/default/deliveries?event={name}");
        let (_, listing) = system.get_as(&session, &path).await;
        let lines = listing["deliveries"].as_array().unwrap();
        assert_eq!(lines.len(), 1, "{listing}");
        assert_eq!(lines[0]["delivery_id"], delivery);
    }
    let (_, listing) = system
        .get_as(&session, "/v1/projects/default/deliveries")
        .await;
    assert_eq!(listing["deliveries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn s1_15_a_session_reads_nothing_of_other_deliveries() {
    let system = start(Database::Sqlite).await;
    let (own, other) = fill(&system).await;
    let session = session(&own, "welcome", Duration::ZERO);
    let of_other_function = DeliveryId::derive(own.eid, "audit").to_string();
    for name in [
        other.eid.to_string(),
        other.id.clone(),
        of_other_function,
        "nobody".to_owned(),
    ] {
        for path in [
            format!("/v1/projects/default/events/{name}"),
            format!("/v1/projects/default/deliveries?event={name}"),
        ] {
            let (status, problem) = system.get_as(&session, &path).await;
            assert_eq!(status, 403, "{path}");
            assert_eq!(problem["code"], "function_session_scope", "{path}");
        }
    }
}

#[tokio::test]
async fn s1_13_a_session_older_than_20_min_reads_nothing() {
    let system = start(Database::Sqlite).await;
    let (own, _) = fill(&system).await;
    let session = session(&own, "welcome", Duration::from_secs(20 * 60 + 1));
    let path = format!("/v1/projects/default/events/{}", own.eid);
    let (status, problem) = system.get_as(&session, &path).await;
    assert_eq!(status, 401);
    assert_eq!(problem["code"], "function_session_expired");
}

#[tokio::test]
async fn grpc_says_the_same_and_what_is_for_keys_alone_is_refused() {
    let system = start(Database::Sqlite).await;
    let (own, other) = fill(&system).await;
    let session = session(&own, "welcome", Duration::ZERO);
    fn with<T>(session: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let authorization = format!("Bearer {session}").parse().unwrap();
        request
            .metadata_mut()
            .insert("authorization", authorization);
        request
    }
    let mut client = system.client().await;
    let get = |id: String| with(&session, GetEventRequest { id });
    let story = client.get_event(get(own.eid.to_string())).await.unwrap();
    assert_eq!(story.into_inner().deliveries.len(), 1);
    let listed = with(&session, ListDeliveriesRequest::default());
    let listed = client.list_deliveries(listed).await.unwrap().into_inner();
    assert_eq!(listed.deliveries.len(), 1);

    let refused = client.get_event(get(other.eid.to_string())).await;
    let followed = with(&session, FollowDeliveriesRequest::default());
    let followed = client.follow_deliveries(followed).await;
    let mut redrives = RedriveServiceClient::new(system.channel().await);
    let ordered = with(&session, ListRedrivesRequest::default());
    let ordered = redrives.list_redrives(ordered).await;
    for status in [
        refused.unwrap_err(),
        followed.unwrap_err(),
        ordered.unwrap_err(),
    ] {
        assert_eq!(Fault::from_status(&status).kind, FaultKind::SessionScope);
    }
}
