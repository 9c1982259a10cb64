//! Lanes take turns, let go what is allowed, and stand still while they are paused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::delivery::{Allowance, WaitReason};
use storage::WaitingRoom;
use storage::waiting_room::{State, Taken, WaitingFilter, WaitingRow};

use crate::Stores;
use crate::waiting_room::{CLAIM, at, claim, due, row};

/// A row of a function and project of its own.
fn of(project: &str, function: &str, number: u8) -> WaitingRow {
    WaitingRow {
        project: project.parse().unwrap(),
        function: function.parse().unwrap(),
        ..row(number, 10)
    }
}

fn allowance(per_second: Option<f64>, burst: u32, at_s: i64) -> Allowance {
    Allowance {
        project: "acme".parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        per_second,
        burst,
        closed_until: None,
        at: at(at_s),
    }
}

async fn counts_after_claims(
    room: &Arc<dyn WaitingRoom>,
    limit: u32,
    claims: usize,
) -> HashMap<String, usize> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for _ in 0..claims {
        for row in due(room, at(20), limit).await {
            *counts.entry(row.project.to_string()).or_default() += 1;
        }
    }
    counts
}

pub(crate) async fn a_project_with_many_lanes_does_not_starve_one_with_a_single_lane(
    stores: &Stores,
) {
    let room = &stores.waiting_room;
    let mut rows: Vec<_> = (0..100)
        .map(|number| of("crowd", &format!("shop/function-{number}"), number))
        .collect();
    rows.extend((100..140).map(|number| of("single", "shop/alone", number)));
    room.put(&rows).await.unwrap();
    let counts = counts_after_claims(room, 10, 4).await;
    assert!(counts["single"] >= 15, "{counts:?}");
    assert!(counts["crowd"] >= 15, "{counts:?}");
    // What was served stands behind those that have not been.
    let counts = counts_after_claims(room, 10, 16).await;
    assert_eq!(counts["crowd"] + counts["single"], 100, "{counts:?}");
}

pub(crate) async fn a_lane_lets_go_what_its_allowance_says(stores: &Stores) {
    let room = &stores.waiting_room;
    let rows: Vec<_> = (0..20).map(|number| row(number, 10)).collect();
    room.put(&rows).await.unwrap();
    room.allow(&[allowance(Some(2.0), 4, 10)]).await.unwrap();
    // An older one, late, changes nothing.
    room.allow(&[allowance(None, 1, 9)]).await.unwrap();
    assert_eq!(due(room, at(10), 100).await.len(), 1, "it begins with one");
    assert_eq!(due(room, at(10), 100).await.len(), 0);
    let next = room.next_due_at().await.unwrap().unwrap();
    assert!(
        next > at(10) && next <= at(11),
        "when the next may go: {next}"
    );
    assert_eq!(due(room, at(11), 100).await.len(), 2);
    assert_eq!(due(room, at(30), 100).await.len(), 4, "the burst at most");
    let closed = Allowance {
        closed_until: Some(at(50)),
        ..allowance(Some(100.0), 50, 31)
    };
    room.allow(&[closed]).await.unwrap();
    assert_eq!(due(room, at(35), 100).await.len(), 0, "closed");
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(50)));
    room.allow(&[allowance(None, 1, 36)]).await.unwrap();
    assert_eq!(
        due(room, at(36), 100).await.len(),
        13,
        "nothing limits it any more"
    );
}

pub(crate) async fn what_comes_while_nothing_may_go_goes_as_soon_as_it_may(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10)]).await.unwrap();
    room.allow(&[allowance(Some(0.5), 1, 10)]).await.unwrap();
    assert_eq!(due(room, at(10), 10).await, [row(1, 10)]);
    room.put(&[row(2, 10)]).await.unwrap();
    let next = room.next_due_at().await.unwrap().unwrap();
    assert!(next <= at(12), "one each two seconds: {next}");
    assert_eq!(due(room, at(11), 10).await, []);
    assert_eq!(due(room, at(13), 10).await, [row(2, 10)]);
}

