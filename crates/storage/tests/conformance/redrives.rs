//! Orders to deliver again: what they are about, who works on them, and what was planned.

use std::time::Duration;

use domain::delivery::Status;
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::{DeliveryId, RedriveId};
use domain::record::{Record, Settled};
use storage::log_store::DeliveryFilter;
use storage::redrives::{
    Hold, Plan, Planned, Progress, Redrive, RedriveKind, RedriveOrder, RedriveState,
};

use crate::Stores;
use crate::records::{acme, at, attempted, event, matched, record, settled, state_of_only};

const LEASE: Duration = Duration::from_secs(10);

fn order(kind: RedriveKind) -> RedriveOrder {
    RedriveOrder {
        kind,
        filter: DeliveryFilter {
            statuses: match kind {
                RedriveKind::Redrive => vec![Status::Failed],
                RedriveKind::Replay => Vec::new(),
            },
            since: Some(at(-1_000)),
            until: Some(at(100_000)),
            ..DeliveryFilter::default()
        },
        to_function: None,
        per_second: None,
    }
}

fn redrive(number: u8) -> Redrive {
    Redrive {
        id: RedriveId::new(at(i64::from(number)), [number; 10]),
        project: acme(),
        order: order(RedriveKind::Redrive),
        state: RedriveState::Running,
        total: 3,
        sent: 0,
        skipped: 0,
        reason: None,
        created_at: at(0),
        updated_at: at(0),
        ended_at: None,
        progress: Progress {
            batch: 0,
            done_to: None,
            next_due_at: at(0),
        },
    }
}

fn planned(event: &Event, generation: u32) -> Planned {
    Planned {
        event: event.clone(),
        delivery: DeliveryId::derive(event.eid, "one"),
        generation,
        trigger: "one".parse().unwrap(),
        function: "shop/welcome".parse().unwrap(),
        due_at: at(7),
    }
}

fn plan(batch: u64, planned: Vec<Planned>) -> Plan {
    Plan {
        progress: Progress {
            batch,
            done_to: planned.last().map(|one| one.delivery.uuid()),
            next_due_at: at(9),
        },
        planned,
        skipped: 1,
    }
}

/// Three events, whose only deliveries have failed.
async fn three_failed(stores: &Stores) -> Vec<Event> {
    let events: Vec<_> = (1..=3)
        .map(|number| event(number, at(number.into())))
        .collect();
    for event in &events {
        let failed = attempted(event, "one", 1, Status::Failed);
        let records = [matched(event, &["one"]), record(failed)];
        stores.logs.record(&records).await.unwrap();
    }
    events
}

pub(crate) async fn an_order_comes_back_as_it_was_given(stores: &Stores) {
    let given = Redrive {
        order: RedriveOrder {
            to_function: Some("shop/audit".parse().unwrap()),
            per_second: Some(2.5),
            ..order(RedriveKind::Replay)
        },
        ..redrive(1)
    };
    let redrives = &stores.redrives;
    assert!(redrives.start(&given, 2).await.unwrap());
    assert_eq!(
        redrives.get(&acme(), given.id).await.unwrap(),
        Some(given.clone())
    );
    let other = "other".parse().unwrap();
    assert_eq!(redrives.get(&other, given.id).await.unwrap(), None);
    assert!(redrives.start(&redrive(2), 2).await.unwrap());
    assert!(
        !redrives.start(&redrive(3), 2).await.unwrap(),
        "two run already"
    );
    let listed = redrives.list(&acme(), 10).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one.id).collect();
    assert_eq!(ids, [redrive(2).id, given.id], "newest first");
}

