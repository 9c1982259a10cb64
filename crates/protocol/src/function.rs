//! Functions, triggers, projects and keys, between `domain` and what people see.

use domain::access::ApiKey;
use domain::filter::Filter;
use domain::format::Format;
use domain::function::Function;
use domain::registry::Project;
use domain::retry::{Backoff, RetryPolicy, StatusError};
use domain::signature::ed25519;
use domain::template::Template;
use domain::trigger::Trigger;

use crate::api::show_script;
use crate::fault::Fault;
use crate::functions::v1 as functions;
use crate::projects::v1 as projects;
use crate::settings::duration;
use crate::time::{to_duration, to_timestamp};

impl From<&Function> for functions::Function {
    fn from(function: &Function) -> Self {
        Self {
            name: function.name.to_string(),
            url: function.url.to_string(),
            format: function.format.as_str().to_owned(),
            created_at: Some(to_timestamp(function.created_at)),
            updated_at: Some(to_timestamp(function.updated_at)),
            revision: function.revision,
            settings: Some((&function.settings).into()),
            credentials: Some((&function.credentials).into()),
            // Functions from before there were such keys have none until they are rotated.
            verification_key: ed25519::public_key(&function.credentials.signing_key)
                .unwrap_or_default(),
            rotating_until: function
                .credentials
                .rotating
                .last()
                .map(|before| to_timestamp(before.expires_at)),
        }
    }
}

impl From<&Trigger> for functions::Trigger {
    fn from(trigger: &Trigger) -> Self {
        let mut shown = Self {
            name: trigger.name.to_string(),
            function: trigger.function.to_string(),
            enabled: Some(trigger.is_enabled),
            on: trigger.on.iter().map(ToString::to_string).collect(),
            subject: trigger
                .subject
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            prefix: trigger.prefix.clone().unwrap_or_default(),
            suffix: trigger.suffix.clone().unwrap_or_default(),
            format: trigger
                .format
                .map(Format::as_str)
                .unwrap_or_default()
                .to_owned(),
            retry: Some((&trigger.retry).into()),
            created_at: Some(to_timestamp(trigger.created_at)),
            updated_at: Some(to_timestamp(trigger.updated_at)),
            revision: trigger.revision,
            ordering: trigger.ordering.as_str().to_owned(),
            backlog: trigger.backlog.as_str().to_owned(),
            depth_max: Some(trigger.depth_max),
            options: trigger.options.clone().into_iter().collect(),
            filter: trigger
                .filter
                .as_ref()
                .map(Filter::as_str)
                .unwrap_or_default()
                .to_owned(),
            template: trigger
                .template
                .as_ref()
                .map(Template::as_str)
                .unwrap_or_default()
                .to_owned(),
            template_content_type: trigger
                .template
                .as_ref()
                .map(Template::content_type)
                .unwrap_or_default()
                .to_owned(),
            expect_json_response: trigger.retry.expects_json,
            ..Self::default()
        };
        show_script(trigger, &mut shown);
        shown
    }
}

impl From<&RetryPolicy> for functions::RetryPolicy {
    fn from(retry: &RetryPolicy) -> Self {
        Self {
            retries: Some(retry.retries_max),
            interval: Some(to_duration(retry.interval)),
            backoff: retry.backoff.as_str().to_owned(),
            interval_max: Some(to_duration(retry.interval_max)),
            jitter: Some(retry.jitter),
            timeout: Some(to_duration(retry.timeout)),
            waits: retry.waits.iter().copied().map(to_duration).collect(),
            total_max: Some(to_duration(retry.total_max)),
            retry_after_max: Some(to_duration(retry.retry_after_max)),
            final_statuses: Some(retry.final_statuses.to_string()),
            connect_timeout: Some(to_duration(retry.connect_timeout.unwrap_or_default())),
            first_byte_timeout: Some(to_duration(retry.first_byte_timeout.unwrap_or_default())),
        }
    }
}

