//! Bodies that a trigger shapes itself, by a template in the language of Jinja.
//!
//! A template reads no file and includes no other. What it may cost is bounded: by its length, by
//! how many steps it may take, by the size of what it writes; and what would let values grow
//! (assignments, putting texts together) is left out of the language.

mod parts;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value as Json, json};

use crate::event::{Event, is_json};
use crate::pattern::Captures;

/// A template's text.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;

/// What a template writes; as much as an event's data may have.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Steps a template may take: some thousand rounds of a loop.
const FUEL: u64 = 50_000;

/// What the body is taken for, unless the trigger says otherwise.
pub const CONTENT_TYPE: &str = "application/json";

const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// The one name the template goes by.
const NAME: &str = "template";

/// A compiled template with the media type of what it writes. Cheap to clone.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

struct Compiled {
    text: String,
    content_type: String,
    environment: Result<Environment<'static>, TemplateError>,
}

/// Why a text is no template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// From 1, where one is to blame.
    pub line: Option<usize>,
    pub reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "line {line}: {}", self.reason),
            None => formatter.write_str(&self.reason),
        }
    }
}

impl std::error::Error for TemplateError {}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let detail = error.detail().map(ToOwned::to_owned);
        Self {
            line: error.line(),
            reason: detail.unwrap_or_else(|| error.kind().to_string()),
        }
    }
}

/// What a template sees.
#[derive(Debug, Clone, Copy)]
pub struct TemplateInput<'a> {
    pub event: &'a Event,
    /// What the trigger's patterns captured.
    pub captures: &'a Captures,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

impl Template {
    /// Compiles a template; an empty media type means JSON.
    ///
    /// # Errors
    /// Says what is wrong with it and in which line.
    pub fn parse(text: &str, content_type: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let reason = format!(
                "it is {} bytes long: at most {TEMPLATE_BYTES_MAX}",
                text.len()
            );
            return Err(TemplateError { line: None, reason });
        }
        parts::check(text)?;
        let content_type = match content_type {
            "" => CONTENT_TYPE,
            given => given,
        };
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
        if content_type.len() > CONTENT_TYPE_BYTES_MAX
            || !content_type.bytes().all(is_plain)
            || !content_type.contains('/')
        {
            let reason = format!("{content_type:?} is not a media type");
            return Err(TemplateError { line: None, reason });
        }
        let is_json = is_json(content_type);
        let mut environment = Environment::empty();
        environment.set_auto_escape_callback(move |_name| match is_json {
            true => AutoEscape::Json,
            false => AutoEscape::None,
        });
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(parts::write_value);
        parts::add_filters(&mut environment);
        environment.add_template_owned(NAME, text.to_owned())?;
        Ok(Self(Arc::new(Compiled {
            text: text.to_owned(),
            content_type: content_type.to_owned(),
            environment: Ok(environment),
        })))
    }

    /// A template that was taken once. Should it no longer be understood, nothing can be made of
    /// it, and nothing else is touched.
    pub fn kept(text: &str, content_type: &str) -> Self {
        Self::parse(text, content_type).unwrap_or_else(|error| {
            Self(Arc::new(Compiled {
                text: text.to_owned(),
                content_type: content_type.to_owned(),
                environment: Err(error),
            }))
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub fn content_type(&self) -> &str {
        &self.0.content_type
    }

    /// Writes the body for one attempt. The same input always gives the same bytes.
    ///
    /// # Errors
    /// What the template asks for is not there, takes too long or gets too large, or what should
    /// be JSON is not.
    pub fn render(&self, input: &TemplateInput<'_>) -> Result<Bytes, TemplateError> {
        let environment = self.0.environment.as_ref().map_err(Clone::clone)?;
        let template = environment.get_template(NAME)?;
        let mut body = Limited::default();
        let rendered = template.render_captured_to(Serde(context(input)), &mut body);
        if body.is_over {
            let reason = format!("the body gets larger than {OUTPUT_BYTES_MAX} bytes");
            return Err(TemplateError { line: None, reason });
        }
        drop(rendered?);
        if is_json(&self.0.content_type)
            && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body.bytes)
        {
            let reason = format!("the body is not JSON: {error}");
            return Err(TemplateError { line: None, reason });
        }
        Ok(body.bytes.into())
    }
}

/// `event`, `data`, `params` and `attempt`.
fn context(input: &TemplateInput<'_>) -> Json {
    let event = input.event;
    let data = if event.has_json_data() {
        serde_json::from_slice(&event.data).unwrap_or(Json::Null)
    } else {
        Json::String(String::from_utf8_lossy(&event.data).into_owned())
    };
    let mut attributes = json!({
        "id": event.id,
        "source": event.source,
        "type": event.event_type.as_str(),
        "number": event.event_type.number(),
        "subject": event.subject,
        "time": event.time.to_string(),
        "datacontenttype": event.data_content_type,
        "actor": event.actor.as_ref().map(|actor| json!({"id": actor.id, "kind": actor.kind})),
        "partitionkey": event.partition_key,
        "correlationid": event.correlation_id,
        "causationid": event.causation_id,
        "depth": event.depth,
    });
    if let Json::Object(attributes) = &mut attributes {
        for (name, value) in &event.extensions {
            attributes
                .entry(name.clone())
                .or_insert_with(|| Json::String(value.clone()));
        }
    }
    let params: serde_json::Map<String, Json> = input
        .captures
        .iter()
        .map(|(name, value)| (name.to_owned(), Json::String(value.to_owned())))
        .collect();
    json!({"event": attributes, "data": data, "params": params, "attempt": input.attempt})
}

/// Takes so much and no more.
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_over: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > OUTPUT_BYTES_MAX {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text && self.0.content_type == other.0.content_type
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Template")
            .field("text", &self.0.text)
            .field("content_type", &self.0.content_type)
            .finish()
    }
}

#[cfg(test)]
mod tests;
