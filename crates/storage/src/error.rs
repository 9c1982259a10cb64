//! What can go wrong between a caller and its tables.

use std::path::PathBuf;
use std::sync::Arc;

/// Clones share their cause, so that everyone who waits for one commit can be told of its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{what} {name:?} exists already")]
    AlreadyExists { what: &'static str, name: String },
    #[error("{what} {name:?} does not exist")]
    NotFound { what: &'static str, name: String },
    /// Passing: the same call may succeed later.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// Lasting: the same call will be refused again.
    #[error("the database refused a statement")]
    Refused(#[source] Arc<sqlx::Error>),
    #[error("a stored {what} cannot be read: {problem}")]
    Corrupt { what: &'static str, problem: String },
    #[error("queue {queue:?} is full: it may hold {bytes_max} bytes")]
    Full { queue: String, bytes_max: u64 },
    #[error("the queue has been closed")]
    Closed,
    #[error("the tables cannot be brought up to date")]
    Migrate(#[source] Arc<sqlx::migrate::MigrateError>),
    #[error("the database URL cannot be used")]
    Url(#[source] Arc<sqlx::Error>),
    #[error("the encryption key is unusable: {0}")]
    Key(&'static str),
    #[error("the system gave no random bytes")]
    Random,
    #[error("open {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: Arc<std::io::Error>,
    },
}

impl Error {
    /// Whether the same call may succeed when it is made again.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full { .. })
    }

    pub(crate) fn corrupt(what: &'static str, problem: impl ToString) -> Self {
        Self::Corrupt {
            what,
            problem: problem.to_string(),
        }
    }
}

/// Tells passing faults from lasting ones: by `PostgreSQL`'s class, else by the kind of failure.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) if is_lasting(refusal.code().as_deref()) => {
                Self::Refused(Arc::new(error))
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::TypeNotFound { .. } => Self::Refused(Arc::new(error)),
            _ => Self::Unavailable(Arc::new(error)),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(Arc::new(error))
    }
}

/// Classes 22 (data), 23 (constraints) and 42 (statement, rights) of `PostgreSQL`; 1 (statement),
/// 19 (constraint) and 20 (type) of `SQLite`, in the lowest byte of its extended codes.
fn is_lasting(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    if code.len() == 5 {
        return ["22", "23", "42"]
            .iter()
            .any(|class| code.starts_with(class));
    }
    code.parse::<u32>()
        .is_ok_and(|extended| matches!(extended & 0xff, 1 | 19 | 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_data_is_lasting_and_one_of_the_server_is_not() {
        for lasting in ["22021", "23514", "42P01", "1", "1555", "2067"] {
            assert!(is_lasting(Some(lasting)), "{lasting}");
        }
        for passing in ["57P01", "40001", "53300", "08006", "5", "13"] {
            assert!(!is_lasting(Some(passing)), "{passing}");
        }
        assert!(!is_lasting(None));
    }
}
