//! JSON Schema: what a document must be, compiled once and asked often.
//!
//! Nothing is fetched: a schema stands for itself. Its regular expressions are matched in linear
//! time, so that no document can make them expensive.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::json_text;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema(Validator);

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("is not JSON: {0}")]
    NotJson(String),
    #[error("is nested deeper than {} levels", json_text::DEPTH_MAX)]
    TooDeep,
    #[error("is not a JSON Schema: {0}")]
    NotASchema(String),
}

/// Where a document is not as its schema says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {})", if pointer.is_empty() { "the top" } else { pointer })]
pub struct Violation {
    /// JSON pointer into the document; empty for all of it.
    pub pointer: String,
    /// JSON pointer into the schema, to the rule.
    pub rule: String,
    pub message: String,
}

/// A compiled regular expression may take this many bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// What is wrong may quote the document; it need not quote all of it.
const MESSAGE_BYTES_MAX: usize = 300;

impl Schema {
    /// Compiles a schema from its text.
    ///
    /// # Errors
    /// Says why it is none, or that it refers to something that is not in it.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if json_text::depth(text.as_bytes()) > json_text::DEPTH_MAX {
            return Err(SchemaError::TooDeep);
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_pattern_options(patterns);
        options
            .offline()
            .build(&schema)
            .map(Self)
            .map_err(|error| SchemaError::NotASchema(shortened(error.to_string())))
    }

    /// Whether a document is as the schema says.
    ///
    /// # Errors
    /// The first place where it is not.
    pub fn check(&self, document: &Value) -> Result<(), Violation> {
        self.0.validate(document).map_err(|error| Violation {
            pointer: error.instance_path().to_string(),
            rule: error.schema_path().to_string(),
            message: shortened(error.to_string()),
        })
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_that_is_not_as_the_schema_says_is_told_where() {
        let text = r#"{"type":"object","required":["name"],
            "properties":{"name":{"type":"string","pattern":"^[a-z]+$"},"age":{"type":"integer"}}}"#;
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schema.check(&json!({"name":"jack","age":23})), Ok(()));
        let violation = schema.check(&json!({"name":"jack","age":"x"})).unwrap_err();
        assert_eq!(violation.pointer, "/age");
        assert_eq!(violation.rule, "/properties/age/type");
        let missing = schema.check(&json!({})).unwrap_err();
        assert_eq!(missing.pointer, "");
        assert!(missing.to_string().contains("name"), "{missing}");
        assert!(schema.check(&json!({"name":"J"})).is_err());
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (bad, words) in [
            ("{nope", "is not JSON"),
            (r#"{"type":"sting"}"#, "is not a JSON Schema"),
            (r#"{"pattern":"("}"#, "is not a JSON Schema"),
            (
                r##"{"$ref":"https://example.com/else.json"}"##,
                "is not a JSON Schema",
            ),
            (r##"{"$ref":"file:///etc/passwd"}"##, "is not a JSON Schema"),
        ] {
            let error = Schema::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with(words), "{bad}: {error}");
        }
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        assert_eq!(Schema::parse(&deep).unwrap_err(), SchemaError::TooDeep);
    }

    #[test]
    fn an_expression_that_would_be_expensive_elsewhere_is_matched_in_linear_time() {
        let schema = Schema::parse(r#"{"pattern":"^(a+)+$"}"#).unwrap();
        let document = json!(format!("{}b", "a".repeat(100_000)));
        assert!(schema.check(&document).is_err());
    }
}
