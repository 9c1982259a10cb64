//! Reads lists of event scripts of `DreamFactory`: which event, in which phase, and whom to call.
//!
//! Scripts' code is not run here. What a script does is done by a function: the one at the URL in
//! its `config`, or one that exists and is named beside the file.

use std::collections::BTreeMap;

use url::Url;

use super::document::{self, Member, Node, last, repeated};
use super::finding::Report;
use super::names::Names;
use super::{Plan, PlannedFunction, Reading, TRIGGERS_MAX, Target, format};
use crate::api_event::script::trigger_name;
use crate::api_event::{EventName, OnError, Phase, Script};
use crate::event_type::EventType;
use crate::function::parse_url;
use crate::name::FunctionName;
use crate::trigger::Trigger;

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

/// Reads a list of scripts, or one.
pub fn read(file: &[u8], target: &Target) -> Reading {
    document::read(file, target, "DF_JSON", |root, report| {
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
        let (Some(event), Some(function)) = (event, function) else {
            return;
        };
        // Of one event and phase there is one script, whoever makes it.
        let name = trigger_name(&event);
        let function = match function {
            Callee::Known(function) => function,
            Callee::New(url) => self.made(&event, &url),
        };
        let phase = event.phase().unwrap_or(Phase::Queued);
        let Target { project, now, .. } = self.target;
        self.plan.triggers.push(Trigger {
            is_enabled: is_active,
            on: EventType::parse(phase.event_type())
                .into_iter()
                .map(Into::into)
                .collect(),
            format: Some(format("dreamfactory")),
            script: Some(Box::new(Script {
                event,
                priority: 0,
                allow_event_modification: allows_modification,
                on_error: OnError::default(),
            })),
            ..Trigger::new(project.clone(), name, function, *now)
        });
    }

    /// The function for a URL, called after the first script that has it.
    fn made(&mut self, event: &EventName, url: &Url) -> FunctionName {
        if let Some(function) = self.functions.get(url.as_str()) {
            return function.clone();
        }
        let name = self.names.make(&[event.as_str()]);
        let function = FunctionName {
            package: self.target.package.clone(),
            name,
        };
        self.functions.insert(url.to_string(), function.clone());
        self.plan.functions.push(PlannedFunction {
            name: function.clone(),
            url: url.clone(),
            format: format("dreamfactory"),
        });
        function
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

/// `service.resource.verb.phase`.
fn name(node: &Node<'_>, members: &[Member<'_>], report: &mut Report<'_>) -> Option<EventName> {
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
    match text.parse::<EventName>() {
        Ok(event) if event.phase().is_some() => Some(event),
        Ok(_) => {
            let message = format!(
                "{text:?} names no phase: it ends with .pre_process, .post_process or .queued"
            );
            report.error("DF_PHASE", at, message);
            None
        }
        Err(error) => {
            report.error("DF_NAME", at, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests;
