//! Reads hook files of Kii Cloud: paths with hooks, and the scheduler's jobs.
//!
//! A path that stands twice counts as it stands last, since Kii keeps the file as a map. Of one
//! path and `when` there may be one hook. Hooks do not fire hooks: an event that a function has
//! caused calls none.

mod hook;
mod path;

use std::collections::BTreeMap;
use std::time::Duration;

use self::hook::Reader;
use self::path::Kind;
use super::document::{self, Member, Node};
use super::finding::{At, Report};
use super::names::Names;
use super::{Plan, Reading, Target};
use crate::name::FunctionName;

/// A run may take so long; then it is ended and counts as failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An event with more events behind it calls no hook: what a function has caused never does.
const DEPTH_MAX: u32 = 0;

/// What every code says of a file of this kind.
pub(crate) mod code {
    pub(crate) const JSON: &str = "HOOK_JSON";
    pub(crate) const SHAPE: &str = "HOOK_SHAPE";
    pub(crate) const PATH_UNKNOWN: &str = "HOOK_PATH_UNKNOWN";
    pub(crate) const BUCKET_ID: &str = "HOOK_BUCKET_ID";
    pub(crate) const WHEN_MISSING: &str = "HOOK_WHEN_MISSING";
    pub(crate) const WHEN_UNKNOWN: &str = "HOOK_WHEN_UNKNOWN";
    pub(crate) const WHEN_UNSUPPORTED: &str = "HOOK_WHEN_UNSUPPORTED";
    pub(crate) const WHAT: &str = "HOOK_WHAT";
    pub(crate) const ENDPOINT: &str = "HOOK_ENDPOINT";
    pub(crate) const ENDPOINT_UNKNOWN: &str = "HOOK_ENDPOINT_UNKNOWN";
    pub(crate) const DUP_TRIGGER: &str = "HOOK_DUP_TRIGGER";
    pub(crate) const DUP_PATH: &str = "HOOK_DUP_PATH";
    pub(crate) const DUP_KEY: &str = "HOOK_DUP_KEY";
    pub(crate) const DUP_JOB: &str = "HOOK_DUP_JOB";
    pub(crate) const CRON: &str = "HOOK_CRON";
    pub(crate) const PARAMS: &str = "HOOK_PARAMS";
    pub(crate) const UNKNOWN_FIELD: &str = "HOOK_UNKNOWN_FIELD";
    pub(crate) const EMPTY: &str = "HOOK_EMPTY";
}

/// Reads a hook file.
pub fn read(file: &[u8], target: &Target) -> Reading {
    let text = match document::text(file) {
        Ok(text) => text,
        Err(fault) => return document::no_text(code::JSON, file, fault),
    };
    let mut report = Report::new(text);
    let blanked = target.is_lenient.then(|| document::without_comments(text));
    let json = blanked.as_deref().unwrap_or(text);
    let mut plan = Plan::default();
    match document::check(json) {
        Ok(()) => plan = read_paths(&Node::root(json), target, &mut report),
        Err((offset, mut message)) => {
            if !target.is_lenient && document::check(&document::without_comments(text)).is_ok() {
                message.push_str("; comments and trailing commas are passed over when lenient");
            }
            report.error(code::JSON, &At::offset(offset), message);
        }
    }
    if report.has_errors {
        plan = Plan::default();
    }
    Reading {
        plan,
        findings: report.finish(),
    }
}

fn read_paths(root: &Node<'_>, target: &Target, report: &mut Report<'_>) -> Plan {
    let Some(members) = root.members() else {
        report.error(
            code::SHAPE,
            &root.at,
            "the file is an object: path -> hooks",
        );
        return Plan::default();
    };
    if members.is_empty() {
        report.warning(
            code::EMPTY,
            &root.at,
            "the file has no path: nothing is installed",
        );
    }
    let mut reader = Reader {
        target,
        names: Names::default(),
        plan: Plan::default(),
    };
    for (place, member) in members.iter().enumerate() {
        let later = members.get(place + 1..).unwrap_or_default();
        if later.iter().any(|other| other.name == member.name) {
            dropped(member, report);
            continue;
        }
        match path::parse(&member.name) {
            Err((code, message)) => report.error(code, &member.at, message),
            Ok(Kind::Scheduler) => reader.read_jobs(member, report),
            Ok(Kind::Resource(path)) => reader.read_hooks(member, &path, report),
        }
    }
    reader.plan
}

/// What stands again later is not looked at; it is told what would have been there.
fn dropped(member: &Member<'_>, report: &mut Report<'_>) {
    let text = |hook: &[Member<'_>], name: &str| {
        let value = document::last(hook, name).and_then(|member| member.value.text());
        value.unwrap_or_else(|| "?".to_owned())
    };
    let hooks = member.value.elements().unwrap_or_default();
    let hooks = hooks.iter().filter_map(Node::members);
    let mut lost: Vec<String> = hooks
        .take(20)
        .map(|hook| format!("{} -> {}", text(&hook, "when"), text(&hook, "endpoint")))
        .collect();
    if lost.is_empty() {
        let jobs = member.value.members().unwrap_or_default();
        lost.extend(
            jobs.iter()
                .take(20)
                .map(|job| format!("job {:?}", job.name)),
        );
    }
    let lost = match lost.as_slice() {
        [] => "nothing".to_owned(),
        lost => lost.join(", "),
    };
    let path = &member.name;
    let message =
        format!("{path:?} stands again further down, where it counts; dropped here: {lost}");
    report.warning(code::DUP_PATH, &member.at, message);
}

/// What hooks of one path and `when` must not have twice.
type Seen = BTreeMap<String, FunctionName>;

#[cfg(test)]
mod tests;
