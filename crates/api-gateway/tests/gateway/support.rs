//! A gateway with what it needs around it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_gateway::outbound::scripts::Scripts;
use api_gateway::{Config, Parts};
use axum::body::Body;
use broker::{Broker as _, Queue, Topology};
use bytes::Bytes;
use domain::Timestamp;
use domain::access::{ApiKey, KeyHash, Scope};
use domain::api_event::script::trigger_name;
use domain::api_event::{Description, DescriptionKind, OnError, Phase, Script};
use domain::event::Event;
use domain::function::parse_url;
use domain::gateway::{AccessRule, GatewayService};
use domain::registry::{Change, Project, Update};
use domain::retry::RetryPolicy;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lifecycle::{Health, Tasks};
use protocol::envelope::Envelope as _;
use protocol::intercept::v1::intercept_service_server::{InterceptService, InterceptServiceServer};
use protocol::intercept::v1::{InterceptRequest, InterceptResponse};
use protocol::registry_feed::RegistryView;
use tempfile::TempDir;
use testkit::eventually;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Response, Status};

pub(crate) const KEY: &str = "tlk_test.secret";
pub(crate) const READER: &str = "tlk_reader.secret";
pub(crate) const SECRET: &str = "between-us";
pub(crate) const SOON: Duration = Duration::from_secs(20);

type AnswerBy = dyn Fn(&InterceptRequest) -> InterceptResponse + Send + Sync;

/// Stands in for the delivery-worker.
#[derive(Clone)]
pub(crate) struct FakeScripts {
    pub(crate) asked: Arc<Mutex<Vec<InterceptRequest>>>,
    answer: Arc<Mutex<Arc<AnswerBy>>>,
}

impl FakeScripts {
    pub(crate) fn answer(
        &self,
        answer: impl Fn(&InterceptRequest) -> InterceptResponse + Send + Sync + 'static,
    ) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// The phases that were asked for, in order.
    pub(crate) fn phases(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.phase.clone()).collect()
    }
}

#[tonic::async_trait]
impl InterceptService for FakeScripts {
    async fn intercept(
        &self,
        request: tonic::Request<InterceptRequest>,
    ) -> Result<Response<InterceptResponse>, Status> {
        assert_eq!(
            request.metadata().get("tripline-internal-token").unwrap(),
            SECRET
        );
        let asked = request.into_inner();
        let answer = Arc::clone(&self.answer.lock().unwrap());
        let answer = answer(&asked);
        self.asked.lock().unwrap().push(asked);
        Ok(Response::new(answer))
    }
}

