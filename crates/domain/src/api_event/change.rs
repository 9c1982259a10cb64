//! What a script answers, and what that does to the request or the response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::message::{ApiRequest, ApiResponse, Body, CONTENT_IS_BASE64, ungrouped};

/// What a script answered, understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    pub request: Option<Map<String, Value>>,
    pub response: Option<Value>,
    pub exception: Option<Exception>,
    pub stop_propagation: bool,
    /// The whole answer, where it has none of the members above: what the script returned.
    pub returned: Option<Value>,
}

/// A script refuses the call, or something failed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub status_code: u16,
    /// A number or a text, as the script gave it; else the status.
    pub code: Value,
    pub message: String,
}

/// Why an answer cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the script's answer is not JSON: {0}")]
    NotJson(String),
    #[error("the script's answer: {0}")]
    Invalid(String),
}

const MEMBERS: [&str; 4] = ["request", "response", "exception", "stop_propagation"];

impl Answer {
    /// Reads the body of a script's 2xx answer. An empty one, `null` and `{}` ask for nothing.
    ///
    /// # Errors
    /// It is not JSON, or a member is not what it should be.
    pub fn read(body: &[u8]) -> Result<Self, AnswerError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| AnswerError::NotJson(error.to_string()))?;
        let Value::Object(mut object) = value else {
            return Ok(Self::returning(value));
        };
        if object.is_empty() {
            return Ok(Self::default());
        }
        if !MEMBERS.iter().any(|member| object.contains_key(*member)) {
            return Ok(Self::returning(Value::Object(object)));
        }
        let request = match object.remove("request") {
            None | Some(Value::Null) => None,
            Some(Value::Object(request)) => Some(request),
            Some(_) => return Err(invalid("request is not an object")),
        };
        let stop_propagation = match object.remove("stop_propagation") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stops)) => stops,
            Some(_) => return Err(invalid("stop_propagation is not true or false")),
        };
        Ok(Self {
            request,
            response: object.remove("response").filter(|value| !is_nothing(value)),
            exception: exception(object.remove("exception"))?,
            stop_propagation,
            returned: None,
        })
    }

    fn returning(value: Value) -> Self {
        Self {
            returned: Some(value).filter(|value| !is_nothing(value)),
            ..Self::default()
        }
    }
}

fn invalid(message: impl Into<String>) -> AnswerError {
    AnswerError::Invalid(message.into())
}

/// What scripts mean as "none".
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn exception(value: Option<Value>) -> Result<Option<Exception>, AnswerError> {
    let Some(value) = value.filter(|value| !is_nothing(value)) else {
        return Ok(None);
    };
    match value {
        Value::String(message) => Ok(Some(Exception::new(500, message))),
        Value::Object(object) => {
            let status_code = match object.get("status_code") {
                None | Some(Value::Null) => 500,
                Some(status) => status_code(status)?,
            };
            let code = object.get("code").filter(|code| !code.is_null());
            let message = object.get("message").and_then(Value::as_str);
            Ok(Some(Exception {
                status_code,
                code: code.cloned().unwrap_or_else(|| status_code.into()),
                message: message.unwrap_or("a script refused the call").to_owned(),
            }))
        }
        Value::Bool(false) => Ok(None),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Null => {
            Err(invalid("exception is not an object"))
        }
    }
}

/// A status that a client can be answered with; 1xx are not answers.
fn status_code(value: &Value) -> Result<u16, AnswerError> {
    let of_text = value.as_str().and_then(|text| text.parse().ok());
    of_text
        .or_else(|| value.as_u64())
        .and_then(|number| u16::try_from(number).ok())
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| {
            invalid(format!(
                "status_code {value} is not a number from 200 to 599"
            ))
        })
}

impl Exception {
    pub fn new(status_code: u16, message: impl Into<String>) -> Self {
        Self {
            status_code,
            code: status_code.into(),
            message: message.into(),
        }
    }

