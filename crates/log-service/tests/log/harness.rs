//! A log on the embedded broker, over either database, and records to put into it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use broker::{Broker, Embedded, Message, Queue, Topology};
use domain::Timestamp;
use domain::delivery::{ErrorClass, Status, Target};
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::{DeliveryId, EventId};
use domain::pattern::Captures;
use domain::record::{Attempted, HeaderLines, Matched, Record};
use domain::registry::{Change, Project, Update};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use lifecycle::{Health, Tasks};
use log_service::{Config, Parts, SERVED, build};
use process::server::{Surface, router};
use protocol::logs::v1::log_service_client::LogServiceClient;
use protocol::registry_feed::RegistryView;
use serde_json::Value;
use storage::{LogStore, Redrives};
use tempfile::TempDir;
use testkit::TestDatabase;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::ServiceExt as _;

pub(crate) const GENEROUS: Duration = Duration::from_secs(20);

/// Where the log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// A running log-service and the queue in front of it.
pub(crate) struct System {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: RegistryView,
    pub(crate) health: Health,
    pub(crate) tasks: Tasks,
    router: Router,
    _folder: TempDir,
    _database: Option<TestDatabase>,
}

/// An empty log that no service runs on yet.
pub(crate) struct Ground {
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) redrives: Arc<dyn Redrives>,
    folder: TempDir,
    database: Option<TestDatabase>,
}

impl Ground {
    pub(crate) async fn open(database: Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        match database {
            Database::Sqlite => {
                let sqlite = storage::sqlite::open(&folder.path().join("logs"))
                    .await
                    .unwrap();
                Self {
                    store: sqlite.logs(),
                    redrives: sqlite.redrives(),
                    folder,
                    database: None,
                }
            }
            Database::Postgres => {
                let database = testkit::postgres().await;
                let config = storage::Config::at(database.url().parse().unwrap());
                let postgres = storage::postgres::connect(&config).unwrap();
                postgres.migrate().await.unwrap();
                Self {
                    store: postgres.logs(),
                    redrives: postgres.redrives(),
                    folder,
                    database: Some(database),
                }
            }
        }
    }

    pub(crate) async fn start(self) -> System {
        start_on(self.store, self.redrives, self.folder, self.database).await
    }
}

pub(crate) async fn start(database: Database) -> System {
    Ground::open(database).await.start().await
}

pub(crate) async fn start_on(
    store: Arc<dyn LogStore>,
    redrives: Arc<dyn Redrives>,
    folder: TempDir,
    database: Option<TestDatabase>,
) -> System {
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let queues = storage::sqlite::open(&folder.path().join("queue"))
        .await
        .unwrap();
    let queue = queues
        .queue(storage::queue::Limits::default(), &tasks)
        .await
        .unwrap();
    let broker: Arc<dyn Broker> =
        Arc::new(Embedded::start(queue, Topology::default(), &tasks, &health));
    let name = "default".parse().unwrap();
    let project = Project {
        name,
        created_at: Timestamp::UNIX_EPOCH,
        is_paused: false,
        revision: 1,
    };
    let registry = RegistryView::default();
    registry.apply(Update {
        revision: 1,
        is_snapshot: true,
        changes: vec![Change::Project(project)],
    });
    let parts = Parts {
        broker: Arc::clone(&broker),
        store,
        redrives,
        registry: registry.clone(),
        health: health.clone(),
        keys_required: false,
        replica: "log-1".to_owned(),
    };
    let config = Config {
        owed_for: Duration::from_secs(1).into(),
        ..Config::default()
    };
    let service = build(&config, parts, &tasks).unwrap();
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = router(surface, &health, &tasks).unwrap();
    System {
        broker,
        registry,
        health,
        tasks,
        router,
        _folder: folder,
        _database: database,
    }
}

impl System {
    /// Puts records into the queue, as one message.
    pub(crate) async fn publish(&self, records: &[Record]) {
        self.publish_message(Message::of(records)).await;
    }

