//! What happened is delivered again when an operator orders it: each once, paced, and stoppable.

use std::collections::BTreeSet;
use std::time::Duration;

use broker::Queue;
use domain::Timestamp;
use domain::access::{ApiKey, KeyHash, Scope};
use domain::delivery::{Status, WaitReason, Waiting};
use domain::event::Event;
use domain::format::Format;
use domain::function::{Credentials, Function, FunctionSettings, parse_url};
use domain::id::{DeliveryId, EventId, RedriveId};
use domain::record::{Record, Settled};
use domain::redrive::direct_delivery;
use domain::registry::{Change, Update};
use domain::trigger::Trigger;
use protocol::envelope::Envelope as _;
use protocol::fault::{Fault, FaultKind};
use protocol::logs::v1::{DeliveryFilter, GetEventRequest};
use protocol::redrive::v1::redrive_service_client::RedriveServiceClient;
use protocol::redrive::v1::{
    ListRedrivesRequest, Redrive, StartRedriveRequest, StopRedriveRequest, WatchRedriveRequest,
};
use storage::redrives::{
    Candidate, Plan, Planned, Progress, Redrive as Stored, RedriveKind, RedriveOrder, RedriveState,
};
use testkit::eventually;
use tonic::Request;
use tonic::transport::Channel;

use crate::harness::{Database, GENEROUS, Ground, System, event, matched, start};

type Client = RedriveServiceClient<Channel>;

/// A log that knows the functions `welcome` and `audit`, of which only the first has a trigger.
async fn system(database: Database) -> (System, Client) {
    let system = start(database).await;
    configure(&system);
    let client = RedriveServiceClient::new(system.channel().await);
    (system, client)
}

fn configure(system: &System) {
    let functions = ["welcome", "audit"].map(function);
    let trigger = Trigger {
        subject: Some("orders/{order}".parse().unwrap()),
        ..Trigger::direct(&functions[0], "welcome".parse().unwrap())
    };
    let changes = functions.into_iter().map(Change::Function);
    system.registry.apply(Update {
        revision: 7,
        is_snapshot: false,
        changes: changes.chain([Change::Trigger(trigger)]).collect(),
    });
}

fn function(name: &str) -> Function {
    Function {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        url: parse_url("https://function.example/").unwrap(),
        format: Format::default(),
        secret: String::new(),
        signing_secret: String::new(),
        settings: FunctionSettings::default(),
        credentials: Credentials::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    }
}

fn ended(event: &Event, trigger: &str, status: Status, generation: u32) -> Record {
    Record::Settled(Settled {
        project: event.project.clone(),
        event: event.eid,
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: trigger.parse().unwrap(),
        generation,
        status,
        remark: "attempts used up".to_owned(),
        at: event.accepted_at,
    })
}

/// Events whose only delivery, to `welcome`, has ended so.
async fn fill(system: &System, count: u16, status: Status) -> Vec<Event> {
    let events = events(count, status);
    for some in story(&events, status).chunks(200) {
        system.publish(some).await;
    }
    let question = format!("status={}&page_size=1000", status.as_str());
    system.lines(&question, usize::from(count)).await;
    events
}

fn events(count: u16, status: Status) -> Vec<Event> {
    let event = |number: u16| {
        // To the microsecond, as the log keeps it.
        let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
        let accepted_at = now - Duration::from_secs(60);
        let [high, low] = number.to_be_bytes();
        let mut random = [low; 10];
        random[0] = high;
        random[1] = status as u8;
        Event {
            eid: EventId::new(accepted_at, random),
            id: format!("{}-{number}", status.as_str()),
            subject: Some(format!("orders/{number}")),
            time: accepted_at,
            accepted_at,
            ..event(1, "order.placed")
        }
    };
    (0..count).map(event).collect()
}

fn story(events: &[Event], status: Status) -> Vec<Record> {
    let of_event = |event| {
        [
            matched(event, &["welcome"]),
            ended(event, "welcome", status, 0),
        ]
    };
    events.iter().flat_map(of_event).collect()
}

fn since() -> Option<protocol::well_known::Timestamp> {
    Some(protocol::to_timestamp(
        Timestamp::now() - Duration::from_hours(1),
    ))
}

