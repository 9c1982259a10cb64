//! Calls by gRPC: a signed test call to a function.

use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use domain::access::Scope;
use domain::delivery::{ErrorClass, Outcome};
use domain::event::Event;
use domain::event_type::EventType;
use domain::function::Function;
use domain::name::{FunctionName, ProjectName};
use domain::record::HeaderLines;
use protocol::access::authorise;
use protocol::delivery::v1::delivery_service_server::DeliveryService;
use protocol::delivery::v1::{Header, TestFunctionRequest, TestFunctionResponse};
use protocol::fault::Fault;
use tonic::{Request, Response, Status};

use crate::call_now::{Ask, CallNow, event_of_call};

/// Serves `tripline.delivery.v1.DeliveryService`.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub call_now: CallNow,
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
            let registry = self.call_now.deliverer().registry.read();
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
        let numbered = self.call_now.deliverer().numbered(&event);
        let event = numbered.map_or(event, |numbered| *numbered);
        Ok(Response::new(self.call(event, function).await))
    }
}

impl Deliveries {
    async fn call(&self, event: Event, function: Arc<Function>) -> TestFunctionResponse {
        let ask = Ask::new(function, event);
        let answer = self.call_now.exchange(&ask).await;
        let (error_class, error) = match &answer.response.outcome {
            Outcome::Answered { .. } => (None, String::new()),
            Outcome::Unreachable { class, message } | Outcome::Impossible { class, message } => {
                (Some(*class), message.clone())
            }
        };
        let response = answer.response;
        TestFunctionResponse {
            url: ask.function.url.to_string(),
            request_headers: headers(&answer.request_headers),
            request_body: masked(
                &answer.request_body,
                ask.function.secret_at(Timestamp::now()),
            ),
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
    let data = if message.data.is_empty() {
        Bytes::from_static(SAMPLE_DATA)
    } else {
        message.data.clone()
    };
    Ok(Event {
        source: format!("/projects/{project}/test"),
        ..event_of_call(project, event_type, data)
    })
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
