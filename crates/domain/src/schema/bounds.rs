//! What a schema may consist of, so that neither reading it nor checking data by it takes long.
//!
//! Each `$ref` is followed as if its target stood in its place. What comes of that is a tree, whose
//! size bounds how often one place of the data is looked at.

use std::collections::HashMap;

use serde_json::Value;

use super::SchemaError;

/// Objects in the tree, those behind a `$ref` once for each.
pub(super) const PARTS_MAX: usize = 4_000;

/// Levels of the tree.
pub(super) const DEPTH_MAX: usize = 64;

/// Regular expressions.
pub(super) const PATTERNS_MAX: usize = 100;

/// What gives schemas names other than where they stand.
const NAMES: [&str; 7] = [
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

/// # Errors
/// Names what is too much, or leads elsewhere.
pub(super) fn check(schema: &Value) -> Result<(), SchemaError> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err(SchemaError::NotASchema);
    }
    let mut walk = Walk {
        root: schema,
        parts: HashMap::new(),
        patterns: 0,
    };
    let parts = walk.visit(schema, "", 0)?;
    if parts > PARTS_MAX {
        return Err(SchemaError::TooManyParts);
    }
    if walk.patterns > PATTERNS_MAX {
        return Err(SchemaError::TooManyPatterns);
    }
    Ok(())
}

struct Walk<'a> {
    root: &'a Value,
    /// How many parts are below a value, by its address; none while it is being counted.
    parts: HashMap<*const Value, Option<usize>>,
    patterns: usize,
}

impl<'a> Walk<'a> {
    /// How many parts there are from here on.
    fn visit(
        &mut self,
        value: &'a Value,
        pointer: &str,
        depth: usize,
    ) -> Result<usize, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(SchemaError::TooDeep);
        }
        match self.parts.get(&std::ptr::from_ref(value)) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => return Err(SchemaError::Recursive(pointer.to_owned())),
            None => {}
        }
        self.parts.insert(std::ptr::from_ref(value), None);
        let mut parts: usize = 0;
        match value {
            Value::Object(members) => {
                parts = 1;
                for (name, member) in members {
                    let place = format!("{pointer}/{}", escaped(name));
                    parts = parts.saturating_add(self.visit(member, &place, depth + 1)?);
                    parts = parts.saturating_add(self.follow(name, member, &place, depth)?);
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let place = format!("{pointer}/{place}");
                    parts = parts.saturating_add(self.visit(item, &place, depth + 1)?);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.parts.insert(std::ptr::from_ref(value), Some(parts));
        Ok(parts)
    }

    /// What a keyword adds beside its own value.
    fn follow(
        &mut self,
        keyword: &str,
        value: &'a Value,
        pointer: &str,
        depth: usize,
    ) -> Result<usize, SchemaError> {
        match (keyword, value) {
            ("pattern", Value::String(_)) => self.patterns += 1,
            ("patternProperties", Value::Object(patterns)) => self.patterns += patterns.len(),
            ("$ref", Value::String(reference)) => {
                let outside = || outside(keyword, reference, pointer);
                let place = reference.strip_prefix('#').ok_or_else(outside)?;
                if !place.is_empty() && !place.starts_with('/') {
                    return Err(outside());
                }
                let place = percent_encoding::percent_decode_str(place).decode_utf8_lossy();
                let root = self.root;
                let target = root.pointer(&place).ok_or_else(|| SchemaError::Nowhere {
                    value: reference.clone(),
                    pointer: pointer.to_owned(),
                })?;
                return self.visit(target, pointer, depth + 1);
            }
            // A published schema says at its root where it is from.
            ("$id" | "id", Value::String(_)) if depth == 0 => {}
            (name, Value::String(reference)) if NAMES.contains(&name) => {
                return Err(outside(keyword, reference, pointer));
            }
            _ => {}
        }
        Ok(0)
    }
}

fn outside(keyword: &str, value: &str, pointer: &str) -> SchemaError {
    SchemaError::Outside {
        keyword: keyword.to_owned(),
        value: value.to_owned(),
        pointer: pointer.to_owned(),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
