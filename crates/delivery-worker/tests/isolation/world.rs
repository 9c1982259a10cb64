//! Workers on RabbitMQ, with functions whose endpoints behave as a test wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering as AtomicOrdering};
use std::time::Duration;

use broker::{Broker, Message, Queue, RabbitMq};
use bytes::Bytes;
use coordination::{EmbeddedCoordination, EndpointMemory, RedisCoordination};
use delivery_worker::{Config, Parts, Service, build};
use domain::Timestamp;
use domain::delivery::{Consignment, Target};
use domain::event::Event;
use domain::event_type::EventType;
use domain::format::Format;
use domain::function::{Credentials, Function, FunctionSettings, origin, parse_url};
use domain::id::{DeliveryId, EventId};
use domain::name::ProjectName;
use domain::pattern::Captures;
use domain::registry::{Change, Project, Update};
use domain::retry::RetryPolicy;
use domain::shard;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use lifecycle::{Health, Tasks, run_until_stopped};
use protocol::registry_feed::RegistryView;
use testkit::{Receiver, TestRedis, TestVhost, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// How many deliveries go into one message.
const MESSAGE_MAX: usize = 50;

pub(crate) struct World {
    pub(crate) vhost: TestVhost,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: RegistryView,
    pub(crate) coordination: Arc<EmbeddedCoordination>,
    memory: Box<Memory>,
    shards: u16,
    tasks: Tasks,
    events: AtomicU32,
}

/// Gives a worker what it remembers endpoints by.
type Memory = dyn Fn() -> Arc<dyn EndpointMemory> + Send + Sync;

/// One worker with its own connection.
pub(crate) struct Worker {
    tasks: Tasks,
    _service: Service,
}

/// A worker in a runtime of its own, which can be killed.
pub(crate) struct Mortal {
    runtime: tokio::runtime::Runtime,
    _worker: Worker,
}

impl World {
    pub(crate) async fn start(shards: u16) -> Self {
        let coordination = Arc::<EmbeddedCoordination>::default();
        let memory = Arc::clone(&coordination);
        let memory: Box<Memory> = Box::new(move || Arc::clone(&memory) as _);
        Self::with(shards, memory, coordination).await
    }

    /// Each of its workers keeps what it knows in this Redis.
    pub(crate) async fn remembering(shards: u16, redis: &TestRedis) -> Self {
        let config = coordination::Config {
            url: redis.url().parse().unwrap(),
            ..coordination::Config::default()
        };
        // A connection lives in the runtime of its worker, and dies with it.
        let memory: Box<Memory> =
            Box::new(move || Arc::new(RedisCoordination::new(&config).unwrap()));
        Self::with(shards, memory, Arc::default()).await
    }

    async fn with(
        shards: u16,
        memory: Box<Memory>,
        coordination: Arc<EmbeddedCoordination>,
    ) -> Self {
        let vhost = testkit::rabbitmq_vhost().await;
        let tasks = Tasks::default();
        let broker = connect(&vhost, shards, &tasks);
        let registry = RegistryView::default();
        registry.apply(Update {
            revision: 1,
            is_snapshot: true,
            changes: vec![Change::Project(Project {
                name: project(),
                created_at: Timestamp::now(),
                is_paused: false,
                revision: 1,
            })],
        });
        Self {
            vhost,
            broker,
            registry,
            coordination,
            memory,
            shards,
            tasks,
            events: AtomicU32::new(0),
        }
    }

    /// Makes a function, and the trigger of its name.
    pub(crate) fn function(
        &self,
        name: &str,
        receiver: &Receiver,
        settings: FunctionSettings,
        retry: RetryPolicy,
    ) {
        self.function_in(Format::default(), name, receiver, settings, retry);
    }

    /// The same in another format.
    pub(crate) fn function_in(
        &self,
        format: Format,
        name: &str,
        receiver: &Receiver,
        settings: FunctionSettings,
        retry: RetryPolicy,
    ) {
        let now = Timestamp::now();
        let function = Function {
            project: project(),
            name: name.parse().unwrap(),
            url: parse_url(&receiver.url("/")).unwrap(),
            format,
            secret: "s3cret".to_owned(),
            signing_secret: SIGNING_SECRET.to_owned(),
            settings,
            credentials: Credentials::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let trigger = Trigger {
            project: project(),
            name: name.parse().unwrap(),
            function: function.name.clone(),
            is_enabled: true,
            on: Vec::new(),
            subject: None,
            prefix: None,
            suffix: None,
            options: BTreeMap::new(),
            filter: None,
            format: None,
            template: None,
            retry,
            ordering: Ordering::default(),
            backlog: Backlog::default(),
            depth_max: DEPTH_MAX,
            script: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        self.registry.apply(Update {
            revision: 1,
            is_snapshot: false,
            changes: vec![Change::Function(function), Change::Trigger(trigger)],
        });
    }

    pub(crate) fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, Arc::clone(&self.coordination) as _)
    }

    pub(crate) fn worker_with(
        &self,
        name: &str,
        membership: Arc<dyn coordination::Membership>,
    ) -> Worker {
        start_worker(
            name,
            &self.vhost.url(),
            self.shards,
            &self.registry,
            membership,
            (self.memory)(),
        )
    }

    pub(crate) fn mortal(&self, name: &str) -> Mortal {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let worker = self.worker(name);
        drop(guard);
        Mortal {
            runtime,
            _worker: worker,
        }
    }

    /// Owes a function so many deliveries.
    pub(crate) async fn owe(&self, function: &str, count: usize) -> Vec<DeliveryId> {
        let owed = self.consignments(function, count);
        self.owe_these(function, &owed).await;
        owed.iter().map(|owed| owed.targets[0].delivery).collect()
    }

    pub(crate) fn consignments(&self, function: &str, count: usize) -> Vec<Consignment> {
        (0..count).map(|_| self.consignment(function)).collect()
    }

    /// Owes a function these deliveries.
    pub(crate) async fn owe_these(&self, function: &str, owed: &[Consignment]) {
        let shard = {
            let registry = self.registry.read();
            let name = function.parse().unwrap();
            let url = &registry.function(&project(), &name).unwrap().url;
            shard::of_endpoint(&project(), &origin(url), self.shards)
        };
        let publisher = self.broker.publisher();
        for some in owed.chunks(MESSAGE_MAX) {
            // A queue that was just declared may refuse for a moment.
            eventually(SOON, "the broker to take deliveries", async || {
                let message = Message::of(some);
                let confirm = publisher.publish(Queue::Deliveries(shard), message).await;
                confirm.ok()?.await.ok()
            })
            .await;
        }
    }

    /// Messages in the queues of deliveries, given or not.
    pub(crate) async fn messages(&self) -> u64 {
        // A server that has just started may not answer yet.
        let list = async || self.vhost.queues().await.ok();
        let queues = eventually(SOON, "the broker to list its queues", list).await;
        let of_deliveries = queues
            .iter()
            .filter(|queue| queue.name.starts_with("deliveries."));
        of_deliveries.map(|queue| queue.messages).sum()
    }

    fn consignment(&self, function: &str) -> Consignment {
        let now = Timestamp::now();
        let number = self.events.fetch_add(1, AtomicOrdering::Relaxed);
        let mut random = [0; 10];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let eid = EventId::new(now, random);
        let event = Event {
            eid,
            project: project(),
            id: eid.to_string(),
            source: "/projects/default".to_owned(),
            event_type: EventType::parse("test.happened").unwrap(),
            subject: None,
            time: now,
            accepted_at: now,
            data_content_type: Some("application/json".to_owned()),
            data: Bytes::from_static(b"{}"),
            actor: None,
            partition_key: None,
            correlation_id: None,
            causation_id: None,
            depth: 0,
            ancestry: Vec::new(),
            reply_to: None,
            deliver_at: None,
            traceparent: None,
            extensions: BTreeMap::new(),
        };
        let target = Target {
            delivery: DeliveryId::derive(eid, function),
            trigger: function.parse().unwrap(),
            function: function.parse().unwrap(),
            captures: Captures::default(),
            next_attempt: 1,
            generation: 0,
            revision: 1,
            is_held: false,
        };
        Consignment {
            event,
            targets: vec![target],
        }
    }
}

impl Worker {
    /// Stops in good order: what is under way is finished.
    pub(crate) async fn stop(self) {
        run_until_stopped(self.tasks, std::future::ready(()), SOON).await;
    }
}

impl Mortal {
    /// Ends it where it stands, as `kill -9` does.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn start_worker(
    name: &str,
    url: &str,
    shards: u16,
    registry: &RegistryView,
    membership: Arc<dyn coordination::Membership>,
    memory: Arc<dyn EndpointMemory>,
) -> Worker {
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let config = broker::Config {
        url: url.parse().unwrap(),
        delivery_shards: shards,
        ..broker::Config::default()
    };
    let broker = RabbitMq::start(&config, &tasks, &health).unwrap();
    let parts = Parts {
        broker: Arc::new(broker),
        membership,
        memory,
        registry: registry.clone(),
        health,
        keys_required: false,
        internal_token: None,
        allow_loopback: true,
        worker: name.to_owned(),
    };
    let service = build(&Config::default(), parts, &tasks).unwrap();
    Worker {
        tasks,
        _service: service,
    }
}

fn connect(vhost: &TestVhost, shards: u16, tasks: &Tasks) -> Arc<dyn Broker> {
    let config = broker::Config {
        url: vhost.url().parse().unwrap(),
        delivery_shards: shards,
        ..broker::Config::default()
    };
    Arc::new(RabbitMq::start(&config, tasks, &Health::following(tasks)).unwrap())
}

fn project() -> ProjectName {
    "default".parse().unwrap()
}
