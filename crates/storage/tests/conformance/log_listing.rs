//! What happened: how it is listed and found.

use domain::delivery::Status;
use domain::event::Event;
use domain::event_type::EventType;
use domain::id::DeliveryId;
use domain::name::ProjectName;
use storage::log_store::{Cursor, DeliveryFilter, DeliveryLine, EventReference};

use crate::Stores;
use crate::records::{acme, at, attempted, event, list, matched, record};

pub(crate) async fn a_listing_shows_everything_newest_first_in_pages(stores: &Stores) {
    let mut records = Vec::new();
    for number in 0..10_u8 {
        // Two events in each millisecond; every third matched nothing.
        let event = event(number, at(i64::from(number) / 2));
        let triggers: &[&str] = if number % 3 == 0 {
            &[]
        } else {
            &["one", "two", "six"]
        };
        records.push(matched(&event, triggers));
    }
    stores.logs.record(&records).await.unwrap();
    let all = list(stores, &DeliveryFilter::default()).await;
    assert_eq!(all.len(), 4 + 6 * 3);
    let place = |line: &DeliveryLine| (line.eid, line.delivery.as_ref().map(|state| state.id));
    assert!(all.is_sorted_by(|one, other| place(one) > place(other)));
    assert_eq!(all.iter().filter(|line| line.delivery.is_none()).count(), 4);
    let staged = DeliveryFilter {
        statuses: vec![Status::Staged],
        ..DeliveryFilter::default()
    };
    for (filter, limit, expected) in [
        (DeliveryFilter::default(), 1, 22),
        (DeliveryFilter::default(), 4, 22),
        (staged, 5, 18),
    ] {
        let mut paged = Vec::new();
        let mut before = None;
        loop {
            let page = stores
                .logs
                .deliveries(&acme(), &filter, before, limit)
                .await
                .unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            let delivery = last.delivery.as_ref().map(|state| state.id);
            before = Some(Cursor {
                event: last.eid,
                delivery,
            });
            paged.extend(page);
        }
        assert_eq!(paged.len(), expected, "pages of {limit}");
        if limit < 5 {
            assert_eq!(paged, all);
        }
    }
}

/// Three events: of two deliveries, of one, and of none, a minute apart.
async fn three_events(stores: &Stores) -> (Event, Event) {
    let (one, two) = (event(1, at(0)), event(2, at(60_000)));
    let two = Event {
        event_type: EventType::parse("order.paid").unwrap(),
        ..two
    };
    let records = [
        matched(&one, &["one", "two"]),
        matched(&two, &["one"]),
        matched(&event(3, at(120_000)), &[]),
        record(attempted(&one, "one", 1, Status::Processed)),
        record(attempted(&two, "one", 4, Status::Failed)),
    ];
    stores.logs.record(&records).await.unwrap();
    (one, two)
}

