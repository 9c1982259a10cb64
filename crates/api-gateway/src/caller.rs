//! Who calls: by an API key, by the token of a script, or nobody known where a service is open.

use std::sync::Arc;

use domain::Timestamp;
use domain::access::Scope;
use domain::gateway::script_token::{self, ScriptTokenKey};
use domain::gateway::{AccessRule, GatewayService, ServiceName};
use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER, Lineage};
use domain::name::ProjectName;
use domain::registry::Registry;
use http::{HeaderMap, header};
use protocol::access::PROJECT_HEADER;
use protocol::fault::{Fault, FaultKind};

/// Where DreamFactory's clients put their key, and where it leaves room for the service's own
/// credentials in `Authorization`.
pub const KEY_HEADER: &str = "x-dreamfactory-api-key";

/// Whoever calls, what they call, and what led to it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub project: ProjectName,
    pub service: Arc<GatewayService>,
    /// The key's public part.
    pub key: Option<String>,
    /// Whether the `Authorization` header is the gateway's, so that the service must not see it.
    pub keeps_authorization: bool,
    pub lineage: Option<Lineage>,
}

impl Caller {
    /// How many events are behind this call's own.
    pub fn depth(&self) -> u32 {
        self.lineage
            .as_ref()
            .map_or(0, |lineage| lineage.depth.saturating_add(1))
    }
}

/// What a request shows of who calls. Only headers count: a key in a query is in everybody's logs.
struct Shown<'a> {
    /// In a header that is the gateway's alone.
    own: Option<&'a str>,
    bearer: Option<&'a str>,
    project: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        // What is not ASCII is no key, but it is not an absent one either.
        let text = |name: &str| {
            let value = headers.get(name)?;
            Some(value.to_str().unwrap_or_default())
        };
        let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        Self {
            own: text(KEY_HEADER),
            bearer,
            project: text(PROJECT_HEADER),
        }
    }

    /// What identifies the caller, and whether it stands in `Authorization`.
    fn credential(&self) -> Option<(&'a str, bool)> {
        let own = self.own.map(|key| (key, false));
        own.or_else(|| self.bearer.map(|key| (key, true)))
    }
}

/// Who calls a service, if they may.
///
/// # Errors
/// Who may not call learns nothing of which services there are.
pub fn identify(
    registry: &Registry,
    headers: &HeaderMap,
    service: &str,
    tokens: &ScriptTokenKey,
    keys_required: bool,
    now: Timestamp,
) -> Result<Caller, Fault> {
    let shown = Shown::of(headers);
    let passed_on = passed_on(headers)?;
    if let Some((token, is_bearer)) = shown
        .credential()
        .filter(|(key, _)| key.starts_with(script_token::PREFIX))
    {
        let script = tokens
            .check(token, now)
            .map_err(|error| Fault::new(FaultKind::Unauthenticated, error.to_string()))?;
        let of_token = Lineage {
            depth: script.depth,
            ancestry: Vec::new(),
        };
        // What the script passed on is believed as far as it says more.
        let lineage = match passed_on {
            Some(lineage) if lineage.depth >= of_token.depth => lineage,
            Some(lineage) => Lineage {
                depth: of_token.depth,
                ..lineage
            },
            None => of_token,
        };
        return Ok(Caller {
            service: existing(registry, &script.project, service)?,
            project: script.project,
            key: None,
            keeps_authorization: is_bearer,
            lineage: Some(lineage),
        });
    }
    let credential = shown.credential();
    let by_key = registry.authorise(
        credential.map(|(key, _)| key),
        shown.project,
        Scope::Emit,
        keys_required,
    );
    match by_key {
        Ok(project) => Ok(Caller {
            service: existing(registry, &project, service)?,
            project,
            key: credential.and_then(|(key, _)| Some(registry.key(key)?.id.clone())),
            keeps_authorization: credential.is_some_and(|(_, is_bearer)| is_bearer),
            lineage: passed_on,
        }),
        Err(refusal) => {
            // The service may know its callers itself; what they show is for it.
            let open = (shown.own.is_none())
                .then(|| shown.project.unwrap_or("default").parse().ok())
                .flatten()
                .and_then(|project: ProjectName| {
                    let service = existing(registry, &project, service).ok()?;
                    (service.access == AccessRule::Open).then_some((project, service))
                });
            let (project, service) = open.ok_or(refusal)?;
            Ok(Caller {
                project,
                service,
                key: None,
                // A key of ours is not for the service, also where it does not let anybody in here.
                keeps_authorization: shown.bearer.is_some_and(|key| registry.key(key).is_some()),
                lineage: passed_on,
            })
        }
    }
}

fn existing(
    registry: &Registry,
    project: &ProjectName,
    service: &str,
) -> Result<Arc<GatewayService>, Fault> {
    let missing = || Fault::not_found("service", service);
    let name: ServiceName = service.parse().map_err(|_no_name| missing())?;
    registry
        .gateway(project, &name)
        .cloned()
        .ok_or_else(missing)
}

fn passed_on(headers: &HeaderMap) -> Result<Option<Lineage>, Fault> {
    let text = |name| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    Lineage::read(text(DEPTH_HEADER), text(ANCESTRY_HEADER))
        .map_err(|error| Fault::invalid(error.header, error.value, error.message, error.allowed))
}
