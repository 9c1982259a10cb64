//! A function whose end a worker orders is switched off once, told of once, and can be resumed.

use std::slice::from_ref;
use std::time::Duration;

use broker::{Message, Queue};
use domain::delivery::{Disable, Notice, WaitReason};
use domain::event::Event;
use domain::function::Disabled;
use testkit::eventually;

use crate::support::{Handler, Outgoing, SOON, World, event, now};
use crate::waiting::{send_to_wait, waiting};

const WELCOME: &str = "http://localhost:9000/";

fn order(handler: &Handler, function: &str) -> Disable {
    let (project, function) = ("default".parse().unwrap(), function.parse().unwrap());
    let registry = handler.view.read();
    let found = registry.function(&project, &function);
    let revision = found.map_or(0, |function| function.revision);
    Disable {
        project,
        function,
        reason: "it has failed for long".to_owned(),
        at: now(),
        revision,
    }
}

async fn send(world: &World, orders: &[&Disable]) {
    let notices: Vec<_> = orders
        .iter()
        .map(|order| Notice::Disable((*order).clone()))
        .collect();
    world
        .publish_message(Queue::Waiting, Message::of(&notices))
        .await;
}

async fn disabled(world: &World) -> Option<Disabled> {
    let (project, name) = ("default".parse().unwrap(), "welcome".parse().unwrap());
    let function = world.store.function(&project, &name).await.unwrap();
    function.unwrap().settings.disabled
}

/// Returns when everything that was told before is done with.
async fn everything_told_is_done(world: &World, handler: &Handler, outgoing: &mut Outgoing) {
    let mut behind = waiting(handler, Duration::ZERO);
    (behind.target.trigger, behind.target.function) =
        ("undertaker".parse().unwrap(), "undertaker".parse().unwrap());
    let delivery = behind.target.delivery;
    send_to_wait(world, &behind).await;
    eventually(SOON, "what was told last is sent on", async || {
        outgoing.take();
        let mut targets = outgoing.targets().into_iter();
        targets.any(|t| t.delivery == delivery).then_some(())
    })
    .await;
}

fn told(outgoing: &Outgoing) -> Vec<&Event> {
    let events = outgoing.consignments.iter().map(|(_, each)| &each.event);
    let told = events.filter(|event| event.event_type.number() == Some(9001));
    told.collect()
}

#[tokio::test]
async fn an_ordered_end_switches_a_function_off_once_embedded() {
    an_ordered_end_switches_a_function_off_once(World::embedded().await).await;
}

#[tokio::test]
async fn an_ordered_end_switches_a_function_off_once_on_rabbitmq_and_postgres() {
    an_ordered_end_switches_a_function_off_once(World::full().await).await;
}

async fn an_ordered_end_switches_a_function_off_once(world: World) {
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler.create("welcome", WELCOME, &["1000"]).await;
    handler.create("undertaker", WELCOME, &["9001"]).await;

    let order = order(&handler, "welcome");
    let unknown = self::order(&handler, "unknown");
    send(&world, &[&unknown, &order, &order]).await;
    send(&world, &[&order]).await;
    everything_told_is_done(&world, &handler, &mut outgoing).await;
    let expected = Disabled {
        reason: order.reason.clone(),
        at: order.at,
    };
    assert_eq!(disabled(&world).await, Some(expected));
    eventually(SOON, "it is told", async || {
        outgoing.take();
        (!told(&outgoing).is_empty()).then_some(())
    })
    .await;

    // What it is owed waits.
    world
        .publish(from_ref(&event("STORAGE_INSERT", None)))
        .await;
    let listed = eventually(SOON, "the next delivery waits", async || {
        let listed = world.list().await;
        (listed.len() == 1).then_some(listed)
    })
    .await;
    assert_eq!(listed[0].row.reason, WaitReason::Paused);
    {
        let told = told(&outgoing);
        assert_eq!(told.len(), 1, "{told:?}");
        let data: serde_json::Value = serde_json::from_slice(&told[0].data).unwrap();
        assert_eq!(data["function"], "welcome");
        assert_eq!(data["reason"], order.reason);
        assert_eq!(data["url"], WELCOME);
    }

    handler.pause("welcome", false).await;
    assert_eq!(disabled(&world).await, None);
    eventually(SOON, "what waited is sent", async || {
        outgoing.take();
        let mut targets = outgoing.targets().into_iter();
        targets
            .any(|t| t.function.to_string() == "welcome")
            .then_some(())
    })
    .await;

    // An order from before it was resumed comes too late.
    send(&world, &[&order]).await;
    everything_told_is_done(&world, &handler, &mut outgoing).await;
    assert_eq!(disabled(&world).await, None);
    assert_eq!(told(&outgoing).len(), 1);
    handler.stop().await;
    world.stop().await;
}
