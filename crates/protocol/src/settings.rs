//! Settings of functions and triggers, between `domain`, what people see, the registry's stream and the rows they are kept in.

use std::time::Duration;

use domain::filter::{FILTER_BYTES_MAX, Filter, NAMES};
use domain::function::{
    AnswerShape, Batching, Disabled, FunctionSettings, Handler, RateLimit, Signing, TokenAlgorithm,
    parse_url,
};
use domain::retry::RetryPolicy;
use domain::template::Template;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use prost::Message as _;
use url::Url;

use crate::event::{ConvertError, invalid};
use crate::fault::Fault;
use crate::functions::v1 as functions;
use crate::time::{duration_micros, from_duration, from_timestamp, to_duration, to_timestamp};
use crate::wire::v1 as wire;

impl From<&FunctionSettings> for functions::FunctionSettings {
    fn from(settings: &FunctionSettings) -> Self {
        let headers = settings.headers.iter();
        Self {
            paused: settings.is_paused,
            disabled: settings
                .disabled
                .as_ref()
                .map(|disabled| functions::Disabled {
                    reason: disabled.reason.clone(),
                    at: Some(to_timestamp(disabled.at)),
                }),
            concurrency_max: settings.concurrency_max.map_or(0, u32::from),
            rate: settings.rate.map(|rate| functions::RateLimit {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            headers: headers
                .map(|(name, value)| functions::HeaderField {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
            batching: settings.batching.map(|batching| functions::Batching {
                size_max: batching.size_max,
                cutoff: Some(to_duration(batching.cutoff)),
            }),
            disable_on_gone: settings.disable_on_gone,
            disable_after: settings.disable_after.map(to_duration),
            signing: settings.signing.as_str().to_owned(),
            token: settings
                .token
                .map(TokenAlgorithm::as_str)
                .unwrap_or_default()
                .to_owned(),
            proxy: settings
                .proxy
                .as_ref()
                .map(Url::to_string)
                .unwrap_or_default(),
            authorities: settings.authorities.clone().unwrap_or_default(),
            endpoint: settings.endpoint.clone().unwrap_or_default(),
            parameters_schema: settings.parameters_schema.clone().unwrap_or_default(),
            answer: settings.answer.as_str().to_owned(),
            handlers: settings
                .handlers
                .iter()
                .map(|handler| handler.as_str().to_owned())
                .collect(),
        }
    }
}

/// What is said of a function, as settings. Whether they are within their limits is for
/// [`FunctionSettings::check`] to say.
///
/// # Errors
/// Names the field that cannot be understood.
pub fn function_settings(
    settings: &functions::FunctionSettings,
) -> Result<FunctionSettings, Fault> {
    let disabled = settings.disabled.as_ref();
    Ok(FunctionSettings {
        is_paused: settings.paused,
        disabled: disabled.map(|disabled| Disabled {
            reason: disabled.reason.clone(),
            at: disabled
                .at
                .as_ref()
                .and_then(from_timestamp)
                .unwrap_or_default(),
        }),
        concurrency_max: match settings.concurrency_max {
            0 => None,
            most => Some(u16::try_from(most).unwrap_or(u16::MAX)),
        },
        rate: settings.rate.as_ref().map(|rate| RateLimit {
            per_second: rate.per_second,
            burst: match rate.burst {
                0 => burst_of(rate.per_second),
                burst => burst,
            },
        }),
        headers: settings
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
            .collect(),
        batching: settings.batching.as_ref().map(batching).transpose()?,
        disable_on_gone: settings.disable_on_gone,
        disable_after: settings
            .disable_after
            .as_ref()
            .map(|after| duration("settings.disable_after", after))
            .transpose()?,
        signing: match settings.signing.as_str() {
            "" => Signing::default(),
            text => Signing::parse(text).ok_or_else(|| {
                let allowed = Signing::ALL.map(Signing::as_str).join(", ");
                Fault::invalid(
                    "settings.signing",
                    text,
                    "is not a kind of signature",
                    allowed,
                )
            })?,
        },
        token: match settings.token.as_str() {
            "" => None,
            text => Some(TokenAlgorithm::parse(text).ok_or_else(|| {
                let allowed = TokenAlgorithm::ALL.map(TokenAlgorithm::as_str).join(", ");
                let message = "is not a way to sign a token";
                Fault::invalid("settings.token", text, message, allowed)
            })?),
        },
        proxy: url("settings.proxy", &settings.proxy)?,
        authorities: Some(settings.authorities.clone()).filter(|pem| !pem.is_empty()),
        endpoint: Some(settings.endpoint.clone()).filter(|name| !name.is_empty()),
        parameters_schema: Some(settings.parameters_schema.clone())
            .filter(|schema| !schema.is_empty()),
        answer: answer_shape(&settings.answer)?,
        handlers: handlers(&settings.handlers)?,
    })
}

fn answer_shape(text: &str) -> Result<AnswerShape, Fault> {
    if text.is_empty() {
        return Ok(AnswerShape::default());
    }
    AnswerShape::parse(text).ok_or_else(|| {
        let allowed = AnswerShape::ALL.map(AnswerShape::as_str).join(", ");
        let message = "is not a shape of answers";
        Fault::invalid("settings.answer", text, message, allowed)
    })
}

fn handlers(names: &[String]) -> Result<Vec<Handler>, Fault> {
    let read = names.iter().map(|name| {
        Handler::parse(name).ok_or_else(|| {
            let allowed = Handler::ALL.map(Handler::as_str).join(", ");
            let message = "is not a method that a function has";
            Fault::invalid("settings.handlers", name, message, allowed)
        })
    });
    read.collect()
}

/// As many as come in a second, at least one.
fn burst_of(per_second: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number beyond the range becomes its end, and is refused by the check"
    )]
    let whole = per_second.ceil() as u32;
    whole.max(1)
}

fn batching(batching: &functions::Batching) -> Result<Batching, Fault> {
    let cutoff = batching.cutoff.as_ref();
    Ok(Batching {
        size_max: batching.size_max,
        cutoff: match cutoff {
            Some(cutoff) => duration("settings.batching.cutoff", cutoff)?,
            None => {
                let allowed = "a time of 1 ms to 60 s";
                return Err(Fault::missing("settings.batching.cutoff", allowed));
            }
        },
    })
}

pub(crate) fn duration(field: &str, duration: &prost_types::Duration) -> Result<Duration, Fault> {
    from_duration(duration).ok_or_else(|| {
        let value = format!("{} s", duration.seconds);
        Fault::invalid(field, value, "is negative", "a time of 0 or more")
    })
}

pub(crate) fn url(field: &str, text: &str) -> Result<Option<Url>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_url(text).map(Some).map_err(|error| {
        let allowed = "an http or https URL without user, password and fragment";
        Fault::invalid(field, text, error.to_string(), allowed)
    })
}

/// An ordering by its name; the default when none is named.
///
/// # Errors
/// Names those there are.
pub fn ordering(text: &str) -> Result<Ordering, Fault> {
    if text.is_empty() {
        return Ok(Ordering::default());
    }
    Ordering::parse(text).ok_or_else(|| {
        let allowed = Ordering::ALL.map(Ordering::as_str).join(", ");
        Fault::invalid("ordering", text, "is not a kind of order", allowed)
    })
}

/// What becomes of a backlog, by its name; the default when none is named.
///
/// # Errors
/// Names those there are.
pub fn backlog(text: &str) -> Result<Backlog, Fault> {
    if text.is_empty() {
        return Ok(Backlog::default());
    }
    Backlog::parse(text).ok_or_else(|| {
        let allowed = Backlog::ALL.map(Backlog::as_str).join(", ");
        Fault::invalid("backlog", text, "is not a kind of backlog", allowed)
    })
}

/// A filter by its text; none when there is none.
///
/// # Errors
/// Says what is wrong with it and where.
pub fn filter(text: &str) -> Result<Option<Filter>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    Filter::parse(text).map(Some).map_err(|error| {
        let allowed = format!("a condition in CEL over {NAMES}, at most {FILTER_BYTES_MAX} bytes");
        Fault::invalid("filter", text, format!("is not a filter: {error}"), allowed)
    })
}

