//! Reads lists of event scripts of `DreamFactory`: which event, in which phase, and whom to call.
//!
//! Scripts' code is not run here. What a script does is done by a function: the one at the URL in
//! its `config`, or one that exists and is named beside the file.

use std::collections::BTreeMap;

use url::Url;

use super::document::{self, Member, Node, last, repeated};
use super::finding::{At, Report};
use super::names::Names;
use super::{Plan, PlannedFunction, Reading, TRIGGERS_MAX, Target, format};
use crate::event_type::EventType;
use crate::function::parse_url;
use crate::name::{FunctionName, TriggerName};
use crate::trigger::Trigger;

/// A longer name is refused, as names are never cut.
pub const NAME_BYTES_MAX: usize = 256;

const MEMBERS: [&str; 12] = [
    "name",
    "type",
    "content",
    "config",
    "is_active",
    "allow_event_modification",
    "storage_service_id",
    "storage_path",
    "scm_repository",
    "scm_reference",
    "created_date",
    "last_modified_date",
];

const VERBS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the request is processed.
    Pre,
    /// Before the response is sent.
    Post,
    /// Some time after the response was sent.
    Queued,
}

impl Phase {
    pub const ALL: [Self; 3] = [Self::Pre, Self::Post, Self::Queued];

    /// How a script's name ends.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Pre => "pre_process",
            Self::Post => "post_process",
            Self::Queued => "queued",
        }
    }

    /// Type of the events of this phase.
    const fn number(self) -> u32 {
        match self {
            Self::Pre => 6000,
            Self::Post => 6001,
            Self::Queued => 6002,
        }
    }
}

/// What a script says beside its trigger, which has the type of its phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The trigger of this script.
    pub trigger: TriggerName,
    /// `service.resource.verb` as written, without the phase.
    pub event: String,
    pub phase: Phase,
    pub allows_modification: bool,
}

