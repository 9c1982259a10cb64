//! Turns what people ask for into scripts of API calls and services behind the gateway.

use std::sync::Arc;

use domain::api_event::script::trigger_name;
use domain::api_event::{Description, DescriptionKind, Phase, Script, openapi, wsdl};
use domain::format::Format;
use domain::function::parse_url;
use domain::gateway::{AccessRule, GatewayService, ServiceName};
use domain::name::ProjectName;
use domain::trigger::Trigger;
use jiff::Timestamp;
use protocol::api::script;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1 as wire;
use protocol::gateway::v1 as gateway;

use crate::error::of_url;

/// A trigger that is a script of API calls; `None` where it names no event of the API. What follows
/// from the event is not to be said again, and before and after a call there is no event that other
/// conditions could ask about.
pub(crate) fn wanted_script(
    wanted: &wire::Trigger,
) -> Result<Option<(wire::Trigger, Script)>, Fault> {
    let Some(script) = script(wanted)? else {
        return Ok(None);
    };
    let name = trigger_name(&script.event).to_string();
    if !wanted.name.is_empty() && wanted.name != name {
        let message = "a script has the name that follows from its event";
        return Err(Fault::invalid("name", &wanted.name, message, name));
    }
    let refuse = |field: &str, message: &str| {
        let message = format!("{message}, and the trigger is a script of API calls");
        Err(Fault::invalid(
            field,
            "",
            message,
            "nothing with `api_event`",
        ))
    };
    if !wanted.on.is_empty() {
        return refuse("on", "follows from the event");
    }
    if script.phase() != Phase::Queued {
        let conditions = [
            ("subject", !wanted.subject.is_empty()),
            ("prefix", !wanted.prefix.is_empty()),
            ("suffix", !wanted.suffix.is_empty()),
            ("options", !wanted.options.is_empty()),
            ("filter", !wanted.filter.is_empty()),
            ("template", !wanted.template.is_empty()),
            ("ordering", !matches!(wanted.ordering.as_str(), "" | "none")),
        ];
        if let Some((field, _)) = conditions.iter().find(|(_, is_set)| *is_set) {
            return refuse(field, "is for events that are delivered");
        }
    }
    let trigger = wire::Trigger {
        name,
        on: vec![script.phase().event_type().to_owned()],
        ..wanted.clone()
    };
    Ok(Some((trigger, script)))
}

/// What a script is called with unless its trigger says else: the event object, as DreamFactory has it.
pub(crate) fn usual_format() -> Option<Format> {
    Format::parse("dreamfactory")
}

/// A change of one of the fields that only scripts have; `false` where the field is another.
pub(crate) fn change_script(
    trigger: &mut Trigger,
    wanted: &wire::Trigger,
    path: &str,
) -> Result<bool, Fault> {
    if !matches!(path, "priority" | "allow_event_modification" | "on_error") {
        return Ok(false);
    }
    let Some(script) = trigger.script.as_deref_mut() else {
        let message = "belongs to scripts of API calls, and this trigger is none";
        return Err(Fault::invalid(path, "", message, "nothing"));
    };
    match path {
        "priority" => script.priority = wanted.priority,
        "allow_event_modification" => {
            script.allow_event_modification = wanted.allow_event_modification;
        }
        _ => script.on_error = protocol::api::on_error(&wanted.on_error)?,
    }
    Ok(true)
}

/// A script keeps to what it is: the types it is for follow from its event, and before and after a
/// call there is nothing that conditions could be asked of.
pub(crate) fn check_change(trigger: &Trigger) -> Result<(), Fault> {
    if trigger.script.is_none() {
        return Ok(());
    }
    let shown = wire::Trigger::from(trigger);
    let phase = trigger.script.as_deref().map(Script::phase);
    let types = phase.map(|phase| phase.event_type().to_owned());
    let changed = wire::Trigger {
        name: String::new(),
        on: if shown.on.iter().eq(types.iter()) {
            Vec::new()
        } else {
            shown.on.clone()
        },
        ..shown
    };
    wanted_script(&changed).map(drop)
}

