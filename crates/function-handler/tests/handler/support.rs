//! A handler with what it needs around it, and events to put in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use broker::{
    Broker, Confirm, Consumer, Message, PublishError, Publisher, Queue, Replier, ReplyInbox,
    Topology,
};
use coordination::EmbeddedCoordination;
use domain::delivery::{Consignment, Target, Waiting};
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::EventId;
use domain::record::Record;
use function_handler::{Config, Parts, Service, bootstrap};
use jiff::Timestamp;
use lifecycle::{Health, Tasks};
use protocol::access;
use protocol::envelope::Envelope;
use protocol::functions::v1 as functions;
use protocol::functions::v1::function_service_client::FunctionServiceClient;
use protocol::functions::v1::trigger_service_client::TriggerServiceClient;
use protocol::gateway::v1::gateway_service_client::GatewayServiceClient;
use protocol::gateway::v1::script_service_client::ScriptServiceClient;
use protocol::imports::v1::import_service_client::ImportServiceClient;
use protocol::packages::v1::package_service_client::PackageServiceClient;
use protocol::projects::v1::key_service_client::KeyServiceClient;
use protocol::projects::v1::project_service_client::ProjectServiceClient;
use protocol::registry::v1::registry_service_client::RegistryServiceClient;
use protocol::registry_feed::RegistryView;
use protocol::schedules::v1::schedule_service_client::ScheduleServiceClient;
use protocol::sessions::v1::session_service_client::SessionServiceClient;
use protocol::waiting::v1::waiting_service_client::WaitingServiceClient;
use protocol::well_known::FieldMask;
use settings::SecretUrl;
use storage::waiting_room::{Shown, WaitingFilter, WaitingRow};
use storage::{Cipher, RegistryStore, WaitingRoom};
use tempfile::TempDir;
use testkit::{TestDatabase, TestVhost, eventually};
use tonic::Request;
use tonic::service::Routes;

/// Long enough for a busy machine, short enough to be noticed.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const TOPOLOGY: Topology = Topology {
    event_shards: 2,
    delivery_shards: 4,
};

pub(crate) const OPERATOR_TOKEN: &str = "operators-only";
pub(crate) const INTERNAL_TOKEN: &str = "between-us";

/// Broker and stores, without a handler.
pub(crate) struct World {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) store: Arc<dyn RegistryStore>,
    pub(crate) room: Arc<dyn WaitingRoom>,
    /// The key of project `default`, when it was made here.
    pub(crate) key: String,
    tasks: Tasks,
    servers: Servers,
}

/// What holds the data; it is gone with the value.
enum Servers {
    Embedded(TempDir, storage::sqlite::Sqlite),
    Full(
        #[expect(dead_code, reason = "it is deleted with the value")] TestVhost,
        TestDatabase,
    ),
}

impl World {
    pub(crate) async fn embedded() -> Self {
        Self::embedded_in(tempfile::tempdir().unwrap()).await
    }

    async fn embedded_in(folder: TempDir) -> Self {
        let (tasks, health) = (Tasks::default(), Health::default());
        let sqlite = storage::sqlite::open(folder.path()).await.unwrap();
        let file = sqlite
            .queue(storage::queue::Limits::default(), &tasks)
            .await
            .unwrap();
        let broker = broker::Embedded::start(file, TOPOLOGY, &tasks, &health);
        let store = sqlite.registry(cipher(folder.path()));
        let room = sqlite.waiting_room();
        Self::of(
            Arc::new(broker),
            store,
            room,
            tasks,
            Servers::Embedded(folder, sqlite),
        )
        .await
    }

    /// On RabbitMQ and PostgreSQL.
    pub(crate) async fn full() -> Self {
        let (vhost, database) = tokio::join!(testkit::rabbitmq_vhost(), testkit::postgres());
        let (tasks, health) = (Tasks::default(), Health::default());
        let config = broker::Config {
            url: vhost.url().parse().unwrap(),
            event_shards: TOPOLOGY.event_shards,
            delivery_shards: TOPOLOGY.delivery_shards,
            ..broker::Config::default()
        };
        let broker = broker::RabbitMq::start(&config, &tasks, &health).unwrap();
        let postgres = connect(&database);
        postgres.migrate().await.unwrap();
        let (store, room) = (
            postgres.registry(Cipher::from_key([7; 32])),
            postgres.waiting_room(),
        );
        Self::of(
            Arc::new(broker),
            store,
            room,
            tasks,
            Servers::Full(vhost, database),
        )
        .await
    }

