//! Turns what people ask for into functions and triggers, and says precisely what is wrong with it.

pub(crate) mod schedules;
pub(crate) mod script;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use domain::event_type::TypeSelector;
use domain::function::limits::check_batching;
use domain::function::{
    Credentials, Function, FunctionSettings, OVERLAP_DEFAULT, OVERLAP_MAX, Signing, parse_url,
};
use domain::name::{FunctionName, Name, ProjectName};
use domain::pattern::PathPattern;
use domain::retry::RetryPolicy;
use domain::schema::Schema;
use domain::template::Template;
use domain::trigger::{DEPTH_MAX, Trigger};
use jiff::Timestamp;
use protocol::credentials::{authorization, client_certificate};
use protocol::fault::Fault;
use protocol::function::{format, retry_policy};
use protocol::functions::v1 as wire;
use protocol::settings::{backlog, filter, function_settings, ordering, template};
use protocol::well_known::FieldMask;
use url::Url;

use crate::error::{of_name, of_selector, of_subject, of_url};
use crate::make_secrets::{make_function_secrets, make_signing_key};

/// A trigger may name this many types and patterns.
const SELECTORS_MAX: usize = 100;

/// A prefix or suffix may have this many bytes.
const AFFIX_BYTES_MAX: usize = 1024;

const FUNCTION_FIELDS: &str = "url, format, settings, settings.paused, \
     settings.concurrency_max, settings.rate, settings.headers, settings.batching, \
     settings.disable_on_gone, settings.disable_after, settings.signing, settings.token, \
     settings.proxy, settings.authorities, settings.endpoint, settings.parameters_schema, \
     settings.answer, settings.handlers, settings.events_in_answers, credentials, credentials.authorization, \
     credentials.client_certificate";
const TRIGGER_FIELDS: &str = "enabled, function, on, subject, prefix, suffix, options, filter, \
     format, template, template_content_type, ordering, backlog, depth_max, \
     expect_json_response, retry, retry.retries, \
     retry.interval, retry.backoff, retry.interval_max, retry.jitter, retry.timeout, retry.waits, \
     retry.total_max, retry.retry_after_max, retry.final_statuses, retry.connect_timeout, \
     retry.first_byte_timeout, priority, allow_event_modification, on_error";

