//! `POST /v1/projects/{project}/events`: `CloudEvents` in each mode, and plain JSON.

mod attributes;
mod body;
#[cfg(test)]
mod fuzzing;
mod json;
mod media;
mod structured;

mod binary;
mod plain;

mod answer;
mod messages;
mod schmuckli;
mod space_cloud;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use domain::access::Scope;
use domain::reply::{WAIT, WAIT_MAX, WAIT_MIN};
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use protocol::access::{Caller, admit_named};
use protocol::fault::{Fault, FaultKind};
use protocol::problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use telemetry::trace::HEADER;
use tracing::Instrument as _;

use crate::accept::Call;
use crate::draft::{Dialect, Draft};
use crate::emit::Door;
use crate::inbound::{call_span, lineage};
use crate::{error, metrics};
use answer::{Answer, Answers};
use body::{Incoming, Unread, announced_bytes};
use media::Mode;
use messages::MESSAGES;
use space_cloud::{ADMIN_QUEUE, OLD_QUEUE, QUEUE};

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
        .route(MESSAGES, post(messages::take).fallback(refuse_method))
        .route(QUEUE, post(space_cloud::queue).fallback(refuse_method))
        .route(OLD_QUEUE, post(space_cloud::queue).fallback(refuse_method))
        .route(
            ADMIN_QUEUE,
            post(space_cloud::admin_queue).fallback(refuse_method),
        )
        .with_state(Arc::new(Http { door, limits }))
}

async fn refuse_method(method: Method) -> Response {
    problem::method_not_allowed(&method, "POST")
        .map(Body::from)
        .into_response()
}

/// What may stand behind the `?` of an address that takes events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    /// Whether the answer of a function is waited for.
    sync: bool,
    /// For how long, 10 ms to 60 s.
    wait: Option<settings::Duration>,
}

impl Options {
    /// How long to wait; `None` where nobody does.
    fn wait(&self) -> Result<Option<Duration>, Fault> {
        let wait = self.wait.map_or(WAIT, settings::Duration::get);
        if !(WAIT_MIN..=WAIT_MAX).contains(&wait) {
            let value = settings::Duration::from(wait).to_string();
            let allowed = "10 ms to 60 s";
            return Err(Fault::invalid("wait", value, "is out of range", allowed));
        }
        Ok(self.sync.then_some(wait))
    }
}

async fn emit(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let options = query(&request);
    finish(request, async |headers, body| {
        http.emit(&project, &options?, headers, body).await
    })
    .await
}

/// What stands behind the `?`.
///
/// # Errors
/// When something there cannot be what it is.
fn query<T: DeserializeOwned>(request: &Request) -> Result<T, Fault> {
    let read = Query::try_from_uri(request.uri());
    read.map(|Query(options)| options).map_err(|error| {
        let given = request.uri().query().unwrap_or_default();
        let allowed = "names and values as the documents say, such as sync=true&wait=10s";
        Fault::invalid("query", given, error.body_text(), allowed)
    })
}

/// Answers a request; what remains of a refused one is read away.
async fn finish(
    request: Request,
    answer: impl AsyncFnOnce(&HeaderMap, &mut Incoming) -> Result<Response, Refusal>,
) -> Response {
    let traceparent = request.headers().get(HEADER);
    let span = call_span(traceparent.and_then(|value| value.to_str().ok()));
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body);
    match answer(&parts.headers, &mut body).instrument(span).await {
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
        options: &Options,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Response, Refusal> {
        let mut call = self.call(headers, project, Scope::Emit, Dialect::PlainJson)?;
        let wait = options.wait()?;
        let mode = media::mode(headers).map_err(Refusal::MediaType)?;
        let key = idempotency_key(headers)?;
        // Held until the answer: what a body takes is bounded over all requests.
        let _room = self.door.room(self.expected_bytes(headers)?)?;
        let body = self.read(body).await?;
        let (brought, dialect) = read_events(mode, headers, &body)?;
        call.dialect = dialect;
        drop(body);
        match (brought, wait) {
            (Brought::One(draft), None) => {
                let accepted = self.door.emit(&call, *draft, key).await?;
                Ok(answer::accepted(&Answer::of(&accepted)))
            }
            (Brought::One(draft), Some(wait)) => {
                let waited = self.door.emit_and_wait(&call, *draft, key, wait).await?;
                Ok(answer::waited(&waited))
            }
            (Brought::Many(drafts), None) => {
                let accepted = self.door.emit_all(&call, drafts, key).await?;
                let events = accepted.iter().map(Answer::of).collect();
                Ok(answer::accepted(&Answers { events }))
            }
            (Brought::Many(_), Some(_)) => {
                let message = "is for an event that is emitted alone";
                Err(Fault::invalid("sync", "true", message, "one event").into())
            }
        }
    }

    /// Who calls, in which project, and what came with the call.
    fn call(
        &self,
        headers: &HeaderMap,
        project: &str,
        scope: Scope,
        dialect: Dialect,
    ) -> Result<Call, Fault> {
        let caller = self.admit(headers, project, scope)?;
        Ok(Call {
            project: caller.project().clone(),
            session: caller.session().cloned(),
            dialect,
            traceparent: text(headers, HEADER),
            // What is not ASCII is no lineage, but it is not an absent one either.
            lineage: lineage(|name| Some(headers.get(name)?.to_str().unwrap_or_default()))?,
        })
    }

    fn admit(&self, headers: &HeaderMap, project: &str, scope: Scope) -> Result<Caller, Fault> {
        let authorization = headers.get(header::AUTHORIZATION);
        // What is not ASCII is no key, but it is not an absent one either.
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        self.door.admit(|view, keys_required| {
            admit_named(view, authorization, Some(project), scope, keys_required)
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
            if members.get(schmuckli::EVENT_ID).is_some() {
                let draft = schmuckli::read(&members)?;
                return Ok((Brought::One(Box::new(draft)), Dialect::PlainJson));
            }
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
