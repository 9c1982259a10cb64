//! What is wrong with a call, said once for both edges: a gRPC status and an HTTP problem.

use std::fmt;

use domain::access::Refusal;
use domain::session::SessionError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A call that was refused or could not be done, with what a caller needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// Path of the field at fault, for example `event.subject` or `events[3].type`.
    pub field: Option<String>,
    pub value: Option<String>,
    /// What would have been allowed.
    pub allowed: Option<String>,
}

/// Kinds of fault; each has one code on each edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The input is wrong and will stay wrong.
    Invalid,
    TooLarge,
    Unauthenticated,
    /// The function session that came in place of a key is too old.
    SessionExpired,
    /// Its user or its function is gone.
    SessionRevoked,
    Forbidden,
    /// It is in force, but does not reach so far.
    SessionScope,
    NotFound,
    AlreadyExists,
    /// Something else is going on with the same thing; try again.
    Conflict,
    /// The caller asks for more than it may at the moment.
    Exhausted,
    /// Something needed is away; try again.
    Unavailable,
    /// A bug of ours.
    Internal,
}

impl FaultKind {
    const ALL: [Self; 13] = [
        Self::Invalid,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::SessionExpired,
        Self::SessionRevoked,
        Self::Forbidden,
        Self::SessionScope,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Exhausted,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Stable text, in `code` of an HTTP problem and `reason` of a gRPC error's details.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::SessionExpired => "function_session_expired",
            Self::SessionRevoked => "function_session_revoked",
            Self::Forbidden => "forbidden",
            Self::SessionScope => "function_session_scope",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    pub const fn http_status(self) -> http::StatusCode {
        match self {
            Self::Invalid => http::StatusCode::BAD_REQUEST,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthenticated | Self::SessionExpired | Self::SessionRevoked => {
                http::StatusCode::UNAUTHORIZED
            }
            Self::Forbidden | Self::SessionScope => http::StatusCode::FORBIDDEN,
            Self::NotFound => http::StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Conflict => http::StatusCode::CONFLICT,
            Self::Exhausted => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub const fn grpc_code(self) -> Code {
        match self {
            Self::Invalid | Self::TooLarge => Code::InvalidArgument,
            Self::Unauthenticated | Self::SessionExpired | Self::SessionRevoked => {
                Code::Unauthenticated
            }
            Self::Forbidden | Self::SessionScope => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Conflict => Code::Aborted,
            Self::Exhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
}

/// Longer values are cut in answers: the caller knows what was sent.
const VALUE_CHARS_MAX: usize = 200;

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            value: None,
            allowed: None,
        }
    }

    /// A field with a value that is not allowed.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<String>,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        let value: String = value.into();
        let cut = value.chars().count() > VALUE_CHARS_MAX;
        let mut shown: String = value.chars().take(VALUE_CHARS_MAX).collect();
        if cut {
            shown.push('…');
        }
        Self {
            field: Some(field.into()),
            value: Some(shown),
            allowed: Some(allowed.into()),
            ..Self::new(FaultKind::Invalid, message)
        }
    }

    /// A field that must be there and is not.
    pub fn missing(field: impl Into<String>, allowed: impl Into<String>) -> Self {
        let field = field.into();
        let message = format!("{field} is missing");
        Self::invalid(field, "", message, allowed)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unavailable, message)
    }

    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        Self::new(
            FaultKind::NotFound,
            format!("{what} {:?} does not exist", name.to_string()),
        )
    }

    /// The same fault, of a field further inside: `prefix.field`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field = self.field.map(|field| format!("{prefix}.{field}"));
        self
    }

    /// Reads a fault back from a status, as far as its details tell.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let by_code = FaultKind::ALL
            .into_iter()
            .find(|kind| kind.grpc_code() == status.code());
        let by_reason = info.and_then(|info| {
            FaultKind::ALL
                .into_iter()
                .find(|kind| kind.code() == info.reason)
        });
        let metadata = |name: &str| info.and_then(|info| info.metadata.get(name)).cloned();
        Self {
            kind: by_reason.or(by_code).unwrap_or(FaultKind::Internal),
            message: status.message().to_owned(),
            field: metadata("field"),
            value: metadata("value"),
            allowed: metadata("allowed"),
        }
    }
}

/// One line with everything in it.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(formatter, "{field}: ")?;
        }
        formatter.write_str(&self.message)?;
        if let Some(value) = self.value.as_ref().filter(|value| !value.is_empty()) {
            write!(formatter, " (got {value:?})")?;
        }
        if let Some(allowed) = self.allowed.as_ref().filter(|allowed| !allowed.is_empty()) {
            write!(formatter, "; allowed: {allowed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let mut details = ErrorDetails::new();
        let mut metadata = std::collections::HashMap::new();
        if let Some(field) = &fault.field {
            let allowed = fault.allowed.as_deref().unwrap_or_default();
            details
                .add_bad_request_violation(field, format!("{}; allowed: {allowed}", fault.message));
            metadata.insert("field".to_owned(), field.clone());
        }
        if let Some(value) = &fault.value {
            metadata.insert("value".to_owned(), value.clone());
        }
        if let Some(allowed) = &fault.allowed {
            metadata.insert("allowed".to_owned(), allowed.clone());
        }
        details.set_error_info(fault.kind.code(), "tripline", metadata);
        Self::with_error_details(fault.kind.grpc_code(), fault.message, details)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::NoKey | Refusal::UnknownKey => FaultKind::Unauthenticated,
            Refusal::MissingScope(_) => FaultKind::Forbidden,
            Refusal::UnknownProject(_) => FaultKind::NotFound,
            Refusal::Session(SessionError::Expired) => FaultKind::SessionExpired,
            Refusal::Session(SessionError::Revoked) => FaultKind::SessionRevoked,
            Refusal::Session(SessionError::Unknown | SessionError::NotYet) => {
                FaultKind::Unauthenticated
            }
            Refusal::SessionScope(_) => FaultKind::SessionScope,
        };
        Self::new(kind, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_back_from_its_status() {
        let fault = Fault::invalid("url", "ftp://x", "has the scheme \"ftp\"", "http and https");
        let status = Status::from(fault.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Fault::from_status(&status), fault);
        let violations = status.get_error_details();
        let violation = &violations.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "url");
    }

    #[test]
    fn the_line_names_field_value_and_what_is_allowed() {
        let fault = Fault::invalid("url", "ftp://x", "has the scheme \"ftp\"", "http and https");
        assert_eq!(
            fault.to_string(),
            "url: has the scheme \"ftp\" (got \"ftp://x\"); allowed: http and https"
        );
        assert_eq!(
            Fault::missing("type", "a name").to_string(),
            "type: type is missing; allowed: a name"
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let fault = Fault::invalid("data", "x".repeat(1000), "is too long", "less");
        assert_eq!(fault.value.unwrap().chars().count(), VALUE_CHARS_MAX + 1);
    }
}
