//! What waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::delivery::WaitReason;
use domain::id::{DeliveryId, EventId};
use jiff::Timestamp;
use storage::WaitingRoom;
use storage::waiting_room::{Claimed, Owner, WaitingRow};

use crate::{DEADLINE, Stores};

pub(crate) const CLAIM: Duration = Duration::from_secs(30);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

/// A row of its own for each number, due so many seconds on.
pub(crate) fn row(number: u8, due_s: i64) -> WaitingRow {
    let event = EventId::new(at(0), [number; 10]);
    WaitingRow {
        project: "acme".parse().unwrap(),
        delivery: DeliveryId::derive(event, "welcome"),
        trigger: "welcome".parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        generation: 0,
        next_attempt: 2,
        reason: WaitReason::Retry,
        since: at(0),
        due_at: at(due_s),
        order_key: None,
        payload: Bytes::from(vec![number, 0, 255]),
    }
}

/// Takes what is to be had while nothing is paused.
pub(crate) async fn claim(room: &Arc<dyn WaitingRoom>, now: Timestamp, limit: u32) -> Claimed {
    let claimed = room.claim_due(now, CLAIM, limit, &|_, _| false).await;
    claimed.unwrap()
}

/// What of it is due.
pub(crate) async fn due(
    room: &Arc<dyn WaitingRoom>,
    now: Timestamp,
    limit: u32,
) -> Vec<WaitingRow> {
    let claimed = claim(room, now, limit).await;
    assert_eq!((claimed.called.len(), claimed.unreadable.len()), (0, 0));
    claimed.due
}

/// What of it was called.
async fn called(room: &Arc<dyn WaitingRoom>, now: Timestamp, limit: u32) -> Vec<WaitingRow> {
    let claimed = claim(room, now, limit).await;
    assert_eq!((claimed.due.len(), claimed.unreadable.len()), (0, 0));
    claimed.called
}

pub(crate) async fn a_row_comes_when_it_is_due_and_only_once(stores: &Stores) {
    let room = &stores.waiting_room;
    assert_eq!(room.next_due_at().await.unwrap(), None);
    room.put(&[]).await.unwrap();
    room.put(&[row(1, 20), row(2, 10), row(3, 30)])
        .await
        .unwrap();
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(10)));
    assert_eq!(due(room, at(9), 10).await, []);
    assert_eq!(due(room, at(20), 1).await, [row(2, 10)]);
    assert_eq!(due(room, at(20), 10).await, [row(1, 20)]);
    assert_eq!(due(room, at(20), 10).await, []);
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(30)));
    let claimed = claim(room, at(60), 10).await;
    assert_eq!(claimed.due, [row(2, 10), row(1, 20), row(3, 30)]);
    room.remove(&[row(1, 20), row(2, 10), row(9, 0)], claimed.claim)
        .await
        .unwrap();
    assert_eq!(due(room, at(1000), 10).await, [row(3, 30)]);
    room.ping().await.unwrap();
}

pub(crate) async fn a_claim_that_runs_out_comes_again(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10)]).await.unwrap();
    assert_eq!(due(room, at(10), 10).await.len(), 1);
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(40)));
    assert_eq!(due(room, at(39), 10).await, []);
    assert_eq!(due(room, at(40), 10).await, [row(1, 10)]);
}

pub(crate) async fn only_a_newer_attempt_replaces_a_row(stores: &Stores) {
    let room = &stores.waiting_room;
    let newer = WaitingRow {
        next_attempt: 3,
        payload: Bytes::from_static(b"3"),
        ..row(1, 50)
    };
    let again = WaitingRow {
        generation: 1,
        next_attempt: 1,
        ..row(1, 70)
    };
    room.put(&[row(1, 10)]).await.unwrap();
    assert_eq!(due(room, at(10), 10).await.len(), 1);
    room.put(&[row(1, 10)]).await.unwrap();
    assert_eq!(due(room, at(10), 10).await, [], "the claim still holds");
    room.put(&[row(1, 10), newer.clone(), row(1, 10)])
        .await
        .unwrap();
    room.put(&[row(1, 10)]).await.unwrap();
    assert_eq!(due(room, at(50), 10).await, std::slice::from_ref(&newer));
    room.put(&[again.clone(), newer]).await.unwrap();
    assert_eq!(due(room, at(1000), 10).await, [again]);
}

pub(crate) async fn removing_leaves_a_newer_attempt(stores: &Stores) {
    let room = &stores.waiting_room;
    let newer = WaitingRow {
        next_attempt: 3,
        ..row(1, 20)
    };
    room.put(&[row(1, 10), row(2, 10)]).await.unwrap();
    let claimed = claim(room, at(10), 10).await;
    room.put(std::slice::from_ref(&newer)).await.unwrap();
    room.remove(&claimed.due, claimed.claim).await.unwrap();
    room.remove(&[], claimed.claim).await.unwrap();
    assert_eq!(due(room, at(1000), 10).await, [newer]);
}

pub(crate) async fn claimers_never_share_a_row(stores: &Stores) {
    let rows: Vec<_> = (0..200)
        .map(|number| row(number, i64::from(number) % 7))
        .collect();
    stores.waiting_room.put(&rows).await.unwrap();
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let room = Arc::clone(&stores.waiting_room);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            while let [first, rest @ ..] = &*due(&room, at(10), 9).await {
                mine.push(first.delivery);
                mine.extend(rest.iter().map(|row| row.delivery));
            }
            mine
        });
    }
    let all: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 200);
}