/// A function with fresh secrets, and the trigger that was asked for with it.
pub(crate) fn function(
    project: &ProjectName,
    request: &wire::CreateFunctionRequest,
    now: Timestamp,
) -> Result<(Function, Option<Trigger>), Fault> {
    let name = function_name("name", &request.name)?;
    let given = request.credentials.clone().unwrap_or_default();
    let fresh = make_function_secrets()?;
    let function = Function {
        project: project.clone(),
        name: name.clone(),
        url: url(&request.url)?,
        format: format(&request.format)?.unwrap_or_default(),
        secret: fresh.secret,
        signing_secret: fresh.signing_secret,
        settings: FunctionSettings {
            disabled: None,
            ..function_settings(&request.settings.clone().unwrap_or_default())?
        },
        credentials: Credentials {
            authorization: authorization(given.authorization.as_ref())?,
            client_certificate: client_certificate(given.client_certificate.as_ref()),
            signing_key: fresh.signing_key,
            rotating: Vec::new(),
        },
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    check(&function)?;
    if request.on.is_empty() && request.subject.is_empty() {
        if request.retry.is_some() {
            let message = "belongs to a trigger, and none is asked for";
            let allowed = "nothing without `on` or `subject`";
            return Err(Fault::invalid("retry", "", message, allowed));
        }
        if request.expect_json_response {
            let message = "belongs to a trigger, and none is asked for";
            let allowed = "nothing without `on` or `subject`";
            let field = "expect_json_response";
            return Err(Fault::invalid(field, "true", message, allowed));
        }
        return Ok((function, None));
    }
    let wanted = wire::Trigger {
        name: name.name.to_string(),
        function: request.name.clone(),
        on: request.on.clone(),
        subject: request.subject.clone(),
        retry: request.retry.clone(),
        expect_json_response: request.expect_json_response,
        ..wire::Trigger::default()
    };
    let trigger = trigger(project, &wanted, now)?;
    Ok((function, Some(trigger)))
}

/// The trigger's other name, when its function's own is taken: with the package before it.
pub(crate) fn with_package(trigger: &Trigger) -> Option<Trigger> {
    let FunctionName { package, name } = &trigger.function;
    if package.as_str() == FunctionName::DEFAULT_PACKAGE {
        return None;
    }
    let name = format!("{package}-{name}").parse().ok()?;
    Some(Trigger {
        name,
        ..trigger.clone()
    })
}

/// A new trigger; it is enabled unless it is said to be off.
pub(crate) fn trigger(
    project: &ProjectName,
    wanted: &wire::Trigger,
    now: Timestamp,
) -> Result<Trigger, Fault> {
    let as_script;
    let (wanted, script) = match script::wanted_script(wanted)? {
        Some((with_types, script)) => {
            as_script = with_types;
            (&as_script, Some(Box::new(script)))
        }
        None => (wanted, None),
    };
    if wanted.name.is_empty() {
        return Err(Fault::missing("name", "a name of 3 to 63 characters"));
    }
    let usual_format = script.as_ref().and_then(|_| script::usual_format());
    Ok(Trigger {
        project: project.clone(),
        name: wanted
            .name
            .parse()
            .map_err(|error| of_name("name", error))?,
        function: function_name("function", &wanted.function)?,
        // As in DreamFactory, a script runs only when somebody says so.
        is_enabled: wanted.enabled.unwrap_or_else(|| script.is_none()),
        on: selectors(&wanted.on)?,
        subject: subject(&wanted.subject)?,
        prefix: affix("prefix", &wanted.prefix)?,
        suffix: affix("suffix", &wanted.suffix)?,
        options: options(&wanted.options)?,
        filter: filter(&wanted.filter)?,
        format: format(&wanted.format)?.or(usual_format),
        template: template(&wanted.template, &wanted.template_content_type)?,
        retry: RetryPolicy {
            expects_json: wanted.expect_json_response,
            ..retry_policy(wanted.retry.as_ref(), &RetryPolicy::default())?
        },
        ordering: ordering(&wanted.ordering)?,
        backlog: backlog(&wanted.backlog)?,
        depth_max: depth_max(wanted.depth_max)?,
        script,
        created_at: now,
        updated_at: now,
        revision: 0,
    })
}

/// Changes the fields of a function that the mask names.
pub(crate) fn change_function(
    function: &mut Function,
    request: &wire::UpdateFunctionRequest,
    now: Timestamp,
) -> Result<(), Fault> {
    let wanted = request.function.clone().unwrap_or_default();
    let given = request.credentials.clone().unwrap_or_default();
    // Understood as a whole even if the mask takes only some of it.
    let settings = function_settings(&wanted.settings.unwrap_or_default())?;
    for path in paths(request.update_mask.as_ref(), FUNCTION_FIELDS)? {
        match path {
            "url" => function.url = url(&wanted.url)?,
            "format" => function.format = format(&wanted.format)?.unwrap_or_default(),
            "credentials" => {
                let credentials = &mut function.credentials;
                credentials.authorization = authorization(given.authorization.as_ref())?;
                credentials.client_certificate =
                    client_certificate(given.client_certificate.as_ref());
            }
            "credentials.authorization" => {
                function.credentials.authorization = authorization(given.authorization.as_ref())?;
            }
            "credentials.client_certificate" => {
                function.credentials.client_certificate =
                    client_certificate(given.client_certificate.as_ref());
            }
            path => change_settings(&mut function.settings, &settings, path)?,
        }
    }
    check(function)?;
    if function.settings.signing != Signing::Hmac && function.credentials.signing_key.is_empty() {
        // It is from before functions had such keys.
        function.credentials.signing_key = make_signing_key()?;
    }
    function.updated_at = now;
    Ok(())
}

/// How long secrets from before stay valid, from the field `overlap`.
pub(crate) fn overlap(wanted: Option<&protocol::well_known::Duration>) -> Result<Duration, Fault> {
    let Some(wanted) = wanted else {
        return Ok(OVERLAP_DEFAULT);
    };
    let overlap = u64::try_from(wanted.seconds).ok().map(Duration::from_secs);
    overlap
        .filter(|overlap| *overlap <= OVERLAP_MAX)
        .ok_or_else(|| {
            let value = format!("{} s", wanted.seconds);
            Fault::invalid("overlap", value, "is out of range", "0 to 30 days")
        })
}

fn change_settings(
    settings: &mut FunctionSettings,
    wanted: &FunctionSettings,
    path: &str,
) -> Result<(), Fault> {
    let wanted = wanted.clone();
    match path {
        "settings" => {
            *settings = FunctionSettings {
                disabled: settings.disabled.take().filter(|_| wanted.is_paused),
                ..wanted
            };
        }
        "settings.paused" => {
            settings.is_paused = wanted.is_paused;
            if !wanted.is_paused {
                settings.disabled = None;
            }
        }
        "settings.concurrency_max" => settings.concurrency_max = wanted.concurrency_max,
        "settings.rate" => settings.rate = wanted.rate,
        "settings.headers" => settings.headers = wanted.headers,
        "settings.batching" => settings.batching = wanted.batching,
        "settings.disable_on_gone" => settings.disable_on_gone = wanted.disable_on_gone,
        "settings.disable_after" => settings.disable_after = wanted.disable_after,
        "settings.signing" => settings.signing = wanted.signing,
        "settings.token" => settings.token = wanted.token,
        "settings.proxy" => settings.proxy = wanted.proxy,
        "settings.authorities" => settings.authorities = wanted.authorities,
        "settings.endpoint" => settings.endpoint = wanted.endpoint,
        "settings.parameters_schema" => settings.parameters_schema = wanted.parameters_schema,
        "settings.answer" => settings.answer = wanted.answer,
        "settings.handlers" => settings.handlers = wanted.handlers,
        "settings.events_in_answers" => settings.events_in_answers = wanted.events_in_answers,
        other => return Err(unknown_path(other, FUNCTION_FIELDS)),
    }
    Ok(())
}

pub(crate) fn check(function: &Function) -> Result<(), Fault> {
    let settings = function.settings.check();
    if let (Ok(()), Some(schema)) = (&settings, &function.settings.parameters_schema) {
        Schema::parse(schema).map_err(|error| {
            let allowed = "a JSON Schema that refers to nothing outside itself";
            let field = "settings.parameters_schema";
            Fault::invalid(field, schema, error.to_string(), allowed)
        })?;
    }
    settings
        .and_then(|()| check_batching(&function.settings, function.format))
        .and_then(|()| function.credentials.check())
        .map_err(|error| Fault::invalid(error.field, error.value, error.message, error.allowed))
}

/// Changes the fields of a trigger that the mask names.
pub(crate) fn change_trigger(
    trigger: &mut Trigger,
    wanted: &wire::Trigger,
    mask: Option<&FieldMask>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut retry = wire::RetryPolicy::default();
    let given = wanted.retry.clone().unwrap_or_default();
    for path in paths(mask, TRIGGER_FIELDS)? {
        match path {
            "enabled" => {
                let missing = || Fault::missing("enabled", "true, false");
                trigger.is_enabled = wanted.enabled.ok_or_else(missing)?;
            }
            "function" => trigger.function = function_name("function", &wanted.function)?,
            "on" => trigger.on = selectors(&wanted.on)?,
            "subject" => trigger.subject = subject(&wanted.subject)?,
            "prefix" => trigger.prefix = affix("prefix", &wanted.prefix)?,
            "suffix" => trigger.suffix = affix("suffix", &wanted.suffix)?,
            "options" => trigger.options = options(&wanted.options)?,
            "filter" => trigger.filter = filter(&wanted.filter)?,
            "format" => trigger.format = format(&wanted.format)?,
            "template" => {
                // A new text keeps the media type, unless the mask names that too.
                let kept = trigger.template.as_ref().map(Template::content_type);
                trigger.template = template(&wanted.template, kept.unwrap_or_default())?;
            }
            "template_content_type" => {
                let text = trigger.template.as_ref().map(Template::as_str);
                let text = text.unwrap_or(&wanted.template);
                trigger.template = template(text, &wanted.template_content_type)?;
            }
            "ordering" => trigger.ordering = ordering(&wanted.ordering)?,
            "backlog" => trigger.backlog = backlog(&wanted.backlog)?,
            "depth_max" => trigger.depth_max = depth_max(wanted.depth_max)?,
            "expect_json_response" => trigger.retry.expects_json = wanted.expect_json_response,
            "retry" => {
                let default = RetryPolicy {
                    expects_json: trigger.retry.expects_json,
                    ..RetryPolicy::default()
                };
                trigger.retry = retry_policy(wanted.retry.as_ref(), &default)?;
            }
            path if script::change_script(trigger, wanted, path)? => {}
            path => change_retry(&mut retry, &given, path)?,
        }
    }
    script::check_change(trigger)?;
    trigger.retry = retry_policy(Some(&retry), &trigger.retry)?;
    trigger.updated_at = now;
    Ok(())
}

/// Takes over one field of what is given; its default where nothing is.
fn change_retry(
    retry: &mut wire::RetryPolicy,
    given: &wire::RetryPolicy,
    path: &str,
) -> Result<(), Fault> {
    let default = wire::RetryPolicy::from(&RetryPolicy::default());
    match path {
        "retry.retries" => retry.retries = given.retries.or(default.retries),
        "retry.interval" => retry.interval = given.interval.or(default.interval),
        "retry.backoff" => {
            let backoff = [&given.backoff, &default.backoff];
            retry.backoff = backoff
                .into_iter()
                .find(|text| !text.is_empty())
                .cloned()
                .unwrap_or_default();
        }
        "retry.interval_max" => {
            retry.interval_max = given.interval_max.or(default.interval_max);
        }
        "retry.jitter" => retry.jitter = given.jitter.or(default.jitter),
        "retry.timeout" => retry.timeout = given.timeout.or(default.timeout),
        "retry.waits" => {
            retry.waits.clone_from(&given.waits);
            if given.waits.is_empty() && retry.backoff.is_empty() {
                retry.backoff.clone_from(&default.backoff);
            }
        }
        "retry.total_max" => retry.total_max = given.total_max.or(default.total_max),
        "retry.retry_after_max" => {
            retry.retry_after_max = given.retry_after_max.or(default.retry_after_max);
        }
        "retry.final_statuses" => {
            let statuses = given.final_statuses.as_ref();
            retry.final_statuses = statuses.or(default.final_statuses.as_ref()).cloned();
        }
        "retry.connect_timeout" => {
            retry.connect_timeout = given.connect_timeout.or(default.connect_timeout);
        }
        "retry.first_byte_timeout" => {
            retry.first_byte_timeout = given.first_byte_timeout.or(default.first_byte_timeout);
        }
        other => return Err(unknown_path(other, TRIGGER_FIELDS)),
    }
    Ok(())
}

/// `[PACKAGE/]NAME`, from the field of that name.
pub(crate) fn function_name(field: &str, text: &str) -> Result<FunctionName, Fault> {
    if text.is_empty() {
        return Err(Fault::missing(field, "[PACKAGE/]NAME"));
    }
    text.parse().map_err(|error| of_name(field, error))
}

/// `[PACKAGE/]NAME`, where a name alone is one of this package.
pub(crate) fn function_in(
    package: Option<&Name>,
    field: &str,
    text: &str,
) -> Result<FunctionName, Fault> {
    match package {
        Some(package) if !text.is_empty() && !text.contains('/') => {
            function_name(field, &format!("{package}/{text}"))
        }
        Some(_) | None => function_name(field, text),
    }
}

/// A trigger asks for so many attributes at most, as an event has no more than a few.
const OPTIONS_MAX: usize = 16;

fn options(wanted: &HashMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    if wanted.len() > OPTIONS_MAX {
        let allowed = format!("at most {OPTIONS_MAX}");
        let count = wanted.len().to_string();
        return Err(Fault::invalid("options", count, "are too many", allowed));
    }
    for (name, listed) in wanted {
        let is_name = (1..=20).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            let message = "is not the name of an event's attribute";
            let allowed = "1 to 20 lower-case letters and digits";
            return Err(Fault::invalid("options", name, message, allowed));
        }
        affix(&format!("options.{name}"), listed)?;
    }
    Ok(wanted.clone().into_iter().collect())
}

