//! A function's settings: from flags to what the server takes, and from its answer to lines.

use std::fmt;
use std::time::Duration;

use protocol::functions::v1 as functions;
use protocol::functions::v1::authorization::Kind;
use serde::Serialize;

use super::super::show_time;
use super::super::triggers::read_text;
use crate::command_line::{CredentialFlags, FunctionFlags};
use crate::failure::Failure;

/// Where only the size of a batch is given.
const BATCH_CUTOFF: Duration = Duration::from_secs(1);

/// What the flags say, and the paths of the fields they name.
pub(super) struct Given {
    pub(super) settings: functions::FunctionSettings,
    pub(super) credentials: functions::Credentials,
    pub(super) paths: Vec<&'static str>,
}

/// Reads the flags, and the files that they name.
pub(super) fn given(flags: &FunctionFlags) -> Result<Given, Failure> {
    let mut settings = functions::FunctionSettings::default();
    let mut paths = Vec::new();
    if let Some(concurrency) = flags.concurrency {
        paths.push("settings.concurrency_max");
        settings.concurrency_max = concurrency;
    }
    if let Some(per_second) = flags.rate {
        paths.push("settings.rate");
        let burst = flags.burst.unwrap_or_default();
        settings.rate = Some(functions::RateLimit { per_second, burst });
    }
    if let Some(size_max) = flags.batch_size {
        paths.push("settings.batching");
        let cutoff = flags.batch_cutoff.unwrap_or(BATCH_CUTOFF);
        settings.batching = Some(functions::Batching {
            size_max,
            cutoff: Some(protocol::to_duration(cutoff)),
        });
    }
    if !flags.headers.is_empty() {
        paths.push("settings.headers");
        let headers = flags.headers.iter().cloned();
        settings.headers = headers
            .map(|(name, value)| functions::HeaderField { name, value })
            .collect();
    }
    if let Some(disable_on_gone) = flags.disable_on_gone {
        paths.push("settings.disable_on_gone");
        settings.disable_on_gone = disable_on_gone;
    }
    if let Some(after) = flags.disable_after {
        paths.push("settings.disable_after");
        settings.disable_after = Some(protocol::to_duration(after));
    }
    let texts = [
        ("settings.signing", &flags.signing, &mut settings.signing),
        ("settings.token", &flags.token, &mut settings.token),
        ("settings.proxy", &flags.proxy, &mut settings.proxy),
        ("settings.endpoint", &flags.endpoint, &mut settings.endpoint),
        ("settings.answer", &flags.answer, &mut settings.answer),
    ];
    for (path, given, field) in texts {
        if let Some(text) = given {
            paths.push(path);
            field.clone_from(text);
        }
    }
    if let Some(file) = &flags.ca {
        paths.push("settings.authorities");
        settings.authorities = read_file("--ca", file)?;
    }
    if let Some(schema) = &flags.parameters_schema {
        paths.push("settings.parameters_schema");
        settings.parameters_schema = read_text("--parameters-schema", schema)?;
    }
    if !flags.handlers.is_empty() {
        paths.push("settings.handlers");
        settings.handlers.clone_from(&flags.handlers);
    }
    let credentials = credentials(&flags.credentials, &mut paths)?;
    Ok(Given {
        settings,
        credentials,
        paths,
    })
}

fn credentials(
    flags: &CredentialFlags,
    paths: &mut Vec<&'static str>,
) -> Result<functions::Credentials, Failure> {
    let client_certificate = match (&flags.client_cert, &flags.client_key) {
        (Some(chain), Some(key)) => Some(functions::ClientCertificate {
            chain: read_file("--client-cert", chain)?,
            key: read_file("--client-key", key)?,
        }),
        _ => None,
    };
    let kind = if let Some(basic) = &flags.basic {
        let text = read_text("--basic", basic)?;
        let (user, password) = text
            .split_once(':')
            .ok_or_else(|| Failure::usage("--basic: give USER:PASSWORD"))?;
        Some(Kind::Basic(functions::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        }))
    } else if let Some(bearer) = &flags.bearer {
        let token = read_text("--bearer", bearer)?;
        Some(Kind::Bearer(functions::Bearer { token }))
    } else if let Some(token_url) = &flags.oauth2_token_url {
        let client_secret = flags.oauth2_client_secret.as_deref().unwrap_or_default();
        Some(Kind::Oauth2(functions::OAuth2 {
            token_url: token_url.clone(),
            client_id: flags.oauth2_client_id.clone().unwrap_or_default(),
            client_secret: read_text("--oauth2-client-secret", client_secret)?,
            scope: flags.oauth2_scope.clone().unwrap_or_default(),
        }))
    } else {
        None
    };
    if client_certificate.is_some() {
        paths.push("credentials.client_certificate");
    }
    if kind.is_some() {
        paths.push("credentials.authorization");
    }
    Ok(functions::Credentials {
        authorization: kind.map(|kind| functions::Authorization { kind: Some(kind) }),
        client_certificate,
    })
}

fn read_file(option: &str, file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{option}: {file} cannot be read: {error}")))
}

