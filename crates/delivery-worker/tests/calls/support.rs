//! A worker on an embedded broker, with functions that all are one receiver.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use broker::{Broker, Embedded, Queue, Topology};
use bytes::Bytes;
use coordination::EmbeddedCoordination;
use delivery_worker::call_now::{Ask, CallNow, Content, event_of_call};
use delivery_worker::{Config, Parts, Service, build};
use domain::Timestamp;
use domain::event_type::EventType;
use domain::format::Format;
use domain::function::{Credentials, Function, FunctionSettings, parse_url};
use domain::name::{FunctionName, ProjectName};
use domain::record::Record;
use domain::registry::{Change, Project, Update};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use lifecycle::{Health, Tasks};
use protocol::envelope::Envelope;
use protocol::registry_feed::RegistryView;
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) project: ProjectName,
    pub(crate) calls: CallNow,
    pub(crate) service: Service,
    registry: RegistryView,
    broker: Arc<dyn Broker>,
    tasks: Tasks,
    url: String,
    _folder: TempDir,
}

impl World {
    /// With one function, `hook`.
    pub(crate) async fn start(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let health = Health::default();
        let sqlite = storage::sqlite::open(folder.path()).await.unwrap();
        let limits = storage::queue::Limits::default();
        let queue = sqlite.queue(limits, &tasks).await.unwrap();
        let topology = Topology {
            event_shards: 1,
            delivery_shards: 1,
        };
        let broker: Arc<dyn Broker> = Arc::new(Embedded::start(queue, topology, &tasks, &health));
        let registry = RegistryView::default();
        let project: ProjectName = "default".parse().unwrap();
        registry.apply(Update {
            revision: 1,
            is_snapshot: true,
            changes: vec![Change::Project(Project {
                name: project.clone(),
                created_at: Timestamp::now(),
                is_paused: false,
                revision: 1,
            })],
        });
        let coordination = Arc::new(EmbeddedCoordination::default());
        let parts = Parts {
            broker: Arc::clone(&broker),
            membership: Arc::clone(&coordination) as _,
            memory: coordination,
            registry: registry.clone(),
            health,
            keys_required: false,
            internal_token: None,
            allow_loopback: true,
            worker: "worker-1".to_owned(),
        };
        let service = build(&Config::default(), parts, &tasks).unwrap();
        let world = Self {
            project,
            calls: service.call_now().clone(),
            service,
            registry,
            broker,
            tasks,
            url: url.to_owned(),
            _folder: folder,
        };
        world.add("hook", FunctionSettings::default());
        world
    }

    /// Adds a function at the receiver.
    pub(crate) fn add(&self, name: &str, settings: FunctionSettings) {
        let now = Timestamp::now();
        let function = Function {
            project: self.project.clone(),
            name: name.parse().unwrap(),
            url: parse_url(&self.url).unwrap(),
            format: Format::default(),
            secret: "s3cret".to_owned(),
            signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=".to_owned(),
            settings,
            credentials: Credentials::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        self.registry.apply(Update {
            revision: 1,
            is_snapshot: false,
            changes: vec![Change::Function(function)],
        });
    }

    /// A direct call of a function with this body.
    pub(crate) fn ask(&self, name: &str, body: &str) -> Ask {
        let name: FunctionName = name.parse().unwrap();
        let function = self.calls.function(&self.project, &name).unwrap();
        let body = Bytes::from(body.to_owned());
        let event = event_of_call(&self.project, EventType::direct_call(), body.clone());
        Ask {
            content: Content::Json(body),
            ..Ask::new(function, event)
        }
    }

    /// Posts a body to a path of the worker's; the answer with its body.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into())).unwrap();
        let answer = self.service.http().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(parts, body)
    }

    /// The next records; each is acknowledged.
    pub(crate) async fn records(&self, count: usize) -> Vec<Record> {
        let mut consumer = self.broker.consume(Queue::Records, 10);
        let mut records = Vec::new();
        while records.len() < count {
            let received = tokio::time::timeout(DEADLINE, consumer.next()).await;
            let received = received.unwrap().unwrap();
            records.extend(Record::read(received.body).unwrap());
            received.acknowledgement.ack();
        }
        consumer.cancel().await;
        records
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}
