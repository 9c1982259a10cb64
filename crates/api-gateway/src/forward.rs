//! The request that a service gets, and what of its answer goes back.

use std::net::IpAddr;

use axum::body::Body;
use domain::api_event::change::is_of_connection;
use domain::api_event::{ApiRequest, ApiResponse};
use domain::gateway::path::target;
use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::caller::{Caller, KEY_HEADER};
use crate::refusal::Refusal;

/// By these some servers take a call for another than it looks like to scripts.
const OVERRIDES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What a call says of itself to a service: the client's headers, without those of the connection and
/// without what is the gateway's.
pub fn headers_for_service(parts: &Parts, caller: &Caller, peer: Option<IpAddr>) -> HeaderMap {
    let mut headers = without_connection(&parts.headers);
    if caller.keeps_authorization {
        headers.remove(header::AUTHORIZATION);
    }
    for name in [
        KEY_HEADER,
        protocol::access::PROJECT_HEADER,
        DEPTH_HEADER,
        ANCESTRY_HEADER,
    ] {
        headers.remove(name);
    }
    for name in OVERRIDES {
        headers.remove(name);
    }
    if let Some(host) = parts.headers.get(header::HOST) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host.clone());
    }
    let name = HeaderName::from_static("x-forwarded-for");
    let way = headers.get(&name).and_then(|value| value.to_str().ok());
    let way = match (way, peer) {
        (Some(way), Some(peer)) => Some(format!("{way}, {peer}")),
        (None, Some(peer)) => Some(peer.to_string()),
        (_, None) => None,
    };
    if let Some(way) = way.and_then(|way| HeaderValue::try_from(way).ok()) {
        headers.insert(name, way);
    }
    headers
}

/// Headers without those that are about one connection, and those it names itself.
pub fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let is_kept = name == header::CONTENT_LENGTH
            || !(is_of_connection(name.as_str())
                || named.iter().any(|other| other == name.as_str()));
        if is_kept {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// The request as it came, for a call that nobody looks into.
///
/// # Errors
/// When the address cannot be written.
pub fn as_it_came(
    base: &Url,
    path: &str,
    parts: &Parts,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>, Refusal> {
    let uri = target(base, path, parts.uri.query());
    request(&uri, parts.method.clone(), headers, body)
}

/// The request as scripts left it. `query` is what the client wrote, `before` what scripts were shown.
///
/// # Errors
/// When a script made something of it that cannot be sent.
pub fn as_scripts_left_it(
    base: &Url,
    query: Option<&str>,
    before: &ApiRequest,
    request_now: ApiRequest,
) -> Result<Request<Body>, Refusal> {
    let rewritten;
    let query = if request_now.parameters == before.parameters {
        query
    } else {
        rewritten = Serializer::new(String::new())
            .extend_pairs(&request_now.parameters)
            .finish();
        Some(rewritten.as_str())
    };
    let uri = target(base, &request_now.resource, query);
    let method = Method::try_from(request_now.method.as_str())
        .map_err(|error| Refusal::Unsendable(error.to_string()))?;
    let headers = header_map(&request_now.headers)?;
    request(&uri, method, headers, Body::from(request_now.body.0))
}

fn request(
    uri: &str,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>, Refusal> {
    let uri = Uri::try_from(uri).map_err(|error| Refusal::Unsendable(error.to_string()))?;
    let mut request = Request::new(body);
    *request.uri_mut() = uri;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    Ok(request)
}

fn header_map(lines: &[(String, String)]) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for (name, value) in lines {
        if is_of_connection(name) {
            continue;
        }
        let unsendable = || Refusal::Unsendable(format!("the header {name:?} cannot be sent"));
        let value = HeaderValue::try_from(value.as_str()).map_err(|_odd| unsendable())?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_odd| unsendable())?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Headers as scripts see them; a value that is no text is seen with its odd bytes replaced.
pub fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// A whole answer, as scripts see it.
pub fn answer(parts: &http::response::Parts, body: bytes::Bytes) -> ApiResponse {
    let mut headers = without_connection(&parts.headers);
    headers.remove(header::CONTENT_LENGTH);
    ApiResponse {
        status: parts.status.as_u16(),
        headers: lines(&headers),
        body: body.into(),
    }
}
