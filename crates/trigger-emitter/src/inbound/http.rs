//! `POST /v1/projects/{project}/events`: `CloudEvents` in each mode, and plain JSON.

mod attributes;
mod body;
mod json;
mod media;
mod structured;

mod binary;
mod plain;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use domain::access::Scope;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use protocol::access::{Caller, admit_named};
use protocol::fault::{Fault, FaultKind};
use protocol::problem;
use serde::Serialize;
use telemetry::trace::HEADER;
use tracing::Instrument as _;

use crate::accept::Call;
use crate::draft::{Dialect, Draft};
use crate::emit::{Accepted, Door};
use crate::inbound::{call_span, lineage};
use crate::{error, metrics};
use body::{Incoming, Unread, announced_bytes};
use media::Mode;

/// Clients write UUIDs or hashes here.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

const EVENTS: &str = "/v1/projects/{project}/events";

/// What one request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    /// A client that sends slower than this holds up what was set aside for it.
    pub(crate) body_timeout: Duration,
}

#[derive(Debug)]
struct Http {
    door: Door,
    limits: Limits,
}

pub(crate) fn router(door: Door, limits: Limits) -> Router {
    Router::new()
        .route(EVENTS, post(emit).fallback(refuse_method))
        .with_state(Arc::new(Http { door, limits }))
}

async fn refuse_method(method: Method) -> Response {
    problem::method_not_allowed(&method, "POST")
        .map(Body::from)
        .into_response()
}

async fn emit(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let span = call_span(
        request
            .headers()
            .get(HEADER)
            .and_then(|value| value.to_str().ok()),
    );
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body);
    let emitted = http.emit(&project, &parts.headers, &mut body);
    match emitted.instrument(span).await {
        Ok(answer) => answer,
        Err(refusal) => {
            metrics::refused(refusal.code());
            body.discard(&parts.headers).await;
            refusal.response()
        }
    }
}

/// A call that is not answered with 202.
#[derive(Debug)]
enum Refusal {
    Fault(Fault),
    MediaType(Fault),
    TooSlow(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Refusal {
    const fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.kind.code(),
            Self::MediaType(_) => "unsupported_media_type",
            Self::TooSlow(_) => "too_slow",
        }
    }

    fn response(&self) -> Response {
        let response = match self {
            Self::Fault(fault) => problem::response(fault),
            Self::MediaType(fault) => {
                problem::response_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, self.code(), fault)
            }
            Self::TooSlow(fault) => {
                problem::response_as(StatusCode::REQUEST_TIMEOUT, self.code(), fault)
            }
        };
        response.map(Body::from).into_response()
    }
}

/// What a request brings.
enum Brought {
    One(Box<Draft>),
    Many(Vec<Draft>),
}

