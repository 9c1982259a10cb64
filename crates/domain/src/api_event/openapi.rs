//! Which operations an `OpenAPI` 3 or Swagger 2 document has, in JSON or YAML; nothing else of it is
//! read, and nothing it points to.

use std::collections::HashSet;
use std::fmt;

use saphyr_parser::{Event, Parser};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::description::{DOCUMENT_BYTES_MAX, OPERATIONS_MAX};
use super::name::Verb;

/// A document may be nested so deep.
const DEPTH_MAX: usize = 128;

/// Why no operations can be read from a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("the document has {0} bytes: at most {DOCUMENT_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("the document cannot be read: {0}")]
    Syntax(String),
    #[error("the document is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("{0}")]
    Kind(String),
    #[error("path {path:?}: {reason}")]
    Path { path: String, reason: &'static str },
    #[error("the document names more than {OPERATIONS_MAX} operations")]
    TooMany,
    #[error("the document names no operation, so no event would ever fire")]
    Nothing,
}

/// What of a document counts.
#[derive(Debug, Default)]
struct Outline {
    /// `openapi` or `swagger`.
    version: Option<(&'static str, String)>,
    /// Each path with the members of its item.
    paths: Vec<(String, Vec<String>)>,
}

/// The operations of a document, as `resource.verb`, in its order.
///
/// # Errors
/// Says what is wrong with it and where.
pub fn operations(document: &str) -> Result<Vec<String>, DocumentError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLong(document.len()));
    }
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let outline = if document.trim_start().starts_with('{') {
        serde_json::from_str(document).map_err(|error| DocumentError::Syntax(error.to_string()))?
    } else {
        outline_of_yaml(document)?
    };
    check_version(&outline)?;
    let mut operations = Vec::new();
    let mut known = HashSet::new();
    for (path, members) in &outline.paths {
        if !path.starts_with('/') {
            // Extensions stand among the paths.
            continue;
        }
        let fault = |reason| DocumentError::Path {
            path: path.clone(),
            reason,
        };
        if members.iter().any(|member| member == "$ref") {
            return Err(fault(
                "it stands elsewhere ($ref), and references are not followed",
            ));
        }
        let resource = resource(path).map_err(fault)?;
        for verb in members.iter().filter_map(|member| Verb::parse(member)) {
            let operation = match resource.as_str() {
                "" => verb.as_str().to_owned(),
                resource => format!("{resource}.{}", verb.as_str()),
            };
            if known.insert(operation.clone()) {
                operations.push(operation);
            }
            if operations.len() > OPERATIONS_MAX {
                return Err(DocumentError::TooMany);
            }
        }
    }
    if operations.is_empty() {
        return Err(DocumentError::Nothing);
    }
    Ok(operations)
}

fn check_version(outline: &Outline) -> Result<(), DocumentError> {
    match &outline.version {
        Some(("openapi", version)) if version.starts_with("3.") => Ok(()),
        Some(("swagger", version)) if version == "2.0" || version == "2" => Ok(()),
        Some((what, version)) => Err(DocumentError::Kind(format!(
            "{what} is {version:?}: OpenAPI 3 and Swagger 2.0 are understood"
        ))),
        None => Err(DocumentError::Kind(
            "the document has neither openapi nor swagger at its top: it is no OpenAPI document"
                .to_owned(),
        )),
    }
}

/// A path template as the resource of an event's name.
fn resource(path: &str) -> Result<String, &'static str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(String::new());
    }
    let mut names = HashSet::new();
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(segment_of_template(segment, &mut names)?);
    }
    Ok(segments.join("."))
}

fn segment_of_template(segment: &str, names: &mut HashSet<String>) -> Result<String, &'static str> {
    if segment.is_empty() {
        return Err("a segment is empty");
    }
    if let Some(inner) = segment
        .strip_prefix('{')
        .and_then(|segment| segment.strip_suffix('}'))
        && !inner.contains(['{', '}'])
    {
        return Ok(format!("{{{}}}", placeholder(inner, names)));
    }
    // Parts of a segment are not captured; they stand for any characters.
    let mut text = String::new();
    let mut rest = segment;
    while let Some((literal, after)) = rest.split_once('{') {
        escape(literal, &mut text)?;
        let (_, after) = after.split_once('}').ok_or("a brace is not closed")?;
        if !text.ends_with('*') {
            text.push('*');
        }
        rest = after;
    }
    escape(rest, &mut text)?;
    Ok(text)
}

fn escape(literal: &str, text: &mut String) -> Result<(), &'static str> {
    for char in literal.chars() {
        match char {
            '}' => return Err("a brace is closed that was not opened"),
            char if char.is_control() => return Err("it holds a control character"),
            '.' => text.push_str("%2E"),
            '*' => text.push_str("%2A"),
            '=' => text.push_str("%3D"),
            char => text.push(char),
        }
    }
    Ok(())
}