pub(crate) async fn filters_by_delivery_narrow_a_listing(stores: &Stores) {
    three_events(stores).await;
    let count = async |filter: DeliveryFilter| list(stores, &filter).await.len();
    let all = DeliveryFilter::default;
    assert_eq!(count(all()).await, 4);
    assert_eq!(
        count(DeliveryFilter {
            statuses: vec![Status::Processed],
            ..all()
        })
        .await,
        1
    );
    let unfinished = vec![Status::Failed, Status::Staged];
    assert_eq!(
        count(DeliveryFilter {
            statuses: unfinished,
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(DeliveryFilter {
            trigger: Some("one".parse().unwrap()),
            ..all()
        })
        .await,
        2
    );
    let function = |name: &str| Some(name.parse().unwrap());
    assert_eq!(
        count(DeliveryFilter {
            function: function("shop/welcome"),
            ..all()
        })
        .await,
        3
    );
    assert_eq!(
        count(DeliveryFilter {
            function: function("welcome"),
            ..all()
        })
        .await,
        0
    );
}

pub(crate) async fn filters_by_event_narrow_a_listing(stores: &Stores) {
    let (one, two) = three_events(stores).await;
    let count = async |filter: DeliveryFilter| list(stores, &filter).await.len();
    let all = DeliveryFilter::default;
    let paid = Some(two.event_type);
    assert_eq!(
        count(DeliveryFilter {
            event_type: paid.clone(),
            ..all()
        })
        .await,
        1
    );
    let both = DeliveryFilter {
        event_type: paid,
        statuses: vec![Status::Staged],
        ..all()
    };
    assert_eq!(count(both).await, 0);
    assert_eq!(
        count(DeliveryFilter {
            since: Some(at(60_000)),
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(DeliveryFilter {
            until: Some(at(60_000)),
            ..all()
        })
        .await,
        2
    );
    let trigger = Some("one".parse().unwrap());
    assert_eq!(
        count(DeliveryFilter {
            until: Some(at(60_000)),
            trigger,
            ..all()
        })
        .await,
        1
    );
    let of_one = Some(EventReference::Internal(one.eid));
    assert_eq!(
        count(DeliveryFilter {
            event: of_one.clone(),
            ..all()
        })
        .await,
        2
    );
    let staged = vec![Status::Staged];
    assert_eq!(
        count(DeliveryFilter {
            event: of_one,
            statuses: staged,
            ..all()
        })
        .await,
        1
    );
}

pub(crate) async fn events_are_found_by_every_name(stores: &Stores) {
    let own = event(1, at(0));
    let named = Event {
        id: "order-7".to_owned(),
        ..event(2, at(1))
    };
    let renamed = Event {
        id: "order-7".to_owned(),
        ..event(3, at(2))
    };
    let records = [
        matched(&own, &["one"]),
        matched(&named, &["one"]),
        matched(&renamed, &[]),
    ];
    stores.logs.record(&records).await.unwrap();
    let find = async |reference: EventReference| {
        stores
            .logs
            .event(&acme(), &reference)
            .await
            .unwrap()
            .map(|history| history.event.eid)
    };
    assert_eq!(find(EventReference::Internal(own.eid)).await, Some(own.eid));
    assert_eq!(
        find(EventReference::Client(own.id.clone())).await,
        Some(own.eid)
    );
    assert_eq!(
        find(EventReference::Client("order-7".to_owned())).await,
        Some(renamed.eid)
    );
    assert_eq!(
        find(EventReference::Client(named.eid.to_string())).await,
        None
    );
    let delivery = DeliveryId::derive(named.eid, "one");
    assert_eq!(
        find(EventReference::Delivery(delivery)).await,
        Some(named.eid)
    );
    let missing = DeliveryId::derive(named.eid, "two");
    assert_eq!(find(EventReference::Delivery(missing)).await, None);
    for (reference, lines) in [
        (EventReference::Client("order-7".to_owned()), 2),
        (EventReference::Client(own.id.clone()), 1),
        (EventReference::Delivery(delivery), 1),
        (EventReference::Delivery(missing), 0),
    ] {
        let filter = DeliveryFilter {
            event: Some(reference),
            ..DeliveryFilter::default()
        };
        assert_eq!(list(stores, &filter).await.len(), lines, "{filter:?}");
    }
}

pub(crate) async fn lines_of_some_deliveries(stores: &Stores) {
    let (one, two) = (event(1, at(0)), event(2, at(1)));
    let early = record(attempted(&two, "one", 1, Status::Processed));
    stores
        .logs
        .record(&[matched(&one, &["one", "two"]), early])
        .await
        .unwrap();
    let ids = [(&one, "two"), (&two, "one")].map(|(event, t)| DeliveryId::derive(event.eid, t));
    let lines = stores.logs.lines(&acme(), &ids).await.unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|line| line.delivery.as_ref().unwrap().id)
        .collect();
    assert_eq!(found, [ids[0]], "the event of the other is not known yet");
    stores
        .logs
        .record(&[matched(&two, &["one"])])
        .await
        .unwrap();
    assert_eq!(stores.logs.lines(&acme(), &ids).await.unwrap().len(), 2);
    assert_eq!(stores.logs.lines(&acme(), &[]).await.unwrap(), []);
}

pub(crate) async fn another_project_sees_nothing(stores: &Stores) {
    let event = event(1, at(0));
    stores
        .logs
        .record(&[matched(&event, &["one"])])
        .await
        .unwrap();
    let other: ProjectName = "other".parse().unwrap();
    let delivery = DeliveryId::derive(event.eid, "one");
    let listed = stores
        .logs
        .deliveries(&other, &DeliveryFilter::default(), None, 10)
        .await;
    assert_eq!(listed.unwrap(), []);
    assert_eq!(stores.logs.lines(&other, &[delivery]).await.unwrap(), []);
    for reference in [
        EventReference::Internal(event.eid),
        EventReference::Delivery(delivery),
        EventReference::Client(event.id.clone()),
    ] {
        assert_eq!(stores.logs.event(&other, &reference).await.unwrap(), None);
    }
}
