//! Changes to what is configured, between `domain` and the registry's stream.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::access::{ApiKey, KeyHash, Scope};
use domain::format::Format;
use domain::function::{Function, parse_url};
use domain::registry::{Change, Project};
use domain::retry::{Backoff, RetryPolicy};
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};

use crate::event::{ConvertError, invalid, parse};
use crate::settings::{function_settings, unreadable};
use crate::time::{duration_micros, from_micros, to_micros};
use crate::wire::v1 as wire;
use crate::wire::v1::registry_change::Change as Wire;

impl From<&Change> for wire::RegistryChange {
    fn from(change: &Change) -> Self {
        let change = match change {
            Change::Project(project) => Wire::Project(wire::RegistryProject {
                name: project.name.to_string(),
                created_at_us: to_micros(project.created_at),
                revision: project.revision,
                paused: project.is_paused,
            }),
            Change::Key(key) => Wire::Key(key.into()),
            Change::Function(function) => Wire::Function(function.into()),
            Change::FunctionDeleted { project, name } => {
                Wire::FunctionDeleted(wire::RegistryName {
                    project: project.to_string(),
                    name: name.to_string(),
                })
            }
            Change::Trigger(trigger) => Wire::Trigger(trigger.into()),
            Change::TriggerDeleted { project, name } => Wire::TriggerDeleted(wire::RegistryName {
                project: project.to_string(),
                name: name.to_string(),
            }),
            Change::TokenKeys(keys) => Wire::TokenKeys(keys.into()),
            Change::SessionKeys(keys) => Wire::SessionKeys(keys.into()),
            Change::SessionsRevoked(revocation) => Wire::SessionsRevoked(revocation.into()),
            Change::Gateway(service) => Wire::Gateway(service.into()),
            Change::GatewayDeleted { project, name } => Wire::GatewayDeleted(wire::RegistryName {
                project: project.to_string(),
                name: name.to_string(),
            }),
        };
        Self {
            change: Some(change),
        }
    }
}

impl TryFrom<wire::RegistryChange> for Change {
    type Error = ConvertError;

    fn try_from(change: wire::RegistryChange) -> Result<Self, ConvertError> {
        let change = change.change.ok_or(ConvertError::Missing {
            field: "registry_change.change",
        })?;
        Ok(match change {
            Wire::Project(project) => Self::Project(Project {
                name: parse("project.name", &project.name)?,
                created_at: from_micros(project.created_at_us),
                is_paused: project.paused,
                revision: project.revision,
            }),
            Wire::Key(key) => Self::Key(key.try_into()?),
            Wire::Function(function) => Self::Function(function.try_into()?),
            Wire::FunctionDeleted(deleted) => Self::FunctionDeleted {
                project: parse("function_deleted.project", &deleted.project)?,
                name: parse("function_deleted.name", &deleted.name)?,
            },
            Wire::Trigger(trigger) => Self::Trigger(trigger.try_into()?),
            Wire::TriggerDeleted(deleted) => Self::TriggerDeleted {
                project: parse("trigger_deleted.project", &deleted.project)?,
                name: parse("trigger_deleted.name", &deleted.name)?,
            },
            Wire::TokenKeys(keys) => Self::TokenKeys(keys.try_into()?),
            Wire::SessionKeys(keys) => Self::SessionKeys(keys.into()),
            Wire::SessionsRevoked(revocation) => Self::SessionsRevoked(revocation.try_into()?),
            Wire::Gateway(service) => Self::Gateway(service.try_into()?),
            Wire::GatewayDeleted(deleted) => Self::GatewayDeleted {
                project: parse("gateway_deleted.project", &deleted.project)?,
                name: parse("gateway_deleted.name", &deleted.name)?,
            },
        })
    }
}

impl From<&ApiKey> for wire::RegistryKey {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            project: key.project.to_string(),
            hash: key.hash.0.to_vec().into(),
            scopes: key
                .scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            note: key.note.clone(),
            created_at_us: to_micros(key.created_at),
            revoked_at_us: key.revoked_at.map(to_micros),
            revision: key.revision,
        }
    }
}

impl TryFrom<wire::RegistryKey> for ApiKey {
    type Error = ConvertError;

    fn try_from(key: wire::RegistryKey) -> Result<Self, ConvertError> {
        let hash = <[u8; 32]>::try_from(key.hash.as_ref())
            .map_err(|_wrong_length| invalid("key.hash", format!("{} bytes", key.hash.len())))?;
        // A scope of a later release means nothing to this one.
        let scopes = key
            .scopes
            .iter()
            .filter_map(|scope| Scope::parse(scope))
            .collect();
        Ok(Self {
            id: key.id,
            project: parse("key.project", &key.project)?,
            hash: KeyHash(hash),
            scopes,
            note: key.note,
            created_at: from_micros(key.created_at_us),
            revoked_at: key.revoked_at_us.map(from_micros),
            revision: key.revision,
        })
    }
}