    async fn of(
        broker: Arc<dyn Broker>,
        store: Arc<dyn RegistryStore>,
        room: Arc<dyn WaitingRoom>,
        tasks: Tasks,
        servers: Servers,
    ) -> Self {
        let key = bootstrap(store.as_ref(), Timestamp::now())
            .await
            .unwrap()
            .unwrap_or_default();
        Self {
            broker,
            store,
            room,
            key,
            tasks,
            servers,
        }
    }

    /// The stores as another replica would open them.
    pub(crate) fn other_stores(&self) -> (Arc<dyn RegistryStore>, Arc<dyn WaitingRoom>) {
        match &self.servers {
            Servers::Embedded(folder, sqlite) => (
                sqlite.registry(cipher(folder.path())),
                sqlite.waiting_room(),
            ),
            Servers::Full(_, database) => {
                let postgres = connect(database);
                (
                    postgres.registry(Cipher::from_key([7; 32])),
                    postgres.waiting_room(),
                )
            }
        }
    }

    /// Puts something between the handler and the broker that can refuse every message.
    pub(crate) fn with_refusing_broker(&mut self) -> Arc<Refusing> {
        let refusing = Arc::new(Refusing {
            inner: Arc::clone(&self.broker),
            publisher: Arc::new(RefusingPublisher {
                inner: self.broker.publisher(),
                refuses: AtomicBool::new(false),
                refused: AtomicUsize::new(0),
            }),
        });
        self.broker = Arc::clone(&refusing) as Arc<dyn Broker>;
        refusing
    }

    /// Stops everything and opens it again from what is on disk.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            broker,
            store,
            room,
            key,
            tasks,
            servers,
        } = self;
        drop((broker, store, room));
        stop(tasks).await;
        let Servers::Embedded(folder, sqlite) = servers else {
            panic!("only the embedded world restarts")
        };
        sqlite.close().await;
        Self {
            key,
            ..Self::embedded_in(folder).await
        }
    }

    pub(crate) async fn stop(self) {
        stop(self.tasks).await;
    }

    /// A row as the handler would store it.
    pub(crate) fn row_of(&self, waiting: &Waiting) -> WaitingRow {
        let target = &waiting.target;
        WaitingRow {
            project: waiting.event.project.clone(),
            delivery: target.delivery,
            trigger: target.trigger.clone(),
            function: target.function.clone(),
            generation: target.generation,
            next_attempt: target.next_attempt,
            reason: waiting.reason,
            since: waiting.since,
            due_at: waiting.due_at,
            order_key: None,
            payload: Waiting::write(std::slice::from_ref(waiting)),
        }
    }

    /// What waits in project `default`.
    pub(crate) async fn list(&self) -> Vec<Shown> {
        let (project, all) = ("default".parse().unwrap(), WaitingFilter::default());
        self.room.list(&project, &all, None, 1_000).await.unwrap()
    }

    pub(crate) async fn publish(&self, events: &[Event]) {
        let shard = domain::shard::of_event(&events[0], TOPOLOGY.event_shards);
        self.publish_message(Queue::Events(shard), Message::of(events))
            .await;
    }

    pub(crate) async fn publish_message(&self, queue: Queue, message: Message) {
        eventually(SOON, "a message is taken by the broker", async || {
            let confirm = self
                .broker
                .publisher()
                .publish(queue, message.clone())
                .await
                .ok()?;
            confirm.await.ok()
        })
        .await;
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        let deliveries = (0..TOPOLOGY.delivery_shards)
            .map(|shard| self.broker.consume(Queue::Deliveries(shard), 100))
            .collect();
        let records = self.broker.consume(Queue::Records, 100);
        Outgoing {
            deliveries,
            records,
            consignments: Vec::new(),
            recorded: Vec::new(),
        }
    }
}

fn connect(database: &TestDatabase) -> storage::postgres::Postgres {
    let url: SecretUrl = database.url().parse().unwrap();
    storage::postgres::connect(&storage::Config::at(url)).unwrap()
}

fn cipher(folder: &Path) -> Cipher {
    Cipher::from_file(&folder.join("key"), true).unwrap()
}

async fn stop(tasks: Tasks) {
    let ended = lifecycle::run_until_stopped(tasks, std::future::ready(()), SOON).await;
    assert!(matches!(ended, lifecycle::Ended::Drained), "{ended:?}");
}

