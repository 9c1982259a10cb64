//! Reads the tree into a type, noting every key the type does not know.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::secret;
use crate::tree::{Node, Place, Value};

/// Why a type refused a value.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    Expected(String),
    UnknownChoice { given: String, allowed: Vec<String> },
    UnknownKey { key: String, allowed: Vec<String> },
    Missing(String),
    Other(String),
}

#[derive(Clone, Debug)]
pub(crate) struct UnknownKey {
    pub(crate) parent: Vec<String>,
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) allowed: Vec<String>,
}

/// What was noticed on the way through the tree.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) unknown: RefCell<Vec<UnknownKey>>,
    /// The path at which reading came to its end.
    pub(crate) failed_at: RefCell<Option<Vec<String>>>,
}

/// A place in the tree, about to be read.
pub(crate) struct Reader<'a> {
    node: &'a Node,
    path: Vec<String>,
    notes: &'a Notes,
}

impl Problem {
    pub(crate) fn value_may_be_shown(&self) -> bool {
        !matches!(self, Self::Other(text) if text.starts_with(secret::MARK))
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Expected(what) => format!("expected {}", in_plain_words(what)),
            Self::UnknownChoice { allowed, .. } => format!("allowed is {}", allowed.join(", ")),
            Self::UnknownKey { key, allowed } => {
                format!("unknown key {key} (allowed: {})", allowed.join(", "))
            }
            Self::Missing(key) => format!("{key} is missing"),
            Self::Other(text) => text.clone(),
        }
    }
}

/// serde names the Rust type; a reader of settings wants its range.
fn in_plain_words(what: &str) -> String {
    let (least, kind) = match what.strip_prefix("a nonzero ") {
        Some(kind) => ("1", kind),
        None => ("0", what),
    };
    let most = match kind {
        "u8" => u8::MAX.to_string(),
        "u16" => u16::MAX.to_string(),
        "u32" => u32::MAX.to_string(),
        "u64" | "usize" => return format!("a whole number from {least}"),
        "i8" | "i16" | "i32" | "i64" | "isize" => return "a whole number".to_owned(),
        "f32" | "f64" => return "a number".to_owned(),
        "a boolean" => return "true or false".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from {least} to {most}")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn unknown_variant(given: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownChoice {
            given: given.to_owned(),
            allowed: owned(allowed),
        }
    }

    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownKey {
            key: key.to_owned(),
            allowed: owned(allowed),
        }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key.to_owned())
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

impl<'a> Reader<'a> {
    pub(crate) fn new(node: &'a Node, notes: &'a Notes) -> Self {
        Self {
            node,
            path: Vec::new(),
            notes,
        }
    }

    fn child<'b>(&'b self, key: &str, node: &'b Node) -> Reader<'b> {
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        Reader {
            node,
            path,
            notes: self.notes,
        }
    }

    /// Reads a child and keeps the deepest path at which something was refused.
    fn read_child<'de, S: DeserializeSeed<'de>>(
        &self,
        key: &str,
        node: &Node,
        seed: S,
    ) -> Result<S::Value, Problem> {
        let child = self.child(key, node);
        let path = child.path.clone();
        seed.deserialize(child).inspect_err(|_| {
            self.notes.failed_at.borrow_mut().get_or_insert(path);
        })
    }

    /// A list or table given as the text of a variable is written as in the file.
    fn parsed_text(&self, text: &str, expected: &dyn de::Expected) -> Result<Node, Problem> {
        let value: Result<toml::Value, _> = text.trim().parse();
        match value {
            Ok(value @ (toml::Value::Array(_) | toml::Value::Table(_))) => {
                Ok(Node::from_toml(value, &self.node.place))
            }
            Ok(_) | Err(_) => Err(Problem::Expected(format!(
                "{expected}, written as in the file"
            ))),
        }
    }

