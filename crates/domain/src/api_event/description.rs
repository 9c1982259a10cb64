//! What a service offers, as the events that its calls fire.

use std::collections::HashMap;
use std::fmt;

use super::catalogue;
use super::name::{Call, EventName, EventNameError};
use crate::pattern::Captures;

/// A description may name this many operations.
pub const OPERATIONS_MAX: usize = 2_000;

/// The document a description is read from may have this many bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a description comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DescriptionKind {
    /// Not described: its calls fire no events.
    #[default]
    None,
    /// The services that DreamFactory has itself.
    System,
    Db,
    Files,
    User,
    /// `OpenAPI` 3 or Swagger 2.
    OpenApi,
    /// WSDL 1.1.
    Wsdl,
}

impl DescriptionKind {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::System,
        Self::Db,
        Self::Files,
        Self::User,
        Self::OpenApi,
        Self::Wsdl,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::System => "system",
            Self::Db => "db",
            Self::Files => "files",
            Self::User => "user",
            Self::OpenApi => "openapi",
            Self::Wsdl => "wsdl",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it is read from a document that somebody gives.
    pub const fn has_document(self) -> bool {
        matches!(self, Self::OpenApi | Self::Wsdl)
    }

    /// The events of a service that ships with its description, without the service's name.
    pub fn built_in(self) -> Vec<String> {
        let owned = |events: &[&str]| events.iter().map(|event| (*event).to_owned()).collect();
        match self {
            Self::None | Self::OpenApi | Self::Wsdl => Vec::new(),
            Self::System => catalogue::system(),
            Self::Db => owned(&catalogue::DB),
            Self::Files => owned(&catalogue::FILES),
            Self::User => owned(&catalogue::USER),
        }
    }
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    #[error("it names {0} operations: at most {OPERATIONS_MAX} are allowed")]
    TooMany(usize),
    #[error("{operation:?}: {error}")]
    Operation {
        operation: String,
        error: EventNameError,
    },
}

/// The events of one service, compiled.
#[derive(Clone, Default)]
pub struct Description {
    kind: DescriptionKind,
    operations: Vec<String>,
    names: Vec<EventName>,
    /// By how many segments the path has; those that match any number stand apart.
    by_length: HashMap<usize, Vec<usize>>,
    of_any_length: Vec<usize>,
}

/// The event that a call fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired<'a> {
    /// With its placeholders: `db._table.{table_name}.get`.
    pub generic: &'a EventName,
    /// Of exactly this call, `db._table.contact.get`; the same as the generic one where nothing is
    /// filled in.
    pub specific: String,
    pub captures: Captures,
}

impl Description {
    /// # Errors
    /// Names the operation that is none.
    pub fn new(
        service: &str,
        kind: DescriptionKind,
        operations: Vec<String>,
    ) -> Result<Self, DescriptionError> {
        if operations.len() > OPERATIONS_MAX {
            return Err(DescriptionError::TooMany(operations.len()));
        }
        let mut description = Self {
            kind,
            ..Self::default()
        };
        for operation in &operations {
            let name: EventName = format!("{service}.{operation}").parse().map_err(|error| {
                let operation = operation.clone();
                DescriptionError::Operation { operation, error }
            })?;
            let place = description.names.len();
            match name.path_segments() {
                Some(length) => description.by_length.entry(length).or_default().push(place),
                None => description.of_any_length.push(place),
            }
            description.names.push(name);
        }
        description.operations = operations;
        Ok(description)
    }

    pub const fn kind(&self) -> DescriptionKind {
        self.kind
    }

    /// What was given to [`new`](Self::new).
    pub fn operations(&self) -> &[String] {
        &self.operations
    }

    /// The names that scripts can be bound to, in the order of the description.
    pub fn names(&self) -> &[EventName] {
        &self.names
    }

    /// The event that a call fires, if any: the most special of those that mean it.
    pub fn fired(&self, call: &Call<'_>) -> Option<Fired<'_>> {
        let path = call.path.trim_matches('/');
        let length = if path.is_empty() {
            0
        } else {
            path.split('/').count()
        };
        let exact = self.by_length.get(&length).map_or(&[][..], Vec::as_slice);
        let candidates = exact.iter().chain(&self.of_any_length);
        let matching = candidates
            .filter_map(|place| self.names.get(*place))
            .filter_map(|name| Some((name, name.matches(call)?)));
        let (generic, captures) = matching.max_by_key(|(name, _)| name.rank())?;
        Some(Fired {
            generic,
            specific: generic.specific(&captures),
            captures,
        })
    }
}

impl PartialEq for Description {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.names == other.names
    }
}

/// A long list of names says little.
impl fmt::Debug for Description {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Description")
            .field("kind", &self.kind)
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
