//! One call from its head to its answer: who calls, scripts, the service, scripts, the event.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use domain::Timestamp;
use domain::api_event::chain::links;
use domain::api_event::message::{event_object, kept};
use domain::api_event::script::{VERB_ATTRIBUTE, subject_of};
use domain::api_event::{ApiRequest, ApiResponse, Call, EventName, Phase, Verb};
use domain::event::Event;
use domain::event_type::EventType;
use domain::gateway::path::check_path;
use domain::gateway::script_token::{ScriptCaller, ScriptTokenKey};
use domain::id::EventId;
use domain::trigger::DEPTH_MAX;
use http::request::Parts;
use http::{Method, Request, Response, header};
use protocol::api::{api_request, api_response};
use protocol::fault::Fault;
use protocol::intercept::v1::{InterceptRequest, InterceptResponse};
use protocol::registry_feed::RegistryView;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::{debug, error};
use url::form_urlencoded;

use crate::body::{Unread, whole};
use crate::caller::{Caller, identify};
use crate::forward::{
    answer, as_it_came, as_scripts_left_it, headers_for_service, lines, without_connection,
};
use crate::metrics;
use crate::outbound::done::DoneEvents;
use crate::outbound::scripts::Scripts;
use crate::refusal::{Refusal, of_api};

/// As much of a body is told to queued scripts; of a longer one they learn how long it was.
pub const QUEUED_CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// What a call needs. Clones share it.
#[derive(Debug, Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

/// What calls are served with.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) registry: RegistryView,
    pub(crate) keys_required: bool,
    pub(crate) client: egress::forward::ForwardClient<Body>,
    pub(crate) scripts: Scripts,
    pub(crate) done: DoneEvents,
    pub(crate) tokens: ScriptTokenKey,
    pub(crate) room: Semaphore,
    pub(crate) limits: Limits,
}

/// What a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) queue_timeout: Duration,
}

/// Which phases have scripts for a call.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    pre: bool,
    post: bool,
    queued: bool,
}

impl Bound {
    const fn any(self) -> bool {
        self.pre || self.post || self.queued
    }
}

/// A call that scripts are bound to.
struct Intercepted<'a> {
    caller: &'a Caller,
    call: Call<'a>,
    event: EventName,
    bound: Bound,
    traceparent: Option<&'a str>,
}

impl Gateway {
    /// Serves one call of a service.
    ///
    /// # Errors
    /// What the gateway answers itself, with no script asked.
    pub async fn serve(
        &self,
        service: &str,
        path: &str,
        peer: Option<IpAddr>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        refuse_upgrade(&request)?;
        let (parts, body) = request.into_parts();
        let inner = &*self.0;
        let (caller, intercepted) = {
            let registry = inner.registry.read();
            let caller = identify(
                &registry,
                &parts.headers,
                service,
                &inner.tokens,
                inner.keys_required,
                Timestamp::now(),
            )?;
            let described = &caller.service.description;
            check_path(path).map_err(Refusal::Path)?;
            let call = Verb::of_method(parts.method.as_str()).map(|verb| Call {
                service: caller.service.name.as_str(),
                path,
                verb,
            });
            let fired = call.and_then(|call| Some((call, described.fired(&call)?)));
            let intercepted = fired.map(|(call, fired)| {
                let scripts = registry.scripts(&caller.project);
                let has = |phase| !scripts.is_empty() && !links(scripts, &call, phase).is_empty();
                let bound = Bound {
                    pre: has(Phase::PreProcess),
                    post: has(Phase::PostProcess),
                    queued: has(Phase::Queued),
                };
                (call.verb, fired.generic.clone(), bound)
            });
            (caller, intercepted.filter(|(.., bound)| bound.any()))
        };
        if caller.depth() > DEPTH_MAX {
            return Err(Refusal::Loop(caller.depth()));
        }
        let headers = headers_for_service(&parts, &caller, peer);
        let Some((verb, event, bound)) = intercepted else {
            metrics::called(false);
            let request = as_it_came(&caller.service.base_url, path, &parts, headers, body)?;
            return self.pass_on(request).await;
        };
        metrics::called(true);
        let call = Call {
            service: caller.service.name.as_str(),
            path,
            verb,
        };
        let traceparent = parts.headers.get(telemetry::trace::HEADER);
        let intercepted = Intercepted {
            caller: &caller,
            call,
            event,
            bound,
            traceparent: traceparent.and_then(|value| value.to_str().ok()),
        };
        let Ok(_room) = inner.room.try_acquire() else {
            return Err(Refusal::Busy);
        };
        let request = self.shown(&parts, headers, &intercepted, body).await?;
        self.with_scripts(&parts, &intercepted, request).await
    }

