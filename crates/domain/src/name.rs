//! Names that people give: projects, packages, functions and triggers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a name: 3 to 63 lower-case letters, digits and '-', beginning with a letter, not ending with '-'"
)]
pub struct ParseNameError {
    pub value: String,
}

/// `[a-z][-a-z0-9]{1,61}[a-z0-9]`: the rule of Yandex Cloud and extremum's functions-api.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The project that owns everything else; the unit of isolation.
pub type ProjectName = Name;

/// A trigger's id within its project.
pub type TriggerName = Name;

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands where a trigger's name would, for a call that no trigger made.
    pub fn direct_call() -> Self {
        Self("direct-call".into())
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let bytes = text.as_bytes();
        let is_allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_name = (3..=63).contains(&bytes.len())
            && bytes.iter().all(is_allowed)
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last() != Some(&b'-');
        if is_name {
            Ok(Self(text.into()))
        } else {
            Err(ParseNameError {
                value: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &self.0)
    }
}

/// A function's full name, `[PACKAGE/]NAME`; package `default` when left out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    pub package: Name,
    pub name: Name,
}

impl FunctionName {
    pub const DEFAULT_PACKAGE: &'static str = "default";
}

impl FromStr for FunctionName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (package, name) = text
            .split_once('/')
            .unwrap_or((Self::DEFAULT_PACKAGE, text));
        Ok(Self {
            package: package.parse()?,
            name: name.parse()?,
        })
    }
}

/// The short form: the package is left out where it is `default`.
impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.package.as_str() == Self::DEFAULT_PACKAGE {
            formatter.write_str(self.name.as_str())
        } else {
            write!(formatter, "{}/{}", self.package, self.name)
        }
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_05_s4_06_names_follow_the_rule_of_functions_api() {
        for good in ["abc", "my-package", "number-func", "a1b", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let direct = Name::direct_call();
        assert_eq!(direct.as_str().parse::<Name>(), Ok(direct));
        for bad in [
            "ab",
            "1abc",
            "-abc",
            "abc-",
            "Abc",
            "a.b",
            "ab/c",
            "",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_function_without_a_package_is_in_the_default_one() {
        let short: FunctionName = "welcome".parse().unwrap();
        assert_eq!(short, "default/welcome".parse().unwrap());
        assert_eq!(short.to_string(), "welcome");
        let full: FunctionName = "my-package/number-func".parse().unwrap();
        assert_eq!(full.to_string(), "my-package/number-func");
        assert_eq!("a/b/c".parse::<FunctionName>().unwrap_err().value, "a");
    }
}