pub(crate) async fn an_allowance_is_shared_by_all_who_take(stores: &Stores) {
    let rows: Vec<_> = (0..100).map(|number| row(number, 10)).collect();
    stores.waiting_room.put(&rows).await.unwrap();
    let allowance = allowance(Some(10.0), 10, 10);
    stores.waiting_room.allow(&[allowance]).await.unwrap();
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let room = Arc::clone(&stores.waiting_room);
        takers.spawn(async move {
            let mut taken = 0;
            for step in 0..40 {
                let now = at(10) + Duration::from_millis(100 * step);
                taken += due(&room, now, 50).await.len();
            }
            taken
        });
    }
    let taken: usize = takers.join_all().await.into_iter().sum();
    // Who finds the lane taken passes it over, with all the time until its next turn, and no more than a
    // second's worth is saved up: so it may be less, and more than the burst, but never more than 4 s allow.
    assert!((11..=41).contains(&taken), "10 a second for 4 s: {taken}");
}

pub(crate) async fn what_is_paused_stays_until_it_is_woken(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[of("acme", "shop/paused", 1), of("acme", "shop/other", 2)])
        .await
        .unwrap();
    let claimed = room
        .claim_due(at(20), CLAIM, 10, &|_, function| {
            function.name.as_str() == "paused"
        })
        .await
        .unwrap();
    assert_eq!(claimed.due, [of("acme", "shop/other", 2)]);
    assert_eq!(
        due(room, at(21), 10).await,
        [],
        "it is not looked at for a while"
    );
    let name = "shop/paused".parse().unwrap();
    let acme = "acme".parse().unwrap();
    room.wake(&acme, Some(&name), at(22)).await.unwrap();
    assert_eq!(due(room, at(22), 10).await, [of("acme", "shop/paused", 1)]);
}

pub(crate) async fn the_same_attempt_handed_back_is_stored_and_not_removed_with_the_old_one(
    stores: &Stores,
) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10)]).await.unwrap();
    let first = claim(room, at(10), 10).await;
    let back = WaitingRow {
        reason: WaitReason::Concurrency,
        since: at(11),
        ..row(1, 12)
    };
    room.put(std::slice::from_ref(&back)).await.unwrap();
    room.remove(&first.due, first.claim).await.unwrap();
    let second = claim(room, at(12), 10).await;
    assert_eq!(second.due, std::slice::from_ref(&back));
    // The same reason again, only later.
    let again = WaitingRow {
        since: at(13),
        ..row(1, 14)
    };
    let again = WaitingRow {
        reason: WaitReason::Concurrency,
        ..again
    };
    room.put(std::slice::from_ref(&again)).await.unwrap();
    room.remove(&second.due, second.claim).await.unwrap();
    assert_eq!(due(room, at(14), 10).await, [again]);
}

pub(crate) async fn what_cannot_be_read_holds_up_nobody(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10), row(2, 10)]).await.unwrap();
    let scheduled = WaitingRow {
        reason: WaitReason::Scheduled,
        ..row(3, 10)
    };
    room.put(std::slice::from_ref(&scheduled)).await.unwrap();
    stores
        .raw
        .execute("UPDATE waiting_room SET reason = 'unheard-of' WHERE reason = 'scheduled'")
        .await;
    let claimed = claim(room, at(10), 10).await;
    assert_eq!(claimed.due.len(), 2);
    assert_eq!(claimed.unreadable.len(), 1);
    assert_eq!(claimed.unreadable[0].0, scheduled.delivery);
    room.set_aside(&claimed.unreadable, claimed.claim)
        .await
        .unwrap();
    stores
        .raw
        .execute("UPDATE waiting_room SET reason = 'scheduled' WHERE reason = 'unheard-of'")
        .await;
    room.remove(&claimed.due, claimed.claim).await.unwrap();
    assert_eq!(
        due(room, at(10_000), 10).await,
        [],
        "it is set aside for good"
    );
    let (acme, all) = ("acme".parse().unwrap(), WaitingFilter::default());
    let shown = room.list(&acme, &all, None, 10).await.unwrap();
    let [shown] = shown.as_slice() else {
        panic!("{shown:?}")
    };
    assert!(matches!(&shown.state, State::Aside(why) if why.contains("unheard-of")));
    // An operator who mended it has it tried.
    let taken = room.reschedule(&acme, scheduled.delivery, at(60)).await;
    assert!(matches!(taken.unwrap(), Taken::Done(_)));
    assert_eq!(due(room, at(60), 10).await.len(), 1);
}

