//! Names of API events, `service.resource.verb[.phase]`, compiled to service, path, verb and phase.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use crate::pattern::{self, Captures, PATTERN_BYTES_MAX, PathPattern, PatternError, Specificity};

/// What a call asks for. Only these make events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As it stands in names: in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Only lower case: so names are compared byte by byte.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }

    /// The verb of an HTTP method; `None` for those that make no events, such as HEAD and OPTIONS.
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str().eq_ignore_ascii_case(method))
    }
}

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Before the call is served, when it is known who calls.
    PreProcess,
    /// After it was served, or refused by a script, or failed.
    PostProcess,
    /// When it has been answered; changes nothing any more.
    Queued,
}

impl Phase {
    pub const ALL: [Self; 3] = [Self::PreProcess, Self::PostProcess, Self::Queued];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreProcess => "pre_process",
            Self::PostProcess => "post_process",
            Self::Queued => "queued",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }

    /// The built-in event type that a call of this phase is recorded as.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::PreProcess => "api.call.pre",
            Self::PostProcess => "api.call.post",
            Self::Queued => "api.call.done",
        }
    }
}

/// What is wrong with the name of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventNameError {
    #[error("the name has {bytes} bytes: at most {PATTERN_BYTES_MAX} are allowed, and none is cut")]
    TooLong { bytes: usize },
    #[error("a name has a service and a verb at least: service[.resource].verb[.phase]")]
    TooShort,
    #[error(
        "{0:?} is not a verb: get, post, put, patch and delete are, in lower case, and '*' for each"
    )]
    Verb(String),
    #[error("{0:?} is not a service: lower-case letters, digits, '-' and '_', or '*' for each")]
    Service(String),
    #[error(
        "{0:?} is not among the segments of a name: '{{name}}', '*', '**' or text without braces"
    )]
    Segment(String),
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// What the last, many-segmented placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    /// `{folder_path}`: the path ends with `/`.
    Folder,
    /// `{file_path}`
    File,
}

/// Which paths of a service a name means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Resource {
    /// The service itself, and nothing below it.
    Root,
    /// The service and all below it.
    All,
    Matching(PathPattern),
}

/// The name of an API event, or a pattern of such names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventName {
    text: String,
    /// `None` stands for every service.
    service: Option<String>,
    resource: Resource,
    node: Option<Node>,
    /// `None` stands for every verb.
    verb: Option<Verb>,
    phase: Option<Phase>,
}

/// One call of a service, as far as events are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub service: &'a str,
    /// Below the service, without its leading `/`, percent-encoded; a folder's ends with `/`.
    pub path: &'a str,
    pub verb: Verb,
}

/// Orders names from generic to special; see [`Specificity`] for the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    names_service: bool,
    many_elements: Reverse<usize>,
    path: Option<Specificity>,
    names_verb: bool,
}

