//! `POST /v1/projects/{project}/scripts/{event}`: scripts are saved as DreamFactory saves them, 201
//! when there was none for the event and 200 when there was.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use domain::access::Scope;
use protocol::access::authorise_named;
use protocol::fault::Fault;
use protocol::gateway::v1::PutScriptRequest;
use protocol::problem;
use serde::{Deserialize, Serialize};

use super::gateway::Scripts;

/// What is said of a script. DreamFactory's own names, with the function in place of code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    function: String,
    is_active: Option<bool>,
    #[serde(default)]
    allow_event_modification: bool,
    #[serde(default)]
    on_error: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Serialize)]
struct Saved<'a> {
    name: &'a str,
    function: String,
    is_active: bool,
    allow_event_modification: bool,
    on_error: &'static str,
    priority: i32,
}

pub(crate) fn router(scripts: Scripts) -> Router {
    Router::new()
        .route(
            "/v1/projects/{project}/scripts/{event}",
            post(save).put(save),
        )
        .with_state(scripts)
}

async fn save(
    State(scripts): State<Scripts>,
    Path((project, event)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match save_script(&scripts, &project, &event, &headers, &body).await {
        Ok(answer) => answer,
        Err(fault) => problem::response(&fault)
            .map(axum::body::Body::from)
            .into_response(),
    }
}

async fn save_script(
    scripts: &Scripts,
    project: &str,
    event: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Fault> {
    let gate = &scripts.desk.gate;
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
    let project = authorise_named(
        &gate.view.read(),
        authorization,
        Some(project),
        Scope::Manage,
        gate.access.keys_required,
    )?;
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let allowed = "an object with function, is_active, allow_event_modification, on_error \
                       and priority";
        Fault::invalid("body", "", error.to_string(), allowed)
    })?;
    let request = PutScriptRequest {
        event: event.to_owned(),
        function: body.function,
        active: body.is_active,
        allow_event_modification: body.allow_event_modification,
        on_error: body.on_error,
        priority: body.priority,
        retry: None,
    };
    let (trigger, created) = scripts.put(&project, &request).await?;
    let Some(script) = trigger.script.as_deref() else {
        return Err(Fault::not_found("script", event));
    };
    let saved = Saved {
        name: script.event.as_str(),
        function: trigger.function.to_string(),
        is_active: trigger.is_enabled,
        allow_event_modification: script.allow_event_modification,
        on_error: script.on_error.as_str(),
        priority: script.priority,
    };
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(saved)).into_response())
}
