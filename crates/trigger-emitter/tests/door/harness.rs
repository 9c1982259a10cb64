//! A door on the embedded broker, and doubles of what it leans on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use broker::{
    Broker, Confirm, Consumer, Embedded, Message, PublishError, Publisher, Queue, Replier,
    ReplyInbox, Topology,
};
use bytes::Bytes;
use coordination::{EmbeddedCoordination, IdempotencyKeys, Reservation, Unavailable};
use domain::Timestamp;
use domain::access::{ApiKey, KeyHash, Scope};
use domain::event::Event;
use domain::id::EventId;
use domain::registry::{Change, Project, Update};
use domain::session::SessionKeys;
use domain::signature::ed25519;
use domain::token::{TokenKey, TokenKeys};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use lifecycle::{Health, Tasks};
use process::server::{Surface, router};
use protocol::envelope::Envelope as _;
use protocol::registry_feed::RegistryView;
use serde_json::Value;
use storage::queue::EmbeddedQueue;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::ServiceExt as _;
use trigger_emitter::{Config, Parts, SERVED, build};

pub(crate) const EVENTS: &str = "/v1/projects/default/events";
pub(crate) const GENEROUS: Duration = Duration::from_secs(20);

/// A system with a door and nothing behind it.
pub(crate) struct System {
    pub(crate) router: Router,
    pub(crate) registry: RegistryView,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) tasks: Tasks,
    queue: Option<EmbeddedQueue>,
    _folder: Option<tempfile::TempDir>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The problem's code, field, value and what is allowed.
    pub(crate) fn problem(&self) -> [&str; 4] {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        ["code", "field", "value", "allowed"]
            .map(|name| self.body[name].as_str().unwrap_or_default())
    }
}

/// An open door on the embedded broker.
pub(crate) async fn open() -> System {
    embedded(false, Arc::new(EmbeddedCoordination::default())).await
}

pub(crate) async fn embedded(keys_required: bool, keys: Arc<dyn IdempotencyKeys>) -> System {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::default();
    let health = Health::following(&tasks);
    let store = storage::sqlite::open(folder.path()).await.unwrap();
    let queue = store
        .queue(storage::queue::Limits::default(), &tasks)
        .await
        .unwrap();
    let broker = Embedded::start(queue.clone(), Topology::default(), &tasks, &health);
    let mut system = on(Arc::new(broker), &tasks, &health, keys_required, keys);
    system.queue = Some(queue);
    system._folder = Some(folder);
    system
}

/// A door on any broker.
pub(crate) fn on(
    broker: Arc<dyn Broker>,
    tasks: &Tasks,
    health: &Health,
    keys_required: bool,
    keys: Arc<dyn IdempotencyKeys>,
) -> System {
    let registry = registry();
    let parts = Parts {
        broker: Arc::clone(&broker),
        keys,
        registry: registry.clone(),
        health: health.clone(),
        keys_required,
    };
    let service = build(&Config::default(), parts, tasks).unwrap();
    let surface = Surface {
        routes: service.grpc(Routes::default()),
        served: SERVED.to_vec(),
        http: service.http(),
    };
    let router = router(surface, health, tasks).unwrap();
    System {
        router,
        registry,
        broker,
        tasks: tasks.clone(),
        queue: None,
        _folder: None,
    }
}

/// What signs function sessions; the door knows the public half.
pub(crate) fn system_keys() -> TokenKeys {
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

/// Projects `default` and `acme`, and keys of `acme`.
fn registry() -> RegistryView {
    let project = |name: &str| {
        let name = name.parse().unwrap();
        Change::Project(Project {
            name,
            created_at: Timestamp::UNIX_EPOCH,
            is_paused: false,
            revision: 1,
        })
    };
    let key = |key: &str, scopes: &[Scope], revoked_at| {
        Change::Key(ApiKey {
            id: format!("tlk_{key}"),
            project: "acme".parse().unwrap(),
            hash: KeyHash::of(key),
            scopes: scopes.to_vec(),
            note: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at,
            revision: 1,
        })
    };
    let changes = vec![
        project("default"),
        project("acme"),
        key("emits", &[Scope::Emit], None),
        key("reads", &[Scope::Read], None),
        key("revoked", &Scope::ALL, Some(Timestamp::UNIX_EPOCH)),
        Change::SessionKeys(SessionKeys::of(&system_keys())),
    ];
    let view = RegistryView::default();
    view.apply(Update {
        revision: 1,
        is_snapshot: true,
        changes,
    });
    view
}

impl System {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.post_to(EVENTS, headers, body).await
    }

    pub(crate) async fn post_to(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.into())).unwrap())
            .await
    }

    pub(crate) async fn post_json(&self, body: impl Into<Bytes>) -> Answer {
        self.post(&[("content-type", "application/json")], body)
            .await
    }

    /// Messages in the event shards at this moment.
    pub(crate) fn messages_stored(&self) -> u64 {
        let queue = self.queue.as_ref().unwrap();
        let shards = 0..self.broker.topology().event_shards;
        shards
            .map(|shard| queue.depth(&Queue::Events(shard).to_string()).messages)
            .sum()
    }

    /// Takes this many events out of the shards, as function-handler would.
    pub(crate) async fn take(&self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let shards = 0..self.broker.topology().event_shards;
        let mut consumers: Vec<Box<dyn Consumer>> = shards
            .map(|shard| self.broker.consume(Queue::Events(shard), 100))
            .collect();
        testkit::eventually(GENEROUS, "the events that were accepted", async || {
            for consumer in &mut consumers {
                while let Some(received) = consumer.try_next() {
                    events.extend(Event::read(received.body.clone()).unwrap());
                    received.acknowledgement.ack();
                }
            }
            (events.len() >= count).then_some(())
        })
        .await;
        for consumer in &mut consumers {
            consumer.cancel().await;
        }
        events
    }

    /// A gRPC client over a real socket.
    pub(crate) async fn channel(&self) -> Channel {
        let address = self.listen().await;
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        timeout(GENEROUS, endpoint.connect())
            .await
            .unwrap()
            .unwrap()
    }

    /// Serves on a real socket, at the address that is returned.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        lifecycle::server::serve(listener, self.router.clone(), &self.tasks);
        address
    }
}

/// A broker that answers every publish with one and the same error.
#[derive(Debug)]
pub(crate) struct Failing {
    pub(crate) error: PublishError,
    pub(crate) topology: Topology,
}

#[async_trait]
impl Publisher for Failing {
    async fn publish(&self, _queue: Queue, _message: Message) -> Result<Confirm, PublishError> {
        Err(self.error.clone())
    }
}

#[async_trait]
impl Broker for Failing {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(Self {
            error: self.error.clone(),
            topology: self.topology,
        })
    }

    fn consume(&self, queue: Queue, _in_flight_max: u16) -> Box<dyn Consumer> {
        panic!("the door consumes nothing, and not from {queue}")
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn reply_inbox(&self) -> ReplyInbox {
        ReplyInbox::new().1
    }

    fn replier(&self) -> Replier {
        Replier::new(|_to, _body| {})
    }
}

/// Coordination that is away.
#[derive(Debug)]
pub(crate) struct Away;

#[async_trait]
impl IdempotencyKeys for Away {
    async fn reserve(&self, _keys: &[(String, EventId)]) -> Result<Vec<Reservation>, Unavailable> {
        Err(Unavailable(None))
    }

    async fn confirm(&self, _keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        Err(Unavailable(None))
    }

    async fn release(&self, _keys: &[(String, EventId)]) -> Result<(), Unavailable> {
        Err(Unavailable(None))
    }
}
