//! Reads trigger objects of Space Cloud: one, a list of them, or an object of them by their ids.
//!
//! Each URL becomes a function of the package. Filters are compiled into CEL; what has no
//! equivalent (Go templates, rules that ask a database or a webhook) is told, and nothing is
//! installed.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::document::{self, Member, Node, last, repeated};
use super::finding::Report;
use super::names::Names;
use super::{Plan, PlannedFunction, Reading, TRIGGERS_MAX, Target, format, space_cloud_rules};
use crate::event_type::EventType;
use crate::filter::Filter;
use crate::function::parse_url;
use crate::name::FunctionName;
use crate::retry::RetryPolicy;
use crate::template::Template;
use crate::trigger::Trigger;

const MEMBERS: [&str; 13] = [
    "id",
    "name",
    "type",
    "url",
    "retries",
    "timeout",
    "options",
    "filter",
    "template",
    "requestTemplate",
    "outputFormat",
    "claims",
    "triggerType",
];

/// Their 0 and less mean this many.
const RETRIES: u32 = 3;

/// Reads trigger objects.
pub fn read(file: &[u8], target: &Target) -> Reading {
    document::read(file, target, "SC_JSON", |root, report| {
        let mut reader = Reader {
            target,
            names: Names::default(),
            functions: BTreeMap::new(),
            plan: Plan::default(),
        };
        reader.read_file(root, report);
        reader.plan
    })
}

struct Reader<'a> {
    target: &'a Target,
    names: Names,
    /// By URL.
    functions: BTreeMap<String, FunctionName>,
    plan: Plan,
}

impl Reader<'_> {
    fn read_file(&mut self, root: &Node<'_>, report: &mut Report<'_>) {
        if let Some(elements) = root.elements() {
            if elements.is_empty() {
                report.warning(
                    "SC_EMPTY",
                    &root.at,
                    "the list is empty: nothing is installed",
                );
            }
            for element in &elements {
                self.read_trigger(element, None, report);
            }
            return;
        }
        let Some(members) = root.members() else {
            let message = "a trigger is an object; several are a list";
            report.error("SC_SHAPE", &root.at, message);
            return;
        };
        // What the configuration's route answers: `{"status": 200, "result": […]}`.
        if let Some(result) = last(&members, "result")
            && let Some(elements) = result.value.elements()
        {
            for element in &elements {
                self.read_trigger(element, None, report);
            }
            return;
        }
        let is_by_id = !members.is_empty() && members.iter().all(|member| member.value.is_object());
        if !is_by_id {
            self.read_trigger(root, None, report);
            return;
        }
        for member in repeated(&members) {
            let message = format!("trigger {:?} stands twice", member.name);
            report.error("SC_DUP_ID", &member.at, message);
        }
        for member in &members {
            self.read_trigger(&member.value, Some(&member.name), report);
        }
    }

    fn read_trigger(&mut self, node: &Node<'_>, id: Option<&str>, report: &mut Report<'_>) {
        let Some(members) = node.members() else {
            report.error("SC_SHAPE", &node.at, "a trigger is an object");
            return;
        };
        for member in repeated(&members) {
            let message = format!("{:?} stands twice in one trigger", member.name);
            report.error("SC_DUP_KEY", &member.at, message);
        }
        for member in members
            .iter()
            .filter(|member| !MEMBERS.contains(&&*member.name))
        {
            let message = format!("{:?} is not known and left out", member.name);
            report.warning("SC_UNKNOWN_FIELD", &member.at, message);
        }
        if is_internal(&members) {
            let message = "an internal trigger of Space Cloud's own is left out";
            report.warning("SC_TRIGGER_TYPE", &node.at, message);
            return;
        }
        let event_type = event_type(node, &members, report);
        let url = url(node, &members, report);
        let retry = retry(&members, report);
        let options = options(&members, report);
        let filter = filter(&members, report);
        let template = template(&members, report);
        claims(&members, report);
        let id = id
            .map(ToOwned::to_owned)
            .or_else(|| text(&members, "id"))
            .or_else(|| text(&members, "name"));
        let (Some(event_type), Some(url)) = (event_type, url) else {
            return;
        };
        let Some(name) = self.name(node, id.as_deref(), event_type.as_str(), report) else {
            return;
        };
        let function = self.function(&name, url);
        let Target { project, now, .. } = self.target;
        self.plan.triggers.push(Trigger {
            on: vec![event_type.into()],
            format: Some(format("space-cloud")),
            retry,
            options,
            filter,
            template,
            ..Trigger::new(project.clone(), name, function, *now)
        });
        if self.plan.triggers.len() == TRIGGERS_MAX + 1 {
            let message = format!("the file has more than {TRIGGERS_MAX} triggers");
            report.error("SC_SHAPE", &node.at, message);
        }
    }

    /// Its own id wherever that is a name, since dead letters are called after it.
    fn name(
        &mut self,
        node: &Node<'_>,
        id: Option<&str>,
        event_type: &str,
        report: &mut Report<'_>,
    ) -> Option<crate::name::TriggerName> {
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Some(self.names.make(&[self.target.package.as_str(), event_type]));
        };
        if let Some(name) = self.names.take(id) {
            return Some(name);
        }
        if id.parse::<crate::name::Name>().is_ok() {
            let message = format!("there are two triggers {id:?}");
            report.error("SC_DUP_ID", &node.at, message);
            return None;
        }
        let name = self.names.make(&[id]);
        let message = format!(
            "{id:?} is no name here: the trigger is called {name}, and its dead letters dlq_{name}"
        );
        report.warning("SC_ID", &node.at, message);
        Some(name)
    }

    /// The function that is called at this URL.
    fn function(&mut self, trigger: &crate::name::Name, url: Url) -> FunctionName {
        if let Some(known) = self.functions.get(url.as_str()) {
            return known.clone();
        }
        let name = FunctionName {
            package: self.target.package.clone(),
            name: trigger.clone(),
        };
        self.functions.insert(url.to_string(), name.clone());
        self.plan.functions.push(PlannedFunction {
            name: name.clone(),
            url,
            format: format("space-cloud"),
        });
        name
    }
}