    fn read_compound<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Value::Text(text) = &self.node.value else {
            return self.deserialize_any(visitor);
        };
        let node = self.parsed_text(text, &visitor)?;
        Reader {
            node: &node,
            path: self.path,
            notes: self.notes,
        }
        .deserialize_any(visitor)
    }

    fn read_fields<'de, V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if let Value::Text(text) = &self.node.value {
            let node = self.parsed_text(text, &visitor)?;
            let reader = Reader {
                node: &node,
                path: self.path,
                notes: self.notes,
            };
            return reader.read_fields(fields, visitor);
        }
        let Value::Table(table) = &self.node.value else {
            return self.deserialize_any(visitor);
        };
        let mut known = Vec::new();
        for (key, node) in table {
            if fields.contains(&key.as_str()) {
                known.push((key, node));
            } else {
                self.note_unknown(key, node, fields);
            }
        }
        visitor.visit_map(Entries {
            reader: &self,
            rest: known.into_iter(),
            value: None,
        })
    }

    fn note_unknown(&self, key: &str, node: &Node, fields: &[&str]) {
        // A default that does not fit belongs to another choice than the one now made.
        if node.place != Place::Default {
            let place = first_leaf(node).place.clone();
            let (parent, key) = (self.path.clone(), key.to_owned());
            let unknown = UnknownKey {
                parent,
                key,
                place,
                allowed: owned(fields),
            };
            self.notes.unknown.borrow_mut().push(unknown);
        }
    }
}

/// For a variable that names an unknown level: the variable itself, not the level.
fn first_leaf(node: &Node) -> &Node {
    match (&node.value, &node.place) {
        (Value::Table(table), Place::Variable(_)) => table.values().next().map_or(node, first_leaf),
        _ => node,
    }
}

macro_rules! read_number {
    ($($deserialize:ident $visit:ident $number:ty),* $(,)?) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match &self.node.value {
                Value::Text(text) => match text.trim().parse::<$number>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Scalar(toml::Value::Integer(number)) => visitor.visit_i64(*number),
            Value::Scalar(toml::Value::Float(number)) => visitor.visit_f64(*number),
            Value::Scalar(toml::Value::Boolean(truth)) => visitor.visit_bool(*truth),
            Value::Scalar(toml::Value::String(text)) => visitor.visit_str(text),
            Value::Scalar(other) => visitor.visit_string(other.to_string()),
            Value::List(list) => visitor.visit_seq(Items {
                reader: &self,
                rest: list.iter().enumerate(),
            }),
            Value::Table(table) => {
                let rest: Vec<_> = table.iter().collect();
                visitor.visit_map(Entries {
                    reader: &self,
                    rest: rest.into_iter(),
                    value: None,
                })
            }
        }
    }

    read_number! {
        deserialize_bool visit_bool bool,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64,
    }

    /// An empty variable unsets what may be absent.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.read_compound(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.read_compound(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.read_compound(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.read_fields(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Text(text) | Value::Scalar(toml::Value::String(text)) => {
                visitor.visit_enum(StringDeserializer::<Problem>::new(text.clone()))
            }
            Value::Table(table) => {
                // A default beside what was chosen belongs to another choice.
                let chosen = table
                    .iter()
                    .find(|(_, node)| node.place != Place::Default)
                    .or_else(|| table.iter().next());
                match chosen {
                    Some((name, node)) => visitor.visit_enum(Choice {
                        reader: &self,
                        name,
                        node,
                    }),
                    None => Err(Problem::UnknownChoice {
                        given: String::new(),
                        allowed: owned(variants),
                    }),
                }
            }
            Value::Scalar(_) | Value::List(_) => Err(Problem::UnknownChoice {
                given: String::new(),
                allowed: owned(variants),
            }),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple_struct identifier
        ignored_any
    }
}

struct Entries<'a> {
    reader: &'a Reader<'a>,
    rest: std::vec::IntoIter<(&'a String, &'a Node)>,
    value: Option<(&'a String, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.value = self.rest.next();
        match self.value {
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some((key, node)) = self.value.take() else {
            return Err(Problem::Other(
                "a value was asked for before its key".to_owned(),
            ));
        };
        self.reader.read_child(key, node, seed)
    }
}

struct Items<'a> {
    reader: &'a Reader<'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Problem> {
        let Some((index, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.reader
            .read_child(&index.to_string(), node, seed)
            .map(Some)
    }
}

struct Choice<'a> {
    reader: &'a Reader<'a>,
    name: &'a String,
    node: &'a Node,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Problem> {
        let name = StringDeserializer::<Problem>::new(self.name.clone());
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Problem> {
        self.reader.read_child(self.name, self.node, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.reader
            .child(self.name, self.node)
            .read_compound(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.reader
            .child(self.name, self.node)
            .read_fields(fields, visitor)
    }
}