/// A gateway that runs, on a port of its own.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) scripts: FakeScripts,
    pub(crate) broker: Arc<broker::Embedded>,
    view: RegistryView,
    revision: u64,
    tasks: Tasks,
    _folder: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answered {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` of an error.
    pub(crate) fn code(&self) -> serde_json::Value {
        self.json()["error"]["code"].clone()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tasks, health, view) = (Tasks::default(), Health::default(), RegistryView::default());
        let sqlite = storage::sqlite::open(folder.path()).await.unwrap();
        let queue = sqlite
            .queue(storage::queue::Limits::default(), &tasks)
            .await
            .unwrap();
        let broker = Arc::new(broker::Embedded::start(
            queue,
            Topology::default(),
            &tasks,
            &health,
        ));
        let scripts = FakeScripts {
            asked: Arc::default(),
            answer: Arc::new(Mutex::new(Arc::new(|_| InterceptResponse::default()))),
        };
        let routes = Routes::new(InterceptServiceServer::new(scripts.clone())).prepare();
        let parts = Parts {
            broker: Arc::clone(&broker) as _,
            registry: view.clone(),
            health: health.clone(),
            keys_required: true,
            allow_loopback: true,
            scripts: Scripts::within(routes, Some(&SECRET.into())).unwrap(),
            token_secret: SECRET.into(),
        };
        let service = api_gateway::build(&config, parts, &tasks).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        lifecycle::server::serve(listener, service.http(), &tasks);
        let mut world = Self {
            address,
            scripts,
            broker,
            view,
            revision: 0,
            tasks,
            _folder: folder,
        };
        world.apply(vec![
            Change::Project(Project {
                name: "default".parse().unwrap(),
                created_at: Timestamp::UNIX_EPOCH,
                is_paused: false,
                revision: 1,
            }),
            key(KEY, &[Scope::Emit]),
            key(READER, &[Scope::Read]),
        ]);
        eventually(SOON, "the gateway is ready", async || {
            health.is_ready().then_some(())
        })
        .await;
        world
    }

    /// Ends it where it stands, as a process that is stopped does.
    pub(crate) async fn stop(self) {
        let now = std::future::ready(());
        lifecycle::run_until_stopped(self.tasks, now, Duration::ZERO).await;
    }

    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        self.revision += 1;
        self.view.apply(Update {
            revision: self.revision,
            is_snapshot: false,
            changes,
        });
    }

    /// Puts a service behind the gateway.
    pub(crate) fn service(&mut self, name: &str, url: &str, kind: DescriptionKind) {
        self.service_for(name, url, kind, AccessRule::Key);
    }

    pub(crate) fn service_for(
        &mut self,
        name: &str,
        url: &str,
        kind: DescriptionKind,
        access: AccessRule,
    ) {
        let description = Description::new(name, kind, kind.built_in()).unwrap();
        self.apply(vec![Change::Gateway(GatewayService {
            project: "default".parse().unwrap(),
            name: name.parse().unwrap(),
            base_url: parse_url(url).unwrap(),
            access,
            description: Arc::new(description),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 1,
        })]);
    }

    /// Binds a script to an event.
    pub(crate) fn bind(&mut self, event: &str) {
        let script = Script {
            event: event.parse().unwrap(),
            priority: 0,
            allow_event_modification: true,
            on_error: OnError::Fail,
        };
        let event_type = script.phase().event_type();
        self.apply(vec![Change::Trigger(Trigger {
            project: "default".parse().unwrap(),
            name: trigger_name(&script.event),
            function: "guard".parse().unwrap(),
            is_enabled: true,
            on: vec![event_type.parse().unwrap()],
            subject: None,
            prefix: None,
            suffix: None,
            options: BTreeMap::new(),
            filter: None,
            format: None,
            template: None,
            retry: RetryPolicy::default(),
            ordering: Ordering::default(),
            backlog: Backlog::default(),
            depth_max: DEPTH_MAX,
            script: Some(Box::new(script)),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 1,
        })]);
    }

    /// All three phases of an event.
    pub(crate) fn bind_all(&mut self, event: &str) {
        for phase in Phase::ALL {
            self.bind(&format!("{event}.{}", phase.as_str()));
        }
    }

    /// Calls with the key.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> Answered {
        let bearer = format!("Bearer {KEY}");
        self.call_as(method, path, &[("authorization", &bearer)], body)
            .await
    }

    pub(crate) async fn call_as(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The events that were emitted, as far as there are so many.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        let shards = self.broker.topology().event_shards;
        let mut consumers: Vec<_> = (0..shards)
            .map(|shard| self.broker.consume(Queue::Events(shard), 16))
            .collect();
        let mut events = Vec::new();
        eventually(SOON, "the events of calls", async || {
            for consumer in &mut consumers {
                while let Some(received) = consumer.try_next() {
                    events.extend(Event::read(received.body).unwrap());
                    received.acknowledgement.ack();
                }
            }
            (events.len() >= count).then_some(())
        })
        .await;
        events
    }
}

fn key(key: &str, scopes: &[Scope]) -> Change {
    Change::Key(ApiKey {
        id: key.split('.').next().unwrap().to_owned(),
        project: "default".parse().unwrap(),
        hash: KeyHash::of(key),
        scopes: scopes.to_vec(),
        note: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        revoked_at: None,
        revision: 1,
    })
}
