//! The part of the template language that is offered: what cannot make values grow.

use std::io;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, filters, tests};

use super::{OUTPUT_BYTES_MAX, TemplateError};

/// Statements that are offered.
const STATEMENTS: [&str; 9] = [
    "if", "elif", "else", "endif", "for", "endfor", "raw", "endraw", "break",
];

/// Refuses statements that are not offered, and operators that put texts together or repeat them:
/// a few of these in a row could fill memory.
pub(super) fn check(text: &str) -> Result<(), TemplateError> {
    let mut rest = text;
    let mut line = 1;
    while let Some(start) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        let (before, tag) = rest.split_at(start);
        line += before.matches('\n').count();
        let is_statement = tag.starts_with("{%");
        let end = if is_statement { "%}" } else { "}}" };
        let inner = tag.get(2..).unwrap_or_default();
        let length = inner.find(end).unwrap_or(inner.len());
        let (inner, after) = inner.split_at(length);
        let meant = inner.trim_start_matches(['-', '+']).trim_end_matches('-');
        if is_statement {
            let word: String = meant
                .trim_start()
                .chars()
                .take_while(|symbol| symbol.is_alphanumeric() || *symbol == '_')
                .collect();
            if !word.is_empty() && !STATEMENTS.contains(&word.as_str()) {
                let reason = format!("{word:?} is not offered: there are if, for and raw");
                return Err(TemplateError {
                    line: Some(line),
                    reason,
                });
            }
        }
        if let Some(operator) = meant.chars().find(|symbol| "~+*".contains(*symbol)) {
            let reason =
                format!("{operator:?} is not offered within a tag: put two tags beside each other");
            return Err(TemplateError {
                line: Some(line),
                reason,
            });
        }
        if let Some(name) = filters_of(meant).find(|name| !FILTERS.contains(name)) {
            let reason = format!(
                "the filter {name:?} is not known: there are {}",
                FILTERS.join(", ")
            );
            return Err(TemplateError {
                line: Some(line),
                reason,
            });
        }
        line += inner.matches('\n').count();
        rest = after;
    }
    Ok(())
}

/// The names behind `|` in a tag, outside of texts.
fn filters_of(tag: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    let pieces = tag.split(move |symbol: char| match (quote, symbol) {
        (None, '"' | '\'') => {
            quote = Some(symbol);
            false
        }
        (Some(open), closing) if open == closing => {
            quote = None;
            false
        }
        (None, '|') => true,
        _ => false,
    });
    pieces.skip(1).map(|piece| {
        let piece = piece.trim_start();
        let end = piece.find(|symbol: char| !symbol.is_alphanumeric() && symbol != '_');
        piece.get(..end.unwrap_or(piece.len())).unwrap_or(piece)
    })
}

const FILTERS: [&str; 13] = [
    "default", "upper", "lower", "trim", "length", "first", "last", "int", "float", "abs", "round",
    "items", "tojson",
];

/// Filters that give no more than they were given, but for what is written out.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("default", filters::default);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("length", filters::length);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("round", filters::round);
    environment.add_filter("items", filters::items);
    environment.add_filter("tojson", to_json);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
}

/// As JSON in one text, which a template of another kind can carry.
fn to_json(value: &Value) -> Result<Value, Error> {
    let mut text = Text::default();
    serde_json::to_writer(&mut text, value).map_err(too_large)?;
    Ok(Value::from_safe_string(text.0))
}

/// Writes a value where a tag stands: as JSON into JSON, as it is elsewhere.
pub(super) fn write_value(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "it is not there"));
    }
    let is_plain = value.is_safe() || !matches!(state.auto_escape(), AutoEscape::Json);
    if is_plain && let Some(text) = value.as_str() {
        return output.write_str(text).map_err(Error::from);
    }
    let mut text = Text::default();
    serde_json::to_writer(&mut text, value).map_err(too_large)?;
    output.write_str(&text.0).map_err(Error::from)
}

fn too_large(error: serde_json::Error) -> Error {
    let message = if error.is_io() {
        "the value is too large".to_owned()
    } else {
        error.to_string()
    };
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A text that grows to a body's size at most.
#[derive(Default)]
struct Text(String);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > OUTPUT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // JSON is written in whole characters.
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
