//! A fault as an HTTP answer: `application/problem+json` of RFC 9457.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;

use crate::fault::{Fault, FaultKind};

/// Long enough for a connection to come back, short enough not to be noticed.
const RETRY_AFTER_SECONDS: &str = "1";

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    field: Option<&'a str>,
    value: Option<&'a str>,
    allowed: Option<&'a str>,
}

/// The answer to a call that was refused or could not be done.
pub fn response(fault: &Fault) -> Response<Bytes> {
    let mut response = response_as(fault.kind.http_status(), fault.kind.code(), fault);
    match fault.kind {
        FaultKind::Unavailable | FaultKind::Exhausted => {
            let value = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        FaultKind::Unauthenticated | FaultKind::SessionExpired | FaultKind::SessionRevoked => {
            let value = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        FaultKind::Invalid
        | FaultKind::TooLarge
        | FaultKind::Forbidden
        | FaultKind::SessionScope
        | FaultKind::NotFound
        | FaultKind::AlreadyExists
        | FaultKind::Conflict
        | FaultKind::Internal => {}
    }
    response
}

/// For what only HTTP knows: 405, 415 and their like.
pub fn response_as(status: StatusCode, code: &str, fault: &Fault) -> Response<Bytes> {
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail: &fault.message,
        code,
        field: fault.field.as_deref(),
        value: fault.value.as_deref(),
        allowed: fault.allowed.as_deref(),
    };
    let mut response = Response::new(serde_json::to_vec(&problem).unwrap_or_default().into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/problem+json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// The answer to a method that a path does not have.
pub fn method_not_allowed(method: &Method, allowed: &'static str) -> Response<Bytes> {
    let fault = Fault::invalid(
        "method",
        method.as_str(),
        "this path has no such method",
        allowed,
    );
    let mut response = response_as(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &fault);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer where no route leads: a problem for HTTP, a status for gRPC.
pub fn unknown_path<B>(request: &Request<B>) -> Response<Bytes> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert("grpc-status", HeaderValue::from_static("12"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        return response;
    }
    response(&Fault::not_found("the path", request.uri().path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_field_value_and_what_is_allowed() {
        let fault = Fault::invalid("type", "2001", "only digits", "a name");
        let response = response(&fault);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(
            String::from_utf8_lossy(response.body()),
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"only digits","code":"invalid","field":"type","value":"2001","allowed":"a name"}"#
        );
    }

    #[test]
    fn what_may_work_later_says_when_to_try_again() {
        let response = response(&Fault::unavailable("the broker is away"));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn where_no_route_leads_each_protocol_is_answered_in_its_own_way() {
        let request = |content_type: &str| {
            let builder = Request::post("/nowhere").header(header::CONTENT_TYPE, content_type);
            builder.body(()).unwrap()
        };
        assert_eq!(
            unknown_path(&request("application/json")).status(),
            StatusCode::NOT_FOUND
        );
        let grpc = unknown_path(&request("application/grpc+proto"));
        assert_eq!(grpc.status(), StatusCode::OK);
        assert_eq!(grpc.headers()["grpc-status"], "12");
    }
}