/// A template by its text; none when there is none.
///
/// # Errors
/// Says what is wrong with it and in which line.
pub fn template(text: &str, content_type: &str) -> Result<Option<Template>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    Template::parse(text, content_type)
        .map(Some)
        .map_err(|error| {
            let allowed = "text with {{ … }}, {% if … %} and {% for … %} over event, data, params \
             and attempt, at most 16 KiB, and a media type";
            Fault::invalid(
                "template",
                text,
                format!("is not a template: {error}"),
                allowed,
            )
        })
}

impl From<&Trigger> for wire::TriggerSettings {
    fn from(trigger: &Trigger) -> Self {
        Self {
            ordering: trigger.ordering.as_str().to_owned(),
            backlog: trigger.backlog.as_str().to_owned(),
            depth_max: Some(trigger.depth_max),
            retry: Some((&trigger.retry).into()),
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
            script: trigger.script.as_deref().map(Into::into),
        }
    }
}

impl wire::TriggerSettings {
    /// Sets on the trigger what is said here; the rest takes its default.
    pub(crate) fn apply(&self, trigger: &mut Trigger) -> Result<(), ConvertError> {
        trigger.ordering = ordering(&self.ordering).map_err(unreadable)?;
        trigger.backlog = backlog(&self.backlog).map_err(unreadable)?;
        trigger.depth_max = self.depth_max.unwrap_or(DEPTH_MAX);
        if let Some(retry) = &self.retry {
            retry.apply(&mut trigger.retry)?;
        }
        trigger.retry.expects_json = self.expect_json_response;
        trigger.options = self.options.clone().into_iter().collect();
        trigger.filter = match self.filter.as_str() {
            "" => None,
            text => Some(Filter::kept(text)),
        };
        trigger.template = match self.template.as_str() {
            "" => None,
            text => Some(Template::kept(text, &self.template_content_type)),
        };
        let script = self.script.as_ref().map(TryInto::try_into).transpose()?;
        trigger.script = script.map(Box::new);
        Ok(())
    }
}

