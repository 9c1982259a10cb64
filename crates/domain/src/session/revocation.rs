//! What ends sessions before their time: their user is gone, or their function.

use jiff::Timestamp;

use super::Session;
use crate::event::{ATTRIBUTE_BYTES_MAX, Event};
use crate::event_type::EventType;
use crate::name::{FunctionName, ProjectName};

/// Sessions that are in force no more: those of a user or of a function, made up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRevocation {
    pub project: ProjectName,
    pub subject: RevocationSubject,
    /// A session made at this second is revoked too.
    pub at: Timestamp,
    /// The registry's revision that last changed it.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RevocationSubject {
    /// By its id, whatever its kind.
    Actor(String),
    Function(FunctionName),
}

impl RevocationSubject {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Actor(_) => "actor",
            Self::Function(_) => "function",
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Actor(id) => id.clone(),
            Self::Function(name) => name.to_string(),
        }
    }

    /// Reads what [`kind`](Self::kind) and [`name`](Self::name) gave; `None` for anything else.
    pub fn parse(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "actor" => Some(Self::Actor(name.to_owned())),
            "function" => name.parse().ok().map(Self::Function),
            _ => None,
        }
    }
}

impl SessionRevocation {
    /// Whether this session, of the same project and subject, is ended by it.
    pub fn ends(&self, session: &Session) -> bool {
        session.issued_at.as_second() <= self.at.as_second()
    }
}

/// The user that an event says is gone: the second segment of `users/{id}`, else the member `user_id`,
/// `userID` or `id` of its data. `None` for every event but `user.account.delete`.
pub fn deleted_user(event: &Event) -> Option<String> {
    if event.event_type != EventType::user_deleted() {
        return None;
    }
    named_user(event).filter(|id| is_actor(id))
}

/// What can be no actor's id needs no revocation.
fn is_actor(id: &str) -> bool {
    (1..=ATTRIBUTE_BYTES_MAX).contains(&id.len()) && !id.contains(char::is_control)
}

fn named_user(event: &Event) -> Option<String> {
    let subject = event.subject.as_deref().unwrap_or_default();
    let mut segments = subject.split('/').filter(|segment| !segment.is_empty());
    if let (Some("users"), Some(id), None) = (segments.next(), segments.next(), segments.next()) {
        return Some(decoded(id));
    }
    let data: serde_json::Value = serde_json::from_slice(&event.data).ok()?;
    ["user_id", "userID", "id"].iter().find_map(|name| {
        let id = data.get(name)?;
        match id.as_str() {
            Some(text) => Some(text.to_owned()),
            None => id.is_number().then(|| id.to_string()),
        }
    })
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}
