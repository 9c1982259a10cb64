//! `tripline triggers`: which events call a function, and how often it is tried.

use std::collections::BTreeMap;

use protocol::functions::v1 as functions;
use serde::Serialize;

use super::functions::Deleted;
use super::show_time;
use crate::command_line::{Conditions, Connection, Retry, Triggers};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A trigger as printed.
#[derive(Debug, Serialize)]
pub(super) struct ShownTrigger {
    name: String,
    function: String,
    enabled: bool,
    on: Vec<String>,
    subject: String,
    prefix: String,
    suffix: String,
    options: BTreeMap<String, String>,
    filter: String,
    format: String,
    template: String,
    template_content_type: String,
    ordering: String,
    backlog: String,
    depth_max: u32,
    expect_json_response: bool,
    retry: ShownRetry,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Default, Serialize)]
struct ShownRetry {
    retries: u32,
    interval_ms: u64,
    backoff: String,
    interval_max_ms: u64,
    jitter: f64,
    timeout_ms: u64,
    waits_ms: Vec<u64>,
    total_max_ms: u64,
    retry_after_max_ms: u64,
    final_statuses: String,
    /// 0 where the worker's own counts.
    connect_timeout_ms: u64,
    /// 0 where that of the whole counts.
    first_byte_timeout_ms: u64,
}

impl From<functions::Trigger> for ShownTrigger {
    fn from(trigger: functions::Trigger) -> Self {
        Self {
            retry: trigger.retry.map(Into::into).unwrap_or_default(),
            created_at: show_time(trigger.created_at.as_ref()),
            updated_at: show_time(trigger.updated_at.as_ref()),
            name: trigger.name,
            function: trigger.function,
            enabled: trigger.enabled.unwrap_or(true),
            on: trigger.on,
            subject: trigger.subject,
            prefix: trigger.prefix,
            suffix: trigger.suffix,
            options: trigger.options.into_iter().collect(),
            filter: trigger.filter,
            template: trigger.template,
            template_content_type: trigger.template_content_type,
            format: trigger.format,
            ordering: trigger.ordering,
            backlog: trigger.backlog,
            depth_max: trigger.depth_max.unwrap_or_default(),
            expect_json_response: trigger.expect_json_response,
        }
    }
}

impl From<functions::RetryPolicy> for ShownRetry {
    fn from(retry: functions::RetryPolicy) -> Self {
        let millis = |duration: Option<protocol::well_known::Duration>| {
            let duration = duration
                .as_ref()
                .and_then(protocol::from_duration)
                .unwrap_or_default();
            u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            retries: retry.retries.unwrap_or_default(),
            interval_ms: millis(retry.interval),
            backoff: retry.backoff,
            interval_max_ms: millis(retry.interval_max),
            jitter: retry.jitter.unwrap_or_default(),
            timeout_ms: millis(retry.timeout),
            waits_ms: retry
                .waits
                .into_iter()
                .map(|wait| millis(Some(wait)))
                .collect(),
            total_max_ms: millis(retry.total_max),
            retry_after_max_ms: millis(retry.retry_after_max),
            final_statuses: retry.final_statuses.unwrap_or_default(),
            connect_timeout_ms: millis(retry.connect_timeout),
            first_byte_timeout_ms: millis(retry.first_byte_timeout),
        }
    }
}

impl Row for ShownTrigger {
    const HEADINGS: &'static [&'static str] =
        &["NAME", "FUNCTION", "CALLED ON", "RETRIES", "ENABLED"];

    fn cells(&self) -> Vec<String> {
        let enabled = if self.enabled { "yes" } else { "no" };
        vec![
            self.name.clone(),
            self.function.clone(),
            self.conditions(),
            self.retries(),
            enabled.to_owned(),
        ]
    }
}

impl ShownTrigger {
    /// The conditions in one line.
    pub(super) fn conditions(&self) -> String {
        let on = if self.on.is_empty() {
            "every type".to_owned()
        } else {
            self.on.join(", ")
        };
        let named = [
            ("subject", &self.subject),
            ("prefix", &self.prefix),
            ("suffix", &self.suffix),
        ];
        let rest = named.iter().filter(|(_, value)| !value.is_empty());
        let line = rest.fold(on, |line, (name, value)| format!("{line}, {name} {value}"));
        let options = self.options.iter();
        let line = options.fold(line, |line, (name, value)| {
            format!("{line}, {name}={value}")
        });
        match self.filter.as_str() {
            "" => line,
            filter => format!("{line}, if {filter}"),
        }
    }

