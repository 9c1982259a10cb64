//! The hooks of one path and the jobs of the scheduler, checked member by member.

use super::super::document::{Member, Node, last, repeated};
use super::super::finding::Report;
use super::super::names::Names;
use super::super::{Plan, PlannedSchedule, TRIGGERS_MAX, Target, format};
use super::path::{Entity, Path};
use super::{DEPTH_MAX, Seen, TIMEOUT, code};
use crate::event_type::EventType;
use crate::name::{FunctionName, Name};
use crate::pattern::PathPattern;
use crate::retry::RetryPolicy;
use crate::schedule::{Cron, Dialect, Payload};
use crate::trigger::Trigger;

/// The only thing that a hook does.
const WHAT: &str = "EXECUTE_SERVER_CODE";

/// Endpoints that begin so are Kii's own.
const RESERVED: &str = "__kii_";

/// Parameters of a job have to stay below this.
const PARAMETERS_BYTES_MAX: usize = 100 * 1024;

const HOOK_MEMBERS: [&str; 3] = ["when", "what", "endpoint"];
const JOB_MEMBERS: [&str; 4] = ["cron", "what", "endpoint", "parameters"];

pub(super) struct Reader<'a> {
    pub(super) target: &'a Target,
    pub(super) names: Names,
    pub(super) plan: Plan,
}

impl Reader<'_> {
    pub(super) fn read_hooks(&mut self, path: &Member<'_>, meant: &Path, report: &mut Report<'_>) {
        let Some(hooks) = path.value.elements() else {
            let message = format!("the hooks of {:?} are an array", path.name);
            report.error(code::SHAPE, &path.value.at, message);
            return;
        };
        if hooks.is_empty() {
            let message = format!("{:?} has no hooks", path.name);
            report.warning(code::EMPTY, &path.value.at, message);
        }
        let mut seen = Seen::new();
        for hook in &hooks {
            self.read_hook(hook, meant, &mut seen, report);
        }
    }

    fn read_hook(
        &mut self,
        hook: &Node<'_>,
        path: &Path,
        seen: &mut Seen,
        report: &mut Report<'_>,
    ) {
        let Some(members) = hook.members() else {
            let message = "a hook is an object of when, what and endpoint";
            report.error(code::SHAPE, &hook.at, message);
            return;
        };
        check_members(&members, &HOOK_MEMBERS, report);
        let when = when(hook, &members, path.entity, report);
        check_what(hook, &members, report);
        let function = self.endpoint(hook, &members, report);
        let (Some(when), Some(function)) = (when, function) else {
            return;
        };
        if let Some(first) = seen.insert(when.clone(), function.clone()) {
            let message = format!(
                "{when} of this path calls {first} already: one endpoint each; branch inside it"
            );
            report.error(code::DUP_TRIGGER, &hook.at, message);
            return;
        }
        let Ok(event_type) = EventType::parse(&when) else {
            return;
        };
        let Ok(subject) = path.subject.parse::<PathPattern>() else {
            let message = "the bucket's id is too long for a pattern";
            report.error(code::BUCKET_ID, &hook.at, message);
            return;
        };
        let words = path.words.iter().map(String::as_str);
        let prefix = self.prefix().to_owned();
        let words: Vec<&str> = [&*prefix]
            .into_iter()
            .chain(words)
            .chain([&*when])
            .collect();
        let name = self.names.make(&words);
        let mut trigger = self.trigger(name, function);
        trigger.on = vec![event_type.into()];
        trigger.subject = Some(subject);
        self.plan.triggers.push(trigger);
        self.check_count(hook, report);
    }

    pub(super) fn read_jobs(&mut self, path: &Member<'_>, report: &mut Report<'_>) {
        let Some(jobs) = path.value.members() else {
            let message = "the scheduler is an object: job -> schedule";
            report.error(code::SHAPE, &path.value.at, message);
            return;
        };
        if jobs.is_empty() {
            report.warning(code::EMPTY, &path.value.at, "the scheduler has no jobs");
        }
        for (place, job) in jobs.iter().enumerate() {
            let later = jobs.get(place + 1..).unwrap_or_default();
            if later.iter().any(|other| other.name == job.name) {
                let message = format!(
                    "job {:?} stands again further down, where it counts",
                    job.name
                );
                report.warning(code::DUP_JOB, &job.at, message);
                continue;
            }
            self.read_job(job, report);
        }
    }

    fn read_job(&mut self, job: &Member<'_>, report: &mut Report<'_>) {
        let Some(members) = job.value.members() else {
            let message = "a job is an object of cron, what, endpoint and parameters";
            report.error(code::SHAPE, &job.value.at, message);
            return;
        };
        check_members(&members, &JOB_MEMBERS, report);
        check_what(&job.value, &members, report);
        let cron = cron(job, &members, report);
        let payload = parameters(&members, report);
        let function = self.endpoint(&job.value, &members, report);
        let (Some(cron), Some(payload), Some(function)) = (cron, payload, function) else {
            return;
        };
        let prefix = self.prefix().to_owned();
        let name = self.names.make(&[&prefix, &job.name]);
        let trigger = self.trigger(name, function);
        self.plan.schedules.push(PlannedSchedule {
            job: job.name.clone(),
            cron,
            payload,
            is_enabled: true,
            trigger: trigger.of_schedule(),
        });
        self.check_count(&job.value, report);
    }

    /// Triggers of two packages must not be called the same.
    fn prefix(&self) -> &str {
        match self.target.package.as_str() {
            FunctionName::DEFAULT_PACKAGE => "kii",
            package => package,
        }
    }

    fn trigger(&self, name: Name, function: FunctionName) -> Trigger {
        let Target { project, now, .. } = self.target;
        Trigger {
            format: Some(format("kii")),
            retry: RetryPolicy {
                timeout: TIMEOUT,
                ..RetryPolicy::default()
            },
            depth_max: DEPTH_MAX,
            ..Trigger::new(project.clone(), name, function, *now)
        }
    }

    /// The function that a hook or job calls.
    fn endpoint(
        &self,
        within: &Node<'_>,
        members: &[Member<'_>],
        report: &mut Report<'_>,
    ) -> Option<FunctionName> {
        let Some(member) = last(members, "endpoint") else {
            report.error(
                code::ENDPOINT,
                &within.at,
                "endpoint is missing: the function's name",
            );
            return None;
        };
        let at = &member.value.at;
        let endpoint = member.value.text().filter(|endpoint| !endpoint.is_empty());
        let Some(endpoint) = endpoint else {
            let message = format!(
                "{} is no endpoint: the function's name",
                member.value.shown()
            );
            report.error(code::ENDPOINT, at, message);
            return None;
        };
        if endpoint.starts_with(RESERVED) {
            let message = format!("{endpoint:?} begins with {RESERVED:?}, which is reserved");
            report.error(code::ENDPOINT, at, message);
            return None;
        }
        let function = self.target.function(None, &endpoint);
        if function.is_none() {
            let known = self.target.known_endpoints();
            let message = format!("there is no function {endpoint:?}: {known}");
            report.error(code::ENDPOINT_UNKNOWN, at, message);
        }
        function.cloned()
    }

    fn check_count(&self, node: &Node<'_>, report: &mut Report<'_>) {
        if self.plan.triggers_count() == TRIGGERS_MAX + 1 {
            let message = format!("the file has more than {TRIGGERS_MAX} hooks and jobs");
            report.error(code::SHAPE, &node.at, message);
        }
    }
}