    /// The request as scripts see it, its body whole.
    async fn shown(
        &self,
        parts: &Parts,
        mut headers: http::HeaderMap,
        intercepted: &Intercepted<'_>,
        body: Body,
    ) -> Result<ApiRequest, Refusal> {
        let limits = self.0.limits;
        let body = whole(body, limits.body_bytes_max, limits.body_timeout).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooLarge => Refusal::BodyTooLarge(limits.body_bytes_max),
            Unread::TooSlow => Refusal::BodyTooSlow,
            Unread::BrokeOff => Refusal::BodyBrokeOff,
        })?;
        headers.remove(header::CONTENT_LENGTH);
        // Scripts are to see what is said, not how it is packed.
        headers.remove(header::ACCEPT_ENCODING);
        let query = parts.uri.query().unwrap_or_default();
        Ok(ApiRequest {
            method: parts.method.as_str().to_owned(),
            uri: parts.uri.path().to_owned(),
            service: intercepted.call.service.to_owned(),
            resource: intercepted.call.path.to_owned(),
            parameters: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: lines(&headers),
            body: body.into(),
        })
    }

    async fn with_scripts(
        &self,
        parts: &Parts,
        intercepted: &Intercepted<'_>,
        first: ApiRequest,
    ) -> Result<Response<Body>, Refusal> {
        let Bound { pre, post, queued } = intercepted.bound;
        let mut request = first.clone();
        let mut made = None;
        if pre {
            let asked = self.asked(intercepted, Phase::PreProcess, &request, None);
            match self.run(asked).await {
                Ok(answer) => {
                    if let Some(changed) = answer.request {
                        let Call { service, path, .. } = intercepted.call;
                        request = api_request(changed, service, path);
                    }
                    made = answer.response.map(api_response).transpose()?;
                }
                // Scripts are guards as well: what they were not asked about is not done.
                Err(refusal) => made = Some(refusal.api_response()),
            }
        }
        let response = match made {
            Some(response) => response,
            None if !post && !queued => {
                let base = &intercepted.caller.service.base_url;
                let request = as_scripts_left_it(base, parts.uri.query(), &first, request)?;
                return self.pass_on(request).await;
            }
            None => match self
                .pass_on_whole(parts, intercepted, &first, &request)
                .await
            {
                Ok(response) => response,
                Err(refusal) => {
                    metrics::refused(refusal.why());
                    refusal.api_response()
                }
            },
        };
        let response = if post {
            let asked = self.asked(intercepted, Phase::PostProcess, &request, Some(&response));
            match self.run(asked).await {
                Ok(answer) => match answer.response {
                    Some(changed) => api_response(changed)?,
                    None => response,
                },
                Err(refusal) => refusal.api_response(),
            }
        } else {
            response
        };
        if queued {
            self.tell(intercepted, &request, &response).await;
        }
        Ok(of_api(response))
    }

    /// Sends a request on and gives the answer back as it comes.
    async fn pass_on(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let response = self.send(request).await?;
        let (mut head, body) = response.into_parts();
        head.headers = without_connection(&head.headers);
        Ok(Response::from_parts(head, Body::new(body)))
    }

    async fn pass_on_whole(
        &self,
        parts: &Parts,
        intercepted: &Intercepted<'_>,
        first: &ApiRequest,
        request: &ApiRequest,
    ) -> Result<ApiResponse, Refusal> {
        let limits = self.0.limits;
        let base = &intercepted.caller.service.base_url;
        let request = as_scripts_left_it(base, parts.uri.query(), first, request.clone())?;
        let (head, body) = self.send(request).await?.into_parts();
        let body = whole(body, limits.body_bytes_max, limits.response_timeout).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooLarge => Refusal::AnswerTooLarge(limits.body_bytes_max),
            Unread::TooSlow => Refusal::TooSlow,
            Unread::BrokeOff => Refusal::AnswerBrokeOff,
        })?;
        Ok(answer(&head, body))
    }

    async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<
        Response<
            impl http_body_util::BodyExt<Data = bytes::Bytes, Error: Into<axum::BoxError>>
            + Send
            + use<>,
        >,
        Refusal,
    > {
        let started = Instant::now();
        let sending = self.0.client.send(request);
        let answered = tokio::time::timeout(self.0.limits.response_timeout, sending).await;
        let response = answered.map_err(|_elapsed| Refusal::TooSlow)?;
        let response = response.map_err(Refusal::Unanswered)?;
        metrics::served(started.elapsed());
        Ok(response)
    }

    fn asked(
        &self,
        intercepted: &Intercepted<'_>,
        phase: Phase,
        request: &ApiRequest,
        response: Option<&ApiResponse>,
    ) -> InterceptRequest {
        let Intercepted { caller, call, .. } = intercepted;
        let script = ScriptCaller {
            project: caller.project.clone(),
            depth: caller.depth(),
        };
        let platform = json!({
            "api": {
                "root": "/api/v2/",
                "token": self.0.tokens.mint(&script, Timestamp::now()),
            },
            "session": session(caller),
        });
        InterceptRequest {
            project: caller.project.to_string(),
            service: call.service.to_owned(),
            path: call.path.to_owned(),
            phase: phase.as_str().to_owned(),
            request: Some(request.into()),
            response: response.map(Into::into),
            depth: caller.depth(),
            traceparent: intercepted.traceparent.unwrap_or_default().to_owned(),
            event: intercepted.event.to_string(),
            ancestry: caller
                .lineage
                .as_ref()
                .map(|lineage| lineage.ancestry.clone())
                .unwrap_or_default(),
            platform: platform.to_string(),
            verb: call.verb.as_str().to_owned(),
        }
    }

    async fn run(&self, asked: InterceptRequest) -> Result<InterceptResponse, Refusal> {
        self.0.scripts.run(asked).await.map_err(|status| {
            error!(code = ?status.code(), error = status.message(), "scripts cannot be run");
            Refusal::Scripts(Fault::from_status(&status).message)
        })
    }

    /// Makes the call durable for the scripts that are queued for it. The call was served: where this
    /// cannot be done in time it is answered all the same, and said so in log and metrics.
    async fn tell(
        &self,
        intercepted: &Intercepted<'_>,
        request: &ApiRequest,
        response: &ApiResponse,
    ) {
        let event = match done_event(intercepted, request, response) {
            Ok(event) => event,
            Err(error) => {
                error!(%error, "a call's event cannot be made");
                return metrics::event_left_out();
            }
        };
        let limit = self.0.limits.queue_timeout;
        match self.0.done.emit(&event, limit).await {
            Ok(()) => debug!(eid = %event.eid, "a call was told"),
            Err(error) => {
                error!(subject = event.subject, %error, "the event of a call is left out");
                metrics::event_left_out();
            }
        }
    }
}

