//! A delivery on the queue becomes a request, a record and, where it failed, a next try.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken set-up should stop the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Embedded, Message, Queue, Topology};
use bytes::Bytes;
use coordination::EmbeddedCoordination;
use delivery_worker::{Config, Parts, Service, build};
use domain::Timestamp;
use domain::delivery::{Consignment, ErrorClass, Status, Target, WaitReason, Waiting};
use domain::event::Event;
use domain::event_type::EventType;
use domain::format::Format;
use domain::function::{Credentials, Function, FunctionSettings, origin, parse_url};
use domain::id::{DeliveryId, EventId};
use domain::pattern::Captures;
use domain::record::{Attempted, Record};
use domain::registry::{Change, Project, Update};
use domain::retry::RetryPolicy;
use domain::shard;
use domain::signature;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use lifecycle::{Health, Tasks};
use protocol::envelope::Envelope;
use protocol::registry_feed::RegistryView;
use tempfile::TempDir;
use testkit::{Receiver, eventually};

const DEADLINE: Duration = Duration::from_secs(20);
const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// A worker on an embedded broker, with one function `hook` and its trigger.
struct World {
    broker: Arc<dyn Broker>,
    registry: RegistryView,
    tasks: Tasks,
    _service: Service,
    _folder: TempDir,
}

impl World {
    async fn start(url: &str, retry: RetryPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let health = Health::default();
        let sqlite = storage::sqlite::open(folder.path()).await.unwrap();
        let queue = sqlite
            .queue(storage::queue::Limits::default(), &tasks)
            .await
            .unwrap();
        let topology = Topology {
            event_shards: 1,
            delivery_shards: 2,
        };
        let broker: Arc<dyn Broker> = Arc::new(Embedded::start(queue, topology, &tasks, &health));
        let registry = RegistryView::default();
        registry.apply(configured(url, retry));
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
        Self {
            broker,
            registry,
            tasks,
            _service: service,
            _folder: folder,
        }
    }

    async fn publish(&self, consignments: &[Consignment]) {
        let message = Message::of(consignments);
        let confirm = self
            .broker
            .publisher()
            .publish(self.queue(), message)
            .await
            .unwrap();
        confirm.await.unwrap();
    }

    /// Where deliveries to the function belong.
    fn queue(&self) -> Queue {
        let (project, name) = ("default".parse().unwrap(), "hook".parse().unwrap());
        let registry = self.registry.read();
        let url = &registry.function(&project, &name).unwrap().url;
        let shards = self.broker.topology().delivery_shards;
        Queue::Deliveries(shard::of_endpoint(&project, &origin(url), shards))
    }

    /// The next `count` items of a queue; each is acknowledged.
    async fn take<T: Envelope>(&self, queue: Queue, count: usize) -> Vec<T> {
        let mut consumer = self.broker.consume(queue, 10);
        let mut items = Vec::new();
        while items.len() < count {
            let received = tokio::time::timeout(DEADLINE, consumer.next())
                .await
                .unwrap()
                .unwrap();
            items.extend(T::read(received.body).unwrap());
            received.acknowledgement.ack();
        }
        consumer.cancel().await;
        items
    }

