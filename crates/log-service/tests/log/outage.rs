//! An outage of the database holds records up and loses none; one bad record holds up nobody.

use std::sync::Arc;

use testkit::servers::Postgres;

use crate::harness::{GENEROUS, attempted, event, matched, start_on};

#[tokio::test]
async fn records_wait_in_the_queue_while_the_database_is_away() {
    let mut server = Postgres::start().await.unwrap();
    let database = server.database().await;
    let config = storage::Config::at(database.url().parse().unwrap());
    let postgres = storage::postgres::connect(&config).unwrap();
    postgres.migrate().await.unwrap();
    let system = start_on(
        postgres.logs(),
        postgres.redrives(),
        tempfile::tempdir().unwrap(),
        None,
    )
    .await;
    let ready = async || system.health.is_ready().then_some(());
    testkit::eventually(GENEROUS, "the log is ready", ready).await;
    let first = event(1, "order.placed");
    system.publish(&[matched(&first, &["welcome"])]).await;
    system.lines("", 1).await;

    server.kill().unwrap();
    system
        .publish(&[attempted(&first, "welcome", 1, 200)])
        .await;
    system
        .publish(&[matched(&event(2, "order.placed"), &["welcome"])])
        .await;
    let away = async || (!system.health.is_ready()).then_some(());
    testkit::eventually(GENEROUS, "the log says that it is not ready", away).await;

    server.restart().await.unwrap();
    system.lines("", 2).await;
    system.lines("status=processed", 1).await;
    testkit::eventually(GENEROUS, "the log is ready again", ready).await;
}

#[tokio::test]
async fn a_record_that_can_never_be_stored_is_set_aside_and_the_rest_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = storage::sqlite::open(&folder.path().join("logs"))
        .await
        .unwrap();
    let picky = Arc::new(picky::Picky {
        store: sqlite.logs(),
        refused: "event-2".to_owned(),
    });
    let system = start_on(picky, sqlite.redrives(), folder, None).await;
    let records: Vec<_> = (1..=5)
        .map(|number| matched(&event(number, "order.placed"), &["welcome"]))
        .collect();
    system.publish(&records).await;
    system
        .publish(&[matched(&event(6, "order.placed"), &["welcome"])])
        .await;
    system.lines("", 5).await;
    let reasons = system.reasons_set_aside(1).await;
    assert!(
        reasons[0].starts_with("record 2 of 5 cannot be stored"),
        "{reasons:?}"
    );
}

mod picky {
    //! A store that refuses one event for good, as a database does that cannot hold its text.

    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use domain::Timestamp;
    use domain::id::DeliveryId;
    use domain::name::ProjectName;
    use domain::record::Record;
    use storage::log_store::{Cursor, DeliveryFilter, DeliveryLine, EventHistory, EventReference};
    use storage::{Error, LogStore};

    #[derive(Debug)]
    pub(super) struct Picky {
        pub(super) store: Arc<dyn LogStore>,
        pub(super) refused: String,
    }

    #[async_trait]
    impl LogStore for Picky {
        async fn record(&self, records: &[Record]) -> Result<(), Error> {
            let is_refused = |record: &Record| matches!(record, Record::Matched(matched) if matched.event.id == self.refused);
            if records.iter().any(is_refused) {
                return Err(Error::Corrupt {
                    what: "event",
                    problem: "not to be had".to_owned(),
                });
            }
            self.store.record(records).await
        }

        async fn make_owed(&self, told_before: Timestamp) -> Result<bool, Error> {
            self.store.make_owed(told_before).await
        }

        async fn deliveries(
            &self,
            project: &ProjectName,
            filter: &DeliveryFilter,
            before: Option<Cursor>,
            limit: u32,
        ) -> Result<Vec<DeliveryLine>, Error> {
            self.store.deliveries(project, filter, before, limit).await
        }

        async fn lines(
            &self,
            project: &ProjectName,
            deliveries: &[DeliveryId],
        ) -> Result<Vec<DeliveryLine>, Error> {
            self.store.lines(project, deliveries).await
        }

        async fn event(
            &self,
            project: &ProjectName,
            event: &EventReference,
        ) -> Result<Option<EventHistory>, Error> {
            self.store.event(project, event).await
        }

        async fn keep_partitions(
            &self,
            now: Timestamp,
            retention: Duration,
        ) -> Result<Vec<String>, Error> {
            self.store.keep_partitions(now, retention).await
        }

        async fn ping(&self) -> Result<(), Error> {
            self.store.ping().await
        }
    }
}
