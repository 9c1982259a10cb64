//! Names of event types: the built-in ones with their numbers and aliases, and clients' own.

mod catalogue;
mod custom;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

pub use catalogue::{BuiltIn, CATALOGUE};
pub use custom::{
    CUSTOM_TYPES_MAX, CustomType, DEFAULT_TYPE, EmitRefusal, Emitter, Emitters, FIRST_CUSTOM_NUMBER,
};

use crate::name::TriggerName;
use crate::pattern::{Captures, PatternError, TypePattern};

/// A client's own type may be this long.
pub const TYPE_BYTES_MAX: usize = 128;

/// Space Cloud's name for what is emitted when a delivery of a trigger has failed for good.
const DEAD_LETTER_PREFIX: &str = "dlq_";

/// Types that begin so are the system's own, or Space Cloud's names for them.
const RESERVED_PREFIXES: [&str; 2] = [DEAD_LETTER_PREFIX, "system."];

/// What is wrong with a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not an event type: {fault}")]
pub struct TypeError {
    /// The text as given, cut to a length that can be shown.
    pub value: String,
    pub fault: TypeFault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TypeFault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {TYPE_BYTES_MAX} bytes")]
    TooLong,
    #[error("{0:?} is not allowed in it")]
    Character(char),
    #[error("only digits would read as a number")]
    AllDigits,
    #[error("names beginning with {0:?} are the system's own")]
    Reserved(&'static str),
    #[error("no type has this number")]
    UnknownNumber,
}

impl TypeError {
    fn new(value: &str, fault: TypeFault) -> Self {
        let end = value.floor_char_boundary(TYPE_BYTES_MAX);
        Self {
            value: value.get(..end).unwrap_or_default().to_owned(),
            fault,
        }
    }

    /// What would have been right, for the error's `allowed`.
    pub fn allowed(&self) -> String {
        match self.fault {
            TypeFault::UnknownNumber => format!("one of {}", known_numbers()),
            TypeFault::Empty
            | TypeFault::TooLong
            | TypeFault::Character(_)
            | TypeFault::AllDigits
            | TypeFault::Reserved(_) => format!(
                "a built-in type or its alias, or 1 to {TYPE_BYTES_MAX} of A-Z a-z 0-9 . _ : - \
                 with at least one that is no digit, not beginning with `dlq_` or `system.`"
            ),
        }
    }
}

/// An event's type by its canonical name.
#[derive(Clone)]
pub struct EventType(Name);

#[derive(Clone)]
enum Name {
    BuiltIn(&'static BuiltIn),
    Custom(Arc<str>),
    /// With the number that its project has given it.
    Registered(Arc<str>, u32),
}

impl EventType {
    /// A built-in type by its name or an alias, a trigger's dead letters, or else a client's own.
    pub fn parse(text: &str) -> Result<Self, TypeError> {
        if let Some(built_in) = BY_NAME.get(text) {
            return Ok(Self(Name::BuiltIn(built_in)));
        }
        if let Some(trigger) = text.strip_prefix(DEAD_LETTER_PREFIX)
            && trigger.parse::<TriggerName>().is_ok()
        {
            return Ok(Self(Name::Custom(text.into())));
        }
        match fault_of_custom(text) {
            Some(fault) => Err(TypeError::new(text, fault)),
            None => Ok(Self(Name::Custom(text.into()))),
        }
    }

    /// As [`parse`](Self::parse), for what a client wants to emit: never one of the system's own.
    ///
    /// # Errors
    /// Also for a type that only the system emits.
    pub fn from_client(text: &str) -> Result<Self, TypeError> {
        let event_type = Self::parse(text)?;
        match reserved_prefix(event_type.as_str()) {
            Some(prefix) => Err(TypeError::new(text, TypeFault::Reserved(prefix))),
            None => Ok(event_type),
        }
    }

    /// A delivery has failed for good.
    pub fn delivery_dead() -> Self {
        static DELIVERY_DEAD: BuiltIn = catalogue::DELIVERY_DEAD;
        Self(Name::BuiltIn(&DELIVERY_DEAD))
    }

