//! Services behind the gateway, scripts, and the requests and responses that scripts see, between
//! `domain`, what people see and the registry's stream.

use std::sync::Arc;

use domain::api_event::{
    ApiRequest, ApiResponse, Description, DescriptionKind, EventName, OnError, Phase, Script,
};
use domain::function::parse_url;
use domain::gateway::{AccessRule, GatewayService};
use domain::trigger::Trigger;

use crate::event::{ConvertError, invalid, parse};
use crate::fault::Fault;
use crate::functions::v1 as functions;
use crate::gateway::v1 as shown;
use crate::intercept::v1 as intercept;
use crate::time::{from_micros, to_micros, to_timestamp};
use crate::wire::v1 as wire;

/// A request and a response of 4 MiB each, and what is around them.
pub const INTERCEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

impl From<&GatewayService> for wire::RegistryGateway {
    fn from(service: &GatewayService) -> Self {
        Self {
            project: service.project.to_string(),
            name: service.name.to_string(),
            base_url: service.base_url.to_string(),
            access: service.access.as_str().to_owned(),
            description: service.description.kind().as_str().to_owned(),
            operations: service.description.operations().to_vec(),
            created_at_us: to_micros(service.created_at),
            updated_at_us: to_micros(service.updated_at),
            revision: service.revision,
        }
    }
}

impl TryFrom<wire::RegistryGateway> for GatewayService {
    type Error = ConvertError;

    fn try_from(service: wire::RegistryGateway) -> Result<Self, ConvertError> {
        let kind = DescriptionKind::parse(&service.description)
            .ok_or_else(|| invalid("gateway.description", &*service.description))?;
        let description = Description::new(&service.name, kind, service.operations)
            .map_err(|error| invalid("gateway.operations", error.to_string()))?;
        Ok(Self {
            project: parse("gateway.project", &service.project)?,
            name: parse("gateway.name", &service.name)?,
            base_url: parse_url(&service.base_url)
                .map_err(|_refused| invalid("gateway.base_url", &*service.base_url))?,
            access: AccessRule::parse(&service.access)
                .ok_or_else(|| invalid("gateway.access", &*service.access))?,
            description: Arc::new(description),
            created_at: from_micros(service.created_at_us),
            updated_at: from_micros(service.updated_at_us),
            revision: service.revision,
        })
    }
}

impl From<&GatewayService> for shown::Service {
    fn from(service: &GatewayService) -> Self {
        let events = service.description.names().len();
        Self {
            name: service.name.to_string(),
            base_url: service.base_url.to_string(),
            access: service.access.as_str().to_owned(),
            description: service.description.kind().as_str().to_owned(),
            events: u32::try_from(events).unwrap_or(u32::MAX),
            created_at: Some(to_timestamp(service.created_at)),
            updated_at: Some(to_timestamp(service.updated_at)),
            revision: service.revision,
        }
    }
}

impl From<&Script> for wire::Script {
    fn from(script: &Script) -> Self {
        Self {
            event: script.event.to_string(),
            priority: script.priority,
            allow_event_modification: script.allow_event_modification,
            on_error: script.on_error.as_str().to_owned(),
        }
    }
}

impl TryFrom<&wire::Script> for Script {
    type Error = ConvertError;

    fn try_from(script: &wire::Script) -> Result<Self, ConvertError> {
        Ok(Self {
            event: script
                .event
                .parse()
                .map_err(|_unreadable| invalid("script.event", &*script.event))?,
            priority: script.priority,
            allow_event_modification: script.allow_event_modification,
            on_error: OnError::parse(&script.on_error)
                .ok_or_else(|| invalid("script.on_error", &*script.on_error))?,
        })
    }
}

/// What a trigger shows of the script that it is.
pub(crate) fn show_script(trigger: &Trigger, shown: &mut functions::Trigger) {
    let Some(script) = trigger.script.as_deref() else {
        return;
    };
    shown.api_event = script.event.to_string();
    shown.kind = script.phase().as_str().to_owned();
    shown.priority = script.priority;
    shown.allow_event_modification = script.allow_event_modification;
    shown.on_error = script.on_error.as_str().to_owned();
}

