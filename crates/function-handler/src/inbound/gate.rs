//! Who may call: people with their keys, operators, and the other services.

use domain::access::Scope;
use domain::name::ProjectName;
use protocol::access::{self, INTERNAL_TOKEN_HEADER};
use protocol::fault::{Fault, FaultKind};
use protocol::registry_feed::RegistryView;
use settings::SecretString;
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

/// Decides on every call. Clones share the view.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) view: RegistryView,
    pub(crate) access: access::Config,
    pub(crate) internal_token: Option<SecretString>,
}

impl Gate {
    /// The project a call belongs to.
    pub(crate) fn project(
        &self,
        metadata: &MetadataMap,
        scope: Scope,
    ) -> Result<ProjectName, Fault> {
        self.known()?;
        access::authorise(
            &self.view.read(),
            metadata,
            scope,
            self.access.keys_required,
        )
    }

    /// # Errors
    /// As long as nothing was read from the database.
    pub(crate) fn known(&self) -> Result<(), Fault> {
        if self.view.is_filled() {
            return Ok(());
        }
        let message = "projects and keys have not been read from the database yet; try again";
        Err(Fault::unavailable(message))
    }

    /// Lets only operators pass: those with the operator's token, or anybody without a key where
    /// keys are optional.
    pub(crate) fn operator(&self, metadata: &MetadataMap) -> Result<(), Fault> {
        let is_anonymous = !metadata.contains_key("authorization");
        if self.is_operator(metadata) || (is_anonymous && !self.access.keys_required) {
            return Ok(());
        }
        let fault = |kind, message: &str| Err(Fault::new(kind, message));
        if self.access.operator_token.is_none() {
            let message = "only an operator may do this, and no operator's token is set \
                           (access.operator_token)";
            return fault(FaultKind::Forbidden, message);
        }
        if is_anonymous {
            let message =
                "the operator's token is needed: send it as 'Authorization: Bearer TOKEN'";
            return fault(FaultKind::Unauthenticated, message);
        }
        fault(
            FaultKind::Forbidden,
            "only an operator may do this, with the operator's token",
        )
    }

    /// Whether the call carries the operator's token.
    pub(crate) fn is_operator(&self, metadata: &MetadataMap) -> bool {
        let given = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let token = given
            .and_then(|value| value.split_once(' '))
            .and_then(|(scheme, token)| {
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
        is_same(token, self.access.operator_token.as_ref())
    }

    /// Lets only our own services pass.
    pub(crate) fn service(&self, metadata: &MetadataMap) -> Result<(), Fault> {
        let given = metadata
            .get(INTERNAL_TOKEN_HEADER)
            .and_then(|value| value.to_str().ok());
        if is_same(given, self.internal_token.as_ref()) {
            return Ok(());
        }
        let message = "this is for the services of the system only (registry.token)";
        Err(Fault::new(FaultKind::Unauthenticated, message))
    }
}

/// In constant time, as far as the text is concerned. An empty or missing token fits nothing.
fn is_same(given: Option<&str>, expected: Option<&SecretString>) -> bool {
    let (Some(given), Some(expected)) = (given, expected) else {
        return false;
    };
    let expected = expected.expose();
    !expected.is_empty() && bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(keys_required: bool, operator_token: Option<&str>) -> Gate {
        Gate {
            view: RegistryView::default(),
            access: access::Config {
                keys_required,
                operator_token: operator_token.map(Into::into),
            },
            internal_token: Some("between-us".into()),
        }
    }

    fn metadata(name: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().unwrap());
        metadata
    }

    #[test]
    fn the_operators_token_is_needed_unless_keys_are_optional_and_none_is_sent() {
        let kind = |gate: &Gate, metadata: &MetadataMap| {
            gate.operator(metadata).map_err(|fault| fault.kind)
        };
        let nothing = MetadataMap::new();
        let right = metadata("authorization", "Bearer right");
        let wrong = metadata("authorization", "Bearer wrong");
        assert_eq!(kind(&gate(true, Some("right")), &right), Ok(()));
        assert_eq!(
            kind(&gate(true, Some("right")), &wrong),
            Err(FaultKind::Forbidden)
        );
        assert_eq!(
            kind(&gate(true, Some("right")), &nothing),
            Err(FaultKind::Unauthenticated)
        );
        assert_eq!(kind(&gate(true, None), &nothing), Err(FaultKind::Forbidden));
        assert_eq!(kind(&gate(false, None), &nothing), Ok(()));
        assert_eq!(kind(&gate(false, None), &wrong), Err(FaultKind::Forbidden));
        let empty = metadata("authorization", "Bearer ");
        assert_eq!(
            kind(&gate(true, Some("")), &empty),
            Err(FaultKind::Forbidden)
        );
    }

    #[test]
    fn only_services_with_the_internal_token_pass() {
        let gate = gate(false, None);
        assert!(
            gate.service(&metadata(INTERNAL_TOKEN_HEADER, "between-us"))
                .is_ok()
        );
        assert!(
            gate.service(&metadata(INTERNAL_TOKEN_HEADER, "guessed"))
                .is_err()
        );
        assert!(gate.service(&MetadataMap::new()).is_err());
        let unset = Gate {
            internal_token: None,
            ..gate
        };
        assert!(
            unset
                .service(&metadata(INTERNAL_TOKEN_HEADER, "between-us"))
                .is_err()
        );
    }

    #[test]
    fn before_the_registry_is_read_a_call_is_told_to_try_again() {
        let fault = gate(true, None)
            .project(&MetadataMap::new(), Scope::Read)
            .unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unavailable);
    }
}