    /// A function was switched off by itself.
    pub fn function_disabled() -> Self {
        static FUNCTION_DISABLED: BuiltIn = catalogue::FUNCTION_DISABLED;
        Self(Name::BuiltIn(&FUNCTION_DISABLED))
    }

    /// Somebody called a function and waited for its answer.
    pub fn direct_call() -> Self {
        static DIRECT_CALL: BuiltIn = catalogue::DIRECT_CALL;
        Self(Name::BuiltIn(&DIRECT_CALL))
    }

    /// A user's account was deleted.
    pub fn user_deleted() -> Self {
        static USER_DELETED: BuiltIn = catalogue::USER_DELETED;
        Self(Name::BuiltIn(&USER_DELETED))
    }

    /// A schedule has struck.
    pub fn schedule_fired() -> Self {
        static SCHEDULE_FIRED: BuiltIn = catalogue::SCHEDULE_FIRED;
        Self(Name::BuiltIn(&SCHEDULE_FIRED))
    }

    /// Space Cloud's name for a delivery that has failed for good, of one trigger's deliveries.
    pub fn dead_letter_of(trigger: &TriggerName) -> Self {
        Self(Name::Custom(
            format!("{DEAD_LETTER_PREFIX}{trigger}").into(),
        ))
    }

    /// Whether only the system emits it. Such an event calls those alone who named it: what is
    /// wanted by "everything" is what clients emit.
    pub fn is_systems_own(&self) -> bool {
        reserved_prefix(self.as_str()).is_some()
    }

    /// Whether it tells of a call whose caller was answered, and has no use for another.
    pub fn is_of_a_call(&self) -> bool {
        matches!(self.number(), Some(6000 | 6001 | 6003))
    }

    /// Whether it tells of a delivery that has failed for good.
    pub fn is_dead_letter(&self) -> bool {
        self.number() == Some(catalogue::DELIVERY_DEAD.number)
            || self.as_str().starts_with(DEAD_LETTER_PREFIX)
    }

    /// A built-in type by its number.
    pub fn from_number(number: u32) -> Option<Self> {
        let built_in = CATALOGUE
            .iter()
            .find(|built_in| built_in.number == number)?;
        Some(Self(Name::BuiltIn(built_in)))
    }

    /// The canonical name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::BuiltIn(built_in) => built_in.name,
            Name::Custom(name) | Name::Registered(name, _) => name,
        }
    }

    /// A built-in type's, or that of a registered one as far as it is known here.
    pub fn number(&self) -> Option<u32> {
        match &self.0 {
            Name::BuiltIn(built_in) => Some(built_in.number),
            Name::Custom(_) => None,
            Name::Registered(_, number) => Some(*number),
        }
    }

    /// The same type with the number that its project has given it. A built-in one keeps its own.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        match &self.0 {
            Name::BuiltIn(_) => self.clone(),
            Name::Custom(name) | Name::Registered(name, _) => {
                Self(Name::Registered(Arc::clone(name), number))
            }
        }
    }

    /// schmuckli's `_event_name`; only its five types have one.
    pub fn schmuckli_name(&self) -> Option<&'static str> {
        self.built_in()?.schmuckli_name
    }

    /// Space Cloud's name: only its five types have one.
    pub fn space_cloud_name(&self) -> Option<&'static str> {
        self.built_in()?.space_cloud_name()
    }

    /// Yandex Cloud's `event_type`.
    pub fn yandex_name(&self) -> Option<&'static str> {
        self.built_in()?.yandex_name()
    }

    /// Kii's trigger.
    pub fn kii_name(&self) -> Option<&'static str> {
        self.built_in()?.kii_name()
    }

    /// The upper-case name a type is known by: schmuckli's, else its first alias that is one.
    pub fn event_name(&self) -> Option<&'static str> {
        let built_in = self.built_in()?;
        built_in.schmuckli_name.or_else(|| {
            built_in
                .aliases
                .iter()
                .find(|name| !name.contains('.'))
                .copied()
        })
    }

    pub fn is_built_in(&self) -> bool {
        self.built_in().is_some()
    }

    fn built_in(&self) -> Option<&'static BuiltIn> {
        match &self.0 {
            Name::BuiltIn(built_in) => Some(built_in),
            Name::Custom(_) | Name::Registered(..) => None,
        }
    }
}

