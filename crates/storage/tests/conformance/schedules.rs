//! Schedules: kept with their triggers, and claimed by one at a time.

use domain::schedule::{Cron, Dialect, Payload, Schedule};
use domain::trigger::Trigger;
use jiff::Timestamp;
use storage::Error;

use crate::Stores;
use crate::registry::with_function;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + seconds, 123_456_000).unwrap()
}

pub(crate) fn schedule(name: &str, next_at: Option<Timestamp>) -> Schedule {
    Schedule {
        project: "acme".parse().unwrap(),
        name: name.parse().unwrap(),
        package: None,
        job: "Nightly Job".to_owned(),
        cron: Cron::parse("0 3 * * *", Dialect::Cron).unwrap(),
        time_zone: "Europe/Berlin".to_owned(),
        payload: Payload::Parameters(r#"{"a": 1.0}"#.to_owned()),
        is_enabled: true,
        next_at,
        last_at: None,
        created_at: at(0),
        updated_at: at(1),
    }
}

pub(crate) fn trigger(name: &str) -> Trigger {
    let (project, function) = ("acme".parse().unwrap(), "welcome".parse().unwrap());
    Trigger::new(project, name.parse().unwrap(), function, at(0)).of_schedule()
}

#[expect(
    clippy::too_many_lines,
    reason = "one schedule, from its coming to its going"
)]
pub(crate) async fn a_schedule_comes_back_as_given_and_goes_with_its_trigger(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    let acme = "acme".parse().unwrap();
    let given = schedule("nightly", Some(at(60)));
    let before = store.revision().await.unwrap();
    let revision = store
        .create_schedule(&given, &trigger("nightly"))
        .await
        .unwrap();
    assert_eq!(revision, before + 1);
    let stored = store.schedule(&acme, &given.name).await.unwrap();
    assert_eq!(stored.as_ref(), Some(&given));
    let taken = store.create_schedule(&given, &trigger("nightly")).await;
    assert!(matches!(
        taken,
        Err(Error::AlreadyExists {
            what: "trigger",
            ..
        })
    ));

    let changed = Schedule {
        payload: Payload::Text("a\0b".to_owned()),
        is_enabled: false,
        ..given.clone()
    };
    store
        .update_schedule(&changed, &trigger("nightly"))
        .await
        .unwrap();
    let stored = store.schedule(&acme, &given.name).await.unwrap();
    assert_eq!(stored.as_ref(), Some(&changed));
    let unknown = schedule("unknown", None);
    let missing = store.update_schedule(&unknown, &trigger("unknown")).await;
    assert!(matches!(
        missing,
        Err(Error::NotFound {
            what: "schedule",
            ..
        })
    ));

    store
        .create_schedule(&schedule("weekly", None), &trigger("weekly"))
        .await
        .unwrap();
    let page = store.schedules(&acme, None, None, 1).await.unwrap();
    assert!(page.has_more);
    let page = store
        .schedules(&acme, None, Some(&given.name), 10)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].name.as_str(), "weekly");

    store.delete_schedule(&acme, &given.name).await.unwrap();
    assert!(store.trigger(&acme, &given.name).await.unwrap().is_none());
    let again = store.delete_schedule(&acme, &given.name).await;
    assert!(matches!(
        again,
        Err(Error::NotFound {
            what: "schedule",
            ..
        })
    ));
    store
        .delete_function(&acme, &"welcome".parse().unwrap())
        .await
        .unwrap();
    let rest = store.schedules(&acme, None, None, 10).await.unwrap();
    assert_eq!(
        rest.items,
        [],
        "a schedule has nobody to call without its trigger"
    );
}

pub(crate) async fn a_schedule_that_is_due_is_claimed_once_and_moves_on(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    let acme = "acme".parse().unwrap();
    for (name, due) in [
        ("early", Some(at(10))),
        ("late", Some(at(20))),
        ("never", None),
    ] {
        store
            .create_schedule(&schedule(name, due), &trigger(name))
            .await
            .unwrap();
    }
    assert_eq!(store.next_schedule_due().await.unwrap(), Some(at(10)));
    let claim = async |now: i64| {
        let claimed = store
            .claim_due_schedules(at(now), at(now + 30), 10)
            .await
            .unwrap();
        claimed
            .iter()
            .map(|one| one.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(claim(9).await, [""; 0]);
    let early = store
        .claim_due_schedules(at(10), at(40), 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(early.name.as_str(), "early");
    assert_eq!(claim(11).await, [""; 0], "somebody has it in hand");
    assert_eq!(store.next_schedule_due().await.unwrap(), Some(at(20)));
    store
        .advance_schedule(&early, at(10), Some(at(10)), Some(at(100)))
        .await
        .unwrap();
    let moved = store.schedule(&acme, &early.name).await.unwrap().unwrap();
    assert_eq!(
        (moved.last_at, moved.next_at),
        (Some(at(10)), Some(at(100)))
    );
    // Whoever comes late with the same strike changes nothing.
    store
        .advance_schedule(&early, at(10), Some(at(10)), Some(at(50)))
        .await
        .unwrap();
    let same = store.schedule(&acme, &early.name).await.unwrap().unwrap();
    assert_eq!(same.next_at, Some(at(100)));
    assert_eq!(claim(25).await, ["late"]);
    assert_eq!(claim(54).await, [""; 0]);
    assert_eq!(claim(56).await, ["late"], "who claimed it has died");
}

pub(crate) async fn replicas_never_share_a_strike(stores: &Stores) {
    let store = with_function(stores, "welcome").await;
    for number in 0..40 {
        let name = format!("job-{number}");
        store
            .create_schedule(&schedule(&name, Some(at(10))), &trigger(&name))
            .await
            .unwrap();
    }
    let claim = async || {
        let mut names = Vec::new();
        loop {
            let claimed = store.claim_due_schedules(at(20), at(50), 3).await.unwrap();
            if claimed.is_empty() {
                return names;
            }
            names.extend(claimed.into_iter().map(|one| one.name.to_string()));
        }
    };
    let (one, two, three) = tokio::join!(claim(), claim(), claim());
    let mut all = [one, two, three].concat();
    assert_eq!(all.len(), 40);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
}
