//! A type that a project has registered: its number, the shape of its data, and who may emit it.

use jiff::Timestamp;

use super::EventType;
use crate::event::Event;
use crate::name::ProjectName;
use crate::schema::{Schema, Violation};

/// Numbers below are the built-in types'.
pub const FIRST_CUSTOM_NUMBER: u32 = 100_000;

/// A project registers at most so many.
pub const CUSTOM_TYPES_MAX: usize = 1_000;

/// Whose rule holds for custom types without one of their own, in a project that has rules.
pub const DEFAULT_TYPE: &str = "default";

/// A registered type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomType {
    pub project: ProjectName,
    pub name: EventType,
    /// From [`FIRST_CUSTOM_NUMBER`] on; no other type of the project has or had it.
    pub number: u32,
    /// What its data has to be like; anything where there is none.
    pub schema: Option<Schema>,
    /// Who may emit it; `None` sets no rule.
    pub emitters: Option<Emitters>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The registry's revision that last changed it.
    pub revision: u64,
}

/// Who may emit events of a type; neither is nobody but the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emitters {
    /// Whoever has a key that may emit.
    pub keys: bool,
    /// Functions, with a session or in their answers.
    pub sessions: bool,
}

/// Who wants to emit an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emitter {
    Key,
    Session,
}

/// Why an event of a custom type is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitRefusal {
    /// By the rule of this type: its own, or `default`'s.
    #[error("may not be emitted by {emitter}: so says the rule of the type {rule:?}")]
    NotAllowed { rule: String, emitter: &'static str },
    #[error("may not be emitted: the project has rules, and none is for this type")]
    NoRule,
    #[error("{0}")]
    Schema(#[from] Violation),
    #[error("is not JSON, which the schema of its type asks for")]
    NotJson,
}

impl Emitters {
    pub const ALLOWED: &'static str = "keys, sessions or both, or nobody alone";

    /// Reads words; `None` where there are none.
    ///
    /// # Errors
    /// The word that is not understood, or cannot stand beside others.
    pub fn parse(words: &[String]) -> Result<Option<Self>, &str> {
        let mut emitters = Self {
            keys: false,
            sessions: false,
        };
        for word in words {
            match word.as_str() {
                "keys" => emitters.keys = true,
                "sessions" => emitters.sessions = true,
                "nobody" if words.len() == 1 => {}
                other => return Err(other),
            }
        }
        Ok((!words.is_empty()).then_some(emitters))
    }

    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self {
                keys: false,
                sessions: false,
            } => vec!["nobody"],
            Self { keys, sessions } => {
                let both = [(keys, "keys"), (sessions, "sessions")];
                both.into_iter()
                    .filter_map(|(is_allowed, word)| is_allowed.then_some(word))
                    .collect()
            }
        }
    }

    pub const fn allows(self, emitter: Emitter) -> bool {
        match emitter {
            Emitter::Key => self.keys,
            Emitter::Session => self.sessions,
        }
    }
}

impl Emitter {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Session => "sessions",
        }
    }
}

impl CustomType {
    /// The type as it travels with an event, with its number.
    pub fn event_type(&self) -> EventType {
        self.name.numbered(self.number)
    }

    /// Whether an event's data is as its type asks.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, event: &Event) -> Result<(), EmitRefusal> {
        let Some(schema) = &self.schema else {
            return Ok(());
        };
        let data = if event.data.is_empty() {
            serde_json::Value::Null
        } else if event.has_json_data() {
            serde_json::from_slice(&event.data).map_err(|_no_json| EmitRefusal::NotJson)?
        } else {
            return Err(EmitRefusal::NotJson);
        };
        Ok(schema.check(&data)?)
    }
}