pub(crate) async fn what_an_order_is_about_comes_oldest_first(stores: &Stores) {
    let events = three_failed(stores).await;
    let unmatched = event(4, at(4));
    let told = Event {
        event_type: EventType::delivery_dead(),
        ..event(5, at(5))
    };
    let done = event(6, at(6));
    let records = [
        matched(&unmatched, &[]),
        matched(&told, &[]),
        matched(&done, &["one"]),
        record(attempted(&done, "one", 1, Status::Processed)),
    ];
    stores.logs.record(&records).await.unwrap();
    let redrives = &stores.redrives;
    let of_deliveries = order(RedriveKind::Redrive);
    assert_eq!(
        redrives.count(&acme(), &of_deliveries, 100).await.unwrap(),
        3
    );
    assert_eq!(redrives.count(&acme(), &of_deliveries, 2).await.unwrap(), 2);
    let first = redrives
        .candidates(&acme(), &of_deliveries, None, 2)
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    let last = first[1].delivery.as_ref().unwrap();
    assert_eq!((&first[1].event, last.status), (&events[1], Status::Failed));
    let after = Some(last.id.uuid());
    let rest = redrives
        .candidates(&acme(), &of_deliveries, after, 2)
        .await
        .unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].event, events[2]);

    let of_events = order(RedriveKind::Replay);
    let all = redrives
        .candidates(&acme(), &of_events, None, 100)
        .await
        .unwrap();
    let all: Vec<_> = all.iter().map(|candidate| candidate.event.eid).collect();
    let expected = [&events[0], &events[1], &events[2], &unmatched, &done];
    assert_eq!(
        all,
        expected.map(|event| event.eid),
        "but what the system told"
    );
    let mut named = of_events.clone();
    named.filter.event_type = Some(EventType::delivery_dead());
    assert_eq!(redrives.count(&acme(), &named, 100).await.unwrap(), 1);
    let other = "other".parse().unwrap();
    assert_eq!(redrives.count(&other, &of_events, 100).await.unwrap(), 0);
}

pub(crate) async fn a_batch_is_planned_once_and_read_again_as_it_was(stores: &Stores) {
    let events = three_failed(stores).await;
    let redrives = &stores.redrives;
    for number in [1, 2] {
        assert!(redrives.start(&redrive(number), 2).await.unwrap());
    }
    let one = redrives.claim("a", at(0), LEASE).await.unwrap().unwrap();
    let other = redrives.claim("b", at(0), LEASE).await.unwrap().unwrap();
    assert_ne!(one.id, other.id, "each is held by one");
    assert_eq!(redrives.claim("c", at(1), LEASE).await.unwrap(), None);

    let batch = plan(1, vec![planned(&events[0], 1), planned(&events[1], 1)]);
    let kept = redrives
        .plan(&one, "a", batch.clone(), at(1), LEASE)
        .await
        .unwrap();
    assert_eq!(kept.unwrap(), batch.planned);
    assert_eq!(redrives.planned(&one, 1).await.unwrap(), batch.planned);
    // The other order has planned one of them in the meantime: that one is left out.
    let overlapping = plan(1, vec![planned(&events[1], 1), planned(&events[2], 1)]);
    let kept = redrives
        .plan(&other, "b", overlapping, at(1), LEASE)
        .await
        .unwrap();
    assert_eq!(kept.unwrap(), [planned(&events[2], 1)]);
    let now = redrives.get(&acme(), other.id).await.unwrap().unwrap();
    assert_eq!((now.sent, now.skipped), (1, 2));
    let of_delivery = redrives
        .of_deliveries(&acme(), &[DeliveryId::derive(events[2].eid, "one")])
        .await
        .unwrap();
    assert_eq!(of_delivery.len(), 1);
    assert_eq!(
        (of_delivery[0].generation, of_delivery[0].redrive),
        (1, other.id)
    );
}