/// A service behind the gateway, its document read.
pub(crate) fn service(
    project: &ProjectName,
    request: &gateway::CreateServiceRequest,
    now: Timestamp,
) -> Result<GatewayService, Fault> {
    let missing = || Fault::missing("service", "a service with its name and base URL");
    let wanted = request.service.as_ref().ok_or_else(missing)?;
    let name = service_name("service.name", &wanted.name)?;
    if wanted.base_url.is_empty() {
        return Err(Fault::missing("service.base_url", "an http or https URL"));
    }
    let base_url = parse_url(&wanted.base_url)
        .map_err(|error| of_url(&wanted.base_url, &error).within("service"))?;
    if base_url.query().is_some() {
        let message = "has a query, and the query of a call is the client's";
        let allowed = "an http or https URL without query";
        return Err(Fault::invalid(
            "service.base_url",
            &wanted.base_url,
            message,
            allowed,
        ));
    }
    let access = match wanted.access.as_str() {
        "" => AccessRule::default(),
        text => AccessRule::parse(text).ok_or_else(|| {
            let allowed = AccessRule::ALL.map(AccessRule::as_str).join(", ");
            Fault::invalid("service.access", text, "is not known", allowed)
        })?,
    };
    let kind = match wanted.description.as_str() {
        "" => DescriptionKind::default(),
        text => DescriptionKind::parse(text).ok_or_else(|| {
            let allowed = DescriptionKind::ALL.map(DescriptionKind::as_str).join(", ");
            Fault::invalid("service.description", text, "is not known", allowed)
        })?,
    };
    let operations = operations(kind, &request.document)?;
    let description = Description::new(name.as_str(), kind, operations)
        .map_err(|error| Fault::invalid("document", "", error.to_string(), DOCUMENTS))?;
    Ok(GatewayService {
        project: project.clone(),
        name,
        base_url,
        access,
        description: Arc::new(description),
        created_at: now,
        updated_at: now,
        revision: 0,
    })
}

const DOCUMENTS: &str = "OpenAPI 3, Swagger 2.0 (JSON or YAML) or WSDL 1.1, at most 4 MiB, 2,000 \
     operations, and nothing that stands in another document";

fn operations(kind: DescriptionKind, document: &[u8]) -> Result<Vec<String>, Fault> {
    if !kind.has_document() {
        if !document.is_empty() {
            let message = format!(
                "belongs to openapi and wsdl, and the description is {}",
                kind.as_str()
            );
            return Err(Fault::invalid("document", "", message, "nothing"));
        }
        return Ok(kind.built_in());
    }
    if document.is_empty() {
        return Err(Fault::missing("document", DOCUMENTS));
    }
    let text = std::str::from_utf8(document)
        .map_err(|error| Fault::invalid("document", "", error.to_string(), "text in UTF-8"))?;
    let read = if kind == DescriptionKind::Wsdl {
        wsdl::operations(text)
    } else {
        openapi::operations(text)
    };
    read.map_err(|error| match error {
        openapi::DocumentError::TooLong(_) => Fault {
            field: Some("document".to_owned()),
            allowed: Some(DOCUMENTS.to_owned()),
            ..Fault::new(FaultKind::TooLarge, error.to_string())
        },
        error => Fault::invalid("document", "", error.to_string(), DOCUMENTS),
    })
}

/// A service's name, from the field of that name.
pub(crate) fn service_name(field: &str, text: &str) -> Result<ServiceName, Fault> {
    let allowed = "1 to 64 lower-case letters, digits, '-' and '_'";
    if text.is_empty() {
        return Err(Fault::missing(field, allowed));
    }
    text.parse()
        .map_err(|_no_name| Fault::invalid(field, text, "is not the name of a service", allowed))
}
