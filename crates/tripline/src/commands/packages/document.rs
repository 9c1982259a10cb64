//! A version's document as JSON: what people write to deploy, and what they are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::functions::v1 as functions;
use protocol::packages::v1 as wire;
use protocol::schedules::v1 as schedules;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::Failure;

/// Functions, triggers and schedules of a version.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Document {
    functions: Vec<Function>,
    triggers: Vec<Trigger>,
    schedules: Vec<Schedule>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Function {
    name: String,
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    format: String,
    #[serde(skip_serializing_if = "is_default")]
    concurrency_max: u32,
    /// Deliveries a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    disable_on_gone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_after: Option<Span>,
    #[serde(skip_serializing_if = "String::is_empty")]
    signing: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    token: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    proxy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    authorities: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    batching: Option<Batching>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Batching {
    size_max: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cutoff: Option<Span>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rate {
    per_second: f64,
    burst: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Trigger {
    name: String,
    function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    on: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    suffix: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    filter: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    template: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    template_content_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ordering: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    backlog: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth_max: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    expect_json_response: bool,
    /// Makes it a script of API calls, as the following.
    #[serde(skip_serializing_if = "String::is_empty")]
    api_event: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "is_default")]
    priority: i32,
    #[serde(skip_serializing_if = "is_default")]
    allow_event_modification: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    on_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Schedule {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    job: String,
    cron: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dialect: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    time_zone: String,
    function: String,
    /// Any JSON value, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retry {
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Span>,
    #[serde(skip_serializing_if = "String::is_empty")]
    backoff: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_max: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_max: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_max: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_statuses: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_timeout: Option<Span>,
}

/// A time span such as `5s` or `1m 30s`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Span(Duration);

impl From<Span> for String {
    fn from(span: Span) -> Self {
        humantime::format_duration(span.0).to_string()
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(|error| format!("{text:?} is no time span like 5s: {error}"))
    }
}

impl Span {
    fn to_wire(self) -> protocol::well_known::Duration {
        protocol::to_duration(self.0)
    }

    fn of(duration: Option<protocol::well_known::Duration>) -> Option<Self> {
        let duration = duration.as_ref().and_then(protocol::from_duration);
        duration.map(Self)
    }

    /// Zero means that it is not set.
    fn unless_zero(duration: Option<protocol::well_known::Duration>) -> Option<Self> {
        Self::of(duration).filter(|span| !span.0.is_zero())
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Document {
    pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::usage(format!("{file}: this is no version: {error}")))
    }

    pub(super) fn pretty(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| {
            Failure::local(format!("the answer cannot be written as JSON: {error}"))
        })
    }
}

impl From<Document> for wire::Document {
    fn from(document: Document) -> Self {
        Self {
            functions: document.functions.into_iter().map(Into::into).collect(),
            triggers: document.triggers.into_iter().map(Into::into).collect(),
            schedules: document.schedules.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::Document> for Document {
    fn from(document: wire::Document) -> Self {
        Self {
            functions: document.functions.into_iter().map(Into::into).collect(),
            triggers: document.triggers.into_iter().map(Into::into).collect(),
            schedules: document.schedules.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Function> for wire::FunctionSpec {
    fn from(function: Function) -> Self {
        let headers = function.headers.into_iter();
        Self {
            name: function.name,
            url: function.url,
            format: function.format,
            settings: Some(functions::FunctionSettings {
                concurrency_max: function.concurrency_max,
                rate: function.rate.map(|rate| functions::RateLimit {
                    per_second: rate.per_second,
                    burst: rate.burst,
                }),
                headers: headers
                    .map(|(name, value)| functions::HeaderField { name, value })
                    .collect(),
                disable_on_gone: function.disable_on_gone,
                disable_after: function.disable_after.map(Span::to_wire),
                signing: function.signing,
                token: function.token,
                proxy: function.proxy,
                authorities: function.authorities,
                batching: function.batching.map(|batching| functions::Batching {
                    size_max: batching.size_max,
                    cutoff: batching.cutoff.map(Span::to_wire),
                }),
                ..functions::FunctionSettings::default()
            }),
        }
    }
}

impl From<wire::FunctionSpec> for Function {
    fn from(spec: wire::FunctionSpec) -> Self {
        let settings = spec.settings.unwrap_or_default();
        let headers = settings.headers.into_iter();
        Self {
            name: spec.name,
            url: spec.url,
            format: spec.format,
            concurrency_max: settings.concurrency_max,
            rate: settings.rate.map(|rate| Rate {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            headers: headers.map(|header| (header.name, header.value)).collect(),
            disable_on_gone: settings.disable_on_gone,
            disable_after: Span::of(settings.disable_after),
            signing: settings.signing,
            token: settings.token,
            proxy: settings.proxy,
            authorities: settings.authorities,
            batching: settings.batching.map(|batching| Batching {
                size_max: batching.size_max,
                cutoff: Span::of(batching.cutoff),
            }),
        }
    }
}

impl From<Trigger> for functions::Trigger {
    fn from(trigger: Trigger) -> Self {
        Self {
            name: trigger.name,
            function: trigger.function,
            enabled: trigger.enabled,
            on: trigger.on,
            subject: trigger.subject,
            prefix: trigger.prefix,
            suffix: trigger.suffix,
            options: trigger.options.into_iter().collect(),
            filter: trigger.filter,
            format: trigger.format,
            template: trigger.template,
            template_content_type: trigger.template_content_type,
            ordering: trigger.ordering,
            backlog: trigger.backlog,
            depth_max: trigger.depth_max,
            expect_json_response: trigger.expect_json_response,
            api_event: trigger.api_event,
            kind: trigger.kind,
            priority: trigger.priority,
            allow_event_modification: trigger.allow_event_modification,
            on_error: trigger.on_error,
            retry: trigger.retry.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<functions::Trigger> for Trigger {
    fn from(trigger: functions::Trigger) -> Self {
        Self {
            name: trigger.name,
            function: trigger.function,
            enabled: trigger.enabled,
            on: trigger.on,
            subject: trigger.subject,
            prefix: trigger.prefix,
            suffix: trigger.suffix,
            options: trigger.options.into_iter().collect(),
            filter: trigger.filter,
            format: trigger.format,
            template: trigger.template,
            template_content_type: trigger.template_content_type,
            ordering: trigger.ordering,
            backlog: trigger.backlog,
            depth_max: trigger.depth_max,
            expect_json_response: trigger.expect_json_response,
            api_event: trigger.api_event,
            kind: trigger.kind,
            priority: trigger.priority,
            allow_event_modification: trigger.allow_event_modification,
            on_error: trigger.on_error,
            retry: trigger.retry.map(Into::into),
        }
    }
}

impl From<Schedule> for schedules::Schedule {
    fn from(schedule: Schedule) -> Self {
        let parameters = schedule.parameters.as_deref();
        Self {
            parameters: parameters.map(RawValue::get).unwrap_or_default().to_owned(),
            name: schedule.name,
            job: schedule.job,
            cron: schedule.cron,
            dialect: schedule.dialect,
            time_zone: schedule.time_zone,
            function: schedule.function,
            payload: schedule.payload,
            enabled: schedule.enabled,
            format: schedule.format,
            depth_max: schedule.depth_max,
            retry: schedule.retry.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<schedules::Schedule> for Schedule {
    fn from(schedule: schedules::Schedule) -> Self {
        Self {
            name: schedule.name,
            job: schedule.job,
            cron: schedule.cron,
            dialect: schedule.dialect,
            time_zone: schedule.time_zone,
            function: schedule.function,
            parameters: RawValue::from_string(schedule.parameters).ok(),
            payload: schedule.payload,
            enabled: schedule.enabled,
            format: schedule.format,
            depth_max: schedule.depth_max,
            retry: schedule.retry.map(Into::into),
        }
    }
}

impl From<Retry> for functions::RetryPolicy {
    fn from(retry: Retry) -> Self {
        Self {
            retries: retry.retries,
            interval: retry.interval.map(Span::to_wire),
            backoff: retry.backoff,
            interval_max: retry.interval_max.map(Span::to_wire),
            jitter: retry.jitter,
            timeout: retry.timeout.map(Span::to_wire),
            waits: retry.waits.into_iter().map(Span::to_wire).collect(),
            total_max: retry.total_max.map(Span::to_wire),
            retry_after_max: retry.retry_after_max.map(Span::to_wire),
            final_statuses: retry.final_statuses,
            connect_timeout: retry.connect_timeout.map(Span::to_wire),
            first_byte_timeout: retry.first_byte_timeout.map(Span::to_wire),
        }
    }
}

impl From<functions::RetryPolicy> for Retry {
    fn from(retry: functions::RetryPolicy) -> Self {
        let waits = retry.waits.into_iter();
        Self {
            retries: retry.retries,
            interval: Span::of(retry.interval),
            backoff: retry.backoff,
            interval_max: Span::of(retry.interval_max),
            jitter: retry.jitter,
            timeout: Span::of(retry.timeout),
            waits: waits.filter_map(|wait| Span::of(Some(wait))).collect(),
            total_max: Span::of(retry.total_max),
            retry_after_max: Span::of(retry.retry_after_max),
            final_statuses: retry.final_statuses,
            connect_timeout: Span::unless_zero(retry.connect_timeout),
            first_byte_timeout: Span::unless_zero(retry.first_byte_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_as_it_is_shown() {
        let text = r#"{
            "functions": [{"name": "main", "url": "http://localhost/", "headers": {"x-a": "b"},
                           "rate": {"per_second": 2.5, "burst": 4}}],
            "triggers": [{"name": "on-order", "function": "main", "on": ["order.*"],
                          "retry": {"retries": 5, "interval": "10s", "waits": ["1s", "1m 30s"]}}],
            "schedules": [{"name": "nightly", "cron": "0 3 * * *", "function": "main",
                           "parameters": {"n": 1.0}}]
        }"#;
        let document: wire::Document = Document::read("file", text.as_bytes()).unwrap().into();
        assert_eq!(document.schedules[0].parameters, r#"{"n": 1.0}"#);
        assert_eq!(
            document.triggers[0].retry.as_ref().unwrap().waits[1].seconds,
            90
        );
        let shown = Document::from(document.clone()).pretty().unwrap();
        let again: wire::Document = Document::read("file", shown.as_bytes()).unwrap().into();
        assert_eq!(again, document);
    }

    #[test]
    fn a_member_that_is_not_known_is_named() {
        let failure = Document::read("v.json", br#"{"functions": [{"uri": 1}]}"#).unwrap_err();
        assert!(failure.message.contains("uri"), "{}", failure.message);
        assert_eq!(failure.exit_code, 2);
    }
}
