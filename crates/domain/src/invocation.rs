//! Direct calls, as extremum's callers write them: parameters, and the context they are called in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::function::Function;
use crate::function::limits::suggests_a_secret;
use crate::json_text;
use crate::name::{FunctionName, Name, ProjectName};
use crate::registry::Registry;

/// Parameters and context together: what Yandex Cloud allows.
pub const CALL_BYTES_MAX: usize = 3_500_000;

/// A call brings so many headers, and so many bytes of them: twice what servers take as a head.
pub const HEADERS_MAX: usize = 100;
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Of parameters that are longer the log keeps only how long they are.
const LOGGED_BYTES_MAX: usize = crate::event::DATA_BYTES_MAX;

/// Of what there is to call so many names are given.
const NAMES_MAX: usize = 20;

const MASKED: &str = "***";

/// What a request at extremum's address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    Direct(DirectCall),
    /// It brings messages of triggers, whatever else it brings.
    Messages,
}

/// One direct call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectCall {
    /// JSON as it was written; `null` where there are none.
    pub parameters: Bytes,
    /// For the function to see; by name, as written.
    pub headers: BTreeMap<String, String>,
    pub package: Option<String>,
    pub function: Option<String>,
}

/// What about a call cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}; allowed: {allowed}")]
pub struct CallError {
    pub field: String,
    pub value: String,
    pub message: String,
    pub allowed: String,
}

impl CallError {
    fn new(field: &str, value: &str, message: impl Into<String>, allowed: &str) -> Self {
        Self {
            field: field.to_owned(),
            value: value.to_owned(),
            message: message.into(),
            allowed: allowed.to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Context<'a> {
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    package: Option<String>,
    function: Option<String>,
}

const ALLOWED_BODY: &str = r#"{"parameters": any JSON, "context": {"headers": {…}, "package": "…", "function": "…"}}, or {"messages": [ … ]}"#;
const ALLOWED_CONTEXT: &str = r#"{"headers": {…}, "package": "…", "function": "…"}"#;

impl Invocation {
    /// Reads a request's body. Members that nobody knows are passed over.
    ///
    /// # Errors
    /// Names the member that is not as it should be.
    pub fn read(body: &[u8]) -> Result<Self, CallError> {
        if json_text::depth(body) > json_text::DEPTH_MAX {
            let message = "the JSON is nested too deeply";
            let allowed = "at most 100 levels";
            return Err(CallError::new("body", "", message, allowed));
        }
        let read: Body<'_> = serde_json::from_slice(body).map_err(|error| {
            let message = if error.is_data() {
                format!("the body is not as expected: {error}")
            } else {
                format!("the body is not JSON: {error}")
            };
            CallError::new("body", "", message, ALLOWED_BODY)
        })?;
        if read.messages.is_some() {
            return Ok(Self::Messages);
        }
        let context = match read.context {
            None => Context::default(),
            Some(context) => serde_json::from_str(context.get()).map_err(|error| {
                let message = format!("is not a context: {error}");
                CallError::new("context", context.get(), message, ALLOWED_CONTEXT)
            })?,
        };
        let parameters = read.parameters.map_or("null", RawValue::get);
        Ok(Self::Direct(DirectCall {
            parameters: Bytes::copy_from_slice(parameters.as_bytes()),
            headers: context
                .headers
                .map(headers)
                .transpose()?
                .unwrap_or_default(),
            package: context.package,
            function: context.function,
        }))
    }
}

fn headers(value: &RawValue) -> Result<BTreeMap<String, String>, CallError> {
    let headers: BTreeMap<String, String> = serde_json::from_str(value.get()).map_err(|error| {
        let message = format!("cannot be read: {error}");
        CallError::new(
            "context.headers",
            value.get(),
            message,
            "an object of strings",
        )
    })?;
    check_headers(&headers)?;
    Ok(headers)
}

/// # Errors
/// When there are too many headers, or they are too long.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), CallError> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if headers.len() <= HEADERS_MAX && bytes <= HEADERS_BYTES_MAX {
        return Ok(());
    }
    let value = format!("{} headers of {bytes} bytes", headers.len());
    let allowed = format!("at most {HEADERS_MAX} of {HEADERS_BYTES_MAX} bytes together");
    let message = "are too many or too long";
    Err(CallError::new("context.headers", &value, message, &allowed))
}

impl DirectCall {
    /// What the function is sent: parameters and context as they came, and which function is meant.
    pub fn body(&self, function: &FunctionName) -> Bytes {
        let headers: Vec<_> = self.headers.iter().map(pair).collect();
        let mut body = br#"{"parameters":"#.to_vec();
        body.extend_from_slice(&self.parameters);
        body.extend_from_slice(&context(&headers, function));
        body.into()
    }