fn redrive() -> StartRedriveRequest {
    StartRedriveRequest {
        kind: "redrive".to_owned(),
        filter: Some(DeliveryFilter {
            since: since(),
            ..DeliveryFilter::default()
        }),
        ..StartRedriveRequest::default()
    }
}

fn replay(to_function: &str) -> StartRedriveRequest {
    StartRedriveRequest {
        kind: "replay".to_owned(),
        to_function: to_function.to_owned(),
        ..redrive()
    }
}

async fn begin(client: &mut Client, request: StartRedriveRequest) -> Redrive {
    let begun = client.start_redrive(request).await.unwrap().into_inner();
    begun.redrive.unwrap()
}

/// The order when it has ended.
async fn end_of(client: &mut Client, id: &str) -> Redrive {
    let request = WatchRedriveRequest { id: id.to_owned() };
    let mut told = client.watch_redrive(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(next) = tokio::time::timeout(GENEROUS, told.message())
        .await
        .unwrap()
        .unwrap()
    {
        last = Some(next);
    }
    last.unwrap()
}

/// The next `count` of those that the waiting room is told of.
async fn take(system: &System, count: usize) -> Vec<Waiting> {
    let mut consumer = system.broker.consume(Queue::Waiting, 10);
    let mut taken = Vec::new();
    while taken.len() < count {
        let received = tokio::time::timeout(GENEROUS, consumer.next())
            .await
            .unwrap()
            .unwrap();
        taken.extend(Waiting::read(received.body).unwrap());
        received.acknowledgement.ack();
    }
    consumer.cancel().await;
    taken
}

#[tokio::test]
async fn what_failed_is_delivered_again_on_sqlite() {
    what_failed_is_delivered_again(system(Database::Sqlite).await).await;
}

#[tokio::test]
async fn what_failed_is_delivered_again_on_postgres() {
    what_failed_is_delivered_again(system(Database::Postgres).await).await;
}

async fn what_failed_is_delivered_again((system, mut client): (System, Client)) {
    // More than two pages, beside what is not asked for.
    let failed = fill(&system, 250, Status::Failed).await;
    fill(&system, 3, Status::Processed).await;
    fill(&system, 2, Status::Cancel).await;
    let begun = begin(&mut client, redrive()).await;
    assert_eq!((begun.state.as_str(), begun.total), ("running", 250));
    let ended = end_of(&mut client, &begun.id).await;
    assert_eq!(
        (ended.state.as_str(), ended.sent, ended.skipped),
        ("done", 250, 0)
    );

    let taken = take(&system, 250).await;
    let expected: BTreeSet<_> = failed
        .iter()
        .map(|event| DeliveryId::derive(event.eid, "welcome"))
        .collect();
    let delivered: BTreeSet<_> = taken
        .iter()
        .map(|waiting| waiting.target.delivery)
        .collect();
    assert_eq!(delivered, expected, "each with the id it had");
    for waiting in &taken {
        let target = &waiting.target;
        assert_eq!((target.generation, target.next_attempt), (1, 1));
        assert_eq!((target.trigger.as_str(), target.revision), ("welcome", 7));
        assert_eq!(waiting.reason, WaitReason::Scheduled);
        let order = waiting
            .event
            .subject
            .as_deref()
            .unwrap()
            .split_once('/')
            .unwrap()
            .1;
        assert_eq!(target.captures.get("order"), Some(order));
        assert!(failed.contains(&waiting.event), "the event is what it was");
    }
    let lines = system.lines("status=staged&page_size=1000", 250).await;
    assert_eq!(lines[0]["generation"], 1);
    assert_eq!(lines[0]["remark"], format!("redrive {}", begun.id));
    let history = system
        .client()
        .await
        .get_event(GetEventRequest {
            id: failed[0].eid.to_string(),
        })
        .await
        .unwrap()
        .into_inner();
    let [order] = history.deliveries[0].orders.as_slice() else {
        unreachable!("one order was given: {history:?}")
    };
    assert_eq!((&order.redrive_id, order.generation), (&begun.id, 1));

    // Nothing is failed any more, so the same order finds nothing.
    let again = client.start_redrive(redrive()).await.unwrap().into_inner();
    assert_eq!(again.count, 0);
}

#[tokio::test]
async fn a_dry_run_counts_and_shows_the_oldest_and_does_nothing() {
    let (system, mut client) = system(Database::Sqlite).await;
    let failed = fill(&system, 30, Status::Failed).await;
    let request = StartRedriveRequest {
        dry_run: true,
        ..redrive()
    };
    let counted = client.start_redrive(request).await.unwrap().into_inner();
    assert_eq!((counted.count, counted.sample.len()), (30, 10));
    assert_eq!(counted.redrive, None);
    let oldest = failed
        .iter()
        .map(|event| DeliveryId::derive(event.eid, "welcome"))
        .min();
    assert_eq!(counted.sample[0].delivery_id, oldest.unwrap().to_string());
    let listed = client
        .list_redrives(ListRedrivesRequest { limit: 0 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.redrives, []);
    system.lines("status=failed", 30).await;
}

#[tokio::test]
async fn one_delivery_is_ordered_by_its_id_and_only_when_it_has_ended() {
    let (system, mut client) = system(Database::Sqlite).await;
    let cancelled = fill(&system, 2, Status::Cancel).await;
    let under_way = event(9, "order.placed");
    system.publish(&[matched(&under_way, &["welcome"])]).await;
    system.lines("status=staged", 1).await;
    let of = |event: &Event| StartRedriveRequest {
        filter: Some(DeliveryFilter {
            event: DeliveryId::derive(event.eid, "welcome").to_string(),
            statuses: vec!["failed".to_owned(), "cancel".to_owned()],
            ..DeliveryFilter::default()
        }),
        ..redrive()
    };
    let begun = begin(&mut client, of(&cancelled[0])).await;
    assert_eq!(end_of(&mut client, &begun.id).await.sent, 1);
    let taken = take(&system, 1).await;
    assert_eq!(taken[0].event, cancelled[0]);
    let refused = client.start_redrive(of(&under_way)).await.unwrap_err();
    assert_eq!(Fault::from_status(&refused).kind, FaultKind::NotFound);
}

#[tokio::test]
async fn events_are_brought_to_a_function_that_they_were_never_for() {
    let (system, mut client) = system(Database::Sqlite).await;
    let processed = fill(&system, 2, Status::Processed).await;
    let unmatched = event(9, "order.paid");
    system.publish(&[matched(&unmatched, &[])]).await;
    // What the system told of itself is not meant by "everything".
    system
        .publish(&[matched(&event(10, "dlq_welcome"), &[])])
        .await;
    system.lines("", 4).await;

    for generation in [1, 2] {
        let begun = begin(&mut client, replay("audit")).await;
        let ended = end_of(&mut client, &begun.id).await;
        assert_eq!((ended.total, ended.sent), (3, 3));
        let taken = take(&system, 3).await;
        let audit = "audit".parse().unwrap();
        for waiting in &taken {
            let (eid, target) = (waiting.event.eid, &waiting.target);
            assert_eq!(target.delivery, direct_delivery(eid, &audit));
            assert_eq!(
                (target.function.name.as_str(), target.trigger.as_str()),
                ("audit", "audit")
            );
            assert_eq!(target.generation, generation);
        }
        let events: BTreeSet<_> = taken.iter().map(|waiting| waiting.event.eid).collect();
        assert!(events.contains(&unmatched.eid) && events.contains(&processed[0].eid));
        system.lines("function=audit&status=staged", 3).await;
        // While these are under way the same order leaves them out.
        let begun = begin(&mut client, replay("audit")).await;
        let ended = end_of(&mut client, &begun.id).await;
        assert_eq!((ended.sent, ended.skipped), (0, 3));
        let records: Vec<_> = taken
            .iter()
            .map(|waiting| {
                Record::Settled(Settled {
                    project: waiting.event.project.clone(),
                    event: waiting.event.eid,
                    delivery: waiting.target.delivery,
                    trigger: waiting.target.trigger.clone(),
                    function: waiting.target.function.clone(),
                    generation,
                    status: Status::Failed,
                    remark: String::new(),
                    at: Timestamp::now(),
                })
            })
            .collect();
        system.publish(&records).await;
        system.lines("function=audit&status=failed", 3).await;
    }
}

#[tokio::test]
async fn a_paced_order_is_stopped_and_what_was_not_sent_stays_failed() {
    let (system, mut client) = system(Database::Sqlite).await;
    fill(&system, 40, Status::Failed).await;
    let request = StartRedriveRequest {
        per_second: 2.0,
        ..redrive()
    };
    let begun = begin(&mut client, request).await;
    let taken = take(&system, 2).await;
    let wait = taken[1].due_at.duration_since(taken[0].due_at);
    assert_eq!(wait.as_millis(), 500, "two a second");
    let stopped = client
        .stop_redrive(StopRedriveRequest {
            id: begun.id.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stopped.state, "stopped");
    assert!(stopped.sent <= 8, "{stopped:?}");
    let ended = end_of(&mut client, &begun.id).await;
    assert_eq!(
        (ended.state, ended.sent),
        ("stopped".to_owned(), stopped.sent)
    );
    let left = 40 - usize::try_from(stopped.sent).unwrap();
    system.lines("status=failed", left).await;
}

/// An order as it stands before anybody works on it.
fn of_everything_failed(now: Timestamp) -> Stored {
    let order = RedriveOrder {
        kind: RedriveKind::Redrive,
        filter: storage::log_store::DeliveryFilter {
            statuses: vec![Status::Failed],
            until: Some(now),
            ..Default::default()
        },
        to_function: None,
        per_second: None,
    };
    Stored {
        id: RedriveId::new(now, [7; 10]),
        project: "default".parse().unwrap(),
        order,
        state: RedriveState::Running,
        total: 120,
        sent: 0,
        skipped: 0,
        reason: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        progress: Progress {
            batch: 0,
            done_to: None,
            next_due_at: now,
        },
    }
}

/// The first batch of an order, in a generation that tells it from what anybody else plans.
fn plan_of(page: Vec<Candidate>, now: Timestamp) -> Plan {
    let last = page.last().unwrap().delivery.as_ref().unwrap().id.uuid();
    let planned = page.into_iter().map(|candidate| {
        let delivery = candidate.delivery.unwrap();
        Planned {
            event: candidate.event,
            delivery: delivery.id,
            generation: 5,
            trigger: delivery.trigger,
            function: delivery.function,
            due_at: now,
        }
    });
    Plan {
        planned: planned.collect(),
        skipped: 0,
        progress: Progress {
            batch: 1,
            done_to: Some(last),
            next_due_at: now,
        },
    }
}

#[tokio::test]
async fn another_replica_goes_on_where_one_died_on_sqlite() {
    another_replica_goes_on_where_one_died(Database::Sqlite).await;
}

#[tokio::test]
async fn another_replica_goes_on_where_one_died_on_postgres() {
    another_replica_goes_on_where_one_died(Database::Postgres).await;
}

async fn another_replica_goes_on_where_one_died(database: Database) {
    let ground = Ground::open(database).await;
    let now = Timestamp::now();
    let week = Duration::from_hours(7 * 24);
    ground.store.keep_partitions(now, week).await.unwrap();
    let records = story(&events(120, Status::Failed), Status::Failed);
    ground.store.record(&records).await.unwrap();
    let redrives = std::sync::Arc::clone(&ground.redrives);
    let redrive = of_everything_failed(now);
    let order = redrive.order.clone();
    assert!(redrives.start(&redrive, 1).await.unwrap());
    let lease = Duration::from_secs(2);
    let claimed = redrives.claim("dead", now, lease).await.unwrap().unwrap();
    let page = redrives.candidates(&claimed.project, &order, None, 50);
    let page = page.await.unwrap();
    let plan = plan_of(page, now);
    // It writes down what it is going to publish, and dies.
    let noted = redrives.plan(&claimed, "dead", plan, now, lease).await;
    assert_eq!(noted.unwrap().unwrap().len(), 50);

    let system = ground.start().await;
    configure(&system);
    let taken = take(&system, 120).await;
    let deliveries: BTreeSet<_> = taken
        .iter()
        .map(|waiting| waiting.target.delivery)
        .collect();
    assert_eq!(deliveries.len(), 120, "none is left out and none repeated");
    let of_dead = taken
        .iter()
        .filter(|waiting| waiting.target.generation == 5);
    assert_eq!(of_dead.count(), 50, "as it was planned, in that generation");
    eventually(GENEROUS, "the order is done", async || {
        let now = redrives.get(&redrive.project, redrive.id).await.unwrap();
        (now.unwrap().state == RedriveState::Done).then_some(())
    })
    .await;
    let done = redrives.get(&redrive.project, redrive.id).await.unwrap();
    assert_eq!(done.unwrap().sent, 120);
}

#[tokio::test]
async fn two_orders_never_raise_one_delivery_twice() {
    let (system, mut client) = system(Database::Postgres).await;
    fill(&system, 150, Status::Failed).await;
    let one = begin(&mut client, redrive()).await;
    let other = begin(&mut client, redrive()).await;
    let sent = end_of(&mut client, &one.id).await.sent + end_of(&mut client, &other.id).await.sent;
    let taken = take(&system, usize::try_from(sent).unwrap()).await;
    let generations: BTreeSet<_> = taken
        .iter()
        .map(|waiting| (waiting.target.delivery, waiting.target.generation))
        .collect();
    assert_eq!(
        generations.len(),
        taken.len(),
        "no generation was given twice"
    );
    assert_eq!(sent, 150);
}

#[tokio::test]
async fn what_cannot_be_ordered_says_why() {
    let (system, mut client) = system(Database::Sqlite).await;
    fill(&system, 1, Status::Failed).await;
    for (request, field) in [
        (
            StartRedriveRequest {
                filter: None,
                ..redrive()
            },
            "filter.since",
        ),
        (
            StartRedriveRequest {
                kind: "again".to_owned(),
                ..redrive()
            },
            "kind",
        ),
        (
            StartRedriveRequest {
                per_second: 1e9,
                ..redrive()
            },
            "per_second",
        ),
        (replay("nobody"), "to_function"),
        (replay(""), "to_function"),
    ] {
        let fault = Fault::from_status(&client.start_redrive(request).await.unwrap_err());
        assert_eq!(fault.field.as_deref(), Some(field), "{fault}");
        assert!(!fault.allowed.unwrap_or_default().is_empty() || field == "to_function");
    }
    let slow = || StartRedriveRequest {
        per_second: 0.1,
        ..replay("audit")
    };
    fill(&system, 50, Status::Cancel).await;
    for _ in 0..4 {
        begin(&mut client, slow()).await;
    }
    let fault = Fault::from_status(&client.start_redrive(slow()).await.unwrap_err());
    assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
}

#[tokio::test]
async fn to_order_needs_a_key_that_may_manage_and_to_watch_one_that_may_read() {
    let (system, mut client) = system(Database::Sqlite).await;
    fill(&system, 1, Status::Failed).await;
    let key = |text: &str, scopes: &[Scope]| {
        Change::Key(ApiKey {
            id: format!("tlk_{text}"),
            project: "default".parse().unwrap(),
            hash: KeyHash::of(text),
            scopes: scopes.to_vec(),
            note: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at: None,
            revision: 8,
        })
    };
    system.registry.apply(Update {
        revision: 8,
        is_snapshot: false,
        changes: vec![
            key("reader", &[Scope::Read]),
            key("manager", &[Scope::Manage]),
        ],
    });
    fn with_key<T>(key: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }
    let kind = |status: tonic::Status| Fault::from_status(&status).kind;
    let refused = client.start_redrive(with_key("reader", redrive())).await;
    assert_eq!(kind(refused.unwrap_err()), FaultKind::Forbidden);
    let begun = client.start_redrive(with_key("manager", redrive())).await;
    let id = begun.unwrap().into_inner().redrive.unwrap().id;
    let stop = || StopRedriveRequest { id: id.clone() };
    let refused = client.stop_redrive(with_key("reader", stop())).await;
    assert_eq!(kind(refused.unwrap_err()), FaultKind::Forbidden);
    let list = || ListRedrivesRequest { limit: 0 };
    let refused = client.list_redrives(with_key("manager", list())).await;
    assert_eq!(kind(refused.unwrap_err()), FaultKind::Forbidden);
    let listed = client.list_redrives(with_key("reader", list())).await;
    assert_eq!(listed.unwrap().into_inner().redrives.len(), 1);
}
