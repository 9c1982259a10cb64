//! Direct calls by HTTP: by the function's own path, and in extremum's form with a context.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use domain::Timestamp;
use domain::access::Scope;
use domain::delivery::ErrorClass;
use domain::function::AnswerShape;
use domain::invocation::{CALL_BYTES_MAX, DirectCall, Invocation, enveloped, failed};
use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER, Lineage};
use domain::name::ProjectName;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use protocol::access::{PROJECT_HEADER, authorise_named};
use protocol::events::v1::TakeMessagesResponse;
use protocol::fault::{Fault, FaultKind};
use protocol::problem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use telemetry::trace;
use tonic::metadata::MetadataMap;

use crate::invoke::{Invoked, Invoker, Order, of_call};
use crate::outbound::door::Door;

const FUNCTIONS: &str = "/v1/projects/{project}/functions";
const FUNCTION: &str = "/v1/projects/{project}/functions/{package}/{name}/invoke";
/// Where a package of extremum's is called.
const ROOT: &str = "/";

/// A request's body has to be here within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Http {
    invoker: Invoker,
    door: Option<Door>,
    keys_required: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    /// How long the call may take, 10 ms to 5 min.
    timeout: Option<settings::Duration>,
    /// As where messages are taken in.
    require_exchange: bool,
}

pub(crate) fn router(invoker: Invoker, door: Option<Door>, keys_required: bool) -> Router {
    let http = Http {
        invoker,
        door,
        keys_required,
    };
    Router::new()
        .route(FUNCTIONS, post(by_context).fallback(refuse_method))
        .route(FUNCTION, post(by_path).fallback(refuse_method))
        .route(ROOT, post(at_root))
        .with_state(Arc::new(http))
}

async fn refuse_method(method: Method) -> Response {
    problem::method_not_allowed(&method, "POST")
        .map(Body::from)
        .into_response()
}

async fn by_context(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    http.answer(Some(project), None, request).await
}

async fn at_root(State(http): State<Arc<Http>>, request: Request) -> Response {
    http.answer(None, None, request).await
}

async fn by_path(
    State(http): State<Arc<Http>>,
    Path((project, package, name)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    http.answer(Some(project), Some((package, name)), request)
        .await
}

impl Http {
    async fn answer(
        &self,
        project: Option<String>,
        function: Option<(String, String)>,
        request: Request,
    ) -> Response {
        match self.call(project, function, request).await {
            Ok(response) => response,
            Err(fault) => problem::response(&fault).map(Body::from).into_response(),
        }
    }

    async fn call(
        &self,
        project: Option<String>,
        function: Option<(String, String)>,
        request: Request,
    ) -> Result<Response, Fault> {
        let (parts, body) = request.into_parts();
        let Query(options) = Query::<Options>::try_from_uri(&parts.uri).map_err(|error| {
            let given = parts.uri.query().unwrap_or_default();
            Fault::invalid("query", given, error.body_text(), "timeout=10s")
        })?;
        let project = project.or_else(|| text(&parts.headers, PROJECT_HEADER));
        let known = self.authorise(&parts.headers, project.as_deref())?;
        let body = read(body).await?;
        let mut call = match Invocation::read(&body).map_err(of_call)? {
            Invocation::Direct(call) => call,
            Invocation::Messages if function.is_none() => {
                let metadata = metadata(&parts.headers, &known);
                return self.hand_on(metadata, body, options.require_exchange).await;
            }
            Invocation::Messages => {
                let message = "are for all functions that asked for them, not for one";
                let allowed = "parameters and context";
                return Err(Fault::invalid("messages", "", message, allowed));
            }
        };
        if let Some(function) = function {
            is_meant(&mut call, function)?;
        }
        let order = Order {
            project: known,
            call,
            timeout: options.timeout.map(settings::Duration::get),
            traceparent: text(&parts.headers, trace::HEADER),
            lineage: lineage(&parts.headers)?,
        };
        let invoked = self.invoker.invoke(order).await?;
        Ok(response(&invoked))
    }

    fn authorise(&self, headers: &HeaderMap, project: Option<&str>) -> Result<ProjectName, Fault> {
        let registry = &self.invoker.calls().deliverer().registry;
        if !registry.is_filled() {
            let message = "which projects and keys there are is not known here yet";
            return Err(Fault::unavailable(message));
        }
        let authorization = headers.get(header::AUTHORIZATION);
        // What is not ASCII is no key, but it is not an absent one either.
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        let (registry, scope) = (registry.read(), Scope::Emit);
        authorise_named(&registry, authorization, project, scope, self.keys_required)
    }

    /// Messages of triggers are events: the door takes them in.
    async fn hand_on(
        &self,
        metadata: MetadataMap,
        body: Bytes,
        require_exchange: bool,
    ) -> Result<Response, Fault> {
        let Some(door) = &self.door else {
            let message = "messages are not handed on here: send them to \
                 /v1/projects/{project}/messages of trigger-emitter, or set delivery_worker.door";
            return Err(Fault::unavailable(message));
        };
        let taken = door.take_messages(metadata, body, require_exchange).await;
        let taken = taken.map_err(|status| Fault::from_status(&status))?;
        let answer = serde_json::to_vec(&TakenAnswer::from(taken)).unwrap_or_default();
        Ok(json(StatusCode::ACCEPTED, answer))
    }
}

/// The path says which function is meant; a context may say the same.
fn is_meant(call: &mut DirectCall, (package, name): (String, String)) -> Result<(), Fault> {
    for (field, said, meant) in [
        ("context.package", &mut call.package, package),
        ("context.function", &mut call.function, name),
    ] {
        if let Some(said) = said.as_ref().filter(|said| **said != meant) {
            let message = "is another than the path names";
            return Err(Fault::invalid(field, said, message, meant));
        }
        *said = Some(meant);
    }
    Ok(())
}

async fn read(body: Body) -> Result<Bytes, Fault> {
    let reading = to_bytes(body, CALL_BYTES_MAX);
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_too_large_or_gone)) => {
            let allowed = format!("at most {CALL_BYTES_MAX} bytes");
            let message = "the request is too large, or broke off";
            Err(Fault {
                kind: FaultKind::TooLarge,
                ..Fault::invalid("body", "", message, allowed)
            })
        }
        Err(_elapsed) => {
            let message = format!("the body took longer than {BODY_TIMEOUT:?}");
            Err(Fault::new(FaultKind::Invalid, message))
        }
    }
}