impl From<&Function> for wire::RegistryFunction {
    fn from(function: &Function) -> Self {
        Self {
            project: function.project.to_string(),
            name: function.name.to_string(),
            url: function.url.to_string(),
            format: function.format.as_str().to_owned(),
            secret: function.secret.clone(),
            signing_secret: function.signing_secret.clone(),
            created_at_us: to_micros(function.created_at),
            updated_at_us: to_micros(function.updated_at),
            revision: function.revision,
            settings: Some((&function.settings).into()),
            credentials: Some((&function.credentials).into()),
        }
    }
}

impl TryFrom<wire::RegistryFunction> for Function {
    type Error = ConvertError;

    fn try_from(function: wire::RegistryFunction) -> Result<Self, ConvertError> {
        Ok(Self {
            project: parse("function.project", &function.project)?,
            name: parse("function.name", &function.name)?,
            url: parse_url(&function.url)
                .map_err(|_refused| invalid("function.url", function.url))?,
            format: Format::parse(&function.format)
                .ok_or_else(|| invalid("function.format", function.format))?,
            secret: function.secret,
            signing_secret: function.signing_secret,
            settings: function_settings(&function.settings.unwrap_or_default())
                .map_err(unreadable)?,
            credentials: function.credentials.unwrap_or_default().try_into()?,
            created_at: from_micros(function.created_at_us),
            updated_at: from_micros(function.updated_at_us),
            revision: function.revision,
        })
    }
}

impl From<&Trigger> for wire::RegistryTrigger {
    fn from(trigger: &Trigger) -> Self {
        Self {
            project: trigger.project.to_string(),
            name: trigger.name.to_string(),
            function: trigger.function.to_string(),
            enabled: trigger.is_enabled,
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
            created_at_us: to_micros(trigger.created_at),
            updated_at_us: to_micros(trigger.updated_at),
            revision: trigger.revision,
            settings: Some(trigger.into()),
        }
    }
}

impl TryFrom<wire::RegistryTrigger> for Trigger {
    type Error = ConvertError;

    fn try_from(trigger: wire::RegistryTrigger) -> Result<Self, ConvertError> {
        let format = match trigger.format.as_str() {
            "" => None,
            text => Some(Format::parse(text).ok_or_else(|| invalid("trigger.format", text))?),
        };
        let subject = match trigger.subject.as_str() {
            "" => None,
            text => Some(parse("trigger.subject", text)?),
        };
        let retry = trigger.retry.ok_or(ConvertError::Missing {
            field: "trigger.retry",
        })?;
        let mut read = Self {
            project: parse("trigger.project", &trigger.project)?,
            name: parse("trigger.name", &trigger.name)?,
            function: parse("trigger.function", &trigger.function)?,
            is_enabled: trigger.enabled,
            on: trigger
                .on
                .iter()
                .map(|on| parse("trigger.on", on))
                .collect::<Result<_, _>>()?,
            subject,
            prefix: Some(trigger.prefix).filter(|prefix| !prefix.is_empty()),
            suffix: Some(trigger.suffix).filter(|suffix| !suffix.is_empty()),
            options: BTreeMap::new(),
            filter: None,
            format,
            template: None,
            retry: retry.try_into()?,
            ordering: Ordering::default(),
            backlog: Backlog::default(),
            depth_max: DEPTH_MAX,
            script: None,
            created_at: from_micros(trigger.created_at_us),
            updated_at: from_micros(trigger.updated_at_us),
            revision: trigger.revision,
        };
        trigger.settings.unwrap_or_default().apply(&mut read)?;
        Ok(read)
    }
}

impl From<&RetryPolicy> for wire::RegistryRetry {
    fn from(retry: &RetryPolicy) -> Self {
        Self {
            retries: retry.retries_max,
            interval_us: duration_micros(retry.interval),
            backoff: retry.backoff.as_str().to_owned(),
            interval_max_us: duration_micros(retry.interval_max),
            jitter: retry.jitter,
            timeout_us: duration_micros(retry.timeout),
        }
    }
}

impl TryFrom<wire::RegistryRetry> for RetryPolicy {
    type Error = ConvertError;

    fn try_from(retry: wire::RegistryRetry) -> Result<Self, ConvertError> {
        Ok(Self {
            retries_max: retry.retries,
            interval: Duration::from_micros(retry.interval_us),
            backoff: Backoff::parse(&retry.backoff)
                .ok_or_else(|| invalid("retry.backoff", retry.backoff))?,
            interval_max: Duration::from_micros(retry.interval_max_us),
            jitter: retry.jitter,
            timeout: Duration::from_micros(retry.timeout_us),
            // The rest comes with the trigger's settings.
            ..Self::default()
        })
    }
}
