//! `InterceptService`: whoever serves an API asks for the scripts of a call, before it and after it.

use domain::access::Scope;
use domain::api_event::{ApiRequest, EventName, Phase, Verb};
use domain::lineage::Lineage;
use domain::name::ProjectName;
use protocol::access::{authorise, is_internal};
use protocol::api::{INTERCEPT_BYTES_MAX, api_request, api_response, event_name};
use protocol::fault::Fault;
use protocol::intercept::v1 as wire;
use protocol::intercept::v1::intercept_service_server::{InterceptService, InterceptServiceServer};
use settings::SecretString;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::intercept::{Asked, Interceptor, Told};

/// Serves `tripline.intercept.v1.InterceptService`.
#[derive(Debug, Clone)]
pub struct Intercepts {
    pub interceptor: Interceptor,
    pub keys_required: bool,
    /// What the gateway shows to name a project itself.
    pub internal_token: Option<SecretString>,
}

impl Intercepts {
    pub(crate) fn server(self) -> InterceptServiceServer<Self> {
        InterceptServiceServer::new(self)
            .max_decoding_message_size(INTERCEPT_BYTES_MAX)
            .max_encoding_message_size(INTERCEPT_BYTES_MAX)
    }

    fn project(&self, metadata: &MetadataMap, named: &str) -> Result<ProjectName, Fault> {
        let registry = self.interceptor.call_now.deliverer().registry.read();
        if is_internal(metadata, self.internal_token.as_ref()) {
            let missing = || Fault::not_found("project", named);
            let project: ProjectName = named.parse().map_err(|_no_name| missing())?;
            return registry
                .has_project(&project)
                .then_some(project)
                .ok_or_else(missing);
        }
        authorise(&registry, metadata, Scope::Emit, self.keys_required)
    }
}

#[tonic::async_trait]
impl InterceptService for Intercepts {
    async fn intercept(
        &self,
        request: Request<wire::InterceptRequest>,
    ) -> Result<Response<wire::InterceptResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let project = self.project(&metadata, &message.project)?;
        let given = message
            .request
            .ok_or_else(|| Fault::missing("request", "the request as the client made it"))?;
        let asked = Asked {
            project,
            verb: match message.verb.as_str() {
                "" => verb("request.method", &given.method)?,
                text => verb("verb", text)?,
            },
            event: event(&message.event)?,
            lineage: lineage(message.depth, message.ancestry),
            traceparent: Some(message.traceparent).filter(|text| !text.is_empty()),
            platform: platform(&message.platform)?,
            service: message.service,
            path: message.path,
        };
        let request = api_request(given, &asked.service, &asked.path);
        let answer = match phase(&message.phase)? {
            Phase::PreProcess => self.before(&asked, request).await,
            Phase::PostProcess => {
                let allowed = "what the client is to get";
                let response = message
                    .response
                    .ok_or_else(|| Fault::missing("response", allowed))?;
                let response = api_response(response)?;
                let (post, told) = self
                    .interceptor
                    .after(&asked, request, response.clone())
                    .await;
                wire::InterceptResponse {
                    request: None,
                    response: (post.response != response).then(|| (&post.response).into()),
                    scripts: told.into_iter().map(ran).collect(),
                }
            }
            Phase::Queued => return Err(no_phase("queued").into()),
        };
        Ok(Response::new(answer))
    }
}

impl Intercepts {
    async fn before(&self, asked: &Asked, request: ApiRequest) -> wire::InterceptResponse {
        let (pre, told) = self.interceptor.before(asked, request.clone()).await;
        wire::InterceptResponse {
            request: (pre.request != request).then(|| (&pre.request).into()),
            response: pre.response.as_ref().map(Into::into),
            scripts: told.into_iter().map(ran).collect(),
        }
    }
}

fn ran(told: Told) -> wire::Ran {
    wire::Ran {
        script: told.script,
        event_id: told.event,
        error: told.error.unwrap_or_default(),
    }
}

fn verb(field: &str, method: &str) -> Result<Verb, Fault> {
    Verb::of_method(method).ok_or_else(|| {
        let allowed = Verb::ALL.map(Verb::as_str).join(", ").to_ascii_uppercase();
        Fault::invalid(field, method, "makes no events", allowed)
    })
}

fn phase(text: &str) -> Result<Phase, Fault> {
    Phase::parse(text).ok_or_else(|| no_phase(text))
}

fn no_phase(text: &str) -> Fault {
    let message = "is not a phase that somebody waits for";
    Fault::invalid("phase", text, message, "pre_process, post_process")
}

fn event(text: &str) -> Result<Option<EventName>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    event_name("event", text).map(Some)
}

fn lineage(depth: u32, ancestry: Vec<String>) -> Option<Lineage> {
    (depth > 0).then(|| Lineage {
        depth: depth - 1,
        ancestry,
    })
}

fn platform(text: &str) -> Result<Option<serde_json::Value>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| Fault::invalid("platform", text, error.to_string(), "a JSON object"))
}
