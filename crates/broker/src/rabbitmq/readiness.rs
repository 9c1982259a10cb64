//! Whether the connections that are needed are there, as the check "broker" says it.

use std::sync::{Mutex, PoisonError};

use lifecycle::health::Check;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publishing,
    Consuming,
    /// Sending or taking replies. Nothing that is promised needs it.
    Replying,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publishing => "publishing",
            Self::Consuming => "consuming",
            Self::Replying => "replying",
        }
    }
}

#[derive(Debug)]
pub(super) struct Readiness {
    check: Check,
    missing: Mutex<Missing>,
}

/// Why a role cannot do its work at the moment.
#[derive(Debug)]
struct Missing {
    publishing: Option<String>,
    consuming: Option<String>,
}

impl Readiness {
    /// Publishing is needed from the start on, consuming once something is consumed.
    pub(super) fn new(check: Check) -> Self {
        let missing = Missing {
            publishing: Some("starting".to_owned()),
            consuming: None,
        };
        Self {
            check,
            missing: Mutex::new(missing),
        }
    }

    pub(super) fn restored(&self, role: Role) {
        self.set(role, None);
    }

    pub(super) fn lost(&self, role: Role, reason: impl Into<String>) {
        self.set(role, Some(reason.into()));
    }

    fn set(&self, role: Role, reason: Option<String>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match role {
            Role::Publishing => missing.publishing = reason,
            Role::Consuming => missing.consuming = reason,
            Role::Replying => {}
        }
        match (&missing.publishing, &missing.consuming) {
            (None, None) => self.check.ready(),
            (Some(reason), _) => self.check.not_ready(format!("publishing: {reason}")),
            (None, Some(reason)) => self.check.not_ready(format!("consuming: {reason}")),
        }
    }
}