/// Who called, as scripts are told; as it was at the time of the call.
fn session(caller: &Caller) -> Value {
    json!({
        "api_key": caller.key,
        "project": caller.project.as_str(),
        "user": null,
        "at": Timestamp::now().to_string(),
    })
}

fn done_event(
    intercepted: &Intercepted<'_>,
    request: &ApiRequest,
    response: &ApiResponse,
) -> Result<Event, domain::event_type::TypeError> {
    let Intercepted { caller, call, .. } = intercepted;
    let resource = intercepted.event.resource_of(call);
    let object = event_object(request, Some(response), &resource);
    let mut object = kept(&object, QUEUED_CONTENT_BYTES_MAX);
    object.insert("session".to_owned(), session(caller));
    let data = Value::Object(object).to_string();
    let random = *uuid::Uuid::new_v4().as_bytes();
    let mut ten = [0_u8; 10];
    ten.iter_mut()
        .zip(random)
        .for_each(|(target, source)| *target = source);
    let eid = EventId::new(Timestamp::now(), ten);
    let event_type = EventType::parse(Phase::Queued.event_type())?;
    let mut event = Event::of_type(eid, caller.project.clone(), event_type, data.into());
    event.source = format!("/projects/{}/api", caller.project);
    event.subject = Some(subject_of(call));
    let verb = call.verb.as_str().to_owned();
    event.extensions.insert(VERB_ATTRIBUTE.to_owned(), verb);
    event.traceparent = intercepted.traceparent.map(ToOwned::to_owned);
    if let Some(lineage) = caller.lineage.clone() {
        lineage.give_to(&mut event);
    }
    Ok(event)
}

fn refuse_upgrade(request: &Request<Body>) -> Result<(), Refusal> {
    let asks = request.headers().contains_key(header::UPGRADE);
    if asks || request.method() == Method::CONNECT {
        return Err(Refusal::Upgrade);
    }
    Ok(())
}