    /// A script did not answer as it should, and the call depends on it.
    pub fn script_failed(reason: &str) -> Self {
        Self {
            status_code: 500,
            code: "script_failed".into(),
            message: reason.to_owned(),
        }
    }

    /// What the client gets.
    pub fn response(&self) -> ApiResponse {
        let error = json!({
            "error": {
                "code": self.code,
                "context": null,
                "message": self.message,
                "status_code": self.status_code,
            }
        });
        ApiResponse {
            status: self.status_code,
            headers: vec![json_type()],
            body: Body(error.to_string().into()),
        }
    }
}

fn json_type() -> (String, String) {
    ("content-type".to_owned(), "application/json".to_owned())
}

/// What no script may set, in either direction: the connection's own matter.
const CONNECTION_HEADERS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

pub fn is_of_connection(header: &str) -> bool {
    CONNECTION_HEADERS.contains(&header)
}

/// The request as a script wants it. A member that is as it was shown is no change; of `payload` and
/// `content` the one that was changed counts, and of both the payload.
///
/// # Errors
/// Names the member that cannot be used.
pub fn changed_request(
    request: &ApiRequest,
    wanted: &Map<String, Value>,
) -> Result<ApiRequest, AnswerError> {
    let shown = request.to_json();
    let changed = |name: &str| {
        wanted
            .get(name)
            .filter(|value| shown.get(name) != Some(*value))
    };
    let mut request = request.clone();
    if let Some(method) = changed("method") {
        request.method = method
            .as_str()
            .filter(|method| {
                (1..=32).contains(&method.len())
                    && method.bytes().all(|byte| byte.is_ascii_alphabetic())
            })
            .ok_or_else(|| invalid(format!("request.method {method} is not a method")))?
            .to_ascii_uppercase();
    }
    if let Some(parameters) = changed("parameters") {
        let parameters = members("request.parameters", parameters)?;
        request.parameters = ungrouped("request.parameters", &parameters).map_err(invalid)?;
    }
    if let Some(headers) = changed("headers") {
        let headers = header_lines("request.headers", headers)?;
        request.headers.retain(|(name, _)| is_of_connection(name));
        request.headers.extend(headers);
    }
    if let Some(payload) = changed("payload") {
        set_type(&mut request.headers, "application/json");
        request.body = Body(payload.to_string().into());
    } else if let Some(content) = changed("content") {
        let (bytes, usual_type) = content_bytes(content, wanted.get(CONTENT_IS_BASE64))?;
        if request.content_type().is_none() || !content.is_string() {
            set_type(&mut request.headers, usual_type);
        }
        request.body = bytes.into();
    }
    if let Some(content_type) = changed("content_type").and_then(Value::as_str) {
        check_value("request.content_type", content_type)?;
        set_type(&mut request.headers, content_type);
    }
    Ok(request)
}

/// The response that a script gives instead of the service.
///
/// # Errors
/// Names the member that cannot be used.
pub fn made_response(value: &Value) -> Result<ApiResponse, AnswerError> {
    let members = ["content", "content_type", "status_code", "headers"];
    let whole = value
        .as_object()
        .filter(|object| members.iter().any(|member| object.contains_key(*member)));
    let empty = ApiResponse {
        status: 200,
        ..ApiResponse::default()
    };
    match whole {
        Some(whole) => changed_response(&empty, whole),
        None => with_content(&empty, value),
    }
}

