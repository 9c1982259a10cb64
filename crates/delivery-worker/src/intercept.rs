//! Runs the scripts of an API call, one after the other, while whoever serves the call waits.

use std::sync::Arc;

use bytes::Bytes;
use domain::api_event::chain::{Link, Next, Post, Pre, Ran, links};
use domain::api_event::message::kept;
use domain::api_event::script::{VERB_ATTRIBUTE, subject_of};
use domain::api_event::{ApiRequest, ApiResponse, Call, EventName, Phase, Script, Verb};
use domain::event::Event;
use domain::event_type::EventType;
use domain::lineage::Lineage;
use domain::name::ProjectName;
use serde_json::{Map, Value};
use tracing::debug;

use crate::call_now::{Ask, CallNow, Content, event_of_call};
use crate::metrics;

/// As much of a request and of a response the log tells.
const LOGGED_CONTENT_BYTES_MAX: usize = 64 * 1024;

/// Runs scripts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interceptor {
    pub call_now: CallNow,
}

/// One call of an API, as whoever serves it tells of it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub project: ProjectName,
    pub service: String,
    /// Below the service, percent-encoded.
    pub path: String,
    pub verb: Verb,
    /// What the service's description calls it.
    pub event: Option<EventName>,
    /// What led to this call, where a function made it.
    pub lineage: Option<Lineage>,
    pub traceparent: Option<String>,
    /// Given to scripts as `platform`.
    pub platform: Option<Value>,
}

/// A script that ran.
#[derive(Debug, Clone)]
pub struct Told {
    pub script: String,
    pub event: String,
    pub error: Option<String>,
}

impl Asked {
    fn call(&self) -> Call<'_> {
        Call {
            service: &self.service,
            path: &self.path,
            verb: self.verb,
        }
    }

    /// The `resource` of events: by the described event, else by the script's own.
    fn resource(&self, script: &Script) -> String {
        self.event
            .as_ref()
            .unwrap_or(&script.event)
            .resource_of(&self.call())
    }
}

impl Interceptor {
    /// Runs the scripts before a call.
    pub async fn before(&self, asked: &Asked, request: ApiRequest) -> (Pre, Vec<Told>) {
        let mut pre = Pre::new(request);
        let mut told = Vec::new();
        for link in self.links(asked, Phase::PreProcess) {
            let Some(script) = link.trigger.script.as_deref() else {
                continue;
            };
            let event = pre.event(&asked.resource(script));
            let ran = self.run(asked, &link, Phase::PreProcess, event).await;
            let next = pre.take(script, &ran.0);
            told.push(ran.1);
            if next == Next::Stops {
                break;
            }
        }
        (pre, told)
    }

    /// Runs the scripts after a call, whatever came of it.
    pub async fn after(
        &self,
        asked: &Asked,
        request: ApiRequest,
        response: ApiResponse,
    ) -> (Post, Vec<Told>) {
        let mut post = Post { request, response };
        let mut told = Vec::new();
        for link in self.links(asked, Phase::PostProcess) {
            let Some(script) = link.trigger.script.as_deref() else {
                continue;
            };
            let event = post.event(&asked.resource(script));
            let ran = self.run(asked, &link, Phase::PostProcess, event).await;
            let next = post.take(script, &ran.0);
            told.push(ran.1);
            if next == Next::Stops {
                break;
            }
        }
        (post, told)
    }

    fn links(&self, asked: &Asked, phase: Phase) -> Vec<Link> {
        let registry = self.call_now.deliverer().registry.read();
        links(registry.scripts(&asked.project), &asked.call(), phase)
    }

    /// Calls one script. Why it failed is for the log and for whoever asked; the client learns that it
    /// did, and no more than it may.
    async fn run(
        &self,
        asked: &Asked,
        link: &Link,
        phase: Phase,
        mut object: Map<String, Value>,
    ) -> (Ran, Told) {
        let trigger = &link.trigger;
        let event = event_of(asked, phase, &object);
        let eid = event.eid;
        let told = |error: Option<String>| Told {
            script: trigger.name.to_string(),
            event: eid.to_string(),
            error,
        };
        let function = match self.call_now.function(&asked.project, &trigger.function) {
            Ok(function) => function,
            Err(fault) => return failed(fault.message, told),
        };
        if trigger.takes_for_loop(&event) {
            return failed(domain::lineage::LOOP_REMARK.to_owned(), told);
        }
        if let Some(platform) = &asked.platform {
            object.insert("platform".to_owned(), platform.clone());
        }
        let content = match serde_json::to_vec(&object) {
            Ok(content) => Bytes::from(content),
            Err(error) => return failed(error.to_string(), told),
        };
        let ask = Ask {
            timeout: trigger.retry.timeout,
            trigger: Some(Arc::clone(trigger)),
            content: Content::Json(content),
            ..Ask::new(function, event)
        };
        let answer = self.call_now.call(&ask).await;
        debug!(script = %trigger.name, function = %trigger.function, "a script ran");
        match answer.failure() {
            None if answer.response.truncated => failed("the answer is too long".to_owned(), told),
            None => (Ran::Answered(answer.response.body), told(None)),
            Some((_class, reason)) => failed(reason, told),
        }
    }
}

fn failed(reason: String, told: impl FnOnce(Option<String>) -> Told) -> (Ran, Told) {
    metrics::script_failed();
    (Ran::Failed(reason.clone()), told(Some(reason)))
}

/// What the log tells of a script's call.
fn event_of(asked: &Asked, phase: Phase, object: &Map<String, Value>) -> Event {
    let data = Value::Object(kept(object, LOGGED_CONTENT_BYTES_MAX)).to_string();
    let mut event = event_of_call(&asked.project, event_type(phase), data.into());
    event.source = format!("/projects/{}/api", asked.project);
    event.subject = Some(subject_of(&asked.call()));
    let verb = asked.verb.as_str().to_owned();
    event.extensions.insert(VERB_ATTRIBUTE.to_owned(), verb);
    event.traceparent.clone_from(&asked.traceparent);
    if let Some(lineage) = asked.lineage.clone() {
        lineage.give_to(&mut event);
    }
    event
}

fn event_type(phase: Phase) -> EventType {
    #[expect(clippy::expect_used, reason = "a constant name, and a test parses it")]
    EventType::parse(phase.event_type()).expect("a built-in type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_all_phases_are_built_in() {
        for phase in Phase::ALL {
            assert!(event_type(phase).number().is_some(), "{phase:?}");
        }
    }
}
