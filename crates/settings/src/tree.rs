//! The document as a tree in which every value knows where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Enough to recognise a value by; a longer one would hide the sentence around it.
const SHOWN_CHARS_MAX: usize = 60;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string, number, truth value or time as TOML knows them.
    Scalar(toml::Value),
    /// The text of a variable: what it stands for is decided by the type that reads it.
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Default,
    File { path: Arc<str>, line: usize },
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("defaults"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

impl Node {
    pub(crate) fn empty_table(place: Place) -> Self {
        Self {
            value: Value::Table(BTreeMap::new()),
            place,
        }
    }

    /// A tree whose values were all written at the same place.
    pub(crate) fn from_toml(value: toml::Value, place: &Place) -> Self {
        let value = match value {
            toml::Value::Table(table) => Value::Table(
                table
                    .into_iter()
                    .map(|(key, value)| (key, Self::from_toml(value, place)))
                    .collect(),
            ),
            toml::Value::Array(list) => Value::List(
                list.into_iter()
                    .map(|value| Self::from_toml(value, place))
                    .collect(),
            ),
            scalar => Value::Scalar(scalar),
        };
        Self {
            value,
            place: place.clone(),
        }
    }

    /// Lays another tree over this one: tables are merged, anything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(table), Value::Table(over_table)) => {
                for (key, over) in over_table {
                    match table.get_mut(&key) {
                        Some(node) => node.overlay(over),
                        None => drop(table.insert(key, over)),
                    }
                }
            }
            (value, over_value) => *value = over_value,
        }
        if over.place != Place::Default {
            self.place = over.place;
        }
    }

    /// The node at the path, or the last one on the way to it that is no table.
    pub(crate) fn find(&self, path: &[String]) -> Option<&Self> {
        let Some((key, rest)) = path.split_first() else {
            return Some(self);
        };
        match &self.value {
            Value::Table(table) => table.get(key)?.find(rest),
            Value::List(list) => {
                let index = key.parse::<usize>().ok()?;
                list.get(index)?.find(rest)
            }
            Value::Scalar(_) | Value::Text(_) => Some(self),
        }
    }

    /// Takes out what is at the path; a list or scalar on the way goes as a whole.
    pub(crate) fn remove(&mut self, path: &[String]) -> Option<Self> {
        let (key, rest) = path.split_first()?;
        let Value::Table(table) = &mut self.value else {
            return None;
        };
        let child = table.get_mut(key)?;
        if rest.is_empty() || !matches!(child.value, Value::Table(_)) {
            return table.remove(key);
        }
        child.remove(rest)
    }

    /// Puts a node at the path, with the tables that lead to it.
    pub(crate) fn put(&mut self, path: &[String], node: Self) {
        let Some((key, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            self.value = Value::Table(BTreeMap::new());
        }
        if let Value::Table(table) = &mut self.value {
            let place = node.place.clone();
            table
                .entry(key.clone())
                .or_insert_with(|| Self::empty_table(place))
                .put(rest, node);
        }
    }

    /// The value as written, if it is short enough to be of use in a sentence.
    pub(crate) fn shown(&self) -> Option<String> {
        let text = match &self.value {
            Value::Scalar(value) => value.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) | Value::Table(_) => return None,
        };
        (text.chars().count() <= SHOWN_CHARS_MAX).then_some(text)
    }
}