/// Reads a list of scripts, or one.
pub fn read(file: &[u8], target: &Target) -> Reading {
    let text = match document::text(file) {
        Ok(text) => text,
        Err(fault) => return document::no_text("DF_JSON", file, fault),
    };
    let mut report = Report::new(text);
    let blanked = target.is_lenient.then(|| document::without_comments(text));
    let json = blanked.as_deref().unwrap_or(text);
    let mut reader = Reader {
        target,
        names: Names::default(),
        functions: BTreeMap::new(),
        plan: Plan::default(),
    };
    match document::check(json) {
        Ok(()) => reader.read_file(&Node::root(json), &mut report),
        Err((offset, message)) => report.error("DF_JSON", &At::offset(offset), message),
    }
    Reading {
        plan: match report.has_errors {
            true => Plan::default(),
            false => reader.plan,
        },
        findings: report.finish(),
    }
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
        let listed = root.elements().or_else(|| {
            let members = root.members()?;
            last(&members, "resource")?.value.elements()
        });
        let listed = listed.unwrap_or_else(|| vec![root.clone()]);
        if listed.len() > TRIGGERS_MAX {
            let message = format!("the file has more than {TRIGGERS_MAX} scripts");
            report.error("DF_SHAPE", &root.at, message);
            return;
        }
        let name = |node: &Node<'_>| {
            let members = node.members()?;
            last(&members, "name")?.value.text()
        };
        let names: Vec<Option<String>> = listed.iter().map(name).collect();
        // Where each name stands for the last time: there it counts.
        let mut counts = BTreeMap::new();
        for (place, name) in names.iter().enumerate() {
            counts.insert(name.as_deref(), place);
        }
        for (place, (node, name)) in listed.iter().zip(&names).enumerate() {
            let is_last = counts.get(&name.as_deref()) == Some(&place);
            match name {
                Some(name) if !is_last => {
                    let message =
                        format!("script {name:?} stands again further down, where it counts");
                    report.warning("DF_DUP_NAME", &node.at, message);
                }
                Some(_) | None => self.read_script(node, report),
            }
        }
    }

    fn read_script(&mut self, node: &Node<'_>, report: &mut Report<'_>) {
        let Some(members) = node.members() else {
            let message = "a script is an object: name, is_active, config, …";
            report.error("DF_SHAPE", &node.at, message);
            return;
        };
        for member in repeated(&members) {
            let message = format!("{:?} stands twice in one script", member.name);
            report.error("DF_DUP_KEY", &member.at, message);
        }
        for member in members.iter().filter(|member| !is_known(&member.name)) {
            let message = format!("{:?} is not known and left out", member.name);
            report.warning("DF_UNKNOWN_FIELD", &member.at, message);
        }
        let event = name(node, &members, report);
        let is_active = flag(&members, "is_active", report);
        let allows_modification = flag(&members, "allow_event_modification", report);
        let full = last(&members, "name").and_then(|member| member.value.text());
        let function = self.function(node, &members, full.as_deref().unwrap_or_default(), report);
        let (Some((event, phase, subject)), Some(function)) = (event, function) else {
            return;
        };
        let suffix = match phase {
            Phase::Pre => "pre",
            Phase::Post => "post",
            Phase::Queued => "queued",
        };
        let name = self.names.make(&[&event, suffix]);
        if let Callee::New(url) = &function {
            let made = self.made(&name, url);
            self.plan.functions.extend(made);
        }
        let function = match function {
            Callee::Known(function) => function,
            Callee::New(url) => match self.functions.get(url.as_str()) {
                Some(function) => function.clone(),
                None => return,
            },
        };
        let Target { project, now, .. } = self.target;
        let verb = event.rsplit('.').next().unwrap_or_default().to_owned();
        let on = EventType::from_number(phase.number());
        self.plan.triggers.push(Trigger {
            is_enabled: is_active,
            on: on.into_iter().map(Into::into).collect(),
            subject: Some(subject),
            options: [("verb".to_owned(), verb)].into(),
            format: Some(format("dreamfactory")),
            ..Trigger::new(project.clone(), name.clone(), function, *now)
        });
        self.plan.scripts.push(Script {
            trigger: name,
            event,
            phase,
            allows_modification,
        });
    }

    /// The function for a URL, if it was not made yet.
    fn made(&mut self, name: &TriggerName, url: &Url) -> Option<PlannedFunction> {
        if self.functions.contains_key(url.as_str()) {
            return None;
        }
        let function = FunctionName {
            package: self.target.package.clone(),
            name: name.clone(),
        };
        self.functions.insert(url.to_string(), function.clone());
        Some(PlannedFunction {
            name: function,
            url: url.clone(),
            format: format("dreamfactory"),
        })
    }

    fn function(
        &self,
        node: &Node<'_>,
        members: &[Member<'_>],
        name: &str,
        report: &mut Report<'_>,
    ) -> Option<Callee> {
        let callee = match self.target.renamed.get(name) {
            Some(function) => Some(Callee::Known(function.clone())),
            None => config_url(members, report)?.map(Callee::New),
        };
        let code = [
            "content",
            "storage_path",
            "storage_service_id",
            "scm_repository",
        ];
        let code = code.iter().find_map(|name| {
            let member = last(members, name)?;
            let is_empty =
                member.value.is_null() || member.value.text().is_some_and(|text| text.is_empty());
            (!is_empty).then_some(member)
        });
        match (&callee, code) {
            (Some(_), Some(code)) => {
                let message = "the script's code is left out: the function is called instead";
                report.warning("DF_CODE", &code.at, message);
            }
            (None, Some(code)) => {
                let message = "code is not run here: host it, and give its URL as config.url or \
                               say by mapping the script's name which function it is";
                report.error("DF_CODE", &code.at, message);
            }
            (None, None) => {
                let message = "there is nobody to call: give a URL as config.url or say by mapping \
                               the script's name which function it is";
                report.error("DF_URL", &node.at, message);
            }
            (Some(_), None) => {}
        }
        callee
    }
}

