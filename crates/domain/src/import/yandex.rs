//! Reads what Yandex Cloud and extremum keep of triggers: a trigger table, or trigger resources.
//!
//! A trigger table is text, `TRIGGER_ID:` and lines of `- package.function`. Trigger resources are
//! JSON as `yc serverless trigger get --format json` writes it; their functions are named by id.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::document::{self, Member, Node, last};
use super::finding::{At, Report};
use super::names::Names;
use super::{Plan, PlannedSchedule, Reading, TRIGGERS_MAX, Target, format, yandex_table};
use crate::event_type::EventType;
use crate::name::{FunctionName, Name};
use crate::retry::RetryPolicy;
use crate::schedule::{Cron, Dialect, Payload};
use crate::trigger::Trigger;

/// In a pattern a name stands for itself alone.
pub(super) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A timer's payload may have so many characters there.
const PAYLOAD_CHARS_MAX: usize = 4096;

const STORAGE_EVENTS: [(&str, &str); 3] = [
    ("OBJECT_STORAGE_EVENT_TYPE_CREATE_OBJECT", "create"),
    ("OBJECT_STORAGE_EVENT_TYPE_UPDATE_OBJECT", "update"),
    ("OBJECT_STORAGE_EVENT_TYPE_DELETE_OBJECT", "delete"),
];

/// Reads a trigger table or trigger resources, whichever it is.
pub fn read(file: &[u8], target: &Target) -> Reading {
    let text = match document::text(file) {
        Ok(text) => text,
        Err(fault) => return document::no_text("YC_TEXT", file, fault),
    };
    let mut report = Report::new(text);
    let mut reader = Reader {
        target,
        names: Names::default(),
        plan: Plan::default(),
    };
    if text.trim_start().starts_with(['{', '[']) {
        let blanked = target.is_lenient.then(|| document::without_comments(text));
        let json = blanked.as_deref().unwrap_or(text);
        match document::check(json) {
            Ok(()) => reader.read_resources(&Node::root(json), &mut report),
            Err((offset, message)) => report.error("YC_JSON", &At::offset(offset), message),
        }
    } else {
        yandex_table::read(text, &mut reader, &mut report);
    }
    Reading {
        plan: match report.has_errors {
            true => Plan::default(),
            false => reader.plan,
        },
        findings: report.finish(),
    }
}

pub(super) struct Reader<'a> {
    pub(super) target: &'a Target,
    names: Names,
    plan: Plan,
}