/// The script that a trigger is to be; none where it names no event.
///
/// # Errors
/// Says what is wrong with the name of the event, or what belongs to scripts only.
pub fn script(trigger: &functions::Trigger) -> Result<Option<Script>, Fault> {
    if trigger.api_event.is_empty() {
        for (field, value) in [("kind", &trigger.kind), ("on_error", &trigger.on_error)] {
            if !value.is_empty() {
                let message = "belongs to scripts of API calls";
                return Err(Fault::invalid(
                    field,
                    value,
                    message,
                    "nothing without `api_event`",
                ));
            }
        }
        return Ok(None);
    }
    Ok(Some(Script {
        event: event_with_phase(&trigger.api_event, &trigger.kind)?,
        priority: trigger.priority,
        allow_event_modification: trigger.allow_event_modification,
        on_error: on_error(&trigger.on_error)?,
    }))
}

/// How a failing script is taken, by its name; the default when none is named.
///
/// # Errors
/// Names those there are.
pub fn on_error(text: &str) -> Result<OnError, Fault> {
    if text.is_empty() {
        return Ok(OnError::default());
    }
    OnError::parse(text).ok_or_else(|| {
        let allowed = OnError::ALL.map(OnError::as_str).join(", ");
        Fault::invalid("on_error", text, "is not known", allowed)
    })
}

/// The name of an event with its phase, which may be said apart.
///
/// # Errors
/// Says what is wrong with it.
pub fn event_with_phase(name: &str, kind: &str) -> Result<EventName, Fault> {
    let phases = || Phase::ALL.map(Phase::as_str).join(", ");
    let named = event_name("api_event", name)?;
    let wanted = match kind {
        "" => None,
        text => Some(
            Phase::parse(text)
                .ok_or_else(|| Fault::invalid("kind", text, "is not a phase", phases()))?,
        ),
    };
    match (named.phase(), wanted) {
        (Some(phase), Some(wanted)) if phase != wanted => {
            let message = "contradicts the phase in the name of the event";
            Err(Fault::invalid("kind", kind, message, phase.as_str()))
        }
        (Some(_), _) => Ok(named),
        (None, Some(phase)) => event_name("api_event", &format!("{name}.{}", phase.as_str())),
        (None, None) => {
            let message = "has no phase at its end";
            let allowed = format!("{name}. and one of {}", phases());
            Err(Fault::invalid("api_event", name, message, allowed))
        }
    }
}

/// The name of an event, with or without a phase.
///
/// # Errors
/// Says what is wrong with it.
pub fn event_name(field: &str, text: &str) -> Result<EventName, Fault> {
    text.parse().map_err(|error| {
        let message = format!("is not the name of an event: {error}");
        Fault::invalid(field, text, message, "service[.resource].verb[.phase]")
    })
}

impl From<&ApiRequest> for intercept::Request {
    fn from(request: &ApiRequest) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            parameters: fields(&request.parameters),
            headers: fields(&request.headers),
            body: request.body.0.clone(),
        }
    }
}

/// A request of a service, at a path below it.
pub fn api_request(request: intercept::Request, service: &str, path: &str) -> ApiRequest {
    ApiRequest {
        method: request.method.to_ascii_uppercase(),
        uri: request.uri,
        service: service.to_owned(),
        resource: path.to_owned(),
        parameters: pairs(request.parameters),
        headers: headers(request.headers),
        body: request.body.into(),
    }
}

impl From<&ApiResponse> for intercept::Response {
    fn from(response: &ApiResponse) -> Self {
        Self {
            status: u32::from(response.status),
            headers: fields(&response.headers),
            body: response.body.0.clone(),
        }
    }
}

/// A response as a client is to get it.
///
/// # Errors
/// When its status is none.
pub fn api_response(response: intercept::Response) -> Result<ApiResponse, Fault> {
    let status = u16::try_from(response.status).ok();
    let status = status.filter(|status| (100..=999).contains(status));
    Ok(ApiResponse {
        status: status.ok_or_else(|| {
            let value = response.status.to_string();
            Fault::invalid("response.status", value, "is not a status", "100 to 999")
        })?,
        headers: headers(response.headers),
        body: response.body.into(),
    })
}

fn fields(pairs: &[(String, String)]) -> Vec<intercept::Field> {
    let field = |(name, value): &(String, String)| intercept::Field {
        name: name.clone(),
        value: value.clone(),
    };
    pairs.iter().map(field).collect()
}

fn pairs(fields: Vec<intercept::Field>) -> Vec<(String, String)> {
    fields
        .into_iter()
        .map(|field| (field.name, field.value))
        .collect()
}

fn headers(fields: Vec<intercept::Field>) -> Vec<(String, String)> {
    fields
        .into_iter()
        .map(|field| (field.name.to_ascii_lowercase(), field.value))
        .collect()
}
