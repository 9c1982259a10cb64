//! What has to wait is kept, released when it is due and not before, and cancelled when its
//! trigger is gone.

use std::slice::from_ref;
use std::time::{Duration, Instant};

use broker::{Message, Queue};
use domain::delivery::{Consignment, Status, Target, WaitReason, Waiting};
use domain::id::DeliveryId;
use domain::record::Record;
use function_handler::Config;
use jiff::Timestamp;
use protocol::functions::v1::{DeleteTriggerRequest, Trigger, UpdateTriggerRequest};
use protocol::well_known::FieldMask;
use storage::waiting_room::{Owner, State};
use testkit::eventually;

use crate::support::{Handler, Outgoing, SOON, World, event, now};

/// Deletions take effect on what waits within this time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A delivery of `welcome` whose second attempt is due after this time.
pub(crate) fn waiting(handler: &Handler, due_in: Duration) -> Waiting {
    let event = event("STORAGE_INSERT", Some("a/b"));
    let now = now();
    let target = Target {
        delivery: DeliveryId::derive(event.eid, "welcome"),
        trigger: "welcome".parse().unwrap(),
        function: "welcome".parse().unwrap(),
        captures: [("bucket".to_owned(), "b".to_owned())]
            .into_iter()
            .collect(),
        next_attempt: 2,
        generation: 0,
        revision: handler.view.read().revision,
        is_held: false,
    };
    Waiting {
        event,
        target,
        reason: WaitReason::Retry,
        since: now,
        due_at: now + due_in,
    }
}

pub(crate) async fn send_to_wait(world: &World, waiting: &Waiting) {
    world
        .publish_message(Queue::Waiting, Message::of(from_ref(waiting)))
        .await;
}

async fn stored(world: &World) -> u64 {
    world
        .room
        .counts()
        .await
        .unwrap()
        .iter()
        .map(|(_, count)| count)
        .sum()
}

async fn wait_until_stored(world: &World, count: u64) {
    eventually(SOON, "the waiting room holds it", async || {
        (stored(world).await == count).then_some(())
    })
    .await;
}

fn assert_released(outgoing: &Outgoing, waiting: &Waiting) {
    let consignment = &outgoing.consignments[0].1;
    assert_eq!(consignment.event, waiting.event);
    assert_eq!(
        consignment.targets.as_slice(),
        from_ref(&waiting.target),
        "attempt, generation and captures"
    );
}

#[tokio::test]
async fn a_waiting_delivery_is_released_when_due_embedded() {
    a_waiting_delivery_is_released_when_due(World::embedded().await).await;
}

#[tokio::test]
async fn a_waiting_delivery_is_released_when_due_on_rabbitmq_and_postgres() {
    a_waiting_delivery_is_released_when_due(World::full().await).await;
}

