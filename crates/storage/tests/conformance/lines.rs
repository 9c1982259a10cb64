//! Lines: one after the other, by the order in which they came.

use std::sync::Arc;

use domain::delivery::{Ended, WaitReason};
use storage::WaitingRoom;
use storage::waiting_room::{State, Taken, WaitingFilter, WaitingRow};

use crate::Stores;
use crate::waiting_room::{CLAIM, at, claim, due, row};

fn in_line(number: u8, key: &str) -> WaitingRow {
    WaitingRow {
        reason: WaitReason::Order,
        next_attempt: 1,
        order_key: Some(key.to_owned()),
        ..row(number, 10)
    }
}

fn ended(row: &WaitingRow) -> Ended {
    Ended {
        project: row.project.clone(),
        delivery: row.delivery,
        generation: row.generation,
    }
}

/// Takes what is first everywhere, and holds it as if it had been sent.
async fn send(room: &Arc<dyn WaitingRoom>, now_s: i64) -> Vec<WaitingRow> {
    let claimed = claim(room, at(now_s), 100).await;
    room.hold(&claimed.due, claimed.claim, at(100_000))
        .await
        .unwrap();
    claimed.due
}

pub(crate) async fn only_the_first_of_a_line_comes_until_it_has_ended(stores: &Stores) {
    let room = &stores.waiting_room;
    let rows = [in_line(3, "a"), in_line(1, "a"), in_line(2, "b")];
    room.line_up(&rows).await.unwrap();
    room.line_up(&[in_line(4, "a")]).await.unwrap();
    // A repeat keeps its place.
    room.line_up(&[in_line(1, "a"), in_line(3, "a")])
        .await
        .unwrap();
    let mut sent = send(room, 20).await;
    sent.sort_by(|one, other| one.order_key.cmp(&other.order_key));
    assert_eq!(sent, [in_line(3, "a"), in_line(2, "b")]);
    assert_eq!(due(room, at(90), 10).await, [], "held beyond the claim");
    room.end(&[ended(&in_line(3, "a"))]).await.unwrap();
    assert_eq!(send(room, 91).await, [in_line(1, "a")], "as they came");
    room.end(&[ended(&in_line(1, "a")), ended(&in_line(2, "b"))])
        .await
        .unwrap();
    assert_eq!(send(room, 92).await, [in_line(4, "a")]);
    room.end(&[ended(&in_line(4, "a"))]).await.unwrap();
    assert_eq!(room.counts().await.unwrap(), []);
}

pub(crate) async fn a_first_that_must_be_tried_again_holds_up_its_own_line_alone(stores: &Stores) {
    let room = &stores.waiting_room;
    let rows = [
        in_line(1, "a"),
        in_line(2, "a"),
        in_line(3, "b"),
        in_line(4, "b"),
    ];
    room.line_up(&rows).await.unwrap();
    assert_eq!(send(room, 20).await.len(), 2);
    let retry = WaitingRow {
        next_attempt: 2,
        reason: WaitReason::Retry,
        since: at(21),
        order_key: None,
        ..row(1, 60)
    };
    room.put(&[retry]).await.unwrap();
    room.end(&[ended(&in_line(3, "b"))]).await.unwrap();
    assert_eq!(send(room, 30).await, [in_line(4, "b")]);
    let again = send(room, 60).await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].next_attempt, again[0].delivery),
        (2, row(1, 0).delivery)
    );
    assert_eq!(
        again[0].order_key.as_deref(),
        Some("a"),
        "it kept its place"
    );
}

pub(crate) async fn a_line_goes_on_when_its_first_is_removed_or_set_aside(stores: &Stores) {
    let room = &stores.waiting_room;
    let rows = [
        in_line(1, "a"),
        in_line(2, "a"),
        in_line(3, "a"),
        in_line(4, "a"),
    ];
    room.line_up(&rows).await.unwrap();
    let claimed = claim(room, at(20), 10).await;
    assert_eq!(claimed.due, [in_line(1, "a")]);
    // What stands behind it is removed with it, the newest stays.
    let behind = room.behind(&claimed.due).await.unwrap();
    assert_eq!(behind, [in_line(2, "a"), in_line(3, "a"), in_line(4, "a")]);
    room.remove(&[in_line(1, "a"), in_line(2, "a")], claimed.claim)
        .await
        .unwrap();
    let claimed = claim(room, at(21), 10).await;
    assert_eq!(claimed.due, [in_line(3, "a")]);
    let unreadable = [(in_line(3, "a").delivery, "scrambled".to_owned())];
    room.set_aside(&unreadable, claimed.claim).await.unwrap();
    assert_eq!(due(room, at(22), 10).await, [in_line(4, "a")]);
}