    pub(crate) async fn publish_message(&self, message: Message) {
        let publisher = self.broker.publisher();
        publisher
            .publish(Queue::Records, message)
            .await
            .unwrap()
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// As a function with this session asks.
    pub(crate) async fn get_as(&self, session: &str, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header("authorization", format!("Bearer {session}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The lines of a listing, once there are `count` of them.
    pub(crate) async fn lines(&self, question: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/projects/default/deliveries?{question}");
        testkit::eventually(GENEROUS, &format!("{count} lines of {path}"), async || {
            let (status, body) = self.get(&path).await;
            let lines = body["deliveries"].as_array().cloned().unwrap_or_default();
            (status == StatusCode::OK && lines.len() == count).then_some(lines)
        })
        .await
    }

    pub(crate) async fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        lifecycle::server::serve(listener, self.router.clone(), &self.tasks);
        Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// Why messages were set aside, once there are `count`.
    pub(crate) async fn reasons_set_aside(&self, count: usize) -> Vec<String> {
        let mut consumer = self.broker.consume(Queue::Unreadable, 10);
        let mut reasons = Vec::new();
        for _ in 0..count {
            let received = tokio::time::timeout(GENEROUS, consumer.next())
                .await
                .unwrap()
                .unwrap();
            reasons.push(received.set_aside.clone().unwrap().reason);
            received.acknowledgement.ack();
        }
        consumer.cancel().await;
        reasons
    }
}

/// An event accepted just now; `number` tells it from others and sets their order.
pub(crate) fn event(number: u8, event_type: &str) -> Event {
    let now = Timestamp::now() - Duration::from_secs(60) + Duration::from_millis(number.into());
    Event {
        eid: EventId::new(now, [number; 10]),
        project: "default".parse().unwrap(),
        id: format!("event-{number}"),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: None,
        time: now,
        accepted_at: now,
        data_content_type: Some("application/json".to_owned()),
        data: r#"{"n":1.0}"#.into(),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: Default::default(),
    }
}

/// The event is owed to the function of each of these triggers.
pub(crate) fn matched(event: &Event, triggers: &[&str]) -> Record {
    let target = |trigger: &&str| Target {
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: trigger.parse().unwrap(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: 1,
        is_held: false,
    };
    let targets = triggers.iter().map(target).collect();
    Record::Matched(Matched {
        event: event.clone(),
        targets,
    })
}

/// An attempt: with a status of 2xx it was the last one.
pub(crate) fn attempted(event: &Event, trigger: &str, number: u32, answer: u16) -> Record {
    let is_accepted = (200..300).contains(&answer);
    let started_at = event.accepted_at + Duration::from_millis(u64::from(number) * 10);
    Record::Attempted(Box::new(Attempted {
        project: event.project.clone(),
        event: event.eid,
        delivery: DeliveryId::derive(event.eid, trigger),
        trigger: trigger.parse().unwrap(),
        function: trigger.parse().unwrap(),
        number,
        generation: 0,
        started_at,
        duration: Duration::from_micros(1500),
        url: "https://function.example/".to_owned(),
        response_status: Some(answer),
        error_class: (!is_accepted).then_some(ErrorClass::Status),
        error: None,
        request_headers: [("webhook-id", "x")].into_iter().collect(),
        request_bytes: 12,
        response_headers: HeaderLines::default(),
        response_body: "ok".into(),
        is_response_truncated: false,
        worker: "w1".to_owned(),
        traceparent: None,
        status: if is_accepted {
            Status::Processed
        } else {
            Status::Staged
        },
        remark: None,
        next_attempt_at: (!is_accepted).then(|| started_at + Duration::from_secs(5)),
    }))
}

/// A message of records that is none.
pub(crate) fn unreadable() -> Message {
    Message {
        body: "no protobuf".into(),
        ..Message::of::<Record>(&[])
    }
}