    /// Nothing where there is no order.
    fn order(&self) -> String {
        match (self.ordering.as_str(), self.backlog.as_str()) {
            ("" | "none", _) => String::new(),
            (ordering, "latest") => format!("by {ordering}, only the latest of a backlog"),
            (ordering, _) => format!("by {ordering}"),
        }
    }

    fn retries(&self) -> String {
        let retry = &self.retry;
        let interval =
            humantime::format_duration(std::time::Duration::from_millis(retry.interval_ms));
        match retry.retries {
            0 => "none".to_owned(),
            retries if !retry.waits_ms.is_empty() => {
                let waits = retry.waits_ms.iter().map(|wait| time(*wait));
                format!("{retries} after {}", waits.collect::<Vec<_>>().join(", "))
            }
            retries if retry.backoff == "fixed" => format!("{retries} × {interval}"),
            retries => format!("{retries} from {interval}, {}", retry.backoff),
        }
    }

    fn print(&self, connection: &Connection) -> Result<(), Failure> {
        let timeout =
            humantime::format_duration(std::time::Duration::from_millis(self.retry.timeout_ms));
        let fields = [
            ("trigger", self.name.clone()),
            ("function", self.function.clone()),
            (
                "enabled",
                if self.enabled { "yes" } else { "no" }.to_owned(),
            ),
            ("called on", self.conditions()),
            ("format", self.format.clone()),
            ("template", self.template.clone()),
            ("template makes", self.template_content_type.clone()),
            ("order", self.order()),
            ("depth", self.depth_max.to_string()),
            ("retries", self.retries()),
            ("at most for", time(self.retry.total_max_ms)),
            ("final answers", self.retry.final_statuses.clone()),
            (
                "answer",
                if self.expect_json_response {
                    "has to be JSON without an error"
                } else {
                    ""
                }
                .to_owned(),
            ),
            ("timeout", timeout.to_string()),
            ("to connect", some_time(self.retry.connect_timeout_ms)),
            ("to first byte", some_time(self.retry.first_byte_timeout_ms)),
            ("created", self.created_at.clone()),
            ("updated", self.updated_at.clone()),
        ];
        output::one(connection.output, self, &fields)
    }
}

fn time(millis: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(millis)).to_string()
}

/// Nothing where it is not set.
fn some_time(millis: u64) -> String {
    if millis == 0 {
        String::new()
    } else {
        time(millis)
    }
}

/// The flags as the server takes them; what is not given stays out.
pub(super) fn retry_policy(retry: &Retry) -> functions::RetryPolicy {
    functions::RetryPolicy {
        retries: retry.retries,
        interval: retry.interval.map(protocol::to_duration),
        backoff: retry.backoff.clone().unwrap_or_default(),
        interval_max: retry.interval_max.map(protocol::to_duration),
        jitter: retry.jitter,
        timeout: retry.timeout.map(protocol::to_duration),
        waits: retry
            .waits
            .iter()
            .copied()
            .map(protocol::to_duration)
            .collect(),
        total_max: retry.total_max.map(protocol::to_duration),
        retry_after_max: retry.retry_after_max.map(protocol::to_duration),
        final_statuses: retry.final_statuses.clone(),
        connect_timeout: retry.connect_timeout.map(protocol::to_duration),
        first_byte_timeout: retry.first_byte_timeout.map(protocol::to_duration),
    }
}

pub(crate) async fn run(command: Triggers, connection: &Connection) -> Result<(), Failure> {
    match command {
        Triggers::Create {
            name,
            function,
            conditions,
            retry,
            disabled,
        } => {
            let mut trigger = with_conditions(name, conditions)?;
            trigger.function = function;
            trigger.enabled = Some(!disabled);
            trigger.expect_json_response = retry.expect_json_response.unwrap_or_default();
            trigger.retry = Some(retry_policy(&retry));
            let request = functions::CreateTriggerRequest {
                trigger: Some(trigger),
            };
            let trigger = connection
                .triggers()?
                .create_trigger(request)
                .await?
                .into_inner();
            ShownTrigger::from(trigger).print(connection)
        }
        Triggers::List { function } => list(function.unwrap_or_default(), connection).await,
        Triggers::Get { name } => {
            let request = functions::GetTriggerRequest { name };
            let trigger = connection
                .triggers()?
                .get_trigger(request)
                .await?
                .into_inner();
            ShownTrigger::from(trigger).print(connection)
        }
        Triggers::Update {
            name,
            function,
            conditions,
            retry,
            enabled,
        } => {
            let paths = named_fields(function.as_deref(), &conditions, &retry, enabled);
            let mut trigger = with_conditions(name, conditions)?;
            trigger.function = function.unwrap_or_default();
            trigger.enabled = enabled;
            trigger.expect_json_response = retry.expect_json_response.unwrap_or_default();
            trigger.retry = Some(retry_policy(&retry));
            update(trigger, paths, connection).await
        }
        Triggers::Delete { name } => {
            let request = functions::DeleteTriggerRequest { name: name.clone() };
            connection.triggers()?.delete_trigger(request).await?;
            output::one(
                connection.output,
                &Deleted { deleted: &name },
                &[("deleted", name.clone())],
            )
        }
    }
}