/// The path in the mask for a name that `--reset` takes.
pub(super) fn path_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "concurrency" => "settings.concurrency_max",
        "rate" => "settings.rate",
        "headers" => "settings.headers",
        "batch" => "settings.batching",
        "disable-after" => "settings.disable_after",
        "token" => "settings.token",
        "proxy" => "settings.proxy",
        "ca" => "settings.authorities",
        "endpoint" => "settings.endpoint",
        "parameters-schema" => "settings.parameters_schema",
        "handlers" => "settings.handlers",
        "client-cert" => "credentials.client_certificate",
        "authorization" => "credentials.authorization",
        _ => return None,
    })
}

/// A function's settings as printed; what is not set is left out of lines.
#[derive(Debug, Default, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "it is printed as it stands, and each says something of its own"
)]
pub(super) struct ShownSettings {
    paused: bool,
    disabled: Option<ShownDisabled>,
    concurrency_max: Option<u32>,
    rate_per_second: Option<f64>,
    burst: Option<u32>,
    batch_size_max: Option<u32>,
    batch_cutoff_ms: Option<u64>,
    headers: Vec<(String, String)>,
    disable_on_gone: bool,
    disable_after_ms: Option<u64>,
    signing: String,
    token: Option<String>,
    proxy: Option<String>,
    own_authorities: bool,
    endpoint: Option<String>,
    parameters_schema: Option<String>,
    answer: String,
    handlers: Vec<String>,
    authorization: Option<String>,
    client_certificate: bool,
}

#[derive(Debug, Serialize)]
struct ShownDisabled {
    reason: String,
    at: String,
}

impl fmt::Display for ShownDisabled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "disabled since {}: {}", self.at, self.reason)
    }
}

impl ShownSettings {
    pub(super) fn of(
        settings: Option<functions::FunctionSettings>,
        kinds: Option<functions::CredentialKinds>,
    ) -> Self {
        let settings = settings.unwrap_or_default();
        let kinds = kinds.unwrap_or_default();
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let headers = settings.headers.into_iter();
        Self {
            paused: settings.paused,
            disabled: settings.disabled.map(|disabled| ShownDisabled {
                at: show_time(disabled.at.as_ref()),
                reason: disabled.reason,
            }),
            concurrency_max: Some(settings.concurrency_max).filter(|most| *most > 0),
            rate_per_second: settings.rate.map(|rate| rate.per_second),
            burst: settings.rate.map(|rate| rate.burst),
            batch_size_max: settings.batching.map(|batching| batching.size_max),
            batch_cutoff_ms: millis(settings.batching.and_then(|batching| batching.cutoff)),
            headers: headers.map(|field| (field.name, field.value)).collect(),
            disable_on_gone: settings.disable_on_gone,
            disable_after_ms: millis(settings.disable_after),
            signing: settings.signing,
            token: text(settings.token),
            proxy: text(settings.proxy),
            own_authorities: !settings.authorities.is_empty(),
            endpoint: text(settings.endpoint),
            parameters_schema: text(settings.parameters_schema),
            answer: settings.answer,
            handlers: settings.handlers,
            authorization: text(kinds.authorization),
            client_certificate: kinds.client_certificate,
        }
    }

    /// Whether it is called, in a word; with why and since when it is not, if nobody asked for that.
    pub(super) fn state(&self) -> String {
        match &self.disabled {
            Some(disabled) => disabled.to_string(),
            None if self.paused => "paused".to_owned(),
            None => "on".to_owned(),
        }
    }

    /// Lines for people; empty ones are not printed.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let yes = |is_so: bool| if is_so { "yes" } else { "" }.to_owned();
        let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        let time = |millis: Option<u64>| {
            millis
                .map(|ms| humantime::format_duration(Duration::from_millis(ms)))
                .map(|shown| shown.to_string())
                .unwrap_or_default()
        };
        let disabled = self.disabled.as_ref();
        let rate = self.rate_per_second.map(|rate| {
            let burst = self.burst.unwrap_or(1);
            format!("{rate}/s, {burst} at once")
        });
        let batch = self
            .batch_size_max
            .map(|size| format!("up to {size}, after {}", time(self.batch_cutoff_ms)));
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        vec![
            ("paused", yes(self.paused)),
            (
                "disabled",
                disabled
                    .map(|disabled| format!("{}, {}", disabled.at, disabled.reason))
                    .unwrap_or_default(),
            ),
            ("concurrency", number(self.concurrency_max)),
            ("rate", rate.unwrap_or_default()),
            ("batch", batch.unwrap_or_default()),
            ("headers", headers.collect::<Vec<_>>().join("\n")),
            ("disabled on 410", yes(self.disable_on_gone)),
            ("disabled after", time(self.disable_after_ms)),
            ("signing", self.signing.clone()),
            ("token", self.token.clone().unwrap_or_default()),
            ("proxy", self.proxy.clone().unwrap_or_default()),
            ("own authorities", yes(self.own_authorities)),
            ("endpoint", self.endpoint.clone().unwrap_or_default()),
            (
                "parameters",
                self.parameters_schema.clone().unwrap_or_default(),
            ),
            ("answer", self.answer.clone()),
            ("handlers", self.handlers.join(", ")),
            (
                "authorization",
                self.authorization.clone().unwrap_or_default(),
            ),
            ("client certificate", yes(self.client_certificate)),
        ]
    }
}

fn millis(duration: Option<protocol::well_known::Duration>) -> Option<u64> {
    let duration = duration.as_ref().and_then(protocol::from_duration)?;
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