/// A broker that can be told to refuse what is published.
#[derive(Debug)]
pub(crate) struct Refusing {
    inner: Arc<dyn Broker>,
    publisher: Arc<RefusingPublisher>,
}

#[derive(Debug)]
struct RefusingPublisher {
    inner: Arc<dyn Publisher>,
    refuses: AtomicBool,
    refused: AtomicUsize,
}

impl Refusing {
    pub(crate) fn refuse(&self, refuses: bool) {
        self.publisher.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How many messages were refused so far.
    pub(crate) fn refused(&self) -> usize {
        self.publisher.refused.load(Ordering::SeqCst)
    }

    /// The broker behind, which refuses nothing.
    pub(crate) fn behind(&self) -> Arc<dyn Publisher> {
        self.inner.publisher()
    }
}

impl Broker for Refusing {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as Arc<dyn Publisher>
    }

    fn consume(&self, queue: Queue, in_flight_max: u16) -> Box<dyn Consumer> {
        self.inner.consume(queue, in_flight_max)
    }

    fn topology(&self) -> &Topology {
        self.inner.topology()
    }

    fn reply_inbox(&self) -> ReplyInbox {
        self.inner.reply_inbox()
    }

    fn replier(&self) -> Replier {
        self.inner.replier()
    }
}

#[tonic::async_trait]
impl Publisher for RefusingPublisher {
    async fn publish(&self, queue: Queue, message: Message) -> Result<Confirm, PublishError> {
        if self.refuses.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(PublishError::Unavailable);
        }
        self.inner.publish(queue, message).await
    }
}

/// A handler that runs.
pub(crate) struct Handler {
    pub(crate) view: RegistryView,
    routes: Routes,
    http: axum::Router,
    key: String,
    tasks: Tasks,
}

impl Handler {
    pub(crate) async fn start(world: &World) -> Self {
        Self::start_with(world, Config::default(), true).await
    }

    /// Without the need for keys.
    pub(crate) async fn start_open(world: &World) -> Self {
        Self::start_with(world, Config::default(), false).await
    }

    pub(crate) async fn start_with(world: &World, config: Config, keys_required: bool) -> Self {
        let (tasks, health, view) = (Tasks::default(), Health::default(), RegistryView::default());
        let (store, waiting_room) = world.other_stores();
        let parts = Parts {
            broker: Arc::clone(&world.broker),
            store,
            waiting_room,
            membership: Arc::new(EmbeddedCoordination::default()),
            replica: "handler-1".to_owned(),
            registry: view.clone(),
            health: health.clone(),
            access: access::Config {
                keys_required,
                operator_token: Some(OPERATOR_TOKEN.into()),
            },
            internal_token: Some(INTERNAL_TOKEN.into()),
        };
        let service: Service = function_handler::build(&config, parts, &tasks).unwrap();
        let routes = service.grpc(Routes::default()).prepare();
        eventually(SOON, "the handler is ready", async || {
            health.is_ready().then_some(())
        })
        .await;
        Self {
            view,
            routes,
            http: service.http(),
            key: world.key.clone(),
            tasks,
        }
    }

    pub(crate) async fn stop(self) {
        stop(self.tasks).await;
    }

    /// Ends it where it stands.
    pub(crate) async fn kill(self) {
        let now = std::future::ready(());
        lifecycle::run_until_stopped(self.tasks, now, Duration::ZERO).await;
    }

    pub(crate) fn http(&self) -> axum::Router {
        self.http.clone()
    }

    pub(crate) fn functions(&self) -> FunctionServiceClient<Routes> {
        FunctionServiceClient::new(self.routes.clone())
    }

    pub(crate) fn triggers(&self) -> TriggerServiceClient<Routes> {
        TriggerServiceClient::new(self.routes.clone())
    }

    pub(crate) fn packages(&self) -> PackageServiceClient<Routes> {
        PackageServiceClient::new(self.routes.clone())
    }

    pub(crate) fn imports(&self) -> ImportServiceClient<Routes> {
        ImportServiceClient::new(self.routes.clone())
    }

    pub(crate) fn schedules(&self) -> ScheduleServiceClient<Routes> {
        ScheduleServiceClient::new(self.routes.clone())
    }

