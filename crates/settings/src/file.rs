//! Reads the TOML file, keeping the line of every value.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::Faults;
use crate::tree::{Node, Place, Value};

/// The file as a tree; what cannot be read at all is added to the faults.
pub(crate) fn read(path: &Path, faults: &mut Faults) -> Option<Node> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text, faults),
        Err(error) => {
            faults.add(format!("{}: {error}", path.display()));
            None
        }
    }
}

pub(crate) fn parse(path: &str, text: &str, faults: &mut Faults) -> Option<Node> {
    let lines = Lines {
        path: path.into(),
        text,
    };
    let (spans, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        faults.add(format!("{}: {}", lines.place(&span), error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    match toml::from_str::<toml::Table>(text) {
        Ok(values) => Some(lines.table(values, spans.get_ref(), &spans.span())),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            faults.add(format!("{}: {}", lines.place(&span), error.message()));
            None
        }
    }
}

struct Lines<'a> {
    path: Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().iter().take(span.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::File {
            path: Arc::clone(&self.path),
            line,
        }
    }

    fn table(&self, values: toml::Table, spans: &DeTable<'_>, whole: &Range<usize>) -> Node {
        let table = values.into_iter().map(|(key, value)| {
            let node = match spans.get_key_value(key.as_str()) {
                Some((at, spanned)) => self.node(value, spanned, &at.span()),
                None => Node::from_toml(value, &self.place(whole)),
            };
            (key, node)
        });
        Node {
            value: Value::Table(table.collect()),
            place: self.place(whole),
        }
    }

    /// The place of a value is that of its key: a table's own span is only its heading.
    fn node(&self, value: toml::Value, spanned: &Spanned<DeValue<'_>>, at: &Range<usize>) -> Node {
        match (value, spanned.get_ref()) {
            (toml::Value::Table(values), DeValue::Table(spans)) => self.table(values, spans, at),
            (toml::Value::Array(values), DeValue::Array(spans)) => {
                let nodes = values
                    .into_iter()
                    .zip(spans.iter())
                    .map(|(value, spanned)| self.node(value, spanned, &spanned.span()));
                Node {
                    value: Value::List(nodes.collect()),
                    place: self.place(at),
                }
            }
            (value, _) => Node::from_toml(value, &self.place(at)),
        }
    }
}
