//! What another system was configured to do goes on here: its file is imported, exported, rolled back,
//! and its jobs run by the clock.

use std::path::PathBuf;

use harness::{Client, Embedded, SOON};
use serde_json::Value;
use testkit::{Receiver, eventually};

/// A file of the seeds, as it stands.
fn seed(name: &str) -> PathBuf {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/domain/tests/seeds");
    PathBuf::from(seeds).join(name)
}

#[tokio::test]
async fn s3_01_s3_35_a_hook_file_is_imported_calls_its_functions_and_is_exported_again() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    for name in ["shop/func1", "shop/func2"] {
        client.create_function(name, &receiver.url("/"), &[]).await;
    }
    let file = seed("kii-buckets.json").display().to_string();
    let import = ["import", "kii", &file, "--package", "shop"];
    let dry = client
        .run(&[&import[..], &["--dry-run"]].concat())
        .await
        .done()
        .object();
    assert_eq!(
        (&dry["version"], dry["triggers"].as_array().unwrap().len()),
        (&Value::from(0), 2)
    );
    assert_eq!(
        client.run(&["triggers", "list"]).await.done().objects(),
        [Value::Null; 0]
    );
    let done = client.run(&import).await.done().object();
    assert_eq!(
        (&done["version"], &done["warnings"]),
        (&Value::from(1), &Value::from(0))
    );

    let subject = ["--subject", "apps/a1/buckets/myBucket/objects/o1"];
    let emitted = client.emit("DATA_OBJECT_DELETED", &subject).await;
    let line = client
        .log_line(emitted["eid"].as_str().unwrap(), "processed")
        .await;
    assert_eq!(line["function"], "shop/func2");

    let export = client
        .run_as_people_do(&["export", "kii", "--package", "shop"])
        .await
        .done();
    assert_eq!(export.stdout, std::fs::read_to_string(&file).unwrap());
    let users = seed("kii-users.json").display().to_string();
    let unknown = client
        .run_as_people_do(&["import", "kii", &users, "--package", "shop"])
        .await;
    assert_eq!(unknown.code, 3, "there is no function main");
    let place = format!("{users}:6:13: error HOOK_ENDPOINT_UNKNOWN");
    assert!(unknown.stdout.starts_with(&place), "{}", unknown.stdout);
    assert!(
        unknown.stderr.contains("nothing was installed"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test]
async fn s3_32_s3_33_versions_roll_back_and_a_jobs_runs_are_listed() {
    let system = Embedded::start().await;
    let client = system.client();
    let receiver = Receiver::start().await;
    let deploy = async |path: &str| {
        let file = system.folder().join("version.json");
        let document = format!(
            r#"{{"functions": [{{"name": "main", "url": "{}"}}],
                "schedules": [{{"name": "nightly", "job": "NightlyJob", "cron": "0 3 * * *",
                                "function": "main", "parameters": {{"days": 7}}}}]}}"#,
            receiver.url(path)
        );
        std::fs::write(&file, document).unwrap();
        let file = file.display().to_string();
        client
            .run(&["packages", "deploy", "shop", &file])
            .await
            .done()
            .object()
    };
    assert_eq!(deploy("/v1").await["created"][0]["function"], "shop/main");
    assert_eq!(deploy("/v2").await["version"], 2);
    client
        .run(&["packages", "activate", "shop", "1"])
        .await
        .done();
    let versions = client
        .run(&["packages", "versions", "shop"])
        .await
        .done()
        .objects();
    let active: Vec<bool> = versions
        .iter()
        .map(|one| one["active"].as_bool().unwrap())
        .collect();
    assert_eq!(active, [false, true]);

    let run = client
        .run(&["schedules", "run-now", "nightly"])
        .await
        .done()
        .object();
    let history = runs(&client, &[]).await;
    assert_eq!(history[0]["eid"], run["eid"]);
    assert_eq!(history[0]["job"], "NightlyJob");
    assert_eq!(receiver.requests()[0].path, "/v1");
    for time in ["started", "finished"] {
        assert!(
            history[0][time].as_str().unwrap().ends_with('Z'),
            "{history:?}"
        );
    }
    let started = history[0]["started"].as_str().unwrap();
    let before = client
        .run(&["schedules", "history", "nightly", "--to", started])
        .await
        .done();
    assert_eq!(before.objects(), [Value::Null; 0]);
}

/// The runs of the schedule, once the last one is over.
async fn runs(client: &Client, more: &[&str]) -> Vec<Value> {
    let words = [&["schedules", "history", "nightly"], more].concat();
    eventually(SOON, "a run is over", async || {
        let runs = client.run(&words).await.done().objects();
        let is_over = runs.first().is_some_and(|run| run["status"] == "processed");
        is_over.then_some(runs)
    })
    .await
}