    async fn take_attempt(&self) -> Attempted {
        match self.take::<Record>(Queue::Records, 1).await.remove(0) {
            Record::Attempted(attempted) => *attempted,
            other => panic!("an attempt was expected, not {other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn configured(url: &str, retry: RetryPolicy) -> Update {
    let now = Timestamp::now();
    let project = Project {
        name: "default".parse().unwrap(),
        created_at: now,
        is_paused: false,
        revision: 1,
    };
    let function = Function {
        project: project.name.clone(),
        name: "hook".parse().unwrap(),
        url: parse_url(url).unwrap(),
        format: Format::Schmuckli,
        secret: "s3cret".to_owned(),
        signing_secret: SIGNING_SECRET.to_owned(),
        settings: FunctionSettings::default(),
        credentials: Credentials::default(),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    let trigger = Trigger {
        project: project.name.clone(),
        name: "hook".parse().unwrap(),
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
    let changes = vec![
        Change::Project(project),
        Change::Function(function),
        Change::Trigger(trigger),
    ];
    Update {
        revision: 1,
        is_snapshot: true,
        changes,
    }
}

fn consignment(number: u8, next_attempt: u32) -> Consignment {
    let now = Timestamp::now();
    let eid = EventId::new(now, [number; 10]);
    let event = Event {
        eid,
        project: "default".parse().unwrap(),
        id: eid.to_string(),
        source: "/projects/default".to_owned(),
        event_type: EventType::parse("AUTH_REGISTER").unwrap(),
        subject: None,
        time: now,
        accepted_at: now,
        data_content_type: Some("application/json".to_owned()),
        data: Bytes::from_static(br#"{"user_id":"u1","email":"a@example.com","lang":"en"}"#),
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        reply_to: None,
        deliver_at: None,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        extensions: BTreeMap::new(),
    };
    let target = Target {
        delivery: DeliveryId::derive(eid, "hook"),
        trigger: "hook".parse().unwrap(),
        function: "hook".parse().unwrap(),
        captures: Captures::default(),
        next_attempt,
        generation: 0,
        revision: 1,
        is_held: false,
    };
    Consignment {
        event,
        targets: vec![target],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_becomes_one_signed_request_and_one_record() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/hook"), RetryPolicy::default()).await;
    let consignment = consignment(1, 1);
    world.publish(std::slice::from_ref(&consignment)).await;

    let attempted = world.take_attempt().await;
    assert_eq!(attempted.status, Status::Processed);
    assert_eq!(attempted.number, 1);
    assert_eq!(attempted.response_status, Some(200));
    assert_eq!(attempted.worker, "worker-1");
    assert_eq!(attempted.next_attempt_at, None);

    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    let body = request.json();
    assert_eq!(body["_event_id"], 2001);
    assert_eq!(body["_secret"], "s3cret");
    assert_eq!(body["user_id"], "u1");
    let header = |name: &str| request.header(name).unwrap().to_owned();
    let id = consignment.targets[0].delivery.to_string();
    assert_eq!(header("webhook-id"), id);
    assert_eq!(header("x-attempt"), "1");
    assert_eq!(header("x-max-attempts"), "4");
    assert_eq!(header("x-event-id"), consignment.event.eid.to_string());
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signature = header("webhook-signature");
    signature::verify(SIGNING_SECRET, &id, timestamp, &request.body, &signature).unwrap();
    assert_eq!(
        (header("x-tripline-depth"), header("x-tripline-ancestry")),
        ("0".to_owned(), "hook".to_owned())
    );
    let traceparent = header("traceparent");
    assert!(
        traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{traceparent}"
    );
    assert_eq!(attempted.traceparent.as_deref(), Some(traceparent.as_str()));
    let kept = format!("{attempted:?}");
    assert!(
        !kept.contains("s3cret") && !kept.contains(SIGNING_SECRET),
        "secrets are not recorded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_waits_for_its_next_attempt() {
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    world.publish(&[consignment(1, 1)]).await;

    let waiting = world.take::<Waiting>(Queue::Waiting, 1).await.remove(0);
    assert_eq!(waiting.target.next_attempt, 2);
    assert_eq!(waiting.reason, WaitReason::Retry);
    let attempted = world.take_attempt().await;
    assert_eq!(attempted.status, Status::Staged);
    assert_eq!(attempted.response_status, Some(500));
    assert_eq!(attempted.error_class, Some(ErrorClass::Status));
    assert_eq!(attempted.next_attempt_at, Some(waiting.due_at));
    let wait = waiting.due_at.duration_since(attempted.started_at);
    assert!(
        (5..8).contains(&wait.as_secs()),
        "5 s after the attempt ended, not {wait:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_attempt_gives_up() {
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    world.publish(&[consignment(1, 4)]).await;
    let attempted = world.take_attempt().await;
    assert_eq!(attempted.status, Status::Failed);
    assert_eq!(attempted.remark.as_deref(), Some("attempts used up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_failed_for_good_is_told_under_the_same_ids_each_time() {
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    let last = consignment(1, 4);
    world.publish(std::slice::from_ref(&last)).await;
    let told = world.take::<Event>(Queue::Events(0), 2).await;
    let types: Vec<_> = told.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["system.delivery.dead", "dlq_hook"]);
    for event in &told {
        assert_eq!(event.causation_id, Some(last.event.eid.to_string()));
        assert_eq!(
            (event.depth, event.ancestry.join(",")),
            (1, "hook".to_owned())
        );
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(data["delivery_id"], last.targets[0].delivery.to_string());
        assert_eq!(data["event_payload"]["user_id"], "u1");
        assert_eq!(
            (&data["attempts"], &data["last_status"]),
            (&4.into(), &503.into())
        );
        assert_eq!(data["last_error"], "the endpoint answered 503");
    }

    // As after a crash between the telling and the acknowledgement, seen by another worker.
    let other = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    other.publish(&[last]).await;
    let again = other.take::<Event>(Queue::Events(0), 2).await;
    let ids = |events: &[Event]| -> Vec<_> { events.iter().map(|event| event.eid).collect() };
    assert_eq!(ids(&again), ids(&told));

    // What fails while it tells of a failure is not told in its turn.
    let mut about = consignment(2, 4);
    about.event = told[0].clone();
    about.targets[0].delivery = DeliveryId::derive(told[0].eid, "hook");
    world.publish(&[about, consignment(3, 4)]).await;
    let next = world.take::<Event>(Queue::Events(0), 2).await;
    for event in next {
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(data["event_type"], "auth.user.register");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_ordered_is_delivered_although_its_trigger_is_gone() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    let mut ordered = consignment(1, 1);
    ordered.targets[0].trigger = "deleted".parse().unwrap();
    ordered.targets[0].generation = 2;
    world.publish(&[ordered]).await;
    let attempted = world.take_attempt().await;
    assert_eq!(
        (attempted.status, attempted.generation),
        (Status::Processed, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_counts_as_a_failed_attempt() {
    let receiver = Receiver::start().await;
    receiver.hang();
    let retry = RetryPolicy {
        timeout: Duration::from_millis(200),
        ..RetryPolicy::default()
    };
    let world = World::start(&receiver.url("/"), retry).await;
    world.publish(&[consignment(1, 1)]).await;
    let attempted = world.take_attempt().await;
    assert_eq!(attempted.error_class, Some(ErrorClass::Timeout));
    assert_eq!(attempted.response_status, None);
    assert_eq!(attempted.status, Status::Staged);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_redirect_is_a_failed_attempt_like_any_other() {
    let receiver = Receiver::start().await;
    receiver.redirect_to("http://169.254.169.254/latest/meta-data/");
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    world.publish(&[consignment(1, 1)]).await;
    let attempted = world.take_attempt().await;
    assert_eq!(attempted.response_status, Some(302));
    assert_eq!(attempted.status, Status::Staged);
    assert_eq!(attempted.error_class, Some(ErrorClass::Status));
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_a_refused_address_ends_the_delivery_at_once_and_tells_nothing() {
    let world = World::start("http://10.1.2.3:8080/", RetryPolicy::default()).await;
    world.publish(&[consignment(1, 1)]).await;
    let attempted = world.take_attempt().await;
    assert_eq!(attempted.status, Status::Failed);
    assert_eq!(attempted.number, 1);
    assert_eq!(attempted.next_attempt_at, None);
    assert_eq!(attempted.error_class, Some(ErrorClass::Egress));
    let error = attempted.error.unwrap();
    assert_eq!(error, "the address may not be called from here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_trigger_is_gone_is_cancelled_without_a_request() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    let deleted = Change::TriggerDeleted {
        project: "default".parse().unwrap(),
        name: "hook".parse().unwrap(),
    };
    world.registry.apply(Update {
        revision: 2,
        is_snapshot: false,
        changes: vec![deleted],
    });
    world.publish(&[consignment(1, 1)]).await;
    match world.take::<Record>(Queue::Records, 1).await.remove(0) {
        Record::Settled(settled) => {
            assert_eq!(settled.status, Status::Cancel);
            assert_eq!(settled.remark, "trigger_deleted");
        }
        other => panic!("an ending was expected, not {other:?}"),
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_nobody_can_read_is_set_aside_and_blocks_nothing() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    let mut message = Message::of(&[consignment(1, 1)]);
    message.body = Bytes::from_static(b"\xff\xff");
    let publisher = world.broker.publisher();
    publisher
        .publish(world.queue(), message)
        .await
        .unwrap()
        .await
        .unwrap();
    world.publish(&[consignment(2, 1)]).await;

    assert_eq!(world.take_attempt().await.status, Status::Processed);
    let mut unreadable = world.broker.consume(Queue::Unreadable, 1);
    let received = tokio::time::timeout(DEADLINE, unreadable.next())
        .await
        .unwrap()
        .unwrap();
    let reason = received.set_aside.as_ref().unwrap().reason.clone();
    assert!(
        reason.contains("is not a tripline.wire.v1.DeliveryBatch"),
        "{reason}"
    );
    received.acknowledgement.ack();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_given_twice_is_made_once() {
    let receiver = Receiver::start().await;
    let world = World::start(&receiver.url("/"), RetryPolicy::default()).await;
    let (first, other) = (consignment(1, 1), consignment(2, 1));
    world.publish(std::slice::from_ref(&first)).await;
    assert_eq!(
        world.take_attempt().await.delivery,
        first.targets[0].delivery
    );
    world.publish(&[first, other.clone()]).await;
    assert_eq!(
        world.take_attempt().await.delivery,
        other.targets[0].delivery
    );
    eventually(DEADLINE, "two requests", async || {
        (receiver.count() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_kept_until_all_of_its_deliveries_are_settled() {
    let receiver = Receiver::start().await;
    receiver.hang();
    let retry = RetryPolicy {
        timeout: Duration::from_secs(60),
        ..RetryPolicy::default()
    };
    let world = World::start(&receiver.url("/"), retry).await;
    world.publish(&[consignment(1, 1), consignment(2, 1)]).await;
    receiver.wait_for(2, DEADLINE).await;
    // The worker is told to stop while both requests hang: nothing may be acknowledged.
    let stopped = lifecycle::run_until_stopped(
        world.tasks.clone(),
        std::future::ready(()),
        Duration::from_millis(500),
    );
    assert!(matches!(stopped.await, lifecycle::Ended::OutOfTime));
    let tasks = Tasks::default();
    let sqlite = storage::sqlite::open(world._folder.path()).await.unwrap();
    let queue = sqlite
        .queue(storage::queue::Limits::default(), &tasks)
        .await
        .unwrap();
    let broker = Embedded::start(queue, *world.broker.topology(), &tasks, &Health::default());
    let mut consumer = broker.consume(world.queue(), 1);
    let received = tokio::time::timeout(DEADLINE, consumer.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Consignment::read(received.body).unwrap().len(), 2);
    tasks.stop();
}
