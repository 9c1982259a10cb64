//! JSON Schema of an event's data: bounded before it is compiled, so that checking cannot take long.

mod bounds;

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// A schema may have this many bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;

/// One pattern may take this much once compiled; there are at most [`bounds::PATTERNS_MAX`].
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// What is said of a value that breaks a rule is cut to this length.
const MESSAGE_CHARS_MAX: usize = 300;

/// A schema as it was given, and ready to check data. Clones share it.
#[derive(Clone)]
pub struct Schema {
    text: Arc<str>,
    validator: Arc<Validator>,
}

/// Why a text is no schema that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("it has {0} bytes: at most {SCHEMA_BYTES_MAX}")]
    TooLong(usize),
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("it is neither an object nor true or false")]
    NotASchema,
    #[error("{keyword} {value:?} at {pointer:?} leads out of the schema: only '#/…' is followed")]
    Outside {
        keyword: String,
        value: String,
        pointer: String,
    },
    #[error("$ref {value:?} at {pointer:?} leads nowhere")]
    Nowhere { value: String, pointer: String },
    #[error("$ref at {0:?} leads back to itself: data of any depth cannot be described")]
    Recursive(String),
    #[error(
        "with what it refers to it consists of more than {} parts",
        bounds::PARTS_MAX
    )]
    TooManyParts,
    #[error("it is nested deeper than {} levels", bounds::DEPTH_MAX)]
    TooDeep,
    #[error("it has more than {} patterns", bounds::PATTERNS_MAX)]
    TooManyPatterns,
    #[error("it is not understood: {0}")]
    Refused(String),
}

/// The first rule that data breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("breaks the rule {rule:?} of its type's schema: {message}")]
pub struct Violation {
    /// JSON pointer into the data; empty for all of it.
    pub pointer: String,
    /// JSON pointer into the schema.
    pub rule: String,
    pub message: String,
}

impl Schema {
    /// Reads a schema: of 2020-12, or of what its `$schema` says.
    ///
    /// # Errors
    /// Says what about it is not accepted.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLong(text.len()));
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        bounds::check(&schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&schema)
            .map_err(|error| SchemaError::Refused(cut(&error.to_string())))?;
        Ok(Self {
            text: text.into(),
            validator: Arc::new(validator),
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// # Errors
    /// The first rule that the data breaks.
    pub fn check(&self, data: &Value) -> Result<(), Violation> {
        self.validator.validate(data).map_err(|error| Violation {
            pointer: error.instance_path().to_string(),
            rule: error.schema_path().to_string(),
            message: cut(&error.to_string()),
        })
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Schema({} bytes)", self.text.len())
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
