//! A request to an API and the response to it, and how scripts see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::event::is_json;

/// A request as it was made, or as scripts have changed it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiRequest {
    /// In capitals.
    pub method: String,
    /// The path as the client called it, without the query.
    pub uri: String,
    pub service: String,
    /// Below the service, percent-encoded, without a `/` in front.
    pub resource: String,
    /// The query, decoded, in its order.
    pub parameters: Vec<(String, String)>,
    /// Names in lower case; a name may occur several times.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// A response, from the service or from a script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiResponse {
    pub status: u16,
    /// Names in lower case; a name may occur several times.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// The bytes of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body(pub Bytes);

/// The version of DreamFactory's API whose shapes these are.
pub const API_VERSION: &str = "2.0";

pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str())
}

impl ApiRequest {
    pub fn content_type(&self) -> Option<&str> {
        header(&self.headers, "content-type")
    }

    /// The request as an event shows it.
    pub fn to_json(&self) -> Value {
        let payload = self.body.json(self.content_type());
        let (content, is_base64) = self.body.text();
        let mut request = json!({
            "api_version": API_VERSION,
            "method": self.method,
            "parameters": grouped(&self.parameters),
            "headers": grouped(&self.headers),
            "payload": payload.unwrap_or_else(|| json!({})),
            "content": content,
            "content_type": self.content_type(),
            "uri": self.uri,
            "service": self.service,
            "resource": self.resource,
        });
        note_base64(&mut request, is_base64);
        request
    }
}

impl ApiResponse {
    pub fn content_type(&self) -> Option<&str> {
        header(&self.headers, "content-type")
    }

    /// The response as an event shows it: content that is JSON as what it says.
    pub fn to_json(&self) -> Value {
        let content = self.body.json(self.content_type());
        let (content, is_base64) = match content {
            Some(content) => (content, false),
            None => {
                let (text, is_base64) = self.body.text();
                (Value::String(text), is_base64)
            }
        };
        let mut response = json!({
            "status_code": self.status,
            "content_type": self.content_type(),
            "content": content,
            "format": null,
            "headers": grouped(&self.headers),
        });
        note_base64(&mut response, is_base64);
        response
    }
}

/// Only where it is so: the shape is DreamFactory's, which knows no such member.
fn note_base64(message: &mut Value, is_base64: bool) {
    if let (true, Some(message)) = (is_base64, message.as_object_mut()) {
        message.insert(CONTENT_IS_BASE64.to_owned(), Value::Bool(true));
    }
}

/// The member that says that `content` is base64, for bytes that are no text.
pub const CONTENT_IS_BASE64: &str = "content_is_base64";

impl Body {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the body says, where it is JSON by its media type and its bytes.
    fn json(&self, content_type: Option<&str>) -> Option<Value> {
        let is_json = content_type.is_some_and(is_json);
        (is_json && !self.is_empty())
            .then(|| serde_json::from_slice(&self.0).ok())
            .flatten()
    }