fn check_members(members: &[Member<'_>], known: &[&str], report: &mut Report<'_>) {
    for member in repeated(members) {
        let message = format!("{:?} stands twice in one object", member.name);
        report.error(code::DUP_KEY, &member.at, message);
    }
    for member in members
        .iter()
        .filter(|member| !known.contains(&&*member.name))
    {
        let message = format!(
            "{:?} says nothing here: there are {}",
            member.name,
            known.join(", ")
        );
        report.warning(code::UNKNOWN_FIELD, &member.at, message);
    }
}

fn when(
    hook: &Node<'_>,
    members: &[Member<'_>],
    entity: Entity,
    report: &mut Report<'_>,
) -> Option<String> {
    let allowed = entity.triggers().join(", ");
    let Some(member) = last(members, "when") else {
        let message = format!("when is missing: one of {allowed}");
        report.error(code::WHEN_MISSING, &hook.at, message);
        return None;
    };
    let when = member.value.text().unwrap_or_default();
    if entity.triggers().contains(&&*when) {
        return Some(when);
    }
    let is_known = Entity::ALL
        .iter()
        .any(|other| other.triggers().contains(&&*when));
    let (code, what) = match is_known {
        true => (
            code::WHEN_UNSUPPORTED,
            "does not happen to what this path names",
        ),
        false => (code::WHEN_UNKNOWN, "is no trigger"),
    };
    let message = format!("{} {what}: one of {allowed}", member.value.shown());
    report.error(code, &member.value.at, message);
    None
}

fn check_what(within: &Node<'_>, members: &[Member<'_>], report: &mut Report<'_>) {
    match last(members, "what") {
        None => report.error(code::WHAT, &within.at, format!("what is missing: {WHAT:?}")),
        Some(member) if member.value.text().as_deref() == Some(WHAT) => {}
        Some(member) => {
            let message = format!("{} is not {WHAT:?}", member.value.shown());
            report.error(code::WHAT, &member.value.at, message);
        }
    }
}

fn cron(job: &Member<'_>, members: &[Member<'_>], report: &mut Report<'_>) -> Option<Cron> {
    let Some(member) = last(members, "cron") else {
        let message = "cron is missing: five fields, minute hour day month weekday, in UTC";
        report.error(code::CRON, &job.value.at, message);
        return None;
    };
    let Some(text) = member.value.text() else {
        let message = format!(
            "{} is no schedule: a text of five fields",
            member.value.shown()
        );
        report.error(code::CRON, &member.value.at, message);
        return None;
    };
    match Cron::parse(&text, Dialect::Kii) {
        Ok(cron) => Some(cron),
        Err(error) => {
            report.error(code::CRON, &member.value.at, format!("{text:?}: {error}"));
            None
        }
    }
}

/// `None` when they cannot be taken.
fn parameters(members: &[Member<'_>], report: &mut Report<'_>) -> Option<Payload> {
    let Some(member) = last(members, "parameters") else {
        return Some(Payload::None);
    };
    let raw = member.value.raw();
    if !member.value.is_object() {
        let message = format!("{} are no parameters: an object", member.value.shown());
        report.error(code::PARAMS, &member.value.at, message);
        return None;
    }
    if raw.len() > PARAMETERS_BYTES_MAX {
        let message = format!(
            "the parameters have {} bytes: at most {PARAMETERS_BYTES_MAX}",
            raw.len()
        );
        report.error(code::PARAMS, &member.value.at, message);
        return None;
    }
    Some(Payload::Parameters(raw.to_owned()))
}
