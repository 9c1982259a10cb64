//! Reading who calls from a request: the API key, the project named, and the services' own token.

use std::sync::Arc;

use domain::access::{Refusal, Scope};
use domain::name::ProjectName;
use domain::registry::Registry;
use domain::session::{Session, is_like_session};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use settings::SecretString;
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::fault::{Fault, FaultKind};
use crate::registry_feed::RegistryView;

/// `[access]`: who may call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether every call needs an API key.
    pub keys_required: bool,
    /// Who sends it may create projects and list all of them. Nobody may while it is unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_token: Option<SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys_required: true,
            operator_token: None,
        }
    }
}

/// The metadata and header that names a project, where the key does not decide.
pub const PROJECT_HEADER: &str = "tripline-project";

/// The metadata that carries the token services know each other by.
pub const INTERNAL_TOKEN_HEADER: &str = "tripline-internal-token";

/// The project a gRPC call belongs to.
///
/// # Errors
/// Says what is missing or wrong; a project of somebody else looks as if it did not exist.
pub fn authorise(
    registry: &Registry,
    metadata: &MetadataMap,
    scope: Scope,
    requires_key: bool,
) -> Result<ProjectName, Fault> {
    let (authorization, named) = who(metadata);
    authorise_named(registry, authorization, named, scope, requires_key)
}

/// The `authorization` header of a gRPC call, and the project it names.
fn who(metadata: &MetadataMap) -> (Option<&str>, Option<&str>) {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    (text("authorization"), text(PROJECT_HEADER))
}

/// Who calls where a function may call too: with a key, or with the session it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever has a key of this project, or needs none.
    Key(ProjectName),
    Session(Arc<Session>),
}

impl Caller {
    pub fn project(&self) -> &ProjectName {
        match self {
            Self::Key(project) => project,
            Self::Session(session) => &session.project,
        }
    }

    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Key(_) => None,
            Self::Session(session) => Some(session),
        }
    }
}

/// Who makes a gRPC call that a function may make with its session.
///
/// # Errors
/// As [`authorise`], and for a session that is not in force.
pub fn admit(
    view: &RegistryView,
    metadata: &MetadataMap,
    scope: Scope,
    requires_key: bool,
) -> Result<Caller, Fault> {
    let (authorization, named) = who(metadata);
    admit_named(view, authorization, named, scope, requires_key)
}

/// Who makes a call that a function may make with its session, from the call's `authorization` header
/// and the project it names.
///
/// # Errors
/// As [`admit`].
pub fn admit_named(
    view: &RegistryView,
    authorization: Option<&str>,
    named: Option<&str>,
    scope: Scope,
    requires_key: bool,
) -> Result<Caller, Fault> {
    match authorization.map(bearer).transpose()? {
        Some(token) if is_like_session(token) => {
            let session = view.admit_session(token, named)?;
            Ok(Caller::Session(Arc::new(session)))
        }
        key => {
            let project = view.read().authorise(key, named, scope, requires_key)?;
            Ok(Caller::Key(project))
        }
    }
}

/// The project a call belongs to, from its `authorization` header and the project it names.
///
/// # Errors
/// As [`authorise`].
pub fn authorise_named(
    registry: &Registry,
    authorization: Option<&str>,
    named: Option<&str>,
    scope: Scope,
    requires_key: bool,
) -> Result<ProjectName, Fault> {
    let key = authorization.map(bearer).transpose()?;
    if let Some(session) = key.filter(|key| is_like_session(key)) {
        registry.admit_session(session, named, Timestamp::now())?;
        return Err(Refusal::SessionScope("it emits events and reads its own delivery").into());
    }
    Ok(registry.authorise(key, named, scope, requires_key)?)
}

/// Whether the call carries what our own services know each other by. Compared in constant time; an
/// empty or missing token fits nothing.
pub fn is_internal(metadata: &MetadataMap, token: Option<&SecretString>) -> bool {
    let given = metadata.get(INTERNAL_TOKEN_HEADER);
    let given = given.map(|value| value.as_bytes());
    match (given, token.map(|token| token.expose().as_bytes())) {
        (Some(given), Some(token)) if !token.is_empty() => given.ct_eq(token).into(),
        _ => false,
    }
}

fn bearer(authorization: &str) -> Result<&str, Fault> {
    let (scheme, key) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || key.trim().is_empty() {
        let message =
            "the authorization header is not understood: send 'Authorization: Bearer KEY'";
        return Err(Fault::new(FaultKind::Unauthenticated, message));
    }
    Ok(key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_no_bearer_key_is_refused_even_where_keys_are_optional() {
        let registry = Registry::default();
        for header in ["Basic abc", "Bearer", "Bearer  "] {
            let fault =
                authorise_named(&registry, Some(header), None, Scope::Emit, false).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unauthenticated, "{header}");
        }
    }
}