fn text(members: &[Member<'_>], name: &str) -> Option<String> {
    last(members, name).and_then(|member| member.value.text())
}

fn is_internal(members: &[Member<'_>]) -> bool {
    text(members, "triggerType").is_some_and(|kind| kind == "internal")
}

fn event_type(
    node: &Node<'_>,
    members: &[Member<'_>],
    report: &mut Report<'_>,
) -> Option<EventType> {
    let known = "DB_INSERT, DB_UPDATE, DB_DELETE, FILE_CREATE, FILE_DELETE or a type of your own";
    let Some(member) = last(members, "type") else {
        report.error("SC_TYPE", &node.at, format!("type is missing: {known}"));
        return None;
    };
    let at = &member.value.at;
    let Some(text) = member.value.text() else {
        let message = format!("{} is no type: {known}", member.value.shown());
        report.error("SC_TYPE", at, message);
        return None;
    };
    match EventType::parse(&text) {
        Ok(event_type) => Some(event_type),
        Err(error) => {
            report.error("SC_TYPE", at, error.to_string());
            None
        }
    }
}

fn url(node: &Node<'_>, members: &[Member<'_>], report: &mut Report<'_>) -> Option<Url> {
    let Some(member) = last(members, "url") else {
        report.error(
            "SC_URL",
            &node.at,
            "url is missing: where the webhook is called",
        );
        return None;
    };
    let text = member.value.text().unwrap_or_default();
    match parse_url(&text) {
        Ok(url) => Some(url),
        Err(error) => {
            let message = format!("{} {error}", member.value.shown());
            report.error("SC_URL", &member.value.at, message);
            None
        }
    }
}

/// As Space Cloud does: three retries, five seconds apart, unless said otherwise.
fn retry(members: &[Member<'_>], report: &mut Report<'_>) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if let Some(member) = last(members, "retries").filter(|member| !member.value.is_null()) {
        match member.value.whole_number() {
            Some(..=0) => policy.retries_max = RETRIES,
            Some(retries) => policy.retries_max = u32::try_from(retries).unwrap_or(u32::MAX),
            None => {
                let message = format!("{} is no number of retries", member.value.shown());
                report.error("SC_RETRIES", &member.value.at, message);
            }
        }
        if let Err(error) = policy.check() {
            report.error("SC_RETRIES", &member.value.at, error.to_string());
            policy = RetryPolicy::default();
        }
    }
    if let Some(member) = last(members, "timeout").filter(|member| !member.value.is_null()) {
        let before = policy.clone();
        match member.value.whole_number() {
            Some(..=0) => {}
            Some(millis) => {
                policy.timeout = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
            }
            None => {
                let message = format!("{} is no number of milliseconds", member.value.shown());
                report.error("SC_TIMEOUT", &member.value.at, message);
            }
        }
        if let Err(error) = policy.check() {
            report.error("SC_TIMEOUT", &member.value.at, error.to_string());
            policy = before;
        }
    }
    policy
}

fn options(members: &[Member<'_>], report: &mut Report<'_>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let Some(member) = last(members, "options").filter(|member| !member.value.is_null()) else {
        return options;
    };
    let Some(given) = member.value.members() else {
        let message = format!(
            "{} are no options: an object of texts",
            member.value.shown()
        );
        report.error("SC_OPTIONS", &member.value.at, message);
        return options;
    };
    for option in given {
        let is_name = (1..=20).contains(&option.name.len())
            && option
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match option.value.text() {
            Some(value) if is_name && options.len() < 16 => {
                options.insert(option.name, value);
            }
            _ => {
                let message = format!(
                    "{:?} is no option: up to 16 names of lower-case letters and digits, each with a text",
                    option.name
                );
                report.error("SC_OPTIONS", &option.at, message);
            }
        }
    }
    options
}

fn filter(members: &[Member<'_>], report: &mut Report<'_>) -> Option<Filter> {
    let member = last(members, "filter").filter(|member| !member.value.is_null())?;
    let has_rule = member.value.members().is_some_and(|rule| !rule.is_empty());
    if !has_rule && member.value.is_object() {
        return None;
    }
    let cel = space_cloud_rules::compile(&member.value, report)?;
    if cel == "true" {
        return None;
    }
    match Filter::parse(&cel) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let message = format!("the filter cannot be written as a condition: {error}");
            report.error("SC_FILTER", &member.value.at, message);
            None
        }
    }
}

/// The one template of Space Cloud's that means the same here: the data, as JSON.
const WHOLE_DATA: [&str; 2] = ["{{marshalJSON.args.data}}", "{{marshalJSON(.args.data)}}"];

fn template(members: &[Member<'_>], report: &mut Report<'_>) -> Option<Template> {
    let member = last(members, "requestTemplate").filter(|member| !member.value.is_null())?;
    let text = member.value.text().unwrap_or_default();
    let bare: String = text.split_whitespace().collect();
    if bare.is_empty() {
        return None;
    }
    if WHOLE_DATA.contains(&&*bare) {
        return Template::parse("{{ data }}", "application/json").ok();
    }
    let message = "a Go template cannot be translated: give the trigger a template of tripline's \
                   own after it is imported, and leave this one out";
    report.error("SC_TEMPLATE", &member.value.at, message);
    None
}

fn claims(members: &[Member<'_>], report: &mut Report<'_>) {
    let Some(member) = last(members, "claims") else {
        return;
    };
    if member
        .value
        .text()
        .is_none_or(|claims| !claims.trim().is_empty())
        && !member.value.is_null()
    {
        let message = "claims by a template are not offered: set what goes into the Authorization \
                       header at the function, and leave them out";
        report.error("SC_CLAIMS", &member.value.at, message);
    }
}

#[cfg(test)]
mod tests;