/// Whom a script calls.
enum Callee {
    Known(FunctionName),
    New(Url),
}

fn is_known(name: &str) -> bool {
    MEMBERS.contains(&name) || name.ends_with("_by_id") || name.ends_with("_by_name")
}

/// False where it is not said.
fn flag(members: &[Member<'_>], name: &str, report: &mut Report<'_>) -> bool {
    let Some(member) = last(members, name).filter(|member| !member.value.is_null()) else {
        return false;
    };
    let flag = match member.value.raw() {
        "1" => Some(true),
        "0" => Some(false),
        _ => member.value.boolean(),
    };
    if flag.is_none() {
        let message = format!("{name} is {}: true or false", member.value.shown());
        report.error("DF_FLAG", &member.value.at, message);
    }
    flag.unwrap_or_default()
}

/// `config.url`, where there is one. The outer `None` where it was told that it is none.
fn config_url(members: &[Member<'_>], report: &mut Report<'_>) -> Option<Option<Url>> {
    let Some(config) = last(members, "config") else {
        return Some(None);
    };
    // Some tools write the object into a text.
    let inner = config.value.text();
    let inner = inner.filter(|inner| document::check(inner).is_ok());
    let inner = inner.as_deref().map(Node::root);
    let object = inner.as_ref().unwrap_or(&config.value).members();
    let url = object.and_then(|object| last(&object, "url").map(|url| url.value.text()));
    let Some(url) = url else {
        return Some(None);
    };
    let url = url.unwrap_or_default();
    match parse_url(&url) {
        Ok(url) => Some(Some(url)),
        Err(error) => {
            report.error(
                "DF_URL",
                &config.value.at,
                format!("config.url {url:?} {error}"),
            );
            None
        }
    }
}

type Named = (String, Phase, crate::pattern::PathPattern);

/// `service.resource.verb.phase`: the event, the phase, and the pattern of the path that is meant.
fn name(node: &Node<'_>, members: &[Member<'_>], report: &mut Report<'_>) -> Option<Named> {
    let member = last(members, "name");
    let text = member.and_then(|member| member.value.text());
    let at = member.map_or(&node.at, |member| &member.value.at);
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        report.error(
            "DF_NAME",
            at,
            "name is missing: service.resource.verb.phase",
        );
        return None;
    };
    if text.len() > NAME_BYTES_MAX {
        let message = format!(
            "the name has {} bytes: at most {NAME_BYTES_MAX}",
            text.len()
        );
        report.error("DF_NAME", at, message);
        return None;
    }
    let phase = Phase::ALL.into_iter().find_map(|phase| {
        let event = text.strip_suffix(phase.suffix())?.strip_suffix('.')?;
        Some((phase, event))
    });
    let Some((phase, event)) = phase else {
        let message =
            format!("{text:?} names no phase: it ends with .pre_process, .post_process or .queued");
        report.error("DF_PHASE", at, message);
        return None;
    };
    let verb = event
        .rsplit_once('.')
        .filter(|(_, verb)| VERBS.contains(verb));
    let Some((path, _)) = verb else {
        let message = format!("{event:?} ends with no verb: {}", VERBS.join(", "));
        report.error("DF_NAME", at, message);
        return None;
    };
    let segments = path.split('.').map(|segment| match segment {
        "{folder_path}" => "{folder_path=+}",
        "{file_path}" => "{file_path=+}",
        other => other,
    });
    let segments: Vec<&str> = segments.collect();
    if segments.contains(&"") {
        report.error("DF_NAME", at, format!("{event:?} has an empty part"));
        return None;
    }
    match format!("api/{}", segments.join("/")).parse() {
        Ok(pattern) => Some((event.to_owned(), phase, pattern)),
        Err(error) => {
            report.error("DF_NAME", at, format!("{event:?} is no event: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
