//! What can go wrong with a call, and what the caller is told of it.

use domain::event_type::SelectorError;
use domain::function::UrlError;
use domain::name::ParseNameError;
use domain::pattern::PatternError;
use protocol::fault::{Fault, FaultKind};
use tracing::{error, warn};

/// What the rules of names allow, for an error's `allowed`.
const NAMES: &str =
    "3 to 63 lower-case letters, digits and '-', beginning with a letter, not ending with '-'";

/// What a caller is told when the store could not do something. Details are logged, not sent.
pub(crate) fn of_storage(error: storage::Error) -> Fault {
    match error {
        storage::Error::AlreadyExists { what, name } => Fault::new(
            FaultKind::AlreadyExists,
            format!("{what} {name:?} exists already"),
        ),
        storage::Error::NotFound { what, name } => Fault::not_found(what, name),
        passing if passing.is_passing() => {
            warn!(error = %with_causes(&passing), "the store did not answer a call");
            Fault::unavailable("the database cannot be reached; try again")
        }
        lasting => {
            error!(error = %with_causes(&lasting), "the store refused a call");
            Fault::new(
                FaultKind::Internal,
                "the database refused the change; the log says why",
            )
        }
    }
}

/// An error and all that caused it, in one line for the log.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

pub(crate) fn of_name(field: &str, error: ParseNameError) -> Fault {
    Fault::invalid(field, error.value, "is not a name", NAMES)
}

pub(crate) fn of_url(url: &str, error: &UrlError) -> Fault {
    Fault::invalid(
        "url",
        url,
        error.to_string(),
        "an http or https URL without user, password and fragment",
    )
}

pub(crate) fn of_selector(field: String, error: &SelectorError) -> Fault {
    let message = match error {
        SelectorError::Type(error) => error.to_string(),
        SelectorError::Pattern(error) => at_position(error),
    };
    Fault::invalid(field, error.value(), message, error.allowed())
}

pub(crate) fn of_subject(error: &PatternError) -> Fault {
    Fault::invalid(
        "subject",
        &error.pattern,
        at_position(error),
        "segments between '/': text, *, {name}, and once ** or {name=**}",
    )
}

fn at_position(error: &PatternError) -> String {
    format!(
        "is not a pattern, at byte {}: {}",
        error.position, error.fault
    )
}