impl EventName {
    pub const fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// The verb; `None` for a pattern of all of them.
    pub const fn verb(&self) -> Option<Verb> {
        self.verb
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name without its phase.
    pub fn without_phase(&self) -> &str {
        let suffix = self.phase.map(Phase::as_str);
        suffix
            .and_then(|suffix| self.text.strip_suffix(suffix)?.strip_suffix('.'))
            .unwrap_or(&self.text)
    }

    /// Whether the call is what this name means, and what its placeholders stand for. The phase is
    /// not looked at.
    pub fn matches(&self, call: &Call<'_>) -> Option<Captures> {
        if self.verb.is_some_and(|verb| verb != call.verb)
            || self
                .service
                .as_deref()
                .is_some_and(|service| service != call.service)
        {
            return None;
        }
        let is_folder = call.path.ends_with('/');
        match self.node {
            Some(Node::Folder) if !is_folder => return None,
            Some(Node::File) if is_folder => return None,
            Some(_) | None => {}
        }
        match &self.resource {
            Resource::All => Some(Captures::default()),
            Resource::Root => call
                .path
                .trim_matches('/')
                .is_empty()
                .then(Captures::default),
            Resource::Matching(pattern) if call.path.trim_matches('/').is_empty() => {
                pattern.matches("")
            }
            Resource::Matching(pattern) => pattern.matches(call.path),
        }
    }

    /// How special the name is among others that mean the same call.
    pub fn rank(&self) -> Rank {
        let path = match &self.resource {
            Resource::Matching(pattern) => Some(pattern.specificity()),
            Resource::Root | Resource::All => None,
        };
        let has_many = match &self.resource {
            Resource::Root => false,
            Resource::All => true,
            Resource::Matching(pattern) => pattern.shape().tail.is_some(),
        };
        Rank {
            names_service: self.service.is_some(),
            many_elements: Reverse(usize::from(has_many)),
            path,
            names_verb: self.verb.is_some(),
        }
    }

    /// How many segments a path must have, where only one number will do.
    pub(super) fn path_segments(&self) -> Option<usize> {
        match &self.resource {
            Resource::Root => Some(0),
            Resource::All => None,
            Resource::Matching(pattern) => {
                let shape = pattern.shape();
                shape.tail.is_none().then_some(shape.head.len())
            }
        }
    }

    /// The name of exactly this call: placeholders filled in, except the ids of records and the paths
    /// of folders and files, which stay as they are.
    pub fn specific(&self, captures: &Captures) -> String {
        let mut parts = Vec::new();
        for part in self.without_phase().split('.') {
            let name = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            let value = name
                .filter(|name| !KEPT_PLACEHOLDERS.contains(name))
                .and_then(|name| captures.get(name));
            parts.push(value.map_or_else(|| part.to_owned(), segment_of_name));
        }
        parts.join(".")
    }

    /// What the call is about: its path without the words of the name before its first placeholder.
    pub fn resource_of(&self, call: &Call<'_>) -> String {
        let path = call.path.strip_prefix('/').unwrap_or(call.path);
        let parts = self.without_phase().split('.').skip(1);
        let literal = parts
            .take_while(|part| !part.starts_with('{') && !part.contains('*'))
            .count();
        let has_placeholder = self.without_phase().contains('{');
        if !has_placeholder {
            return decoded(path.strip_suffix('/').unwrap_or(path));
        }
        let rest = path.splitn(literal + 1, '/').nth(literal);
        decoded(rest.unwrap_or(path))
    }
}

/// What DreamFactory leaves standing in the name of a specific event.
const KEPT_PLACEHOLDERS: [&str; 3] = ["id", "folder_path", "file_path"];

fn decoded(path: &str) -> String {
    let segments: Vec<_> = path.split('/').map(pattern::decode).collect();
    segments.join("/")
}

/// A segment as it stands in a name: with its dots, and what else would be read as something, escaped.
pub fn segment_of_name(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for char in segment.chars() {
        match char {
            '.' | '%' | '*' | '{' | '}' | '/' | '=' => {
                text.push('%');
                text.push_str(&format!("{:02X}", u32::from(char)));
            }
            char => text.push(char),
        }
    }
    text
}

/// Services are named in URLs and in names of events.
pub fn is_service_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

impl FromStr for EventName {
    type Err = EventNameError;

    fn from_str(text: &str) -> Result<Self, EventNameError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(EventNameError::TooLong { bytes: text.len() });
        }
        let (rest, phase) = match text.rsplit_once('.') {
            Some((rest, last)) => match Phase::parse(last) {
                Some(phase) => (rest, Some(phase)),
                None => (text, None),
            },
            None => return Err(EventNameError::TooShort),
        };
        let (rest, last) = rest.rsplit_once('.').ok_or(EventNameError::TooShort)?;
        let (service, resource) = rest
            .split_once('.')
            .map_or((rest, None), |(service, resource)| {
                (service, Some(resource))
            });
        let verb = match last {
            "*" | "**" => None,
            last => Some(Verb::parse(last).ok_or_else(|| EventNameError::Verb(last.to_owned()))?),
        };
        let service_pattern = match service {
            "*" => None,
            name if is_service_name(name) => Some(name.to_owned()),
            other => return Err(EventNameError::Service(other.to_owned())),
        };
        let (resource, node) = match (resource, last) {
            // `service.*` has always meant everything of a service.
            (None, "*" | "**") => (Resource::All, None),
            (None, _) => (Resource::Root, None),
            (Some(resource), "**") => compile(&format!("{resource}.**"))?,
            (Some(resource), _) => compile(resource)?,
        };
        Ok(Self {
            text: text.to_owned(),
            service: service_pattern,
            resource,
            node,
            verb,
            phase,
        })
    }
}

fn compile(resource: &str) -> Result<(Resource, Option<Node>), EventNameError> {
    let mut node = None;
    let mut segments = Vec::new();
    for part in resource.split('.') {
        segments.push(match part {
            "{folder_path}" => {
                node = Some(Node::Folder);
                "{folder_path=+}"
            }
            "{file_path}" => {
                node = Some(Node::File);
                "{file_path=+}"
            }
            // What a name does not say, a pattern of paths would.
            part if part.contains(['=', '/']) => {
                return Err(EventNameError::Segment(part.to_owned()));
            }
            part => part,
        });
    }
    let pattern: PathPattern = segments.join("/").parse()?;
    Ok((Resource::Matching(pattern), node))
}

/// The text as written.
impl fmt::Display for EventName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests;