pub(crate) async fn what_is_put_back_stays_first(stores: &Stores) {
    let room = &stores.waiting_room;
    room.line_up(&[in_line(1, "a"), in_line(2, "a")])
        .await
        .unwrap();
    let claimed = claim(room, at(20), 10).await;
    let mut later = claimed.due.clone();
    later[0].due_at = at(70);
    room.put_back(&later, claimed.claim).await.unwrap();
    assert_eq!(due(room, at(60), 10).await, []);
    let claimed = claim(room, at(70), 10).await;
    assert_eq!(claimed.due[0].delivery, in_line(1, "a").delivery);
    assert_eq!(claimed.due.len(), 1);
}

pub(crate) async fn what_waited_for_its_time_joins_a_line_at_its_end(stores: &Stores) {
    let room = &stores.waiting_room;
    let scheduled = WaitingRow {
        order_key: None,
        reason: WaitReason::Scheduled,
        ..in_line(1, "a")
    };
    room.put(std::slice::from_ref(&scheduled)).await.unwrap();
    room.line_up(&[in_line(2, "a"), in_line(3, "a")])
        .await
        .unwrap();
    let claimed = claim(room, at(20), 10).await;
    assert_eq!(
        claimed.due.len(),
        2,
        "the first of the line, and the scheduled one"
    );
    room.line_up(&[in_line(1, "a")]).await.unwrap();
    room.end(&[ended(&in_line(2, "a"))]).await.unwrap();
    assert_eq!(send(room, 21).await, [in_line(3, "a")]);
    room.end(&[ended(&in_line(3, "a"))]).await.unwrap();
    assert_eq!(send(room, 22).await, [in_line(1, "a")]);
}

pub(crate) async fn an_operator_takes_one_out_of_the_middle_of_a_line(stores: &Stores) {
    let room = &stores.waiting_room;
    let acme = "acme".parse().unwrap();
    room.line_up(&[in_line(1, "a"), in_line(2, "a"), in_line(3, "a")])
        .await
        .unwrap();
    assert_eq!(send(room, 20).await.len(), 1);
    let shown = room.list(&acme, &WaitingFilter::default(), None, 10).await;
    let mut states: Vec<_> = shown
        .unwrap()
        .into_iter()
        .map(|shown| shown.state)
        .collect();
    states.sort_by_key(|state| *state == State::Behind);
    assert_eq!(states, [State::UnderWay, State::Behind, State::Behind]);
    let first = room
        .claim(&acme, in_line(1, "a").delivery, at(21), CLAIM)
        .await;
    assert_eq!(first.unwrap(), Taken::UnderWay);
    let taken = room
        .claim(&acme, in_line(2, "a").delivery, at(21), CLAIM)
        .await;
    let Taken::Done((taken, own)) = taken.unwrap() else {
        panic!("it waits")
    };
    room.remove(&[taken], own).await.unwrap();
    room.end(&[ended(&in_line(1, "a"))]).await.unwrap();
    assert_eq!(send(room, 22).await, [in_line(3, "a")]);
}

/// Ends and arrivals at the same moment never leave a line without anybody who may go.
pub(crate) async fn no_line_is_ever_left_standing(stores: &Stores) {
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..4_u8 {
        let room = Arc::clone(&stores.waiting_room);
        tasks.spawn(async move {
            for step in 0..12 {
                let row = in_line(lane * 12 + step, "shared");
                room.line_up(&[row]).await.unwrap();
            }
        });
    }
    let room = Arc::clone(&stores.waiting_room);
    tasks.spawn(async move {
        let mut done = 0;
        let deadline = std::time::Instant::now() + crate::DEADLINE;
        while done < 48 {
            assert!(std::time::Instant::now() < deadline, "{done} of 48");
            let sent = send(&room, 20).await;
            assert!(sent.len() <= 1, "{sent:?}");
            done += sent.len();
            let all: Vec<_> = sent.iter().map(ended).collect();
            room.end(&all).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    tasks.join_all().await;
    assert_eq!(stores.waiting_room.counts().await.unwrap(), []);
}
