//! What a worker that died had in hand, at the worker that is given it next.

use std::time::Duration;

use domain::delivery::WaitReason;
use domain::function::FunctionSettings;
use testkit::{Answer, Receiver, eventually};

use crate::patient;
use crate::room::Room;
use crate::world::{SOON, World};

/// The broker tells a count every few seconds, so a change is waited for in both directions.
async fn become_messages(world: &World, count: u64) {
    eventually(SOON, &format!("{count} messages"), async || {
        (world.messages().await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_by_its_message_and_by_its_row_is_called_once() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.hang();
    world.function("slow", &receiver, FunctionSettings::default(), patient());
    let dying = world.mortal("worker-1");
    let owed = world.consignments("slow", 4);
    world.owe_these("slow", &owed).await;
    receiver.wait_for(4, SOON).await;
    dying.kill();
    receiver.clear();
    receiver.answer(Answer::status(200).after(Duration::from_millis(300)));
    // As their rows would send them, had they been handed back.
    for one in &owed {
        world.owe_these("slow", std::slice::from_ref(one)).await;
    }
    become_messages(&world, 5).await;
    let _next = world.worker("worker-2");
    become_messages(&world, 0).await;
    assert_eq!(receiver.count(), 4, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_while_the_first_hangs_leaves_its_message() {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.hang();
    world.function("slow", &receiver, FunctionSettings::default(), patient());
    let room = Room::keeping(&world.broker);
    let dying = world.mortal("worker-1");
    let owed = world.consignments("slow", 1);
    world.owe_these("slow", &owed).await;
    receiver.wait_for(1, SOON).await;
    dying.kill();
    receiver.clear();
    world.owe_these("slow", &owed).await;
    become_messages(&world, 2).await;
    let _next = world.worker("worker-2");
    become_messages(&world, 0).await;
    assert_eq!(receiver.count(), 1, "the first, which hangs still");
    assert_eq!(room.kept().rows.len(), 1, "a row answers for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_before_a_worker_died_stays_in_the_waiting_room() {
    let redis = testkit::redis();
    let world = World::remembering(1, &redis).await;
    let receiver = Receiver::start().await;
    receiver.hang();
    let one_at_a_time = FunctionSettings {
        concurrency_max: Some(1),
        ..FunctionSettings::default()
    };
    world.function("narrow", &receiver, one_at_a_time, patient());
    // It sends nothing on, so whatever is called comes by the message.
    let room = Room::keeping(&world.broker);
    let dying = world.mortal("worker-1");
    world.owe("narrow", 50).await;
    eventually(SOON, "what cannot start to be handed back", async || {
        (room.rows_of(WaitReason::Concurrency).len() == 49).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 1, "the other one is under way");
    dying.kill();
    receiver.clear();
    receiver.answer_with(200);
    become_messages(&world, 1).await;
    let _next = world.worker("worker-2");
    become_messages(&world, 0).await;
    assert_eq!(receiver.count(), 1, "only what was under way");
}
