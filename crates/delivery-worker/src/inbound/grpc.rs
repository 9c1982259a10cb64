//! Calls by gRPC: a signed test call to a function.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::Timestamp;
use domain::access::Scope;
use domain::delivery::{ErrorClass, Outcome, Target};
use domain::event::Event;
use domain::event_type::EventType;
use domain::function::Function;
use domain::id::{DeliveryId, EventId};
use domain::name::{FunctionName, ProjectName};
use domain::pattern::Captures;
use domain::record::HeaderLines;
use domain::retry::RetryPolicy;
use domain::trigger::{Backlog, DEPTH_MAX, Ordering, Trigger};
use protocol::access::authorise;
use protocol::delivery::v1::delivery_service_server::DeliveryService;
use protocol::delivery::v1::{Header, TestFunctionRequest, TestFunctionResponse};
use protocol::fault::Fault;
use tonic::{Request, Response, Status};

use crate::compose::{Call, compose, shown_headers, unsent};
use crate::deliver::{Deliverer, mask_echoes};

/// Serves `tripline.delivery.v1.DeliveryService`.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub deliverer: Deliverer,
    pub keys_required: bool,
}

const SAMPLE_TYPE: &str = "auth.user.register";
const SAMPLE_DATA: &[u8] = br#"{"user_id":"u_test","email":"test@example.com","lang":"en"}"#;

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn test_function(
        &self,
        request: Request<TestFunctionRequest>,
    ) -> Result<Response<TestFunctionResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (project, function) = {
            let registry = self.deliverer.registry.read();
            let project = authorise(&registry, &metadata, Scope::Manage, self.keys_required)?;
            let name: FunctionName = message.function.parse().map_err(|error| {
                let allowed = "[PACKAGE/]NAME of lower-case letters, digits and '-'";
                Fault::invalid("function", &message.function, format!("{error}"), allowed)
            })?;
            let function = registry.function(&project, &name).cloned();
            (
                project,
                function.ok_or_else(|| Fault::not_found("function", &name))?,
            )
        };
        let event = test_event(&project, &message)?;
        let event = self.deliverer.numbered(&event);
        Ok(Response::new(self.call(&event, &function).await))
    }
}

impl Deliveries {
    async fn call(&self, event: &Event, function: &Function) -> TestFunctionResponse {
        let (target, trigger) = test_target(event, function);
        let (target, trigger) = (&target, &trigger);
        let now = Timestamp::now();
        let registry = &self.deliverer.registry;
        let token_keys = registry.read().token_keys_of(function).cloned();
        let call = Call {
            event,
            target,
            function,
            trigger,
            traceparent: None,
            now,
            // Nobody acted.
            session: None,
            token_keys: token_keys.as_deref(),
            worker: &self.deliverer.worker,
        };
        let (response, request_headers, request_body) = match compose(&call) {
            Ok(request) => {
                let headers = shown_headers(&request);
                let body = masked(&request.body, function.secret_at(now));
                let mut response = self.deliverer.client.send(request).await;
                mask_echoes(&mut response, [Some(function.secret_at(now)), None]);
                (response, headers, body)
            }
            Err(outcome) => (unsent(outcome), HeaderLines::default(), Bytes::new()),
        };
        let (error_class, error) = match response.outcome {
            Outcome::Answered { .. } => (None, String::new()),
            Outcome::Unreachable { class, message } | Outcome::Impossible { class, message } => {
                (Some(class), message)
            }
        };
        TestFunctionResponse {
            url: function.url.to_string(),
            request_headers: headers(&request_headers),
            request_body,
            status: response.status.map_or(0, u32::from),
            response_headers: headers(&response.headers),
            response_body: response.body,
            response_truncated: response.truncated,
            duration_us: u64::try_from(response.duration.as_micros()).unwrap_or(u64::MAX),
            error_class: error_class
                .map(ErrorClass::as_str)
                .unwrap_or_default()
                .to_owned(),
            error,
        }
    }
}

fn headers(lines: &HeaderLines) -> Vec<Header> {
    let owned = |(name, value): (&str, &str)| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    lines.iter().map(owned).collect()
}

/// The body as it may be shown: where the secret stands there are asterisks.
fn masked(body: &Bytes, secret: &str) -> Bytes {
    match std::str::from_utf8(body) {
        Ok(text) if text.contains(secret) => text.replace(secret, "***").into(),
        Ok(_) | Err(_) => body.clone(),
    }
}

fn test_event(project: &ProjectName, message: &TestFunctionRequest) -> Result<Event, Fault> {
    let named = if message.r#type.is_empty() {
        SAMPLE_TYPE
    } else {
        &message.r#type
    };
    let event_type = EventType::parse(named)
        .map_err(|error| Fault::invalid("type", named, error.to_string(), error.allowed()))?;
    let is_sample = message.data.is_empty();
    let now = Timestamp::now();
    let random = *uuid::Uuid::new_v4().as_bytes();
    let mut ten = [0_u8; 10];
    ten.iter_mut()
        .zip(random)
        .for_each(|(target, source)| *target = source);
    let eid = EventId::new(now, ten);
    Ok(Event {
        eid,
        project: project.clone(),
        id: eid.to_string(),
        source: format!("/projects/{project}/test"),
        event_type,
        subject: None,
        time: now,
        accepted_at: now,
        data_content_type: Some("application/json".to_owned()),
        data: if is_sample {
            Bytes::from_static(SAMPLE_DATA)
        } else {
            message.data.clone()
        },
        actor: None,
        partition_key: None,
        correlation_id: None,
        causation_id: None,
        depth: 0,
        ancestry: Vec::new(),
        deliver_at: None,
        traceparent: None,
        extensions: BTreeMap::new(),
    })
}

/// A target and a trigger that exist for this call only; one attempt.
fn test_target(event: &Event, function: &Function) -> (Target, Trigger) {
    let trigger_name = function.name.name.clone();
    let target = Target {
        delivery: DeliveryId::derive(event.eid, trigger_name.as_str()),
        trigger: trigger_name.clone(),
        function: function.name.clone(),
        captures: Captures::default(),
        next_attempt: 1,
        generation: 0,
        revision: function.revision,
        is_held: false,
    };
    let trigger = Trigger {
        project: function.project.clone(),
        name: trigger_name,
        function: function.name.clone(),
        is_enabled: true,
        on: Vec::new(),
        subject: None,
        prefix: None,
        suffix: None,
        options: BTreeMap::new(),
        filter: None,
        format: None,
        template: None,
        retry: RetryPolicy {
            retries_max: 0,
            ..RetryPolicy::default()
        },
        ordering: Ordering::default(),
        backlog: Backlog::default(),
        depth_max: DEPTH_MAX,
        created_at: function.created_at,
        updated_at: function.updated_at,
        revision: function.revision,
    };
    (target, trigger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_masked_where_it_stands() {
        let body = Bytes::from_static(br#"{"_secret":"abc-def","x":1}"#);
        assert_eq!(
            masked(&body, "abc-def"),
            Bytes::from_static(br#"{"_secret":"***","x":1}"#)
        );
        assert_eq!(masked(&body, "other"), body);
    }
}