async fn a_waiting_delivery_is_released_when_due(world: World) {
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let late = waiting(&handler, Duration::from_secs(3600));
    send_to_wait(&world, &late).await;
    wait_until_stored(&world, 1).await;
    let waiting = waiting(&handler, Duration::from_millis(1_500));
    send_to_wait(&world, &waiting).await;
    wait_until_stored(&world, 2).await;
    assert!(outgoing.consignments.is_empty(), "not before it is due");

    outgoing.wait_for(1, 0).await;
    let now = Timestamp::now();
    assert!(
        now >= waiting.due_at,
        "due at {}, released at {now}",
        waiting.due_at
    );
    let late_by = now.duration_since(waiting.due_at).as_millis();
    assert!(late_by < 800, "{late_by} ms late");
    assert_released(&outgoing, &waiting);
    wait_until_stored(&world, 1).await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_waiting_delivery_survives_a_restart_of_everything() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, Duration::from_millis(300));
    send_to_wait(&world, &waiting).await;
    handler.stop().await;
    let world = world.restart().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    outgoing.wait_for(1, 0).await;
    assert_released(&outgoing, &waiting);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_a_replica_took_out_before_it_died_is_released_again_under_the_same_id() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, Duration::from_secs(1));
    send_to_wait(&world, &waiting).await;
    wait_until_stored(&world, 1).await;
    handler.stop().await;

    // Another replica takes it out and publishes it, and dies before it removes it.
    let claimed = eventually(SOON, "it is due", async || {
        let claim = world
            .room
            .claim_due(Timestamp::now(), Duration::from_secs(1), 10, &|_, _| false)
            .await;
        claim.unwrap().due.pop()
    })
    .await;
    assert_eq!(claimed.delivery, waiting.target.delivery);
    let Waiting { event, target, .. } = waiting.clone();
    let consignment = Consignment {
        event,
        targets: vec![target],
    };
    world
        .publish_message(Queue::Deliveries(0), Message::of(&[consignment]))
        .await;

    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    outgoing.wait_for(2, 0).await;
    let ids: Vec<_> = outgoing
        .targets()
        .iter()
        .map(|each| (each.delivery, each.next_attempt))
        .collect();
    assert_eq!(
        ids[0], ids[1],
        "a worker knows the repeat by its id and attempt"
    );
    wait_until_stored(&world, 0).await;
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn while_the_broker_takes_nothing_what_is_due_stays_in_the_waiting_room() {
    let mut world = World::embedded().await;
    let broker = world.with_refusing_broker();
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, Duration::from_millis(500));
    send_to_wait(&world, &waiting).await;
    broker.refuse(true);
    eventually(SOON, "the delivery is refused", async || {
        (broker.refused() > 1).then_some(())
    })
    .await;
    assert_eq!(stored(&world).await, 1);
    broker.refuse(false);
    outgoing.wait_for(1, 0).await;
    assert_released(&outgoing, &waiting);
    wait_until_stored(&world, 0).await;
    handler.stop().await;
    world.stop().await;
}

async fn ends_as_cancelled(
    world: &World,
    outgoing: &mut Outgoing,
    waiting: &Waiting,
    remark: &str,
) {
    outgoing.wait_for(0, 1).await;
    let [Record::Settled(settled)] = outgoing.recorded.as_slice() else {
        panic!("{:?}", outgoing.recorded)
    };
    assert_eq!(
        (settled.status, settled.remark.as_str()),
        (Status::Cancel, remark)
    );
    assert_eq!(
        (settled.delivery, settled.generation),
        (waiting.target.delivery, 0)
    );
    assert_eq!(settled.event, waiting.event.eid);
    wait_until_stored(world, 0).await;
    assert!(outgoing.consignments.is_empty());
}

/// Far longer than any test runs: what ends sooner did not end because it was due.
pub(crate) const MUCH_LATER: Duration = Duration::from_secs(600);

/// A handler with function and trigger `welcome`, and one delivery of it that waits.
pub(crate) async fn one_that_waits(world: &World) -> (Handler, Outgoing, Waiting) {
    let handler = Handler::start(world).await;
    let outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, MUCH_LATER);
    send_to_wait(world, &waiting).await;
    wait_until_stored(world, 1).await;
    (handler, outgoing, waiting)
}

async fn delete_trigger(handler: &Handler, name: &str) {
    let request = DeleteTriggerRequest {
        name: name.to_owned(),
    };
    handler
        .triggers()
        .delete_trigger(handler.with_key(request))
        .await
        .unwrap();
}

#[tokio::test]
async fn s2_48_deleting_a_trigger_cancels_what_waits_at_once_embedded() {
    deleting_a_trigger_cancels_what_waits_at_once(World::embedded().await).await;
}

#[tokio::test]
async fn deleting_a_trigger_cancels_what_waits_at_once_on_rabbitmq_and_postgres() {
    deleting_a_trigger_cancels_what_waits_at_once(World::full().await).await;
}