impl From<&RetryPolicy> for wire::RetryLimits {
    fn from(policy: &RetryPolicy) -> Self {
        let waits = policy.waits.iter();
        Self {
            waits_us: waits.map(|wait| duration_micros(*wait)).collect(),
            total_max_us: Some(duration_micros(policy.total_max)),
            retry_after_max_us: Some(duration_micros(policy.retry_after_max)),
            final_statuses: policy.final_statuses.to_string(),
            connect_timeout_us: policy.connect_timeout.map(duration_micros),
            first_byte_timeout_us: policy.first_byte_timeout.map(duration_micros),
        }
    }
}

impl wire::RetryLimits {
    fn apply(&self, policy: &mut RetryPolicy) -> Result<(), ConvertError> {
        let default = RetryPolicy::default();
        let micros = Duration::from_micros;
        policy.waits = self.waits_us.iter().copied().map(micros).collect();
        policy.total_max = self.total_max_us.map_or(default.total_max, micros);
        policy.retry_after_max = self
            .retry_after_max_us
            .map_or(default.retry_after_max, micros);
        policy.final_statuses = self
            .final_statuses
            .parse()
            .map_err(|_unreadable| invalid("retry.final_statuses", &*self.final_statuses))?;
        policy.connect_timeout = self.connect_timeout_us.map(micros);
        policy.first_byte_timeout = self.first_byte_timeout_us.map(micros);
        Ok(())
    }
}

pub(crate) fn unreadable(fault: Fault) -> ConvertError {
    invalid("settings", fault.to_string())
}

/// A function's settings as they are kept.
pub fn settings_to_bytes(settings: &FunctionSettings) -> Vec<u8> {
    functions::FunctionSettings::from(settings).encode_to_vec()
}

/// Reads [`settings_to_bytes`]; nothing gives the defaults.
///
/// # Errors
/// When the bytes are something else.
pub fn settings_from_bytes(bytes: &[u8]) -> Result<FunctionSettings, ConvertError> {
    let message = functions::FunctionSettings::decode(bytes).map_err(undecodable)?;
    function_settings(&message).map_err(unreadable)
}

/// What of a trigger has no column of its own, as it is kept.
pub fn trigger_settings_to_bytes(trigger: &Trigger) -> Vec<u8> {
    wire::TriggerSettings::from(trigger).encode_to_vec()
}

/// Sets on the trigger what [`trigger_settings_to_bytes`] kept; nothing sets the defaults.
///
/// # Errors
/// When the bytes are something else.
pub fn apply_trigger_settings(bytes: &[u8], trigger: &mut Trigger) -> Result<(), ConvertError> {
    let message = wire::TriggerSettings::decode(bytes).map_err(undecodable)?;
    message.apply(trigger)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
pub(crate) fn undecodable(error: prost::DecodeError) -> ConvertError {
    invalid("settings", error.to_string())
}