pub(crate) async fn a_row_that_is_put_wakes_those_who_wait(stores: &Stores) {
    let room = &stores.waiting_room;
    room.changed(Duration::from_millis(300)).await;
    let started = Instant::now();
    let put = async { room.put(&[row(1, 10)]).await.unwrap() };
    tokio::join!(put, room.changed(DEADLINE * 2));
    assert!(started.elapsed() < DEADLINE, "it was woken, not polled");
}

fn of_trigger(name: &str) -> Owner {
    Owner::Trigger(name.parse().unwrap())
}

fn of_function(name: &str) -> Owner {
    Owner::Function(name.parse().unwrap())
}

pub(crate) async fn what_is_made_due_comes_at_once_and_nothing_else(stores: &Stores) {
    let room = &stores.waiting_room;
    let acme = "acme".parse().unwrap();
    let of_other_project = WaitingRow {
        project: "other".parse().unwrap(),
        ..row(2, 600)
    };
    let of_other_trigger = WaitingRow {
        trigger: "goodbye".parse().unwrap(),
        ..row(3, 700)
    };
    let of_other_function = WaitingRow {
        function: "shop/goodbye".parse().unwrap(),
        ..row(4, 800)
    };
    room.put(&[
        row(1, 900),
        of_other_project,
        of_other_trigger.clone(),
        of_other_function.clone(),
    ])
    .await
    .unwrap();
    let nobody = of_function("welcome");
    assert_eq!(room.make_due(&acme, &nobody, at(10)).await.unwrap(), 0);
    let trigger = of_trigger("welcome");
    assert_eq!(room.make_due(&acme, &trigger, at(10)).await.unwrap(), 2);
    assert_eq!(room.make_due(&acme, &trigger, at(11)).await.unwrap(), 0);
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(10)));
    assert_eq!(
        called(room, at(11), 10).await,
        [of_other_function, row(1, 900)],
        "with the time at which they were due"
    );
    let function = of_function("shop/welcome");
    assert_eq!(room.make_due(&acme, &function, at(12)).await.unwrap(), 1);
    assert_eq!(called(room, at(12), 10).await, [of_other_trigger]);
    assert_eq!(
        called(room, at(13), 10).await,
        [],
        "the other project's waits on"
    );
}

pub(crate) async fn making_due_leaves_what_somebody_holds(stores: &Stores) {
    let room = &stores.waiting_room;
    let acme = "acme".parse().unwrap();
    let trigger = of_trigger("welcome");
    room.put(&[row(1, 10), row(2, 600)]).await.unwrap();
    assert_eq!(due(room, at(10), 10).await.len(), 1);
    assert_eq!(room.make_due(&acme, &trigger, at(11)).await.unwrap(), 1);
    assert_eq!(called(room, at(11), 10).await, [row(2, 600)]);
    assert_eq!(room.make_due(&acme, &trigger, at(12)).await.unwrap(), 0);
    assert_eq!(due(room, at(12), 10).await, []);
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(40)));
}

pub(crate) async fn a_row_that_is_put_back_waits_until_it_is_due(stores: &Stores) {
    let room = &stores.waiting_room;
    let acme = "acme".parse().unwrap();
    let trigger = of_trigger("welcome");
    let newer = WaitingRow {
        next_attempt: 3,
        ..row(2, 60)
    };
    room.put(&[row(1, 50), row(2, 50)]).await.unwrap();
    assert_eq!(room.make_due(&acme, &trigger, at(10)).await.unwrap(), 2);
    let early = claim(room, at(10), 10).await;
    room.put(std::slice::from_ref(&newer)).await.unwrap();
    room.put_back(&early.called, early.claim).await.unwrap();
    room.put_back(&[], early.claim).await.unwrap();
    assert_eq!(due(room, at(49), 10).await, []);
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(50)));
    assert_eq!(room.make_due(&acme, &trigger, at(49)).await.unwrap(), 2);
    assert_eq!(called(room, at(49), 10).await, [row(1, 50), newer]);
}

pub(crate) async fn thousands_are_made_due_in_one_call(stores: &Stores) {
    const ROWS: u16 = 2_500;
    let room = &stores.waiting_room;
    let rows: Vec<_> = (0..ROWS)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut random = [0; 10];
            random[0] = high;
            random[1] = low;
            let event = EventId::new(at(0), random);
            WaitingRow {
                delivery: DeliveryId::derive(event, "welcome"),
                ..row(0, 600)
            }
        })
        .collect();
    room.put(&rows).await.unwrap();
    let made_due = room
        .make_due(&rows[0].project, &of_trigger("welcome"), at(10))
        .await
        .unwrap();
    assert_eq!(made_due, u64::from(ROWS));
    let claimed = called(room, at(10), 10_000).await;
    assert_eq!(claimed.len(), usize::from(ROWS));
}

pub(crate) async fn a_row_that_is_made_due_wakes_those_who_wait(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 600)]).await.unwrap();
    room.changed(Duration::from_millis(300)).await;
    room.changed(Duration::from_millis(300)).await;
    let acme = "acme".parse().unwrap();
    let trigger = of_trigger("welcome");
    let started = Instant::now();
    let make_due = async { room.make_due(&acme, &trigger, at(10)).await.unwrap() };
    tokio::join!(make_due, room.changed(DEADLINE * 2));
    assert!(started.elapsed() < DEADLINE, "it was woken, not polled");
}

pub(crate) async fn rows_are_counted_by_reason(stores: &Stores) {
    let room = &stores.waiting_room;
    assert_eq!(room.counts().await.unwrap(), []);
    room.put(&[row(1, 10), row(2, 10)]).await.unwrap();
    assert_eq!(room.counts().await.unwrap(), [(WaitReason::Retry, 2)]);
}