/// The response as a script wants it: the status, the content, which brings its own media type, and
/// headers beside those that are there; `null` takes one away.
///
/// # Errors
/// Names the member that cannot be used.
pub fn changed_response(
    response: &ApiResponse,
    wanted: &Map<String, Value>,
) -> Result<ApiResponse, AnswerError> {
    let shown = response.to_json();
    let changed = |name: &str| {
        wanted
            .get(name)
            .filter(|value| shown.get(name) != Some(*value))
    };
    let mut response = response.clone();
    if let Some(status) = changed("status_code").filter(|status| !status.is_null()) {
        response.status = status_code(status)?;
    }
    if let Some(headers) = changed("headers") {
        let object = members("response.headers", headers)?;
        let headers = header_lines("response.headers", headers)?;
        let named: Vec<String> = object
            .keys()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        response.headers.retain(|(name, _)| !named.contains(name));
        response.headers.extend(headers);
    }
    if let Some(content) = changed("content") {
        let (bytes, usual_type) = content_bytes(content, wanted.get(CONTENT_IS_BASE64))?;
        replace_body(&mut response, bytes, usual_type);
    }
    if let Some(content_type) = changed("content_type").and_then(Value::as_str) {
        check_value("response.content_type", content_type)?;
        set_type(&mut response.headers, content_type);
    }
    Ok(response)
}

/// The response with other content, and that content's own media type.
///
/// # Errors
/// The content cannot be written.
pub fn with_content(response: &ApiResponse, content: &Value) -> Result<ApiResponse, AnswerError> {
    let mut response = response.clone();
    let (bytes, usual_type) = content_bytes(content, None)?;
    replace_body(&mut response, bytes, usual_type);
    Ok(response)
}

/// What these say is true of the bytes that were there before.
const ABOUT_THE_BODY: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-md5",
    "content-digest",
    "digest",
    "etag",
];

fn replace_body(response: &mut ApiResponse, bytes: Bytes, content_type: &str) {
    response
        .headers
        .retain(|(name, _)| !ABOUT_THE_BODY.contains(&name.as_str()));
    set_type(&mut response.headers, content_type);
    response.body = bytes.into();
}

/// The bytes of content and their usual media type.
fn content_bytes(
    content: &Value,
    is_base64: Option<&Value>,
) -> Result<(Bytes, &'static str), AnswerError> {
    match content {
        Value::String(text) if is_base64 == Some(&Value::Bool(true)) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| invalid(format!("content is not base64: {error}")))?;
            Ok((bytes.into(), "application/octet-stream"))
        }
        Value::String(text) => Ok((text.clone().into(), "text/plain; charset=utf-8")),
        Value::Null => Ok((Bytes::new(), "application/json")),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Ok((content.to_string().into(), "application/json"))
        }
    }
}

fn members(what: &str, value: &Value) -> Result<Map<String, Value>, AnswerError> {
    match value {
        Value::Object(object) => Ok(object.clone()),
        Value::Null => Ok(Map::new()),
        // A script of PHP writes its empty object so.
        Value::Array(list) if list.is_empty() => Ok(Map::new()),
        Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            Err(invalid(format!("{what} is not an object")))
        }
    }
}

/// Header fields as they may be sent, without those of the connection.
fn header_lines(what: &str, value: &Value) -> Result<Vec<(String, String)>, AnswerError> {
    let object = members(what, value)?;
    let lines = ungrouped(what, &object).map_err(invalid)?;
    let mut checked = Vec::with_capacity(lines.len());
    for (name, value) in lines {
        let name = name.to_ascii_lowercase();
        if is_of_connection(&name) {
            continue;
        }
        let is_token = (1..=256).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if !is_token {
            return Err(invalid(format!(
                "{what}: {name:?} is not the name of a header"
            )));
        }
        check_value(&format!("{what}.{name}"), &value)?;
        checked.push((name, value));
    }
    Ok(checked)
}

fn check_value(what: &str, value: &str) -> Result<(), AnswerError> {
    // A line break would begin another header, or the body.
    let is_field_value = value.chars().all(|char| char == '\t' || !char.is_control());
    if is_field_value && value.len() <= 8 * 1024 {
        Ok(())
    } else {
        Err(invalid(format!(
            "{what} cannot be sent as a header: control characters, or more than 8 KiB"
        )))
    }
}

fn set_type(headers: &mut Vec<(String, String)>, content_type: &str) {
    headers.retain(|(name, _)| name != "content-type");
    headers.push(("content-type".to_owned(), content_type.to_owned()));
}

#[cfg(test)]
mod tests;