/// Who sent a request, for the door.
fn metadata(headers: &HeaderMap, project: &ProjectName) -> MetadataMap {
    let mut passed_on = HeaderMap::new();
    for name in [
        header::AUTHORIZATION.as_str(),
        trace::HEADER,
        DEPTH_HEADER,
        ANCESTRY_HEADER,
    ] {
        if let Some(value) = headers.get(name)
            && let Ok(name) = http::HeaderName::try_from(name)
        {
            passed_on.insert(name, value.clone());
        }
    }
    if let Ok(value) = HeaderValue::try_from(project.as_str()) {
        passed_on.insert(PROJECT_HEADER, value);
    }
    MetadataMap::from_headers(passed_on)
}

fn lineage(headers: &HeaderMap) -> Result<Option<Lineage>, Fault> {
    // What is not ASCII is no lineage, but it is not an absent one either.
    let header = |name: &str| Some(headers.get(name)?.to_str().unwrap_or_default());
    Lineage::read(header(DEPTH_HEADER), header(ANCESTRY_HEADER))
        .map_err(|error| Fault::invalid(error.header, error.value, error.message, error.allowed))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
}

/// What a caller is answered: the function's result, or that it has none.
fn response(invoked: &Invoked) -> Response {
    let shape = invoked.function.settings.answer;
    let mut response = match failure(invoked) {
        None => success(invoked, shape),
        Some((status, code, message)) if shape == AnswerShape::Raw => {
            let value = invoked.answer.response.status;
            let fault = Fault {
                value: value.map(|status| status.to_string()),
                ..Fault::new(FaultKind::Unavailable, message)
            };
            problem::response_as(status, code, &fault)
                .map(Body::from)
                .into_response()
        }
        Some((status, _, message)) => {
            let body = failed(status.as_u16(), &message, Timestamp::now());
            json(status, body)
        }
    };
    // By which the log knows it.
    let ids = [
        ("x-event-id", invoked.answer.event.to_string()),
        ("x-delivery-id", invoked.answer.delivery.to_string()),
    ];
    for (name, id) in ids {
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(name, id);
        }
    }
    response
}

fn success(invoked: &Invoked, shape: AnswerShape) -> Response {
    let answer = &invoked.answer.response;
    match shape {
        AnswerShape::Raw => {
            let content_type = content_type(invoked).unwrap_or("application/json");
            let content_type = HeaderValue::try_from(content_type).ok();
            let mut response = Response::new(Body::from(answer.body.clone()));
            if let Some(content_type) = content_type {
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, content_type);
            }
            response
        }
        AnswerShape::Enveloped => json(
            StatusCode::OK,
            enveloped(result(&answer.body).get().as_bytes(), Timestamp::now()),
        ),
    }
}

/// Status, code and words of a call that has no result.
fn failure(invoked: &Invoked) -> Option<(StatusCode, &'static str, String)> {
    let answer = &invoked.answer;
    let Some((class, message)) = answer.failure() else {
        let message = "the function's answer is too large".to_owned();
        let is_cut = answer.response.truncated;
        return is_cut.then_some((StatusCode::BAD_GATEWAY, "answer_too_large", message));
    };
    Some(match class {
        ErrorClass::Timeout => (StatusCode::GATEWAY_TIMEOUT, "function_timeout", message),
        ErrorClass::Status => {
            let said = String::from_utf8_lossy(&answer.response.body);
            let said: String = said.chars().take(200).collect();
            let message = match said.is_empty() {
                true => message,
                false => format!("{message}: {said}"),
            };
            (StatusCode::BAD_GATEWAY, "function_failed", message)
        }
        _ => (StatusCode::BAD_GATEWAY, "function_failed", message),
    })
}

pub(super) fn content_type(invoked: &Invoked) -> Option<&str> {
    let mut headers = invoked.answer.response.headers.iter();
    let is_type = |name: &str| name.eq_ignore_ascii_case(header::CONTENT_TYPE.as_str());
    headers.find_map(|(name, value)| is_type(name).then_some(value))
}

/// A body as JSON: as it is where it is JSON, `null` where there is none, else text.
fn result(body: &[u8]) -> Box<RawValue> {
    let value = if body.is_empty() {
        None
    } else {
        serde_json::from_slice(body).ok().or_else(|| {
            let text = String::from_utf8_lossy(body);
            serde_json::value::to_raw_value(&text).ok()
        })
    };
    value.unwrap_or_else(|| RawValue::NULL.to_owned())
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// The same as where messages are taken in.
#[derive(Serialize)]
struct TakenAnswer {
    events: Vec<TakenEvent>,
    ignored: u32,
}

#[derive(Serialize)]
struct TakenEvent {
    id: String,
    duplicate: bool,
}

impl From<TakeMessagesResponse> for TakenAnswer {
    fn from(taken: TakeMessagesResponse) -> Self {
        let events = taken.accepted.into_iter().map(|accepted| TakenEvent {
            id: accepted.id,
            duplicate: accepted.duplicate,
        });
        Self {
            events: events.collect(),
            ignored: taken.ignored,
        }
    }
}