impl From<&Project> for projects::Project {
    fn from(project: &Project) -> Self {
        Self {
            name: project.name.to_string(),
            created_at: Some(to_timestamp(project.created_at)),
            paused: project.is_paused,
        }
    }
}

impl From<&ApiKey> for projects::Key {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            scopes: key
                .scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            note: key.note.clone(),
            created_at: Some(to_timestamp(key.created_at)),
            revoked_at: key.revoked_at.map(to_timestamp),
        }
    }
}

/// A policy in which everything left out keeps what `base` says; checked.
///
/// # Errors
/// Names the field that is outside its range.
pub fn retry_policy(
    retry: Option<&functions::RetryPolicy>,
    base: &RetryPolicy,
) -> Result<RetryPolicy, Fault> {
    let mut policy = base.clone();
    let Some(retry) = retry else {
        return Ok(policy);
    };
    if !retry.waits.is_empty() {
        let waits = retry.waits.iter().map(|wait| duration("retry.waits", wait));
        policy.waits = waits.collect::<Result<_, _>>()?;
        policy.backoff = Backoff::Listed;
        policy.retries_max = u32::try_from(policy.waits.len()).unwrap_or(u32::MAX);
    }
    if let Some(retries) = retry.retries {
        policy.retries_max = retries;
    }
    if let Some(interval) = &retry.interval {
        policy.interval = duration("retry.interval", interval)?;
        // A longer interval than the default cap means a longer cap, unless one is given.
        policy.interval_max = policy.interval_max.max(policy.interval);
    }
    if let Some(interval_max) = &retry.interval_max {
        policy.interval_max = duration("retry.interval_max", interval_max)?;
    }
    if let Some(jitter) = retry.jitter {
        policy.jitter = jitter;
    }
    if let Some(timeout) = &retry.timeout {
        policy.timeout = duration("retry.timeout", timeout)?;
    }
    if !retry.backoff.is_empty() {
        policy.backoff = Backoff::parse(&retry.backoff).ok_or_else(|| {
            Fault::invalid(
                "retry.backoff",
                &retry.backoff,
                "is not a kind of backoff",
                "fixed, exponential, listed",
            )
        })?;
        if policy.backoff != Backoff::Listed && retry.waits.is_empty() {
            policy.waits.clear();
        }
    }
    limits(retry, &mut policy)?;
    policy.check().map_err(|error| {
        let field = format!("retry.{}", error.field);
        Fault::invalid(field, error.value, "is out of range", error.allowed)
    })?;
    Ok(policy)
}

fn limits(retry: &functions::RetryPolicy, policy: &mut RetryPolicy) -> Result<(), Fault> {
    if let Some(total_max) = &retry.total_max {
        policy.total_max = duration("retry.total_max", total_max)?;
    }
    if let Some(retry_after_max) = &retry.retry_after_max {
        policy.retry_after_max = duration("retry.retry_after_max", retry_after_max)?;
    }
    if let Some(statuses) = &retry.final_statuses {
        policy.final_statuses = statuses.parse().map_err(|error: StatusError| {
            Fault::invalid(
                "retry.final_statuses",
                error.0,
                "is not a status that ends a delivery",
                "statuses and ranges from 300 to 599, such as 400-404,410",
            )
        })?;
    }
    if let Some(connect) = &retry.connect_timeout {
        let connect = duration("retry.connect_timeout", connect)?;
        policy.connect_timeout = Some(connect).filter(|time| !time.is_zero());
    }
    if let Some(first_byte) = &retry.first_byte_timeout {
        let first_byte = duration("retry.first_byte_timeout", first_byte)?;
        policy.first_byte_timeout = Some(first_byte).filter(|time| !time.is_zero());
    }
    Ok(())
}

/// A format by its name; `None` when none is named.
///
/// # Errors
/// Names those there are.
pub fn format(text: &str) -> Result<Option<Format>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    Format::parse(text).map(Some).ok_or_else(|| {
        let known = Format::ALL.map(Format::as_str).join(", ");
        Fault::invalid("format", text, "is not a format", known)
    })
}
