//! Calls that the gateway answers itself, in the shape of DreamFactory's errors.

use axum::body::Body;
use domain::api_event::ApiResponse;
use domain::api_event::change::Exception;
use domain::delivery::{ErrorClass, Outcome};
use domain::gateway::path::PathFault;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use protocol::fault::{Fault, FaultKind};

/// Why a call is not passed on, or what is wrong with what came back.
#[derive(Debug)]
pub enum Refusal {
    /// Who calls, or what they call.
    Fault(Fault),
    Path(PathFault),
    /// A connection that is to become something else.
    Upgrade,
    BodyTooLarge(usize),
    BodyTooSlow,
    /// The client has gone: nobody reads this.
    BodyBrokeOff,
    /// Too many events are behind the call.
    Loop(u32),
    Busy,
    /// No answer of the service.
    Unanswered(Outcome),
    TooSlow,
    AnswerTooLarge(usize),
    AnswerBrokeOff,
    /// A script made something of the request that cannot be sent.
    Unsendable(String),
    /// The scripts could not be asked.
    Scripts(String),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Refusal {
    /// For metrics.
    pub(crate) const fn why(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.kind.code(),
            Self::Path(_) => "path",
            Self::Upgrade => "upgrade",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBrokeOff => "body_broke_off",
            Self::Loop(_) => "loop",
            Self::Busy => "busy",
            Self::Unanswered(_) => "unanswered",
            Self::TooSlow => "too_slow",
            Self::AnswerTooLarge(_) => "answer_too_large",
            Self::AnswerBrokeOff => "answer_broke_off",
            Self::Unsendable(_) => "unsendable",
            Self::Scripts(_) => "scripts",
        }
    }

    /// What the client is told; nothing of where the service stands.
    pub fn exception(&self) -> Exception {
        match self {
            Self::Fault(fault) => coded(
                fault.kind.http_status(),
                fault.kind.code(),
                fault.message.clone(),
            ),
            Self::Path(fault) => coded(StatusCode::BAD_REQUEST, "invalid", fault.to_string()),
            Self::Upgrade => coded(
                StatusCode::NOT_IMPLEMENTED,
                "upgrade",
                "WebSockets and other upgrades are not passed on",
            ),
            Self::BodyTooLarge(most) => coded(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!(
                    "scripts are bound to this call, so its body may have at most {most} bytes"
                ),
            ),
            Self::BodyTooSlow => coded(
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "the body took too long",
            ),
            Self::BodyBrokeOff => coded(StatusCode::BAD_REQUEST, "invalid", "the body broke off"),
            Self::Loop(depth) => coded(
                StatusCode::LOOP_DETECTED,
                "loop",
                format!("{depth} events are behind this call: it is taken for a loop"),
            ),
            Self::Busy => coded(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many calls with scripts are under way; try again",
            ),
            Self::Unanswered(outcome) => unanswered(outcome),
            Self::TooSlow => coded(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "the service did not answer in time",
            ),
            Self::AnswerTooLarge(most) => coded(
                StatusCode::BAD_GATEWAY,
                "answer_too_large",
                format!(
                    "scripts are bound to this call, so its answer may have at most {most} bytes"
                ),
            ),
            Self::AnswerBrokeOff => coded(
                StatusCode::BAD_GATEWAY,
                "answer_broke_off",
                "the service's answer broke off",
            ),
            Self::Unsendable(reason) => coded(
                StatusCode::INTERNAL_SERVER_ERROR,
                "script_failed",
                reason.clone(),
            ),
            Self::Scripts(reason) => coded(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                format!("the scripts of this call cannot be run: {reason}"),
            ),
        }
    }

    pub(crate) fn api_response(&self) -> ApiResponse {
        self.exception().response()
    }

    /// The answer to a client.
    pub fn response(&self) -> Response<Body> {
        let mut response = of_api(self.api_response());
        let headers = response.headers_mut();
        match self {
            Self::Fault(fault) if fault.kind == FaultKind::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Busy | Self::Scripts(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

fn coded(status: StatusCode, code: &str, message: impl Into<String>) -> Exception {
    Exception {
        code: code.into(),
        ..Exception::new(status.as_u16(), message)
    }
}

fn unanswered(outcome: &Outcome) -> Exception {
    let (status, code, message) = match outcome {
        Outcome::Answered { .. } => return coded(StatusCode::BAD_GATEWAY, "unanswered", ""),
        Outcome::Impossible { class, message } | Outcome::Unreachable { class, message } => {
            let status = match class {
                ErrorClass::Timeout => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            };
            (status, class.as_str(), message)
        }
    };
    coded(
        status,
        code,
        format!("the service did not answer: {message}"),
    )
}

/// A response as it is sent. What cannot be sent as a header is left out.
pub(crate) fn of_api(answer: ApiResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body.0));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if domain::api_event::change::is_of_connection(&name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
