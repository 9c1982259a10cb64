//! `tripline types`: which event types there are.

use protocol::types::v1 as types;
use serde::Serialize;

use super::{read_data, show_time};
use crate::command_line::{Connection, Output, Types};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A type as printed.
#[derive(Debug, Serialize)]
struct ShownType {
    name: String,
    number: u32,
    aliases: Vec<String>,
    built_in: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    schema: String,
    emitters: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    updated_at: String,
}

/// That a type is gone.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    deleted: &'a str,
}

impl From<types::EventType> for ShownType {
    fn from(event_type: types::EventType) -> Self {
        Self {
            created_at: show_time(event_type.created_at.as_ref()),
            updated_at: show_time(event_type.updated_at.as_ref()),
            name: event_type.name,
            number: event_type.number,
            aliases: event_type.aliases,
            built_in: event_type.built_in,
            schema: event_type.schema,
            emitters: event_type.emitters,
        }
    }
}

impl Row for ShownType {
    const HEADINGS: &'static [&'static str] =
        &["NUMBER", "NAME", "ALIASES", "SCHEMA", "EMITTED BY"];

    fn cells(&self) -> Vec<String> {
        let has_schema = if self.schema.is_empty() { "" } else { "yes" };
        vec![
            self.number.to_string(),
            self.name.clone(),
            self.aliases.join(", "),
            has_schema.to_owned(),
            self.emitters.join(", "),
        ]
    }
}

impl ShownType {
    fn print(&self, output: Output) -> Result<(), Failure> {
        let fields = [
            ("name", self.name.clone()),
            ("number", self.number.to_string()),
            ("aliases", self.aliases.join(", ")),
            ("schema", self.schema.clone()),
            ("emitted by", self.emitters.join(", ")),
            ("created", self.created_at.clone()),
            ("updated", self.updated_at.clone()),
        ];
        output::one(output, self, &fields)
    }
}

pub(crate) async fn run(command: Types, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.types()?;
    let stored = match command {
        Types::List { custom } => {
            let request = types::ListTypesRequest {
                custom_only: custom,
            };
            let answer = client.list_types(request).await?.into_inner();
            let shown: Vec<ShownType> = answer.types.into_iter().map(Into::into).collect();
            return output::rows(connection.output, &shown);
        }
        Types::Delete { name } => {
            let request = types::DeleteTypeRequest { name: name.clone() };
            client.delete_type(request).await?;
            let deleted = Deleted { deleted: &name };
            return output::one(connection.output, &deleted, &[("deleted", name.clone())]);
        }
        Types::Get { name } => client.get_type(types::GetTypeRequest { name }).await?,
        Types::Create { name, schema, emit } => {
            let request = types::CreateTypeRequest {
                name,
                schema: read_schema(schema.as_deref())?.unwrap_or_default(),
                emitters: emit,
            };
            client.create_type(request).await?
        }
        Types::Update {
            name,
            schema,
            emit,
            reset,
        } => {
            let is_reset = |what: &str| reset.iter().any(|name| name == what);
            let schema = match read_schema(schema.as_deref())? {
                None if is_reset("schema") => Some(String::new()),
                schema => schema,
            };
            let replaces_rule = !emit.is_empty() || is_reset("emit");
            let emitters = replaces_rule.then_some(types::Emitters { emitters: emit });
            let request = types::UpdateTypeRequest {
                name,
                schema,
                emitters,
            };
            client.update_type(request).await?
        }
    };
    ShownType::from(stored.into_inner()).print(connection.output)
}

fn read_schema(schema: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(schema) = schema else {
        return Ok(None);
    };
    String::from_utf8(read_data(schema)?)
        .map(Some)
        .map_err(|_not_text| Failure::usage("--schema: is not text".to_owned()))
}
