//! `POST /v1/projects/{project}/sessions/introspect`: token introspection, RFC 7662.

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use domain::event::is_json;
use domain::session::Session;
use domain::token::ISSUER;
use protocol::fault::{Fault, FaultKind};
use protocol::problem;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::Sessions;

const INTROSPECT: &str = "/v1/projects/{project}/sessions/introspect";

/// A session and what stands around it.
const BODY_BYTES_MAX: usize = 16 * 1024;

const ALLOWED: &str = "a function session, as 'token' of a form or of a JSON object";

pub(crate) fn router(sessions: Sessions) -> Router {
    Router::new()
        .route(INTROSPECT, post(introspect).fallback(refuse_method))
        .with_state(sessions)
}

async fn refuse_method(method: Method) -> Response {
    problem::method_not_allowed(&method, "POST")
        .map(Body::from)
        .into_response()
}

async fn introspect(
    State(sessions): State<Sessions>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let answered = sessions.answer(&project, &parts.headers, body).await;
    let mut response = match answered {
        Ok(answer) => Json(answer).into_response(),
        Err(fault) => problem::response(&fault).map(Body::from).into_response(),
    };
    // What is in force now may not be in a moment.
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

#[derive(Deserialize)]
struct Asked {
    token: String,
}

/// A session that is not in force, or nobody's of this project, says nothing else.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Inactive { active: bool },
    Active(Box<Said>),
}

/// The members are those of RFC 7662, and below them ours.
#[derive(Serialize)]
struct Said {
    active: bool,
    iss: &'static str,
    sub: String,
    client_id: String,
    token_type: &'static str,
    iat: i64,
    exp: i64,
    jti: String,
    project: String,
    actor_kind: String,
    function: String,
    delivery: String,
    event: String,
    depth: u32,
}

impl From<Session> for Answer {
    fn from(session: Session) -> Self {
        Self::Active(Box::new(Said {
            active: true,
            iss: ISSUER,
            sub: session.actor.id,
            client_id: session.function.to_string(),
            token_type: "Bearer",
            iat: session.issued_at.as_second(),
            exp: session.expires_at.as_second(),
            jti: session.id,
            project: session.project.to_string(),
            actor_kind: session.actor.kind,
            function: session.function.to_string(),
            delivery: session.delivery.to_string(),
            event: session.event.to_string(),
            depth: session.lineage.depth,
        }))
    }
}

impl Sessions {
    async fn answer(
        &self,
        project: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer, Fault> {
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        let project = self.asking_as(authorization, Some(project))?;
        let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_too_long| {
            let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
            Fault::new(FaultKind::TooLarge, message)
        })?;
        let token = token(headers, &body)?;
        let session = self.in_force(&project, &token);
        Ok(session.map_or(Answer::Inactive { active: false }, Answer::from))
    }
}

fn token(headers: &HeaderMap, body: &[u8]) -> Result<String, Fault> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let token = if content_type.is_some_and(is_json) {
        let asked: Option<Asked> = serde_json::from_slice(body).ok();
        asked.map(|asked| asked.token)
    } else {
        let mut fields = form_urlencoded::parse(body);
        let found = fields.find(|(name, _)| name == "token");
        found.map(|(_, token)| token.into_owned())
    };
    token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Fault::missing("token", ALLOWED))
}
