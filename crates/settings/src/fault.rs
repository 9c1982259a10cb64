//! What is wrong with the settings, as one list that a person can act on.

use std::fmt;

use crate::environment::variable_name;
use crate::read::{Problem, UnknownKey};
use crate::tree::{Node, Place};

/// A name further off than this is not what somebody meant to type.
const SIMILARITY_MIN: f64 = 0.75;

/// Everything that is wrong with the settings of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    service: String,
    lines: Vec<String>,
}

impl Faults {
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            lines: Vec::new(),
        }
    }

    /// Adds a sentence, for instance of a rule across several keys.
    pub fn add(&mut self, sentence: impl Into<String>) {
        self.lines.push(hide_passwords(&sentence.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The value if there is no fault, else the faults.
    pub fn or_ok<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    pub(crate) fn add_unknown(&mut self, unknown: &UnknownKey) {
        let (prefix, key) = (&unknown.parent, &unknown.key);
        let spelled = |key: &str| match &unknown.place {
            Place::Variable(_) => variable_name(&joined(prefix, key)),
            Place::Default | Place::File { .. } => joined(prefix, key).join("."),
        };
        let mut line = match &unknown.place {
            Place::Variable(name) => format!("variable {name}: unknown"),
            place @ (Place::Default | Place::File { .. }) => {
                format!("{place}: unknown key {}", spelled(key))
            }
        };
        if let Some(nearest) = nearest(key, &unknown.allowed) {
            line.push_str(&format!(", did you mean {}?", spelled(nearest)));
        }
        let here = match prefix.as_slice() {
            [] => "at the top".to_owned(),
            prefix => format!("in {}", prefix.join(".")),
        };
        let allowed = match unknown.allowed.as_slice() {
            [] => "nothing".to_owned(),
            keys => keys.join(", "),
        };
        line.push_str(&format!(" (allowed {here}: {allowed})"));
        self.add(line);
    }

    pub(crate) fn add_problem(&mut self, path: &[String], node: Option<&Node>, problem: &Problem) {
        let mut line = match node.map(|node| &node.place) {
            Some(place @ Place::File { .. }) => format!("{place}: {}", path.join(".")),
            Some(place @ Place::Variable(_)) => place.to_string(),
            Some(Place::Default) | None => format!("defaults: {}", path.join(".")),
        };
        let value = node
            .and_then(Node::shown)
            .filter(|_| problem.value_may_be_shown());
        if let Some(value) = value {
            line.push_str(&format!(" = {value}"));
        }
        line.push_str(&format!(": {}", problem.sentence()));
        if let Problem::UnknownChoice { given, allowed } = problem
            && let Some(nearest) = nearest(given, allowed)
        {
            line.push_str(&format!(", did you mean {nearest}?"));
        }
        self.add(line);
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = if self.lines.len() == 1 {
            "fault"
        } else {
            "faults"
        };
        write!(
            f,
            "{} {faults} in the settings of {}:",
            self.lines.len(),
            self.service
        )?;
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

fn joined(prefix: &[String], key: &str) -> Vec<String> {
    prefix.iter().cloned().chain([key.to_owned()]).collect()
}

fn nearest<'a>(given: &str, allowed: &'a [String]) -> Option<&'a str> {
    allowed
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), name.as_str()))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// An address that could not be read may still hold a password: `amqp://user:password@host`.
fn hide_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        rest = after;
        // Up to the last @ before a blank: a password with a slash in it must not slip through.
        let word = rest.split_whitespace().next().unwrap_or_default();
        if let Some((_, host)) = word.rsplit_once('@') {
            shown.push_str("***@");
            rest = rest.get(word.len() - host.len()..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    shown
}
