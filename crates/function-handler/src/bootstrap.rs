//! The first project and its first key, so that a new system can be used.

use anyhow::Context as _;
use domain::access::Scope;
use domain::name::ProjectName;
use domain::registry::Project;
use jiff::Timestamp;
use storage::RegistryStore;

use crate::make_secrets::make_key;

/// The project that calls belong to when none is named.
pub const DEFAULT_PROJECT: &str = "default";

/// Creates project `default` with one key of all scopes when there is no project at all, and
/// answers with the key, which is stored nowhere.
///
/// # Errors
/// When the store does not answer.
pub async fn bootstrap(
    store: &dyn RegistryStore,
    now: Timestamp,
) -> anyhow::Result<Option<String>> {
    if !store
        .projects()
        .await
        .context("list the projects")?
        .is_empty()
    {
        return Ok(None);
    }
    let name: ProjectName = DEFAULT_PROJECT
        .parse()
        .context("name the default project")?;
    let note = "made when the system was set up".to_owned();
    let key = make_key(&name, Scope::ALL.to_vec(), note, now)?;
    let project = Project {
        name,
        created_at: now,
        is_paused: false,
        revision: 0,
    };
    match store.create_project(&project, &key.stored).await {
        Ok(_revision) => Ok(Some(key.text)),
        // Somebody else was faster, and shows the key.
        Err(storage::Error::AlreadyExists { .. }) => Ok(None),
        Err(error) => Err(error).context("create the default project"),
    }
}
