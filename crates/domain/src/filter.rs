//! Conditions in CEL over an event and its data, as triggers have them.
//!
//! What an expression may cost is bounded before it is parsed (length, brackets, operators), when
//! it is compiled (no comprehension within another, few `+`), and when it runs (lists that a
//! comprehension walks through). There are no regular expressions and no clock.

mod facts;
mod inspect;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ParseErrors, Program, Value};

pub use self::facts::Facts;
use self::facts::Scope;
use crate::pattern::Captures;

/// A filter's text: longer ones belong into the function.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;

/// Opening brackets in a filter's text; how deep it can be nested follows.
const OPENINGS_MAX: usize = 40;

/// Characters of operators in a filter's text; how deep chains of them get follows.
const OPERATORS_MAX: usize = 400;

/// What a comprehension walks through has at most so many elements.
const ELEMENTS_MAX: usize = 1_000;

/// The reason of a failure is kept to this many characters: it may repeat the event's data.
const REASON_CHARS_MAX: usize = 200;

/// What may be named in a filter.
pub const NAMES: &str = "event, data, old, new, params";

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled filter. Cheap to clone.
#[derive(Clone)]
pub struct Filter(Arc<Compiled>);

struct Compiled {
    text: String,
    program: Result<Program, FilterError>,
    /// Whether it walks through lists.
    walks: bool,
}

/// Why a text is no filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// Line and column, from 1, where one place is to blame.
    pub position: Option<(usize, usize)>,
    pub reason: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => {
                write!(formatter, "line {line}, column {column}: {}", self.reason)
            }
            None => formatter.write_str(&self.reason),
        }
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// Says what is wrong with it and where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        check_size(text)?;
        let program = Program::compile(text).map_err(|errors| unreadable(text, &errors))?;
        let walks = inspect::inspect(text, &program)?;
        Ok(Self(Arc::new(Compiled {
            text: text.to_owned(),
            program: Ok(program),
            walks,
        })))
    }

    /// A filter that was taken once. Should it no longer be understood, it fails whenever it is
    /// asked, and nothing else does.
    pub fn kept(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|error| {
            Self(Arc::new(Compiled {
                text: text.to_owned(),
                program: Err(error),
                walks: false,
            }))
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the event fulfils it.
    ///
    /// # Errors
    /// The reason, where it cannot be said: a field that is not there, values that cannot be
    /// compared, an answer that is neither true nor false.
    pub fn holds(&self, facts: &Facts<'_>, params: &Captures) -> Result<bool, String> {
        let program = self.0.program.as_ref().map_err(ToString::to_string)?;
        if self.0.walks && facts.longest() > ELEMENTS_MAX {
            return Err(format!(
                "the data holds {} elements in one place, of which at most {ELEMENTS_MAX} are \
                 walked through",
                facts.longest()
            ));
        }
        let scope = Scope::new(facts, params);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&scope);
        match program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!(
                "it gives {} and not true or false",
                other.type_of()
            )),
            Err(error) => Err(shortened(&error.to_string())),
        }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Filter({:?})", self.0.text)
    }
}

fn unreadable(text: &str, errors: &ParseErrors) -> FilterError {
    let first = errors.errors.first();
    let message = first.map_or("it cannot be read", |error| error.msg.as_str());
    if message.contains("Recursion limit") {
        return FilterError {
            position: None,
            reason: "it is nested too deeply".to_owned(),
        };
    }
    FilterError {
        position: first.and_then(|error| {
            let line = usize::try_from(error.pos.0).ok()?.max(1);
            let column = usize::try_from(error.pos.1).ok()?.max(1);
            (line <= text.lines().count()).then_some((line, column))
        }),
        reason: shortened(message),
    }
}

/// Before the parser sees it, which goes one step deeper for each bracket and operator.
fn check_size(text: &str) -> Result<(), FilterError> {
    let fault = |position, reason: String| Err(FilterError { position, reason });
    if text.trim().is_empty() {
        return fault(None, "it is empty".to_owned());
    }
    if text.len() > FILTER_BYTES_MAX {
        return fault(
            None,
            format!(
                "it is {} bytes long: at most {FILTER_BYTES_MAX}",
                text.len()
            ),
        );
    }
    let (mut openings, mut operators) = (0, 0);
    for (offset, symbol) in text.char_indices() {
        match symbol {
            '(' | '[' | '{' => openings += 1,
            '!' | '-' | '+' | '*' | '/' | '%' | '?' | '<' | '>' | '=' | '&' | '|' | '.' => {
                operators += 1;
            }
            _ => {}
        }
        if openings > OPENINGS_MAX {
            let reason = format!("it has too many brackets: at most {OPENINGS_MAX}");
            return fault(Some(position_of(text, offset)), reason);
        }
        if operators > OPERATORS_MAX {
            let reason = format!("it has too many operators: at most {OPERATORS_MAX}");
            return fault(Some(position_of(text, offset)), reason);
        }
    }
    Ok(())
}

/// Line and column, from 1, of a byte.
fn position_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let of_line = before.rsplit('\n').next().unwrap_or_default();
    (line, of_line.chars().count() + 1)
}

/// In one line and not too long, for people and logs.
fn shortened(reason: &str) -> String {
    let mut kept: String = reason
        .chars()
        .map(|symbol| if symbol.is_control() { ' ' } else { symbol })
        .take(REASON_CHARS_MAX)
        .collect();
    if reason.chars().count() > REASON_CHARS_MAX {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;