/// Beyond 64 events behind an event, whatever made them is a loop.
fn depth_max(wanted: Option<u32>) -> Result<u32, Fault> {
    match wanted {
        None => Ok(DEPTH_MAX),
        Some(depth) if depth <= 64 => Ok(depth),
        Some(depth) => {
            let message = "is out of range";
            Err(Fault::invalid(
                "depth_max",
                depth.to_string(),
                message,
                "0 to 64 events",
            ))
        }
    }
}

pub(crate) fn url(text: &str) -> Result<Url, Fault> {
    if text.is_empty() {
        return Err(Fault::missing("url", "an http or https URL"));
    }
    parse_url(text).map_err(|error| of_url(text, &error))
}

fn selectors(on: &[String]) -> Result<Vec<TypeSelector>, Fault> {
    if on.len() > SELECTORS_MAX {
        let message = "names too many types";
        return Err(Fault::invalid(
            "on",
            on.len().to_string(),
            message,
            format!("at most {SELECTORS_MAX}"),
        ));
    }
    let parsed = on.iter().enumerate().map(|(place, text)| {
        text.parse()
            .map_err(|error| of_selector(format!("on[{place}]"), &error))
    });
    parsed.collect()
}

fn subject(text: &str) -> Result<Option<PathPattern>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| of_subject(&error))
}

fn affix(field: &str, text: &str) -> Result<Option<String>, Fault> {
    if text.len() > AFFIX_BYTES_MAX {
        let allowed = format!("at most {AFFIX_BYTES_MAX} bytes");
        return Err(Fault::invalid(field, text, "is too long", allowed));
    }
    if text.chars().any(char::is_control) {
        let message = "holds a control character, which no subject has";
        return Err(Fault::invalid(
            field,
            text,
            message,
            "text without control characters",
        ));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn paths<'a>(
    mask: Option<&'a FieldMask>,
    allowed: &str,
) -> Result<impl Iterator<Item = &'a str>, Fault> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        return Err(Fault::missing("update_mask", format!("any of {allowed}")));
    }
    Ok(paths.iter().map(String::as_str))
}

fn unknown_path(path: &str, allowed: &str) -> Fault {
    Fault::invalid(
        "update_mask",
        path,
        "is not a field that can be changed",
        allowed,
    )
}

#[cfg(test)]
mod tests;