async fn deleting_a_trigger_cancels_what_waits_at_once(world: World) {
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    let began = Instant::now();
    delete_trigger(&handler, "welcome").await;
    ends_as_cancelled(&world, &mut outgoing, &waiting, "trigger_deleted").await;
    assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn deleting_a_function_cancels_what_waits_at_once() {
    let world = World::embedded().await;
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    let began = Instant::now();
    handler.delete("welcome").await;
    ends_as_cancelled(&world, &mut outgoing, &waiting, "function_deleted").await;
    assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn disabling_a_trigger_cancels_what_waits_at_once() {
    let world = World::embedded().await;
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    let began = Instant::now();
    let request = UpdateTriggerRequest {
        trigger: Some(Trigger {
            name: "welcome".to_owned(),
            enabled: Some(false),
            ..Trigger::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["enabled".to_owned()],
        }),
    };
    handler
        .triggers()
        .update_trigger(handler.with_key(request))
        .await
        .unwrap();
    ends_as_cancelled(&world, &mut outgoing, &waiting, "trigger_disabled").await;
    assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
    handler.stop().await;
    world.stop().await;
}

/// Its attempt was under way when the trigger was deleted.
#[tokio::test]
async fn what_comes_to_wait_after_its_trigger_was_deleted_is_cancelled_at_once() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, MUCH_LATER);
    delete_trigger(&handler, "welcome").await;
    send_to_wait(&world, &waiting).await;
    ends_as_cancelled(&world, &mut outgoing, &waiting, "trigger_deleted").await;
    handler.stop().await;
    world.stop().await;
}

/// As when a trigger was switched off and on again at once.
#[tokio::test]
async fn what_is_called_off_by_mistake_waits_on() {
    let world = World::embedded().await;
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    let made_due = world
        .room
        .make_due(
            &waiting.event.project,
            &Owner::Trigger(waiting.target.trigger.clone()),
            Timestamp::now(),
        )
        .await;
    assert_eq!(made_due.unwrap(), 1);
    eventually(SOON, "it is put back", async || {
        let shown = world.list().await;
        (shown[0].row.due_at == waiting.due_at && shown[0].state == State::Waiting).then_some(())
    })
    .await;
    assert_eq!(stored(&world).await, 1);
    outgoing.take();
    assert!(outgoing.consignments.is_empty() && outgoing.recorded.is_empty());
    handler.stop().await;
    world.stop().await;
}

/// Its trigger called another function when the event came.
#[tokio::test]
async fn deleting_a_function_cancels_what_its_triggers_began_elsewhere() {
    let world = World::embedded().await;
    let (handler, mut outgoing, waiting) = one_that_waits(&world).await;
    handler
        .create("newcomer", "http://localhost:9000/", &[])
        .await;
    let request = UpdateTriggerRequest {
        trigger: Some(Trigger {
            name: "welcome".to_owned(),
            function: "newcomer".to_owned(),
            ..Trigger::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["function".to_owned()],
        }),
    };
    handler
        .triggers()
        .update_trigger(handler.with_key(request))
        .await
        .unwrap();
    handler.delete("newcomer").await;
    ends_as_cancelled(&world, &mut outgoing, &waiting, "trigger_deleted").await;
    handler.stop().await;
    world.stop().await;
}

/// Whoever deleted something may have died before it could call off what waits.
#[tokio::test]
async fn what_was_not_called_off_is_cancelled_when_it_is_due() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let waiting = waiting(&handler, Duration::from_millis(1_500));
    send_to_wait(&world, &waiting).await;
    wait_until_stored(&world, 1).await;
    let name = "welcome".parse().unwrap();
    world
        .store
        .delete_trigger(&waiting.event.project, &name)
        .await
        .unwrap();
    ends_as_cancelled(&world, &mut outgoing, &waiting, "trigger_deleted").await;
    assert!(Timestamp::now() >= waiting.due_at);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn many_that_are_due_at_once_all_leave_once() {
    const DELIVERIES: usize = 1_200;
    let world = World::embedded().await;
    let config = Config {
        release_max: 100,
        ..Config::default()
    };
    let handler = Handler::start_with(&world, config.clone(), true).await;
    let other = Handler::start_with(&world, config, true).await;
    let mut outgoing = world.outgoing();
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let all: Vec<_> = (0..DELIVERIES)
        .map(|_| waiting(&handler, Duration::from_secs(1)))
        .collect();
    for batch in all.chunks(100) {
        world
            .publish_message(Queue::Waiting, Message::of(batch))
            .await;
    }
    outgoing.wait_for(DELIVERIES, 0).await;
    wait_until_stored(&world, 0).await;
    outgoing.take();
    assert_eq!(
        outgoing.targets().len(),
        DELIVERIES,
        "two replicas share the work"
    );
    handler.stop().await;
    other.stop().await;
    world.stop().await;
}
