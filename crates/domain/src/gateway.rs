//! A service of somebody's that is called through the API gateway, and who may call it.

pub mod path;
pub mod script_token;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use crate::api_event::Description;
use crate::api_event::name::is_service_name;
use crate::name::ProjectName;

/// A project may have this many services behind the gateway.
pub const SERVICES_MAX: usize = 200;

/// A service as configured: `/api/v2/NAME/…` leads to what stands at `base_url`.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayService {
    pub project: ProjectName,
    pub name: ServiceName,
    /// What follows the service's name in a call is put behind its path.
    pub base_url: Url,
    pub access: AccessRule,
    /// Which of its calls fire events.
    pub description: Arc<Description>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The registry's revision that last changed this service.
    pub revision: u64,
}

/// Who may call a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessRule {
    /// Whoever has an API key of the project that may emit; the service does not see the key.
    #[default]
    Key,
    /// Everybody: the service knows its callers itself, and sees what they send.
    Open,
}

impl AccessRule {
    pub const ALL: [Self; 2] = [Self::Key, Self::Open];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Open => "open",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }
}

/// What is wrong with a service's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a service: 1 to 64 lower-case letters, digits, '-' and '_'")]
pub struct ServiceNameError(pub String);

/// A service's name as it stands in paths and in names of events, such as `db`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        if is_service_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(ServiceNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &self.0)
    }
}