    /// The same for the log: headers that may carry secrets are masked, and of parameters that are
    /// too long only their length is told.
    pub fn logged(&self, function: &FunctionName) -> Bytes {
        let headers = self.headers.iter().map(|(name, value)| {
            if suggests_a_secret(name) {
                (name.as_str(), MASKED)
            } else {
                (name.as_str(), value.as_str())
            }
        });
        let headers: Vec<_> = headers.collect();
        let context = context(&headers, function);
        let mut body = if self.parameters.len() + context.len() > LOGGED_BYTES_MAX {
            format!(r#"{{"parameters_bytes":{}"#, self.parameters.len()).into_bytes()
        } else {
            let mut body = br#"{"parameters":"#.to_vec();
            body.extend_from_slice(&self.parameters);
            body
        };
        body.extend_from_slice(&context);
        body.into()
    }
}

fn pair<'a>((name, value): (&'a String, &'a String)) -> (&'a str, &'a str) {
    (name, value)
}

/// The context as the last member of an object, and the object's end.
fn context(headers: &[(&str, &str)], function: &FunctionName) -> Vec<u8> {
    let headers: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    let context = serde_json::json!({
        "headers": headers,
        "package": function.package.as_str(),
        "function": function.name.as_str(),
    });
    format!(r#","context":{context}}}"#).into_bytes()
}

/// The answer of extremum's library around a result; `result` is JSON.
pub fn enveloped(result: &[u8], now: Timestamp) -> Vec<u8> {
    let head = format!(r#"{{"status":"ok","code":200,"timestamp":"{now:.3}","result":"#);
    let mut body = head.into_bytes();
    body.extend_from_slice(result);
    body.push(b'}');
    body
}

/// The answer of extremum's library where there is no result.
pub fn failed(code: u16, message: &str, now: Timestamp) -> Vec<u8> {
    let alert = serde_json::json!({
        "level": "error",
        "code": code.to_string(),
        "message": message,
    });
    let body = serde_json::json!({
        "status": "fail",
        "code": code,
        "timestamp": format!("{now:.3}"),
        "alerts": [alert],
    });
    body.to_string().into_bytes()
}

impl Registry {
    /// A function by its package and its name or endpoint, as a caller writes them.
    ///
    /// # Errors
    /// Names what there is instead.
    pub fn find_function(
        &self,
        project: &ProjectName,
        package: &str,
        function: &str,
    ) -> Result<&Arc<Function>, CallError> {
        let named = package.parse::<Name>().ok().zip(function.parse().ok());
        let named = named.map(|(package, name)| FunctionName { package, name });
        if let Some(found) = named.and_then(|name| self.function(project, &name)) {
            return Ok(found);
        }
        let in_project = || {
            self.functions()
                .filter(|function| function.project == *project)
        };
        let in_package =
            || in_project().filter(|function| function.name.package.as_str() == package);
        let is_meant =
            |known: &&Arc<Function>| known.settings.endpoint.as_deref() == Some(function);
        if let Some(found) = in_package().find(is_meant) {
            return Ok(found);
        }
        if in_package().next().is_none() {
            let packages = in_project().map(|function| function.name.package.as_str());
            let message = "there is no such package";
            let there = available(packages);
            return Err(CallError::new("context.package", package, message, &there));
        }
        let functions = in_package().flat_map(|function| {
            let endpoint = function.settings.endpoint.as_deref();
            [Some(function.name.name.as_str()), endpoint]
        });
        let message = format!("there is no such function in package {package}");
        let there = available(functions.flatten());
        Err(CallError::new(
            "context.function",
            function,
            message,
            &there,
        ))
    }

    /// The function of the same package that has this name or this endpoint already.
    pub fn clash_of(&self, function: &Function) -> Option<&Arc<Function>> {
        let name = function.name.name.as_str();
        let endpoint = function.settings.endpoint.as_deref();
        self.functions()
            .filter(|other| {
                other.project == function.project
                    && other.name.package == function.name.package
                    && other.name.name != function.name.name
            })
            .find(|other| {
                let others = other.settings.endpoint.as_deref();
                endpoint.is_some_and(|it| others == Some(it) || other.name.name.as_str() == it)
                    || others == Some(name)
            })
    }
}

fn available<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<_> = names.collect();
    let shown: Vec<_> = names.iter().take(NAMES_MAX).copied().collect();
    match (shown.is_empty(), names.len() > NAMES_MAX) {
        (true, _) => "none: there is nothing to call yet".to_owned(),
        (false, false) => shown.join(", "),
        (false, true) => format!("{} and {} more", shown.join(", "), names.len() - NAMES_MAX),
    }
}

#[cfg(test)]
mod tests;
