//! `tripline migrate`: creates or updates the tables, and at first the first project and its key.

use std::process::ExitCode;

use anyhow::Context;
use lifecycle::Tasks;

use super::serve::Settings;
use crate::command_line::Migrate;

pub(crate) fn run(options: &Migrate) -> ExitCode {
    process::run("migrate", &options.process, async |settings, tasks| {
        let done = migrate(settings).await;
        // Nothing goes on afterwards: the process ends as soon as it is drained.
        Tasks::stop(tasks);
        done
    })
}

async fn migrate(settings: Settings) -> anyhow::Result<()> {
    let postgres = storage::postgres::connect(&settings.storage).context("set up the database")?;
    postgres
        .migrate()
        .await
        .context("create or update the tables")?;
    let cipher = settings
        .storage
        .cipher()
        .context("read storage.encryption_key")?;
    let registry = postgres.registry(cipher);
    let key = function_handler::bootstrap(registry.as_ref(), jiff::Timestamp::now())
        .await
        .context("create project default")?;
    eprintln!("The tables are up to date.");
    if let Some(key) = key {
        eprintln!("Project default was created. Its key, with all scopes, is shown once:");
        println!("{key}");
    }
    postgres.close().await;
    Ok(())
}