pub(crate) async fn a_lane_in_which_nothing_waits_any_more_is_left_alone(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10)]).await.unwrap();
    let claimed = claim(room, at(10), 10).await;
    assert_eq!(claimed.due, [row(1, 10)]);
    room.remove(&claimed.due, claimed.claim).await.unwrap();
    // When the claim would have run out it is looked at once more; then never again.
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(40)));
    assert_eq!(due(room, at(40), 10).await, []);
    assert_eq!(room.next_due_at().await.unwrap(), None);
    room.put(&[row(2, 50)]).await.unwrap();
    assert_eq!(room.next_due_at().await.unwrap(), Some(at(50)));
}

pub(crate) async fn a_lane_that_was_lost_is_mended(stores: &Stores) {
    let room = &stores.waiting_room;
    room.put(&[row(1, 10), of("other", "shop/other", 2)])
        .await
        .unwrap();
    stores.raw.execute("DELETE FROM lanes").await;
    assert_eq!(due(room, at(20), 10).await, []);
    room.mend(at(20)).await.unwrap();
    assert_eq!(due(room, at(20), 10).await.len(), 2);
}

pub(crate) async fn operators_see_and_move_what_waits(stores: &Stores) {
    let room = &stores.waiting_room;
    let acme = "acme".parse().unwrap();
    let rate = WaitingRow {
        reason: WaitReason::Rate,
        ..of("acme", "shop/other", 4)
    };
    room.put(&[row(1, 10), row(2, 600), of("else", "shop/welcome", 3), rate])
        .await
        .unwrap();
    let all = WaitingFilter::default();
    assert_eq!(room.list(&acme, &all, None, 10).await.unwrap().len(), 3);
    let mut ids = Vec::new();
    while let [one] = &*room
        .list(&acme, &all, ids.last().copied(), 1)
        .await
        .unwrap()
    {
        ids.push(one.row.delivery);
    }
    assert_eq!(ids.len(), 3, "page by page");
    let by_reason = WaitingFilter {
        reason: Some(WaitReason::Rate),
        ..WaitingFilter::default()
    };
    let by_function = WaitingFilter {
        function: Some("shop/welcome".parse().unwrap()),
        trigger: Some("welcome".parse().unwrap()),
        ..WaitingFilter::default()
    };
    assert_eq!(
        room.list(&acme, &by_reason, None, 10).await.unwrap().len(),
        1
    );
    assert_eq!(
        room.list(&acme, &by_function, None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    let backlog = room.backlog(&acme).await.unwrap();
    let lines: Vec<_> = backlog
        .iter()
        .map(|line| (line.function.to_string(), line.reason, line.count))
        .collect();
    assert_eq!(
        lines,
        [
            ("shop/other".to_owned(), WaitReason::Rate, 1),
            ("shop/welcome".to_owned(), WaitReason::Retry, 2),
        ]
    );
    // Another project's is not there.
    let foreign = of("else", "shop/welcome", 3).delivery;
    let taken = room.reschedule(&acme, foreign, at(1)).await.unwrap();
    assert_eq!(taken, Taken::NotThere);
    let taken = room.reschedule(&acme, row(2, 0).delivery, at(15)).await;
    assert_eq!(taken.unwrap(), Taken::Done(row(2, 15)));
    let taken = room.claim(&acme, row(1, 0).delivery, at(11), CLAIM).await;
    let Taken::Done((taken, own)) = taken.unwrap() else {
        panic!("it waits")
    };
    let under_way = room.reschedule(&acme, taken.delivery, at(12)).await;
    assert_eq!(under_way.unwrap(), Taken::UnderWay);
    let claimed = claim(room, at(15), 10).await;
    assert_eq!(claimed.due.len(), 3, "not the one that was taken");
    room.remove(&[taken], own).await.unwrap();
    assert_eq!(room.list(&acme, &all, None, 10).await.unwrap().len(), 2);
}