/// A name that a pattern can have, and that no other placeholder of the path has.
fn placeholder(written: &str, names: &mut HashSet<String>) -> String {
    let mut name: String = written
        .chars()
        .take(64)
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '_'
            }
        })
        .collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        name.insert(0, '_');
    }
    // These would stand for many segments.
    if name == "folder_path" || name == "file_path" {
        name.push('_');
    }
    while !names.insert(name.clone()) {
        name.push('_');
    }
    name
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Top;

        impl<'de> Visitor<'de> for Top {
            type Value = Outline;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
                let mut outline = Outline::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "openapi" => outline.version = Some(("openapi", map.next_value()?)),
                        "swagger" => outline.version = Some(("swagger", map.next_value()?)),
                        "paths" => outline.paths = map.next_value::<Paths>()?.0,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(outline)
            }
        }

        deserializer.deserialize_map(Top)
    }
}

/// Paths and the members of their items.
struct Paths(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Paths;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of paths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some((path, Members(members))) = map.next_entry::<String, Members>()? {
                    paths.push((path, members));
                }
                Ok(Paths(paths))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The names of an object's members; of anything else, none.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Members(names))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Members(Vec::new()))
            }

            fn visit_str<E>(self, _text: &str) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_bool<E>(self, _truth: bool) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_i64<E>(self, _number: i64) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_u64<E>(self, _number: u64) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_f64<E>(self, _number: f64) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_unit<E>(self) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }
        }

        deserializer.deserialize_any(Names)
    }
}

/// A mapping or list that is open while YAML is read.
enum Open {
    List,
    Mapping {
        /// Whose value is next or open; `None` where a key is no text.
        key: Option<String>,
        awaits_key: bool,
    },
}

/// Walks the document's events: nothing is built of it, so an alias costs nothing.
#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    outline: Outline,
}

fn outline_of_yaml(document: &str) -> Result<Outline, DocumentError> {
    let mut walk = Walk::default();
    let mut documents = 0;
    for event in Parser::new_from_str(document) {
        let (event, _place) = event.map_err(|error| DocumentError::Syntax(error.to_string()))?;
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "several YAML documents in one".to_owned();
                    return Err(DocumentError::Syntax(message));
                }
            }
            Event::Scalar(text, ..) => walk.value(Some(&text), false)?,
            Event::Alias(_) => walk.value(None, true)?,
            Event::SequenceStart(..) => {
                walk.begin(false)?;
            }
            Event::MappingStart(..) => {
                walk.begin(true)?;
            }
            Event::SequenceEnd | Event::MappingEnd => walk.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
    Ok(walk.outline)
}

impl Walk {
    /// The keys on the way to what is read now.
    fn keys(&self) -> Option<Vec<&str>> {
        let key = |open: &'_ Open| match open {
            Open::List => None,
            Open::Mapping { .. } => Some(()),
        };
        self.open.iter().try_for_each(key)?;
        let keys = self.open.iter().map(|open| match open {
            Open::Mapping { key: Some(key), .. } => key.as_str(),
            Open::Mapping { key: None, .. } | Open::List => "",
        });
        Some(keys.collect())
    }

    fn value(&mut self, text: Option<&str>, is_alias: bool) -> Result<(), DocumentError> {
        if let Some(Open::Mapping { key, awaits_key }) = self.open.last_mut()
            && *awaits_key
        {
            *awaits_key = false;
            *key = text.map(ToOwned::to_owned);
            self.note_key();
            return Ok(());
        }
        if self.open.len() <= 2
            && let Some(keys) = self.keys()
        {
            match (keys.as_slice(), text) {
                (["openapi"], Some(text)) => {
                    self.outline.version = Some(("openapi", text.to_owned()));
                }
                (["swagger"], Some(text)) => {
                    self.outline.version = Some(("swagger", text.to_owned()));
                }
                (["paths"] | ["paths", _], _) if is_alias => {
                    return Err(DocumentError::Path {
                        path: keys.last().copied().unwrap_or_default().to_owned(),
                        reason: "it stands elsewhere (an alias), and references are not followed",
                    });
                }
                _ => {}
            }
        }
        self.done();
        Ok(())
    }

    /// A key was read: it may be a path, or a member of one.
    fn note_key(&mut self) {
        if self.open.len() > 3 {
            return;
        }
        let Some(keys) = self.keys() else { return };
        match keys.as_slice() {
            ["paths", path] => {
                let path = (*path).to_owned();
                self.outline.paths.push((path, Vec::new()));
            }
            ["paths", _, member] => {
                let member = (*member).to_owned();
                if let Some((_, members)) = self.outline.paths.last_mut() {
                    members.push(member);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, is_mapping: bool) -> Result<(), DocumentError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(DocumentError::TooDeep);
        }
        if let Some(Open::Mapping { key, awaits_key }) = self.open.last_mut()
            && *awaits_key
        {
            // A key that is no text: what is below it is none of ours.
            *key = None;
        }
        self.open.push(if is_mapping {
            Open::Mapping {
                key: None,
                awaits_key: true,
            }
        } else {
            Open::List
        });
        Ok(())
    }

    fn end(&mut self) {
        self.open.pop();
        match self.open.last_mut() {
            Some(Open::Mapping {
                key: None,
                awaits_key,
            }) if *awaits_key => *awaits_key = false,
            Some(_) | None => self.done(),
        }
    }

    /// A value is complete: a key follows.
    fn done(&mut self) {
        if let Some(Open::Mapping { key, awaits_key }) = self.open.last_mut() {
            *key = None;
            *awaits_key = true;
        }
    }
}

#[cfg(test)]
mod tests;