impl FromStr for EventType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        Self::parse(text)
    }
}

impl PartialEq for EventType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for EventType {}

impl Hash for EventType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for EventType {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EventType {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.as_str())
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static BuiltIn>> = LazyLock::new(|| {
    CATALOGUE
        .iter()
        .flat_map(|built_in| built_in.names().map(move |name| (name, built_in)))
        .collect()
});

fn fault_of_custom(text: &str) -> Option<TypeFault> {
    if text.is_empty() {
        return Some(TypeFault::Empty);
    }
    if text.len() > TYPE_BYTES_MAX {
        return Some(TypeFault::TooLong);
    }
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || "._:-".contains(char);
    if let Some(other) = text.chars().find(|char| !is_allowed(*char)) {
        return Some(TypeFault::Character(other));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(TypeFault::AllDigits);
    }
    reserved_prefix(text).map(TypeFault::Reserved)
}

fn reserved_prefix(text: &str) -> Option<&'static str> {
    RESERVED_PREFIXES
        .into_iter()
        .find(|prefix| text.starts_with(prefix))
}

/// `1000-1002, 1100-1102, …`: the numbers that have a type.
fn known_numbers() -> String {
    let mut numbers: Vec<u32> = CATALOGUE.iter().map(|built_in| built_in.number).collect();
    numbers.sort_unstable();
    let runs = numbers.chunk_by(|number, next| number + 1 == *next);
    let texts = runs.filter_map(|run| match run {
        [] => None,
        [only] => Some(only.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Which types a trigger is interested in: a type by name, alias or number, or a pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct TypeSelector {
    text: String,
    rule: Rule,
}

#[derive(Clone, PartialEq, Eq)]
enum Rule {
    Exact(EventType),
    Pattern(TypePattern),
}

/// What is wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error(transparent)]
    Type(#[from] TypeError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl SelectorError {
    /// The text as given.
    pub fn value(&self) -> &str {
        match self {
            Self::Type(error) => &error.value,
            Self::Pattern(error) => &error.pattern,
        }
    }

    /// What would have been right, for the error's `allowed`.
    pub fn allowed(&self) -> String {
        match self {
            Self::Type(error) => error.allowed(),
            Self::Pattern(_) => "a type, its number, or a pattern like `storage.row.*`".to_owned(),
        }
    }
}

impl TypeSelector {
    /// What the pattern captures from the type's name, or `None` when the type is not selected.
    pub fn matches(&self, event_type: &EventType) -> Option<Captures> {
        match &self.rule {
            Rule::Exact(selected) => (selected == event_type).then(Captures::default),
            Rule::Pattern(_) if event_type.is_systems_own() && !self.names_systems_own() => None,
            Rule::Pattern(pattern) => pattern.matches(event_type.as_str()),
        }
    }

    fn names_systems_own(&self) -> bool {
        reserved_prefix(&self.text).is_some()
    }

    /// The one type selected, unless the selector is a pattern.
    pub fn exact(&self) -> Option<&EventType> {
        match &self.rule {
            Rule::Exact(selected) => Some(selected),
            Rule::Pattern(_) => None,
        }
    }

    pub(crate) fn pattern(&self) -> Option<&TypePattern> {
        match &self.rule {
            Rule::Exact(_) => None,
            Rule::Pattern(pattern) => Some(pattern),
        }
    }
}

impl From<EventType> for TypeSelector {
    fn from(event_type: EventType) -> Self {
        Self {
            text: event_type.to_string(),
            rule: Rule::Exact(event_type),
        }
    }
}

impl FromStr for TypeSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let rule = if text.contains(['*', '{']) {
            Rule::Pattern(text.parse()?)
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number too large to be one is as unknown as any other.
            let known = text.parse().ok().and_then(EventType::from_number);
            Rule::Exact(known.ok_or_else(|| TypeError::new(text, TypeFault::UnknownNumber))?)
        } else {
            Rule::Exact(EventType::parse(text)?)
        };
        Ok(Self {
            text: text.to_owned(),
            rule,
        })
    }
}

/// The text as given.
impl fmt::Display for TypeSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for TypeSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests;