async fn update(
    trigger: functions::Trigger,
    paths: Vec<String>,
    connection: &Connection,
) -> Result<(), Failure> {
    if paths.is_empty() {
        let message = "nothing to change: see `tripline triggers update --help`";
        return Err(Failure::usage(message));
    }
    let request = functions::UpdateTriggerRequest {
        trigger: Some(trigger),
        update_mask: Some(protocol::well_known::FieldMask { paths }),
    };
    let trigger = connection
        .triggers()?
        .update_trigger(request)
        .await?
        .into_inner();
    ShownTrigger::from(trigger).print(connection)
}

fn with_conditions(name: String, conditions: Conditions) -> Result<functions::Trigger, Failure> {
    let text = |option: &str, given: Option<String>| match given {
        Some(given) => read_text(option, &given),
        None => Ok(String::new()),
    };
    Ok(functions::Trigger {
        name,
        options: conditions.options.into_iter().collect(),
        filter: text("--filter", conditions.filter)?,
        template: text("--template", conditions.template)?,
        template_content_type: conditions.template_type.unwrap_or_default(),
        on: conditions.on,
        subject: conditions.subject.unwrap_or_default(),
        prefix: conditions.prefix.unwrap_or_default(),
        suffix: conditions.suffix.unwrap_or_default(),
        format: conditions.format.unwrap_or_default(),
        ordering: conditions.ordering.unwrap_or_default(),
        backlog: conditions.backlog.unwrap_or_default(),
        depth_max: conditions.max_depth,
        ..functions::Trigger::default()
    })
}

/// The text itself, or what a file holds without the line breaks at its end.
pub(super) fn read_text(option: &str, text: &str) -> Result<String, Failure> {
    let Some(file) = text.strip_prefix('@') else {
        return Ok(text.to_owned());
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{option}: {file} cannot be read: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The paths of the fields the command line names.
fn named_fields(
    function: Option<&str>,
    conditions: &Conditions,
    retry: &Retry,
    enabled: Option<bool>,
) -> Vec<String> {
    let fields = [
        ("function", function.is_some()),
        ("on", !conditions.on.is_empty()),
        ("subject", conditions.subject.is_some()),
        ("prefix", conditions.prefix.is_some()),
        ("suffix", conditions.suffix.is_some()),
        ("options", !conditions.options.is_empty()),
        ("filter", conditions.filter.is_some()),
        ("template", conditions.template.is_some()),
        ("template_content_type", conditions.template_type.is_some()),
        ("format", conditions.format.is_some()),
        ("ordering", conditions.ordering.is_some()),
        ("backlog", conditions.backlog.is_some()),
        ("depth_max", conditions.max_depth.is_some()),
        ("expect_json_response", retry.expect_json_response.is_some()),
        ("enabled", enabled.is_some()),
        ("retry.retries", retry.retries.is_some()),
        ("retry.interval", retry.interval.is_some()),
        ("retry.backoff", retry.backoff.is_some()),
        ("retry.interval_max", retry.interval_max.is_some()),
        ("retry.jitter", retry.jitter.is_some()),
        ("retry.timeout", retry.timeout.is_some()),
        ("retry.waits", !retry.waits.is_empty()),
        ("retry.total_max", retry.total_max.is_some()),
        ("retry.retry_after_max", retry.retry_after_max.is_some()),
        ("retry.final_statuses", retry.final_statuses.is_some()),
        ("retry.connect_timeout", retry.connect_timeout.is_some()),
        (
            "retry.first_byte_timeout",
            retry.first_byte_timeout.is_some(),
        ),
    ];
    fields
        .into_iter()
        .filter(|(_, is_named)| *is_named)
        .map(|(path, _)| path.to_owned())
        .collect()
}

async fn list(function: String, connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.triggers()?;
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let function = function.clone();
        let request = functions::ListTriggersRequest {
            function,
            page_size: 1000,
            page_token,
        };
        let page = client.list_triggers(request).await?.into_inner();
        shown.extend(page.triggers.into_iter().map(ShownTrigger::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::rows(connection.output, &shown);
        }
    }
}
