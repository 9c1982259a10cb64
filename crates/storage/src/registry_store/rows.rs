//! How what is configured is written into columns and read back, the same for both databases.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::access::{ApiKey, KeyHash, Scope};
use domain::event_type::TypeSelector;
use domain::format::Format;
use domain::function::Function;
use domain::name::FunctionName;
use domain::registry::{Change, Project};
use domain::retry::{Backoff, RetryPolicy};
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use protocol::credentials::{credentials_from_bytes, credentials_to_bytes};
use protocol::settings::{apply_trigger_settings, settings_from_bytes};
use serde::{Deserialize, Serialize};

use crate::columns::{from_micros, parse, unsigned};
use crate::{Cipher, Error};

pub(crate) type ProjectRow = (String, i64, bool, i64);

pub(crate) type KeyRow = (
    String,
    String,
    Vec<u8>,
    String,
    String,
    i64,
    Option<i64>,
    i64,
);

pub(crate) type FunctionRow = (
    String,
    String,
    String,
    String,
    String,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    i64,
    i64,
    i64,
);

pub(crate) type TriggerRow = (
    String,
    String,
    String,
    String,
    bool,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Vec<u8>,
    i64,
    i64,
    i64,
);

pub(crate) fn project(row: ProjectRow) -> Result<Project, Error> {
    let (name, created_at, is_paused, revision) = row;
    Ok(Project {
        name: parse("project", &name)?,
        created_at: from_micros(created_at)?,
        is_paused,
        revision: unsigned(revision),
    })
}