    pub(crate) fn projects(&self) -> ProjectServiceClient<Routes> {
        ProjectServiceClient::new(self.routes.clone())
    }

    pub(crate) fn gateway(&self) -> GatewayServiceClient<Routes> {
        GatewayServiceClient::new(self.routes.clone())
    }

    pub(crate) fn scripts(&self) -> ScriptServiceClient<Routes> {
        ScriptServiceClient::new(self.routes.clone())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Routes> {
        KeyServiceClient::new(self.routes.clone())
    }

    pub(crate) fn waiting(&self) -> WaitingServiceClient<Routes> {
        WaitingServiceClient::new(self.routes.clone())
    }

    pub(crate) fn registry(&self) -> RegistryServiceClient<Routes> {
        RegistryServiceClient::new(self.routes.clone())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Routes> {
        SessionServiceClient::new(self.routes.clone())
    }

    /// The key of project `default`.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A request with the key of project `default`.
    pub(crate) fn with_key<T>(&self, request: T) -> Request<T> {
        with_token(&self.key, request)
    }

    /// Creates a function with a trigger for these types.
    pub(crate) async fn create(&self, name: &str, url: &str, on: &[&str]) {
        let request = functions::CreateFunctionRequest {
            name: name.to_owned(),
            url: url.to_owned(),
            on: on.iter().map(|text| (*text).to_owned()).collect(),
            ..functions::CreateFunctionRequest::default()
        };
        self.functions()
            .create_function(self.with_key(request))
            .await
            .unwrap();
    }

    /// Pauses or resumes a function.
    pub(crate) async fn pause(&self, name: &str, paused: bool) {
        let settings = functions::FunctionSettings {
            paused,
            ..functions::FunctionSettings::default()
        };
        let request = functions::UpdateFunctionRequest {
            function: Some(functions::Function {
                name: name.to_owned(),
                settings: Some(settings),
                ..functions::Function::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["settings.paused".to_owned()],
            }),
            credentials: None,
        };
        self.functions()
            .update_function(self.with_key(request))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        let request = functions::DeleteFunctionRequest {
            name: name.to_owned(),
        };
        self.functions()
            .delete_function(self.with_key(request))
            .await
            .unwrap();
    }
}

pub(crate) fn with_token<T>(token: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// What leaves the handler, taken and acknowledged.
pub(crate) struct Outgoing {
    deliveries: Vec<Box<dyn Consumer>>,
    records: Box<dyn Consumer>,
    /// With the shard each came from.
    pub(crate) consignments: Vec<(u16, Consignment)>,
    pub(crate) recorded: Vec<Record>,
}

impl Outgoing {
    /// Takes what comes until there are so many deliveries and records.
    pub(crate) async fn wait_for(&mut self, deliveries: usize, records: usize) {
        let what = format!("{deliveries} deliveries and {records} records");
        eventually(SOON, &what, async || {
            self.take();
            (self.targets().len() >= deliveries && self.recorded.len() >= records).then_some(())
        })
        .await;
    }

    /// Takes what is here.
    pub(crate) fn take(&mut self) {
        for (shard, consumer) in (0..).zip(&mut self.deliveries) {
            while let Some(received) = consumer.try_next() {
                let consignments = Consignment::read(received.body).unwrap();
                self.consignments
                    .extend(consignments.into_iter().map(|each| (shard, each)));
                received.acknowledgement.ack();
            }
        }
        while let Some(received) = self.records.try_next() {
            self.recorded.extend(Record::read(received.body).unwrap());
            received.acknowledgement.ack();
        }
    }

    pub(crate) fn targets(&self) -> Vec<&Target> {
        self.consignments
            .iter()
            .flat_map(|(_, consignment)| &consignment.targets)
            .collect()
    }
}

/// An event of project `default`.
pub(crate) fn event(event_type: &str, subject: Option<&str>) -> Event {
    let now = now();
    let random = *uuid_bytes().first_chunk().unwrap();
    let eid = EventId::new(now, random);
    Event {
        eid,
        project: "default".parse().unwrap(),
        id: eid.to_string(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse(event_type).unwrap(),
        subject: subject.map(ToOwned::to_owned),
        time: now,
        accepted_at: now,
        data_content_type: Some("application/json".to_owned()),
        data: bytes::Bytes::from_static(b"{}"),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: None,
        extensions: std::collections::BTreeMap::default(),
    }
}

/// To the microsecond, as envelopes carry it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

fn uuid_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
