//! The scripts of one call, one after the other: which ones, in which order, and what they come to.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::change::{
    Answer, AnswerError, Exception, changed_request, changed_response, made_response, with_content,
};
use super::message::{ApiRequest, ApiResponse, event_object};
use super::name::{Call, Phase};
use super::script::{OnError, Script};
use crate::pattern::Captures;
use crate::trigger::Trigger;

/// A script that a call runs, and what its name captured.
#[derive(Debug, Clone)]
pub struct Link {
    pub trigger: Arc<Trigger>,
    pub captures: Captures,
}

/// The scripts that a call runs in a phase, in their order: by priority, then the generic before the
/// special, then as they were made. Those that are switched off are not among them.
pub fn links<'a>(
    triggers: impl IntoIterator<Item = &'a Arc<Trigger>>,
    call: &Call<'_>,
    phase: Phase,
) -> Vec<Link> {
    let mut links: Vec<_> = triggers
        .into_iter()
        .filter(|trigger| trigger.is_enabled)
        .filter_map(|trigger| {
            let script = trigger.script.as_deref()?;
            let captures = script.matches(call, phase)?;
            let order = (script.priority, script.event.rank(), trigger.created_at);
            let trigger = Arc::clone(trigger);
            Some((order, Link { trigger, captures }))
        })
        .collect();
    links.sort_by(|(one, a), (other, b)| {
        one.cmp(other)
            .then_with(|| a.trigger.name.cmp(&b.trigger.name))
    });
    links.into_iter().map(|(_, link)| link).collect()
}

/// How the call of a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// 2xx, with this body.
    Answered(Bytes),
    /// Anything else, and why.
    Failed(String),
}

/// Whether the next script of the chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    Goes,
    Stops,
}

/// A call before it is served: what becomes of its request while scripts run.
#[derive(Debug, Clone, PartialEq)]
pub struct Pre {
    pub request: ApiRequest,
    /// What the client gets without the call being served.
    pub response: Option<ApiResponse>,
}

impl Pre {
    pub const fn new(request: ApiRequest) -> Self {
        Self {
            request,
            response: None,
        }
    }

    /// What the next script is called with. There is no response yet, even if one was made.
    pub fn event(&self, resource: &str) -> Map<String, Value> {
        event_object(&self.request, None, resource)
    }

    /// Follows what a script answered.
    pub fn take(&mut self, script: &Script, ran: &Ran) -> Next {
        match understood(ran).and_then(|answer| self.follow(script, &answer)) {
            Ok(next) => next,
            Err(reason) => match script.on_error {
                OnError::Ignore => Next::Goes,
                OnError::Fail => {
                    self.response = Some(Exception::script_failed(&reason).response());
                    Next::Stops
                }
            },
        }
    }

    fn follow(&mut self, script: &Script, answer: &Answer) -> Result<Next, String> {
        if let Some(exception) = &answer.exception {
            self.response = Some(exception.response());
            return Ok(Next::Stops);
        }
        if script.allow_event_modification {
            // Both or none: half of what was asked for would be something else.
            let request = match &answer.request {
                Some(wanted) => Some(changed_request(&self.request, wanted).map_err(text)?),
                None => None,
            };
            let response = match &answer.response {
                Some(made) => Some(made_response(made).map_err(text)?),
                None => None,
            };
            if let Some(request) = request {
                self.request = request;
            }
            if response.is_some() {
                self.response = response;
            }
        }
        Ok(next(answer))
    }
}

/// A call that was served, or refused before it was: what becomes of its response.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    pub request: ApiRequest,
    pub response: ApiResponse,
}

impl Post {
    pub fn event(&self, resource: &str) -> Map<String, Value> {
        event_object(&self.request, Some(&self.response), resource)
    }

    /// Follows what a script answered.
    pub fn take(&mut self, script: &Script, ran: &Ran) -> Next {
        match understood(ran).and_then(|answer| self.follow(script, &answer)) {
            Ok(next) => next,
            Err(reason) => match script.on_error {
                OnError::Ignore => Next::Goes,
                OnError::Fail => {
                    self.response = Exception::script_failed(&reason).response();
                    Next::Stops
                }
            },
        }
    }

    fn follow(&mut self, script: &Script, answer: &Answer) -> Result<Next, String> {
        if let Some(exception) = &answer.exception {
            self.response = exception.response();
            return Ok(Next::Stops);
        }
        if script.allow_event_modification {
            match (&answer.response, &answer.returned) {
                (Some(Value::Object(wanted)), _) => {
                    self.response = changed_response(&self.response, wanted).map_err(text)?;
                }
                (Some(content), _) | (None, Some(content)) => {
                    self.response = with_content(&self.response, content).map_err(text)?;
                }
                (None, None) => {}
            }
        }
        Ok(next(answer))
    }
}

fn next(answer: &Answer) -> Next {
    if answer.stop_propagation {
        Next::Stops
    } else {
        Next::Goes
    }
}

fn understood(ran: &Ran) -> Result<Answer, String> {
    match ran {
        Ran::Answered(body) => Answer::read(body).map_err(text),
        Ran::Failed(reason) => Err(reason.clone()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn text(error: AnswerError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