impl Reader<'_> {
    /// A trigger for changes of a bucket's objects, or for messages of a queue.
    pub(super) fn add(
        &mut self,
        words: &[&str],
        function: FunctionName,
        on: &[EventType],
        subject: &str,
    ) -> Option<&mut Trigger> {
        let subject = subject.parse().ok()?;
        let name = self.names.make(words);
        let mut trigger = self.trigger(name, function);
        trigger.on = on.iter().cloned().map(Into::into).collect();
        trigger.subject = Some(subject);
        self.plan.triggers.push(trigger);
        self.plan.triggers.last_mut()
    }

    pub(super) fn is_full(&self) -> bool {
        self.plan.triggers_count() > TRIGGERS_MAX
    }

    fn trigger(&self, name: Name, function: FunctionName) -> Trigger {
        let Target { project, now, .. } = self.target;
        Trigger {
            format: Some(format("yandex")),
            ..Trigger::new(project.clone(), name, function, *now)
        }
    }

    fn read_resources(&mut self, root: &Node<'_>, report: &mut Report<'_>) {
        let listed = root.elements().or_else(|| {
            let members = root.members()?;
            last(&members, "triggers")?.value.elements()
        });
        let Some(listed) = listed else {
            self.read_resource(root, report);
            return;
        };
        for resource in &listed {
            self.read_resource(resource, report);
            if self.is_full() {
                let message = format!("the file has more than {TRIGGERS_MAX} triggers");
                report.error("YC_SHAPE", &resource.at, message);
                return;
            }
        }
    }

    fn read_resource(&mut self, node: &Node<'_>, report: &mut Report<'_>) {
        let Some(members) = node.members() else {
            report.error("YC_SHAPE", &node.at, "a trigger is an object");
            return;
        };
        check_repeated(&members, report);
        let Some(name) = self.name(node, &members, report) else {
            return;
        };
        let is_enabled = member(&members, "status")
            .and_then(|status| status.value.text())
            .is_none_or(|status| status != "PAUSED");
        let rule = member(&members, "rule").and_then(|rule| rule.value.members());
        let Some([rule]) = rule.as_deref() else {
            let message = "rule is an object of one kind: object_storage, message_queue or timer";
            report.error("YC_RULE", &node.at, message);
            return;
        };
        let Some(settings) = rule.value.members() else {
            report.error("YC_SHAPE", &rule.value.at, "the rule is an object");
            return;
        };
        check_repeated(&settings, report);
        match snake_case(&rule.name).as_str() {
            "object_storage" => self.read_storage(name, is_enabled, rule, &settings, report),
            "message_queue" | "ymq" => self.read_queue(name, is_enabled, rule, &settings, report),
            "timer" => self.read_timer(name, is_enabled, rule, &settings, report),
            other => {
                let message = format!(
                    "there is no trigger for {other:?}: object_storage, message_queue and timer"
                );
                report.error("YC_RULE", &rule.at, message);
            }
        }
    }

    fn name(
        &mut self,
        node: &Node<'_>,
        members: &[Member<'_>],
        report: &mut Report<'_>,
    ) -> Option<Name> {
        let member = member(members, "name");
        let text = member
            .and_then(|member| member.value.text())
            .unwrap_or_default();
        let at = member.map_or(&node.at, |member| &member.value.at);
        if text.parse::<Name>().is_err() {
            let message = format!(
                "{text:?} is no name: 3 to 63 lower-case letters, digits and '-', beginning with a letter"
            );
            report.error("YC_NAME", at, message);
            return None;
        }
        let name = self.names.take(&text);
        if name.is_none() {
            report.error("YC_NAME", at, format!("there are two triggers {text:?}"));
        }
        name
    }

    fn read_storage(
        &mut self,
        name: Name,
        is_enabled: bool,
        rule: &Member<'_>,
        settings: &[Member<'_>],
        report: &mut Report<'_>,
    ) {
        let text = |name: &str| member(settings, name).and_then(|member| member.value.text());
        let bucket = text("bucket_id").filter(|bucket| !bucket.is_empty());
        if bucket.is_none() {
            report.error("YC_BUCKET", &rule.value.at, "bucket_id is missing");
        }
        let on = storage_events(rule, settings, report);
        let call = self.call(rule, settings, report);
        check_batch(settings, report);
        let (Some(bucket), Some(on), Some((function, retry))) = (bucket, on, call) else {
            return;
        };
        let subject = format!(
            "object-storage/{}/{{objectID}}",
            utf8_percent_encode(&bucket, PLAIN)
        );
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.plan.triggers.push(Trigger {
            is_enabled,
            on: on.into_iter().map(Into::into).collect(),
            subject: subject.parse().ok(),
            prefix: some(text("prefix")),
            suffix: some(text("suffix")),
            retry,
            ..self.trigger(name, function)
        });
    }

    fn read_queue(
        &mut self,
        name: Name,
        is_enabled: bool,
        rule: &Member<'_>,
        settings: &[Member<'_>],
        report: &mut Report<'_>,
    ) {
        let queue = member(settings, "queue_id").and_then(|member| member.value.text());
        let queue = queue.as_deref().and_then(|queue| queue.rsplit(':').next());
        let queue = queue.filter(|queue| !queue.is_empty());
        if queue.is_none() {
            report.error("YC_QUEUE", &rule.value.at, "queue_id is missing");
        }
        let call = self.call(rule, settings, report);
        check_batch(settings, report);
        let (Some(queue), Some((function, retry))) = (queue, call) else {
            return;
        };
        let subject = format!("queues/{}", utf8_percent_encode(queue, PLAIN));
        let on = EventType::from_number(4000).into_iter().map(Into::into);
        self.plan.triggers.push(Trigger {
            is_enabled,
            on: on.collect(),
            subject: subject.parse().ok(),
            retry,
            ..self.trigger(name, function)
        });
    }

    fn read_timer(
        &mut self,
        name: Name,
        is_enabled: bool,
        rule: &Member<'_>,
        settings: &[Member<'_>],
        report: &mut Report<'_>,
    ) {
        let written = member(settings, "cron_expression");
        let at = written.map_or(&rule.value.at, |member| &member.value.at);
        let text = written
            .and_then(|member| member.value.text())
            .unwrap_or_default();
        let cron = match Cron::parse(&text, Dialect::Yandex) {
            Ok(cron) => Some(cron),
            Err(error) => {
                report.error("YC_CRON", at, format!("cron_expression {text:?}: {error}"));
                None
            }
        };
        let payload = match member(settings, "payload").map(|member| (member.value.text(), member))
        {
            None => Payload::None,
            Some((Some(text), _)) if text.is_empty() => Payload::None,
            Some((Some(text), _)) if text.chars().count() <= PAYLOAD_CHARS_MAX => {
                Payload::Text(text)
            }
            Some((_, member)) => {
                let message =
                    format!("payload is a text of at most {PAYLOAD_CHARS_MAX} characters");
                report.error("YC_PAYLOAD", &member.value.at, message);
                Payload::None
            }
        };
        let call = self.call(rule, settings, report);
        let (Some(cron), Some((function, retry))) = (cron, call) else {
            return;
        };
        let trigger = Trigger {
            retry,
            ..self.trigger(name.clone(), function)
        };
        self.plan.schedules.push(PlannedSchedule {
            job: name.to_string(),
            cron,
            payload,
            is_enabled,
            trigger: trigger.of_schedule(),
        });
    }

    /// Which function is called, and how often it is tried.
    fn call(
        &self,
        rule: &Member<'_>,
        settings: &[Member<'_>],
        report: &mut Report<'_>,
    ) -> Option<(FunctionName, RetryPolicy)> {
        let invoke = member(settings, "invoke_function")
            .or_else(|| member(settings, "invoke_function_with_retry"));
        let members = invoke.and_then(|invoke| invoke.value.members());
        let (Some(invoke), Some(members)) = (invoke, members) else {
            let message = "invoke_function is missing: only functions are called";
            report.error("YC_FUNCTION", &rule.value.at, message);
            return None;
        };
        let id = member(&members, "function_id");
        let at = id.map_or(&invoke.value.at, |id| &id.value.at);
        let id = id.and_then(|id| id.value.text()).unwrap_or_default();
        let function = self.target.function(None, &id).cloned();
        if function.is_none() {
            let known = self.target.known_endpoints();
            let message = format!(
                "function_id {id:?} names no function here: {known}; say which one is meant by mapping the id"
            );
            report.error("YC_FUNCTION", at, message);
        }
        let retry = member(&members, "retry_settings").filter(|retry| !retry.value.is_null());
        let retry = match retry {
            None => RetryPolicy {
                retries_max: 0,
                ..RetryPolicy::default()
            },
            Some(retry) => retry_policy(retry, report)?,
        };
        let queue = member(&members, "dead_letter_queue").filter(|queue| !queue.value.is_null());
        if let Some(queue) = queue {
            let message =
                "there is no queue for what has failed: it is told by the event dlq_<trigger>";
            report.warning("YC_DLQ", &queue.at, message);
        }
        Some((function?, retry))
    }
}

/// 1 to 5 further attempts, 10 to 60 s apart, as there.
fn retry_policy(retry: &Member<'_>, report: &mut Report<'_>) -> Option<RetryPolicy> {
    let members = retry.value.members().unwrap_or_default();
    let attempts = member(&members, "retry_attempts");
    let interval = member(&members, "interval");
    let count = attempts.and_then(|attempts| attempts.value.whole_number());
    let count = count.and_then(|count| u32::try_from(count).ok());
    let count = count.filter(|count| (1..=5).contains(count));
    if count.is_none() {
        let at = attempts.map_or(&retry.value.at, |attempts| &attempts.value.at);
        report.error("YC_RETRY", at, "retry_attempts is 1 to 5");
    }
    let seconds = interval.and_then(|interval| seconds(&interval.value));
    let wait = seconds.filter(|wait| (10.0..=60.0).contains(wait));
    if wait.is_none() {
        let at = interval.map_or(&retry.value.at, |interval| &interval.value.at);
        report.error("YC_RETRY", at, "interval is 10s to 60s");
    }
    let default = RetryPolicy::default();
    let interval = Duration::from_secs_f64(wait?);
    Some(RetryPolicy {
        retries_max: count?,
        interval,
        interval_max: default.interval_max.max(interval),
        ..default
    })
}

/// `"10s"`, or a number of seconds.
fn seconds(node: &Node<'_>) -> Option<f64> {
    let text = node.text();
    let text = text.as_deref().unwrap_or_else(|| node.raw());
    let number = text.strip_suffix('s').unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())
}

fn storage_events(
    rule: &Member<'_>,
    settings: &[Member<'_>],
    report: &mut Report<'_>,
) -> Option<Vec<EventType>> {
    let allowed = STORAGE_EVENTS.map(|(name, _)| name).join(", ");
    let listed = member(settings, "event_type");
    let elements = listed
        .and_then(|listed| listed.value.elements())
        .unwrap_or_default();
    if elements.is_empty() {
        let message = format!("event_type names at least one of {allowed}");
        report.error("YC_EVENT_TYPE", &rule.value.at, message);
        return None;
    }
    let mut on = Vec::new();
    for element in elements {
        let text = element.text().unwrap_or_default();
        let known = STORAGE_EVENTS.iter().find(|(name, verb)| {
            *name == text || text.eq_ignore_ascii_case(&format!("{verb}-object"))
        });
        match known.and_then(|(_, verb)| EventType::parse(&format!("file.object.{verb}")).ok()) {
            Some(event_type) => on.push(event_type),
            None => {
                let message = format!("{} is none of {allowed}", element.shown());
                report.error("YC_EVENT_TYPE", &element.at, message);
                return None;
            }
        }
    }
    Some(on)
}

/// More than one message in a request is for the function to ask for.
fn check_batch(settings: &[Member<'_>], report: &mut Report<'_>) {
    let batch = member(settings, "batch_settings");
    let size = batch
        .and_then(|batch| batch.value.members())
        .and_then(|batch| member(&batch, "size")?.value.whole_number());
    if let (Some(batch), Some(size @ 2..)) = (batch, size) {
        let message = format!(
            "up to {size} messages in one request are a setting of the function: set its batching"
        );
        report.warning("YC_BATCH", &batch.at, message);
    }
}

fn check_repeated(members: &[Member<'_>], report: &mut Report<'_>) {
    for member in document::repeated(members) {
        let message = format!("{:?} stands twice in one object", member.name);
        report.error("YC_DUP_KEY", &member.at, message);
    }
}

/// Members are written `bucket_id` by some tools and `bucketId` by others.
fn member<'m, 'a>(members: &'m [Member<'a>], name: &str) -> Option<&'m Member<'a>> {
    members
        .iter()
        .rev()
        .find(|member| snake_case(&member.name) == name)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for symbol in name.chars() {
        if symbol.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(symbol.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests;
