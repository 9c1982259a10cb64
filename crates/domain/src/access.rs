//! Who may do what: API keys, their scopes, and the project a call belongs to.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::name::ProjectName;
use crate::session::SessionError;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Send events in.
    Emit,
    /// Create, change and delete functions, triggers and keys.
    Manage,
    /// Read functions, triggers and logs.
    Read,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Emit, Self::Manage, Self::Read];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Manage => "manage",
            Self::Read => "read",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// The hash under which a key is stored: SHA-256 suffices, since keys are 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(…)")
    }
}

/// An API key as stored; the key itself is shown once and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public part of the key, `tlk_…`, by which people name it.
    pub id: String,
    pub project: ProjectName,
    pub hash: KeyHash,
    pub scopes: Vec<Scope>,
    /// What it is for, in its owner's words.
    pub note: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// The registry's revision that last changed this key.
    pub revision: u64,
}

/// Why a call is refused. What a caller may not know looks as if it did not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("an API key is needed: send it as 'Authorization: Bearer KEY'")]
    NoKey,
    #[error("the API key is not known or was revoked")]
    UnknownKey,
    #[error("the API key lacks the scope {:?}", .0.as_str())]
    MissingScope(Scope),
    #[error("project {0:?} does not exist")]
    UnknownProject(String),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("a function session may not do this: {0}")]
    SessionScope(&'static str),
}
