//! What is answered: that events are accepted, and what came of waiting for one.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use domain::reply::{Answered, Verdict};
use http::StatusCode;
use http::header::{self, HeaderValue};
use protocol::fault::{Fault, FaultKind};
use protocol::problem;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::emit::{Accepted, Came, Waited};

/// One event that was accepted.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    id: &'a str,
    duplicate: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn of(accepted: &'a Accepted) -> Self {
        Self {
            id: &accepted.id,
            duplicate: accepted.is_duplicate,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Answers<'a> {
    pub(super) events: Vec<Answer<'a>>,
}

/// Messages that were taken in, and how many were passed over.
#[derive(Serialize)]
pub(super) struct TakenAnswer<'a> {
    pub(super) events: Vec<Answer<'a>>,
    pub(super) ignored: u32,
}

/// What a function answered to an event.
#[derive(Serialize)]
struct Replied<'a> {
    id: &'a str,
    duplicate: bool,
    function: String,
    status: u16,
    content_type: Option<&'a str>,
    result: Box<RawValue>,
    truncated: bool,
}

pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let body = serde_json::to_vec(answer).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

pub(super) fn accepted(answer: &impl Serialize) -> Response {
    json(StatusCode::ACCEPTED, answer)
}

/// What came of an event that was waited for.
pub(super) fn waited(waited: &Waited) -> Response {
    match &waited.came {
        Came::Duplicate => accepted(&Answer::of(&waited.accepted)),
        Came::Verdict(Verdict::Answered(answered)) => {
            let replied = Replied {
                id: &waited.accepted.id,
                duplicate: false,
                function: answered.function.to_string(),
                status: answered.status,
                content_type: answered.content_type.as_deref(),
                result: result(answered),
                truncated: answered.is_truncated,
            };
            json(StatusCode::OK, &replied)
        }
        came => nothing(&waited.accepted, came),
    }
}

/// Why an event that was waited for has no answer.
pub(super) fn nothing(accepted: &Accepted, came: &Came) -> Response {
    let (status, code, message) = match came {
        Came::Verdict(Verdict::NoMatch) => (
            StatusCode::NOT_FOUND,
            "no_matching_trigger",
            "no function is called by this event".to_owned(),
        ),
        Came::Verdict(Verdict::AllFailed) => (
            StatusCode::BAD_GATEWAY,
            "function_failed",
            format!("every function that {} called failed", accepted.id),
        ),
        Came::Nothing | Came::Duplicate | Came::Verdict(Verdict::Answered(_)) => (
            StatusCode::GATEWAY_TIMEOUT,
            "no_answer_in_time",
            format!(
                "no function has answered to {} in time; its delivery goes on",
                accepted.id
            ),
        ),
    };
    let fault = Fault::new(FaultKind::NotFound, message);
    problem::response_as(status, code, &fault)
        .map(Body::from)
        .into_response()
}

/// The body of an answer as JSON: as it is where it is JSON, `null` where there is none, else text.
pub(super) fn result(answered: &Answered) -> Box<RawValue> {
    let body = &answered.body;
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
