//! How a command fails: one clear line, and an exit code that tells kinds of failure apart.

use std::process::ExitCode;

use protocol::fault::{Fault, FaultKind};
use tonic::{Code, Status};

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) exit_code: u8,
}

impl Failure {
    /// Something on this side went wrong.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 1,
        }
    }

    /// Something given on the command line cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 2,
        }
    }

    /// A file of settings cannot be used.
    pub(crate) fn settings(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 64,
        }
    }

    /// Prints the line and answers with the code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("tripline: {}", self.message);
        ExitCode::from(self.exit_code)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // The transport's own text ("tcp connect error") says nothing of where or what to do.
        let is_transport = std::error::Error::source(&status).is_some();
        if is_transport && matches!(status.code(), Code::Unavailable | Code::Unknown) {
            return Self {
                message: unreachable(&status),
                exit_code: 7,
            };
        }
        let fault = Fault::from_status(&status);
        let exit_code = match fault.kind {
            FaultKind::Invalid | FaultKind::TooLarge => 3,
            FaultKind::Unauthenticated
            | FaultKind::SessionExpired
            | FaultKind::SessionRevoked
            | FaultKind::Forbidden
            | FaultKind::SessionScope => 4,
            FaultKind::NotFound => 5,
            FaultKind::AlreadyExists => 6,
            FaultKind::Unavailable | FaultKind::Exhausted => 7,
            FaultKind::Conflict | FaultKind::Internal => 1,
        };
        let hint = match status.code() {
            Code::Unimplemented => {
                " (this server does not offer that; is it the right one of the services?)"
            }
            _ => "",
        };
        Self {
            message: format!("{fault}{hint}"),
            exit_code,
        }
    }
}

fn unreachable(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut last = String::new();
    while let Some(error) = cause {
        last = error.to_string();
        cause = error.source();
    }
    format!(
        "the server cannot be reached: {last}; start one with `tripline up`, or name it with --server"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_refusal_have_codes_of_their_own() {
        let code = |kind| Failure::from(Status::from(Fault::new(kind, "no"))).exit_code;
        assert_eq!(code(FaultKind::Invalid), 3);
        assert_eq!(code(FaultKind::Forbidden), 4);
        assert_eq!(code(FaultKind::NotFound), 5);
        assert_eq!(code(FaultKind::AlreadyExists), 6);
        assert_eq!(code(FaultKind::Unavailable), 7);
    }
}