pub(crate) fn scopes_text(scopes: &[Scope]) -> String {
    scopes
        .iter()
        .map(|scope| scope.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

pub(crate) fn key(row: KeyRow) -> Result<ApiKey, Error> {
    let (id, project, hash, scopes, note, created_at, revoked_at, revision) = row;
    let hash = hash
        .try_into()
        .map_err(|_bytes| Error::corrupt("API key", "its hash is cut off"))?;
    Ok(ApiKey {
        id,
        project: parse("API key", &project)?,
        hash: KeyHash(hash),
        scopes: scopes.split(',').filter_map(Scope::parse).collect(),
        note,
        created_at: from_micros(created_at)?,
        revoked_at: revoked_at.map(from_micros).transpose()?,
        revision: unsigned(revision),
    })
}

/// A function's secrets, sealed.
pub(crate) struct SealedSecrets {
    pub(crate) secret: Vec<u8>,
    pub(crate) signing_secret: Vec<u8>,
    /// Empty where there are none.
    pub(crate) credentials: Vec<u8>,
}

pub(crate) fn seal(cipher: &Cipher, function: &Function) -> Result<SealedSecrets, Error> {
    let place = |field| place(function.project.as_str(), &function.name, field);
    let signing = function.signing_secret.as_bytes();
    let credentials = credentials_to_bytes(&function.credentials);
    Ok(SealedSecrets {
        secret: cipher.seal(function.secret.as_bytes(), &place("secret"))?,
        signing_secret: cipher.seal(signing, &place("signing_secret"))?,
        credentials: match credentials.as_slice() {
            [] => Vec::new(),
            credentials => cipher.seal(credentials, &place("credentials"))?,
        },
    })
}

fn place(project: &str, name: &FunctionName, field: &str) -> String {
    format!("{project}/{}/{}#{field}", name.package, name.name)
}

pub(crate) fn function(row: FunctionRow, cipher: &Cipher) -> Result<Function, Error> {
    let (.., created_at, updated_at, revision) = row;
    let (project, package, name, url, format, secret, signing, settings, credentials, ..) = row;
    let name = FunctionName {
        package: parse("function", &package)?,
        name: parse("function", &name)?,
    };
    let open = |sealed: &[u8], field| cipher.open_text(sealed, &place(&project, &name, field));
    let credentials = match credentials.as_slice() {
        [] => Vec::new(),
        sealed => cipher.open(sealed, &place(&project, &name, "credentials"))?,
    };
    Ok(Function {
        url: parse("function", &url)?,
        format: parse_format("function", &format)?,
        secret: open(&secret, "secret")?,
        signing_secret: open(&signing, "signing_secret")?,
        settings: settings_from_bytes(&settings)
            .map_err(|error| Error::corrupt("function", error))?,
        credentials: credentials_from_bytes(&credentials)
            .map_err(|error| Error::corrupt("function", error))?,
        created_at: from_micros(created_at)?,
        updated_at: from_micros(updated_at)?,
        revision: unsigned(revision),
        project: parse("function", &project)?,
        name,
    })
}

fn parse_format(what: &'static str, text: &str) -> Result<Format, Error> {
    Format::parse(text).ok_or_else(|| Error::corrupt(what, format_args!("format {text:?}")))
}

pub(crate) fn selectors_text(selectors: &[TypeSelector]) -> Result<String, Error> {
    let texts: Vec<String> = selectors.iter().map(ToString::to_string).collect();
    serde_json::to_string(&texts).map_err(|error| Error::corrupt("trigger", error))
}

pub(crate) fn retry_text(policy: &RetryPolicy) -> Result<String, Error> {
    serde_json::to_string(&Retry::from(policy)).map_err(|error| Error::corrupt("trigger", error))
}

pub(crate) fn trigger(row: TriggerRow) -> Result<Trigger, Error> {
    let (project, name, package, function, is_enabled, on, subject, prefix, suffix, format, ..) =
        &row;
    let (.., retry, settings, created_at, updated_at, revision) = &row;
    let on: Vec<String> = from_json(on)?;
    let retry: Retry = from_json(retry)?;
    let mut trigger = Trigger {
        project: parse("trigger", project)?,
        name: parse("trigger", name)?,
        function: FunctionName {
            package: parse("trigger", package)?,
            name: parse("trigger", function)?,
        },
        is_enabled: *is_enabled,
        on: on
            .iter()
            .map(|text| parse("trigger", text))
            .collect::<Result<_, _>>()?,
        subject: subject
            .as_deref()
            .map(|text| parse("trigger", text))
            .transpose()?,
        prefix: prefix.clone(),
        suffix: suffix.clone(),
        options: BTreeMap::new(),
        filter: None,
        template: None,
        format: format
            .as_deref()
            .map(|text| parse_format("trigger", text))
            .transpose()?,
        retry: retry.policy()?,
        ordering: Ordering::default(),
        backlog: Backlog::default(),
        depth_max: DEPTH_MAX,
        script: None,
        created_at: from_micros(*created_at)?,
        updated_at: from_micros(*updated_at)?,
        revision: unsigned(*revision),
    };
    apply_trigger_settings(settings, &mut trigger)
        .map_err(|error| Error::corrupt("trigger", error))?;
    Ok(trigger)
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::corrupt("trigger", error))
}

/// A retry policy as it stands in its column.
#[derive(Serialize, Deserialize)]
struct Retry {
    retries: u32,
    interval_ms: u64,
    backoff: String,
    interval_max_ms: u64,
    jitter: f64,
    timeout_ms: u64,
}

impl From<&RetryPolicy> for Retry {
    fn from(policy: &RetryPolicy) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            retries: policy.retries_max,
            interval_ms: millis(policy.interval),
            backoff: policy.backoff.as_str().to_owned(),
            interval_max_ms: millis(policy.interval_max),
            jitter: policy.jitter,
            timeout_ms: millis(policy.timeout),
        }
    }
}

impl Retry {
    fn policy(&self) -> Result<RetryPolicy, Error> {
        Ok(RetryPolicy {
            retries_max: self.retries,
            interval: Duration::from_millis(self.interval_ms),
            backoff: Backoff::parse(&self.backoff).ok_or_else(|| {
                Error::corrupt("trigger", format_args!("backoff {:?}", self.backoff))
            })?,
            interval_max: Duration::from_millis(self.interval_max_ms),
            jitter: self.jitter,
            timeout: Duration::from_millis(self.timeout_ms),
            // The rest is kept in the trigger's settings.
            ..RetryPolicy::default()
        })
    }
}

/// `package/name`, always in full.
pub(crate) fn full_name(name: &FunctionName) -> String {
    format!("{}/{}", name.package, name.name)
}

/// What was deleted, from its kind and names.
pub(crate) fn deletion(kind: &str, project: &str, name: &str) -> Result<Change, Error> {
    let project = parse("deletion", project)?;
    match kind {
        "function" => Ok(Change::FunctionDeleted {
            project,
            name: parse("deletion", name)?,
        }),
        "trigger" => Ok(Change::TriggerDeleted {
            project,
            name: parse("deletion", name)?,
        }),
        "gateway" => Ok(Change::GatewayDeleted {
            project,
            name: parse("deletion", name)?,
        }),
        other => Err(Error::corrupt("deletion", format_args!("kind {other:?}"))),
    }
}
