//! Schedules strike when they are due, once for each time, whichever replica sees it.

use domain::schedule::{Cron, Dialect, Payload, Schedule};
use domain::trigger::Trigger;
use jiff::{Timestamp, ToSpan as _};
use protocol::fault::{Fault, FaultKind};
use protocol::imports::v1::ImportRequest;
use protocol::schedules::v1 as wire;
use protocol::well_known::FieldMask;
use testkit::eventually;
use tonic::Status;

use crate::support::{Handler, SOON, World, now};

fn nightly() -> wire::Schedule {
    wire::Schedule {
        name: "nightly".to_owned(),
        cron: "0 3 * * *".to_owned(),
        function: "clean-up".to_owned(),
        parameters: r#"{"days": 7}"#.to_owned(),
        ..wire::Schedule::default()
    }
}

fn fault<T: std::fmt::Debug>(answer: Result<T, Status>) -> Fault {
    Fault::from_status(&answer.unwrap_err())
}

/// Stores a schedule of every minute that was to strike at this time.
async fn store_due(world: &World, name: &str, due: Timestamp) {
    let schedule = Schedule {
        project: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        package: None,
        job: "HourlyJob".to_owned(),
        cron: Cron::parse("* * * * *", Dialect::Cron).unwrap(),
        time_zone: "UTC".to_owned(),
        payload: Payload::Parameters(r#"{"days": 7}"#.to_owned()),
        is_enabled: true,
        next_at: Some(due),
        last_at: None,
        created_at: due,
        updated_at: due,
    };
    let (name, function) = (schedule.name.clone(), "clean-up".parse().unwrap());
    let trigger = Trigger::new(schedule.project.clone(), name, function, due).of_schedule();
    world
        .store
        .create_schedule(&schedule, &trigger)
        .await
        .unwrap();
}

/// The full minute so many minutes ago.
fn minutes_ago(minutes: i64) -> Timestamp {
    let minute = now().as_second().div_euclid(60) - minutes;
    Timestamp::from_second(minute * 60).unwrap()
}

impl Handler {
    async fn creates_schedule(&self, schedule: wire::Schedule) -> Result<wire::Schedule, Status> {
        let request = wire::CreateScheduleRequest {
            schedule: Some(schedule),
        };
        let answer = self
            .schedules()
            .create_schedule(self.with_key(request))
            .await?;
        Ok(answer.into_inner())
    }

    async fn gets_schedule(&self, name: &str) -> Result<wire::Schedule, Status> {
        let name = name.to_owned();
        let request = self.with_key(wire::GetScheduleRequest { name });
        Ok(self.schedules().get_schedule(request).await?.into_inner())
    }
}

#[tokio::test]
async fn a_schedule_is_created_changed_and_deleted_with_its_trigger() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let lost = fault(handler.creates_schedule(nightly()).await);
    assert_eq!(
        lost.kind,
        FaultKind::NotFound,
        "its function does not exist"
    );
    handler
        .create("clean-up", "http://localhost:9000/", &[])
        .await;
    let created = handler.creates_schedule(nightly()).await.unwrap();
    assert_eq!(
        (created.job.as_str(), created.time_zone.as_str()),
        ("nightly", "UTC")
    );
    assert!(created.next_at.is_some());
    assert_eq!(handler.gets_schedule("nightly").await.unwrap(), created);
    let again = fault(handler.creates_schedule(nightly()).await);
    assert_eq!(again.kind, FaultKind::AlreadyExists);
    let past = wire::Schedule {
        name: "gone-by".to_owned(),
        cron: "0 0 1 1 ? 2020".to_owned(),
        dialect: "yandex".to_owned(),
        ..nightly()
    };
    let past = fault(handler.creates_schedule(past).await);
    assert_eq!(past.field.as_deref(), Some("schedule.cron"));

    let change = |paths: &[&str], schedule: wire::Schedule| {
        handler.with_key(wire::UpdateScheduleRequest {
            schedule: Some(schedule),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        })
    };
    let weekly = wire::Schedule {
        cron: "0 3 * * SUN".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        enabled: Some(false),
        ..nightly()
    };
    let paths = ["cron", "time_zone", "enabled"];
    let changed = handler
        .schedules()
        .update_schedule(change(&paths, weekly))
        .await;
    let changed = changed.unwrap().into_inner();
    assert_eq!(changed.cron, "0 3 * * SUN");
    assert_eq!(
        changed.parameters, r#"{"days": 7}"#,
        "what is not named stays"
    );
    assert_eq!(changed.enabled, Some(false));
    let unknown = handler
        .schedules()
        .update_schedule(change(&["job"], nightly()))
        .await;
    assert_eq!(fault(unknown).field.as_deref(), Some("update_mask"));

    let name = || "nightly".to_owned();
    let delete = || handler.with_key(wire::DeleteScheduleRequest { name: name() });
    handler.schedules().delete_schedule(delete()).await.unwrap();
    assert_eq!(
        fault(handler.gets_schedule("nightly").await).kind,
        FaultKind::NotFound
    );
    let again = handler.schedules().delete_schedule(delete()).await;
    assert_eq!(fault(again).kind, FaultKind::NotFound);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_25_a_strike_calls_its_function_with_the_parameters() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("clean-up", "http://localhost:9000/", &[])
        .await;
    handler
        .create("other", "http://localhost:9000/", &["5000"])
        .await;
    // It was missed for an hour: the latest time is made up for, and only that.
    store_due(&world, "hourly", minutes_ago(60)).await;
    outgoing.wait_for(2, 1).await;
    let (_, consignment) = &outgoing.consignments[0];
    let data: serde_json::Value = serde_json::from_slice(&consignment.event.data).unwrap();
    assert_eq!(data["parameters"], serde_json::json!({"days": 7}));
    assert_eq!(
        (&data["trigger_id"], &data["job"]),
        (&"hourly".into(), &"HourlyJob".into())
    );
    assert!(consignment.event.time >= minutes_ago(2));
    let mut called: Vec<String> = outgoing
        .targets()
        .iter()
        .map(|target| target.trigger.to_string())
        .collect();
    called.sort();
    called.dedup();
    assert_eq!(
        called,
        ["hourly", "other"],
        "whoever asks for the type is told too"
    );
    let moved = eventually(SOON, "the schedule has moved on", async || {
        let stored = handler.gets_schedule("hourly").await.unwrap();
        stored.last_at.is_some().then_some(stored)
    })
    .await;
    let next = protocol::from_timestamp(&moved.next_at.unwrap()).unwrap();
    assert!(next > now());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_28_each_of_two_schedules_of_one_time_strikes() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("clean-up", "http://localhost:9000/", &[])
        .await;
    store_due(&world, "one-one", minutes_ago(1)).await;
    store_due(&world, "two-two", minutes_ago(1)).await;
    outgoing.wait_for(2, 2).await;
    let mut called: Vec<String> = outgoing
        .targets()
        .iter()
        .map(|target| target.trigger.to_string())
        .collect();
    called.sort();
    called.dedup();
    assert_eq!(called, ["one-one", "two-two"]);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn several_replicas_strike_once_for_each_time() {
    let world = World::full().await;
    let (one, other) = tokio::join!(Handler::start(&world), Handler::start(&world));
    let mut outgoing = world.outgoing();
    one.create("clean-up", "http://localhost:9000/", &[]).await;
    for number in 0..20 {
        store_due(&world, &format!("job-{number}"), minutes_ago(3)).await;
    }
    eventually(SOON, "all of them have struck", async || {
        outgoing.take();
        let project = "default".parse().unwrap();
        let page = world
            .store
            .schedules(&project, None, None, 100)
            .await
            .unwrap();
        page.items
            .iter()
            .all(|schedule| schedule.last_at.is_some())
            .then_some(())
    })
    .await;
    outgoing.wait_for(20, 20).await;
    let mut struck: Vec<_> = outgoing
        .consignments
        .iter()
        .map(|(_, consignment)| (consignment.event.subject.clone(), consignment.event.time))
        .collect();
    let count = struck.len();
    struck.sort();
    struck.dedup();
    assert_eq!(count, struck.len(), "no time twice");
    tokio::join!(one.stop(), other.stop());
    world.stop().await;
}

#[tokio::test]
async fn a_schedule_can_be_run_by_hand_and_one_that_is_off_does_not_strike() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("clean-up", "http://localhost:9000/", &[])
        .await;
    let off = wire::Schedule {
        enabled: Some(false),
        cron: "* * * * *".to_owned(),
        ..nightly()
    };
    let before = handler.creates_schedule(off).await.unwrap();
    assert_eq!(world.store.next_schedule_due().await.unwrap(), None);
    let run = handler.with_key(wire::RunScheduleRequest {
        name: "nightly".to_owned(),
    });
    let run = handler
        .schedules()
        .run_schedule(run)
        .await
        .unwrap()
        .into_inner();
    outgoing.wait_for(1, 1).await;
    let (_, consignment) = &outgoing.consignments[0];
    assert_eq!(consignment.event.eid.to_string(), run.eid);
    assert!(consignment.event.time > now() - 1.minute());
    let after = handler.gets_schedule("nightly").await.unwrap();
    assert_eq!((after.next_at, after.last_at), (before.next_at, None));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_27_jobs_of_a_hook_file_become_schedules() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("shop/main", "http://localhost:9000/", &[])
        .await;
    let file = r#"{"kiicloud://scheduler": {
        "HourlyJob": {"cron": "1 * * * *", "endpoint": "main", "what": "EXECUTE_SERVER_CODE"},
        "HourlyJob": {"cron": "15 * * * *", "endpoint": "main", "what": "EXECUTE_SERVER_CODE",
                      "parameters": {"arg1": "hoge"}}}}"#;
    let request = ImportRequest {
        kind: "kii".to_owned(),
        package: "shop".to_owned(),
        file: file.as_bytes().to_vec().into(),
        ..ImportRequest::default()
    };
    let imported = handler
        .imports()
        .import(handler.with_key(request))
        .await
        .unwrap();
    let imported = imported.into_inner();
    assert_eq!(imported.warnings[0].code, "HOOK_DUP_JOB");
    assert_eq!(imported.version, 1);
    let schedule = handler.gets_schedule("shop-hourlyjob").await.unwrap();
    assert_eq!(
        (schedule.job.as_str(), schedule.cron.as_str()),
        ("HourlyJob", "15 * * * *")
    );
    assert_eq!(schedule.parameters, r#"{"arg1": "hoge"}"#);
    assert_eq!(
        (schedule.package.as_str(), schedule.depth_max),
        ("shop", Some(0))
    );
    handler.stop().await;
    world.stop().await;
}