impl Http {
    async fn emit(
        &self,
        project: &str,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Response, Refusal> {
        let caller = self.admit(headers, project)?;
        let mode = media::mode(headers).map_err(Refusal::MediaType)?;
        let key = idempotency_key(headers)?;
        // What is not ASCII is no lineage, but it is not an absent one either.
        let lineage = lineage(|name| Some(headers.get(name)?.to_str().unwrap_or_default()))?;
        // Held until the answer: what a body takes is bounded over all requests.
        let _room = self.door.room(self.expected_bytes(headers)?)?;
        let body = self.read(body).await?;
        let (brought, dialect) = read_events(mode, headers, &body)?;
        let call = Call {
            project: caller.project().clone(),
            session: caller.session().cloned(),
            dialect,
            traceparent: text(headers, HEADER),
            lineage,
        };
        drop(body);
        match brought {
            Brought::One(draft) => {
                let accepted = self.door.emit(&call, *draft, key).await?;
                Ok(accepted_response(&Answer::of(&accepted)))
            }
            Brought::Many(drafts) => {
                let accepted = self.door.emit_all(&call, drafts, key).await?;
                let events = accepted.iter().map(Answer::of).collect();
                Ok(accepted_response(&Answers { events }))
            }
        }
    }

    fn admit(&self, headers: &HeaderMap, project: &str) -> Result<Caller, Fault> {
        let authorization = headers.get(header::AUTHORIZATION);
        // What is not ASCII is no key, but it is not an absent one either.
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        self.door.admit(|view, keys_required| {
            let named = Some(project);
            admit_named(view, authorization, named, Scope::Emit, keys_required)
        })
    }

    fn expected_bytes(&self, headers: &HeaderMap) -> Result<usize, Fault> {
        match announced_bytes(headers) {
            Some(bytes) if bytes > self.limits.body_bytes_max => Err(self.too_large()),
            Some(bytes) => Ok(bytes),
            None => Ok(self.limits.body_bytes_max),
        }
    }

    async fn read(&self, body: &mut Incoming) -> Result<Bytes, Refusal> {
        let Limits {
            body_bytes_max,
            body_timeout,
        } = self.limits;
        let read = body.read(body_bytes_max, body_timeout).await;
        read.map_err(|unread| match unread {
            Unread::TooLarge => Refusal::Fault(self.too_large()),
            Unread::TooSlow => {
                let message = format!("the body took longer than {body_timeout:?}");
                Refusal::TooSlow(Fault::new(FaultKind::Invalid, message))
            }
            // The client has gone: nobody reads this.
            Unread::BrokeOff => {
                Refusal::Fault(Fault::new(FaultKind::Invalid, "the body broke off"))
            }
        })
    }

    fn too_large(&self) -> Fault {
        let allowed = format!("at most {} bytes", self.limits.body_bytes_max);
        error::too_large("body", "the request is too large", allowed)
    }
}

fn read_events(mode: Mode, headers: &HeaderMap, body: &Bytes) -> Result<(Brought, Dialect), Fault> {
    match mode {
        Mode::Binary => {
            let draft = binary::read(headers, body.clone())?;
            Ok((Brought::One(Box::new(draft)), Dialect::CloudEventsHeaders))
        }
        Mode::Structured => {
            let members = json::object(body)?;
            let draft = structured::read(&members, body)?;
            Ok((Brought::One(Box::new(draft)), Dialect::CloudEventsJson))
        }
        Mode::Batch => {
            let drafts = json::each(body, |members| structured::read(members, body))?;
            Ok((Brought::Many(drafts), Dialect::CloudEventsJson))
        }
        Mode::Plain if json::is_array(body) => {
            let drafts = json::each(body, |members| plain::read(members, body))?;
            Ok((Brought::Many(drafts), Dialect::PlainJson))
        }
        Mode::Plain => {
            let members = json::object(body)?;
            // A CloudEvent under the media type of all JSON is recognised by its version.
            let (draft, dialect) = if members.get("specversion").is_some() {
                (structured::read(&members, body)?, Dialect::CloudEventsJson)
            } else {
                (plain::read(&members, body)?, Dialect::PlainJson)
            };
            Ok((Brought::One(Box::new(draft)), dialect))
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    check_idempotency_key(IDEMPOTENCY_KEY, value.to_str().unwrap_or_default()).map(Some)
}

/// # Errors
/// When the key is empty, too long or not plain ASCII.
pub(crate) fn check_idempotency_key<'a>(field: &str, key: &'a str) -> Result<&'a str, Fault> {
    let is_plain = key
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && is_plain {
        return Ok(key);
    }
    let allowed = format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters");
    Err(Fault::invalid(
        field,
        key,
        "the idempotency key cannot be used",
        allowed,
    ))
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    duplicate: bool,
}

impl<'a> Answer<'a> {
    fn of(accepted: &'a Accepted) -> Self {
        Self {
            id: &accepted.id,
            duplicate: accepted.is_duplicate,
        }
    }
}

#[derive(Serialize)]
struct Answers<'a> {
    events: Vec<Answer<'a>>,
}

fn accepted_response(answer: &impl Serialize) -> Response {
    let body = serde_json::to_vec(answer).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    let content_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