pub(crate) async fn only_who_holds_an_order_goes_on_with_it(stores: &Stores) {
    let events = three_failed(stores).await;
    let redrives = &stores.redrives;
    assert!(redrives.start(&redrive(1), 2).await.unwrap());
    let held = redrives.claim("a", at(0), LEASE).await.unwrap().unwrap();
    assert_eq!(
        redrives
            .renew(held.id, "a", at(9_000), LEASE)
            .await
            .unwrap(),
        Hold::Held
    );
    assert_eq!(
        redrives.claim("b", at(18_000), LEASE).await.unwrap(),
        None,
        "renewed"
    );
    let taken_over = redrives
        .claim("b", at(20_000), LEASE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        redrives
            .renew(held.id, "a", at(20_000), LEASE)
            .await
            .unwrap(),
        Hold::Lost
    );
    let batch = || plan(1, vec![planned(&events[0], 1)]);
    let late = redrives
        .plan(&held, "a", batch(), at(20_000), LEASE)
        .await
        .unwrap();
    assert_eq!(late, None);
    assert_eq!(
        redrives.planned(&held, 1).await.unwrap(),
        [],
        "nothing was written"
    );
    redrives
        .end(held.id, "a", RedriveState::Done, None, at(20_000))
        .await
        .unwrap();
    let now = redrives.get(&acme(), held.id).await.unwrap().unwrap();
    assert_eq!(now.state, RedriveState::Running);

    // Let go of, it is anybody's at once.
    redrives.release("b").await.unwrap();
    let again = redrives
        .claim("a", at(20_001), LEASE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.progress, taken_over.progress);
    let stopped = redrives
        .stop(&acme(), held.id, at(20_002))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (stopped.state, stopped.ended_at),
        (RedriveState::Stopped, Some(at(20_002)))
    );
    let late = redrives
        .plan(&again, "a", batch(), at(20_003), LEASE)
        .await
        .unwrap();
    assert_eq!(late, None, "stopped");
}

pub(crate) async fn an_order_ends_and_is_forgotten_with_what_it_planned(stores: &Stores) {
    let events = three_failed(stores).await;
    let redrives = &stores.redrives;
    assert!(redrives.start(&redrive(1), 2).await.unwrap());
    let held = redrives.claim("a", at(0), LEASE).await.unwrap().unwrap();
    let batch = plan(1, vec![planned(&events[0], 1)]);
    redrives
        .plan(&held, "a", batch, at(0), LEASE)
        .await
        .unwrap();
    let failed = RedriveState::Failed;
    redrives
        .end(held.id, "a", failed, Some("no\0way"), at(10))
        .await
        .unwrap();
    let now = redrives.get(&acme(), held.id).await.unwrap().unwrap();
    assert_eq!((now.state, now.reason.is_some()), (failed, true));
    redrives.forget(at(0)).await.unwrap();
    assert_eq!(redrives.planned(&held, 1).await.unwrap().len(), 1);
    redrives.forget(at(1_000)).await.unwrap();
    assert_eq!(redrives.planned(&held, 1).await.unwrap(), []);
    assert_eq!(redrives.get(&acme(), held.id).await.unwrap(), None);
}

pub(crate) async fn what_is_ordered_anew_is_staged_and_can_end_again(stores: &Stores) {
    let event = event(1, at(0));
    let failed = attempted(&event, "one", 4, Status::Failed);
    let records = [matched(&event, &["one"]), record(failed)];
    stores.logs.record(&records).await.unwrap();
    let Record::Settled(ending) = settled(&event, "one") else {
        panic!("an ending was made")
    };
    let staged = Record::Settled(Settled {
        generation: 1,
        status: Status::Staged,
        remark: "redrive rdv_1".to_owned(),
        ..ending.clone()
    });
    stores
        .logs
        .record(std::slice::from_ref(&staged))
        .await
        .unwrap();
    let state = state_of_only(stores).await;
    assert_eq!(
        (state.status, state.generation, state.attempts),
        (Status::Staged, 1, 0)
    );
    assert_eq!(state.remark.as_deref(), Some("redrive rdv_1"));

    let mut again = attempted(&event, "one", 1, Status::Processed);
    again.generation = 1;
    stores.logs.record(&[record(again), staged]).await.unwrap();
    let state = state_of_only(stores).await;
    assert_eq!(
        (state.status, state.generation, state.attempts),
        (Status::Processed, 1, 1)
    );
}