    /// As text, and whether it had to be written in base64.
    fn text(&self) -> (String, bool) {
        match std::str::from_utf8(&self.0) {
            Ok(text) => (text.to_owned(), false),
            Err(_no_text) => (STANDARD.encode(&self.0), true),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// The event object that a script is called with. Before the call is served there is no response.
pub fn event_object(
    request: &ApiRequest,
    response: Option<&ApiResponse>,
    resource: &str,
) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("request".to_owned(), request.to_json());
    if let Some(response) = response {
        event.insert("response".to_owned(), response.to_json());
    }
    event.insert("resource".to_owned(), Value::String(resource.to_owned()));
    event
}

/// Headers whose names hold one of these let whoever reads them act as somebody else.
const SECRET_WORDS: [&str; 8] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "password",
    "secret",
    "session",
    "token",
];

/// Stands where a secret was.
const MASKED: &str = "***";

/// The event object as it may be kept and shown: without credentials in headers and parameters, and
/// without contents of more than so many bytes; where one is left out, `content_left_out` says how
/// long it was.
pub fn kept(event: &Map<String, Value>, content_bytes_max: usize) -> Map<String, Value> {
    let mut event = event.clone();
    for side in ["request", "response"] {
        let Some(Value::Object(side)) = event.get_mut(side) else {
            continue;
        };
        for group in ["headers", "parameters"] {
            if let Some(Value::Object(fields)) = side.get_mut(group) {
                mask(fields);
            }
        }
        let content = side
            .get("content")
            .map_or(0, |content| content.to_string().len());
        if content > content_bytes_max {
            side.insert("content".to_owned(), Value::Null);
            if side.contains_key("payload") {
                side.insert("payload".to_owned(), Value::Null);
            }
            side.insert("content_left_out".to_owned(), content.into());
        }
    }
    event.remove("platform");
    event
}

fn mask(fields: &mut Map<String, Value>) {
    for (name, value) in fields.iter_mut() {
        let name = name.to_ascii_lowercase();
        if SECRET_WORDS.iter().any(|word| name.contains(word)) {
            *value = Value::String(MASKED.to_owned());
        }
    }
}

/// Pairs as an object; what occurs several times is a list.
fn grouped(pairs: &[(String, String)]) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value.clone());
        match object.get_mut(name) {
            None => {
                object.insert(name.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let first_value = first.take();
                *first = Value::Array(vec![first_value, value]);
            }
        }
    }
    Value::Object(object)
}

/// What [`grouped`] made, as pairs again; numbers and truth values are written as text.
///
/// # Errors
/// Names the member that is none of these.
pub(super) fn ungrouped(
    what: &str,
    object: &Map<String, Value>,
) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::with_capacity(object.len());
    for (name, value) in object {
        let values = value
            .as_array()
            .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null => continue,
                Value::Array(_) | Value::Object(_) => {
                    return Err(format!(
                        "{what}.{name} is no text, number, truth value or list of them"
                    ));
                }
            };
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Map<String, Value> {
        let request = ApiRequest {
            method: "POST".to_owned(),
            headers: [
                ("authorization", "Bearer secret"),
                ("x-api-key", "secret"),
                ("content-type", "application/json"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            parameters: vec![("session_token".to_owned(), "secret".to_owned())],
            body: Bytes::from_static(b"{\"a\":1}").into(),
            ..ApiRequest::default()
        };
        let mut event = event_object(&request, None, "contact");
        event.insert("platform".to_owned(), json!({"api": {"token": "secret"}}));
        event
    }

    #[test]
    fn what_is_kept_holds_no_credentials() {
        let kept = Value::Object(kept(&event(), 1_000));
        assert!(!kept.to_string().contains("secret"), "{kept}");
        assert_eq!(kept["request"]["payload"], json!({"a": 1}));
        assert_eq!(
            kept["request"]["headers"]["content-type"],
            "application/json"
        );
        assert_eq!(kept["resource"], "contact");
    }

    #[test]
    fn what_is_too_long_is_left_out_and_said_to_be() {
        let kept = Value::Object(kept(&event(), 4));
        assert_eq!(kept["request"]["content"], Value::Null);
        assert_eq!(kept["request"]["payload"], Value::Null);
        assert_eq!(kept["request"]["content_left_out"], 11);
    }

    #[test]
    fn an_event_has_the_shape_that_dreamfactory_documents() {
        let request = event()["request"].clone();
        let members: Vec<&String> = request.as_object().unwrap().keys().collect();
        let mut documented = [
            "api_version",
            "method",
            "parameters",
            "headers",
            "payload",
            "content",
            "content_type",
            "uri",
            "service",
            "resource",
        ];
        documented.sort_unstable();
        assert_eq!(members, documented);
        let response = ApiResponse {
            status: 200,
            headers: vec![
                ("set-cookie".to_owned(), "a".to_owned()),
                ("set-cookie".to_owned(), "b".to_owned()),
            ],
            body: Body::default(),
        };
        assert_eq!(
            response.to_json(),
            json!({"status_code": 200, "content_type": null, "content": "", "format": null,
                   "headers": {"set-cookie": ["a", "b"]}})
        );
    }
}
