//! Event types: what people see of them, what they register, and how it crosses the registry's stream.

use domain::event_type::{BuiltIn, CustomType, EmitRefusal, Emitters};
use domain::schema::{SCHEMA_BYTES_MAX, Schema};

use crate::event::{ConvertError, invalid, parse};
use crate::fault::{Fault, FaultKind};
use crate::time::{from_micros, to_micros, to_timestamp};
use crate::types::v1 as types;
use crate::wire::v1 as wire;

impl From<&CustomType> for types::EventType {
    fn from(custom: &CustomType) -> Self {
        Self {
            name: custom.name.to_string(),
            number: custom.number,
            aliases: Vec::new(),
            built_in: false,
            schema: schema_text(custom),
            emitters: words(custom.emitters),
            created_at: Some(to_timestamp(custom.created_at)),
            updated_at: Some(to_timestamp(custom.updated_at)),
        }
    }
}

impl From<&BuiltIn> for types::EventType {
    fn from(built_in: &BuiltIn) -> Self {
        let names = built_in.names().filter(|name| *name != built_in.name);
        Self {
            name: built_in.name.to_owned(),
            number: built_in.number,
            aliases: names.map(ToOwned::to_owned).collect(),
            built_in: true,
            ..Self::default()
        }
    }
}

/// A schema as it was given; none where it is empty.
///
/// # Errors
/// Says what about it is not accepted.
pub fn schema(field: &str, text: &str) -> Result<Option<Schema>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    Schema::parse(text).map(Some).map_err(|error| {
        let allowed = format!(
            "JSON Schema of at most {} KiB that refers only into itself, and not to what refers to it",
            SCHEMA_BYTES_MAX / 1024
        );
        Fault::invalid(field, text, error.to_string(), allowed)
    })
}

/// Who may emit; no rule where nobody is named.
///
/// # Errors
/// Names the word that is not understood.
pub fn emitters(field: &str, words: &[String]) -> Result<Option<Emitters>, Fault> {
    Emitters::parse(words)
        .map_err(|word| Fault::invalid(field, word, "cannot stand here", Emitters::ALLOWED))
}

/// What a caller is told whose event is not taken: `type_field` and `data_field` are where it has named
/// the type and put the data.
pub fn refused_emit(
    refusal: &EmitRefusal,
    event_type: &str,
    type_field: &str,
    data_field: &str,
) -> Fault {
    match refusal {
        EmitRefusal::NotAllowed { .. } | EmitRefusal::NoRule => Fault {
            kind: FaultKind::Forbidden,
            ..Fault::invalid(
                type_field,
                event_type,
                refusal.to_string(),
                "a type whose rule, or the rule of the type 'default', lets the caller emit it",
            )
        },
        EmitRefusal::NotJson => {
            let allowed = "JSON, as the schema of its type asks";
            Fault::invalid(data_field, "", refusal.to_string(), allowed)
        }
        EmitRefusal::Schema(violation) => Fault::invalid(
            format!("{data_field}{}", violation.pointer),
            "",
            violation.to_string(),
            format!(
                "what the schema of {event_type:?} says at {}",
                violation.rule
            ),
        ),
    }
}

fn schema_text(custom: &CustomType) -> String {
    let schema = custom.schema.as_ref();
    schema
        .map(|schema| schema.as_str().to_owned())
        .unwrap_or_default()
}

fn words(emitters: Option<Emitters>) -> Vec<String> {
    let words = emitters.map(Emitters::words).unwrap_or_default();
    words.into_iter().map(ToOwned::to_owned).collect()
}

impl From<&CustomType> for wire::RegistryEventType {
    fn from(custom: &CustomType) -> Self {
        Self {
            project: custom.project.to_string(),
            name: custom.name.to_string(),
            number: custom.number,
            schema: schema_text(custom),
            emitters: words(custom.emitters),
            created_at_us: to_micros(custom.created_at),
            updated_at_us: to_micros(custom.updated_at),
            revision: custom.revision,
        }
    }
}

impl TryFrom<wire::RegistryEventType> for CustomType {
    type Error = ConvertError;

    fn try_from(custom: wire::RegistryEventType) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("event_type.project", &custom.project)?,
            name: parse("event_type.name", &custom.name)?,
            number: custom.number,
            schema: schema("schema", &custom.schema)
                .map_err(|fault| invalid("event_type.schema", fault.message))?,
            emitters: Emitters::parse(&custom.emitters)
                .map_err(|word| invalid("event_type.emitters", word))?,
            created_at: from_micros(custom.created_at_us),
            updated_at: from_micros(custom.updated_at_us),
            revision: custom.revision,
        })
    }
}
