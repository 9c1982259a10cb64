//! Keys for the tokens of requests: every project has a secret, the system an ed25519 key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::name::ProjectName;
use domain::token::{TokenKeys, public_keys};
use jiff::Timestamp;
use lifecycle::Tasks;
use protocol::fault::Fault;
use protocol::registry_feed::RegistryView;
use storage::RegistryStore;
use tracing::{error, info, warn};

use crate::error::{of_storage, with_causes};
use crate::index::Index;
use crate::make_secrets::make_token_key;

/// Where receivers look for the public keys.
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// A receiver may keep them this long; a new key is shown a day before it signs.
const JWKS_KEPT: &str = "public, max-age=300";

const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Makes an owner's first key; `None` when there is one.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn create(
    store: &dyn RegistryStore,
    project: Option<&ProjectName>,
    now: Timestamp,
) -> Result<Option<TokenKeys>, Fault> {
    let mut keys = TokenKeys {
        project: project.cloned(),
        keys: vec![make_token_key(project, now)?],
        revision: 0,
    };
    let stored = store.create_token_keys(&keys).await.map_err(of_storage)?;
    Ok(stored.map(|revision| {
        keys.revision = revision;
        keys
    }))
}

/// Gives everybody a key who has none: projects from before there were any, and those whose
/// creation broke off.
pub(crate) fn start(index: Arc<Index>, tasks: &Tasks) {
    let stopping = tasks.stopping();
    tasks.spawn("keys for tokens", async move {
        tokio::select! {
            () = stopping => {}
            () = keep_everybody_supplied(&index) => {}
        }
        Ok(())
    });
}

async fn keep_everybody_supplied(index: &Index) {
    let mut revisions = index.view().changes();
    loop {
        // Ends with the index, which is held here.
        let is_filled = revisions.wait_for(Option::is_some).await.is_ok();
        revisions.mark_unchanged();
        for owner in without_keys(index.view()) {
            match create(index.store(), owner.as_ref(), super::inbound::now()).await {
                Ok(None) => {}
                Ok(Some(_)) => info!(
                    project = owner.as_ref().map(ProjectName::as_str),
                    "a key for tokens was made"
                ),
                Err(fault) => {
                    warn!(error = %fault, "a key for tokens cannot be made");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    revisions.mark_changed();
                }
            }
        }
        if !is_filled || revisions.changed().await.is_err() {
            return;
        }
    }
}

fn without_keys(view: &RegistryView) -> Vec<Option<ProjectName>> {
    let registry = view.read();
    let projects = registry
        .projects()
        .map(|project| Some(project.name.clone()));
    projects
        .chain([None])
        .filter(|owner| registry.token_keys(owner.as_ref()).is_none())
        .collect()
}

/// Serves the public keys; they are nobody's secret.
pub(crate) fn router(view: RegistryView) -> Router {
    Router::new().route(JWKS_PATH, get(jwks)).with_state(view)
}

async fn jwks(State(view): State<RegistryView>) -> Response {
    let keys = view.read().token_keys(None).cloned();
    let Some(keys) = keys else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match public_keys(&keys) {
        Ok(keys) => ([(header::CACHE_CONTROL, JWKS_KEPT)], Json(keys)).into_response(),
        Err(error) => {
            error!(error = %with_causes(&error), "the system's key is unusable");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
