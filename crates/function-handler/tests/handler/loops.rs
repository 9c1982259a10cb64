//! An event with too many events behind it calls nobody, and the log says why.

use std::slice::from_ref;

use domain::delivery::Status;
use domain::event::Event;
use domain::record::Record;
use domain::trigger::DEPTH_MAX;

use crate::support::{Handler, World, event};

#[tokio::test]
async fn x_09_an_event_that_is_too_deep_is_owed_and_ends_as_a_loop() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create(
            "welcome",
            "http://localhost:9000/hook",
            &["shop.order.paid"],
        )
        .await;
    let deep = |depth| Event {
        depth,
        ..event("shop.order.paid", None)
    };
    let (allowed, too_deep) = (deep(DEPTH_MAX), deep(DEPTH_MAX + 1));
    world.publish(from_ref(&too_deep)).await;
    world.publish(from_ref(&allowed)).await;
    outgoing.wait_for(1, 3).await;

    assert_eq!(outgoing.consignments.len(), 1);
    assert_eq!(outgoing.consignments[0].1.event, allowed);
    let owed = outgoing.recorded.iter().find_map(|record| match record {
        Record::Matched(matched) if matched.event == too_deep => Some(&matched.targets),
        _ => None,
    });
    let [target] = owed.unwrap().as_slice() else {
        panic!("one is owed")
    };
    let ended = outgoing.recorded.iter().find_map(|record| match record {
        Record::Settled(settled) => Some(settled),
        _ => None,
    });
    let ended = ended.unwrap();
    assert_eq!(
        (ended.event, ended.delivery),
        (too_deep.eid, target.delivery)
    );
    assert_eq!(
        (ended.status, ended.remark.as_str()),
        (Status::Cancel, "loop")
    );
    handler.stop().await;
    world.stop().await;
}
