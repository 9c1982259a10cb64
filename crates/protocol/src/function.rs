//! Functions, triggers, projects and keys, between `domain` and what people see.

use domain::access::ApiKey;
use domain::format::Format;
use domain::function::Function;
use domain::registry::Project;
use domain::retry::{Backoff, RetryPolicy};
use domain::trigger::Trigger;

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
        }
    }
}

impl From<&Trigger> for functions::Trigger {
    fn from(trigger: &Trigger) -> Self {
        Self {
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
        }
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
                "fixed, exponential",
            )
        })?;
    }
    policy.check().map_err(|error| {
        let field = format!("retry.{}", error.field);
        Fault::invalid(field, error.value, "is out of range", error.allowed)
    })?;
    Ok(policy)
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
