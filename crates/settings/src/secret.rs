//! Values that are used but never shown, and wiped from memory when dropped.

use std::fmt;
use std::fs;
use std::str::FromStr;

use serde::de::value::StringDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) const MASK: &str = "***";

/// Begins every refusal of a secret, so that the value is not repeated beside it.
pub(crate) const MARK: &str = "as a secret, ";

const ALLOWED: &str = "a string or { file = \"/path\" } is expected";

/// In the settings: the text itself, or `{ file = "/path" }` whose content it is, without the
/// line break at the end.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

pub type SecretString = Secret<String>;

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; never log or store what this returns.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> ZeroizeOnDrop for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Text)?;
        match T::deserialize(StringDeserializer::<serde::de::value::Error>::new(text)) {
            Ok(value) => Ok(Self(value)),
            // The error itself may repeat the value.
            Err(_) => Err(refused("the text does not have the form that is expected")),
        }
    }
}

/// An address that may hold a password: shown with the password masked.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    url: Url,
}

impl SecretUrl {
    pub fn new(url: Url) -> Self {
        Self { url }
    }

    /// The address with its password; never log or store what this returns.
    pub fn expose(&self) -> &Url {
        &self.url
    }
}

impl FromStr for SecretUrl {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Url::parse(text).map(Self::new)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.url.password().is_none() {
            return self.url.fmt(f);
        }
        let mut shown = self.url.clone();
        match shown.set_password(Some(MASK)) {
            Ok(()) => shown.fmt(f),
            Err(()) => f.write_str(MASK),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = deserializer.deserialize_any(Text)?;
        let url = text
            .parse()
            .map_err(|error| refused(format_args!("this is no address: {error}")));
        text.zeroize();
        url
    }
}

fn refused<E: Error>(why: impl fmt::Display) -> E {
    E::custom(format_args!("{MARK}{why}"))
}

/// Takes the text, or reads it from the file named. Every refusal is worded here, because
/// serde's own would repeat the value.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        Err(refused(ALLOWED))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        Err(refused(ALLOWED))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<String, E> {
        Err(refused(ALLOWED))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        Err(refused(ALLOWED))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(refused(ALLOWED))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let path = match map.next_key::<String>()? {
            Some(key) if key == "file" => map.next_value::<String>()?,
            Some(_) | None => return Err(refused(ALLOWED)),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(refused(ALLOWED));
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| refused(format_args!("{path} cannot be read: {error}")))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}
