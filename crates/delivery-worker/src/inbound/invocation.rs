//! Direct calls by gRPC.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::access::Scope;
use domain::delivery::ErrorClass;
use domain::invocation::{DirectCall, check_headers};
use domain::json_text;
use domain::lineage::{ANCESTRY_HEADER, DEPTH_HEADER, Lineage};
use protocol::access::authorise;
use protocol::fault::Fault;
use protocol::from_duration;
use protocol::invocation::v1::invocation_service_server::InvocationService;
use protocol::invocation::v1::{InvokeFunctionRequest, InvokeFunctionResponse};
use serde::de::IgnoredAny;
use telemetry::trace;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::http::content_type;
use crate::invoke::{Invoked, Invoker, Order, of_call};

/// Serves `tripline.invocation.v1.InvocationService`.
#[derive(Debug, Clone)]
pub struct Invocations {
    pub invoker: Invoker,
    pub keys_required: bool,
}

#[tonic::async_trait]
impl InvocationService for Invocations {
    async fn invoke_function(
        &self,
        request: Request<InvokeFunctionRequest>,
    ) -> Result<Response<InvokeFunctionResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let project = {
            let registry = self.invoker.calls().deliverer().registry.read();
            authorise(&registry, &metadata, Scope::Emit, self.keys_required)?
        };
        let timeout = message.timeout.as_ref().map(|timeout| {
            from_duration(timeout).ok_or_else(|| {
                let value = format!("{} s", timeout.seconds);
                Fault::invalid("timeout", value, "is negative", "10 ms to 5 min")
            })
        });
        let order = Order {
            project,
            timeout: timeout.transpose()?,
            call: direct_call(message)?,
            traceparent: text(&metadata, trace::HEADER).map(ToOwned::to_owned),
            lineage: lineage(&metadata)?,
        };
        let invoked = self.invoker.invoke(order).await?;
        Ok(Response::new(answer(&invoked)))
    }
}

fn direct_call(message: InvokeFunctionRequest) -> Result<DirectCall, Fault> {
    let (package, function) = match message.function.split_once('/') {
        Some((package, function)) => (Some(package.to_owned()), function.to_owned()),
        None => (None, message.function),
    };
    let function = Some(function).filter(|name| !name.is_empty());
    let function = function.ok_or_else(|| Fault::missing("function", "[PACKAGE/]NAME"))?;
    let headers: BTreeMap<_, _> = message.headers.into_iter().collect();
    check_headers(&headers).map_err(of_call)?;
    Ok(DirectCall {
        parameters: parameters(message.parameters)?,
        headers,
        package,
        function: Some(function),
    })
}

fn parameters(parameters: Bytes) -> Result<Bytes, Fault> {
    if parameters.is_empty() {
        return Ok(Bytes::from_static(b"null"));
    }
    let refused = |message: String| {
        let start = parameters.get(..80).unwrap_or(&parameters);
        let start = String::from_utf8_lossy(start).into_owned();
        let allowed = "JSON, nested at most 100 levels";
        Fault::invalid("parameters", start, message, allowed)
    };
    if json_text::depth(&parameters) > json_text::DEPTH_MAX {
        return Err(refused("is nested too deeply".to_owned()));
    }
    serde_json::from_slice::<IgnoredAny>(&parameters)
        .map_err(|error| refused(format!("is not JSON: {error}")))?;
    Ok(parameters)
}

fn answer(invoked: &Invoked) -> InvokeFunctionResponse {
    let answer = &invoked.answer;
    let (error_class, error) = answer
        .failure()
        .map(|(class, message)| (ErrorClass::as_str(class).to_owned(), message))
        .unwrap_or_default();
    let response = &answer.response;
    InvokeFunctionResponse {
        status: response.status.map_or(0, u32::from),
        content_type: content_type(invoked).unwrap_or_default().to_owned(),
        body: response.body.clone(),
        truncated: response.truncated,
        duration_us: u64::try_from(response.duration.as_micros()).unwrap_or(u64::MAX),
        error_class,
        error,
        event_id: answer.event.to_string(),
        delivery_id: answer.delivery.to_string(),
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok()
}

fn lineage(metadata: &MetadataMap) -> Result<Option<Lineage>, Fault> {
    let header = |name: &str| Some(metadata.get(name)?.to_str().unwrap_or_default());
    Lineage::read(header(DEPTH_HEADER), header(ANCESTRY_HEADER))
        .map_err(|error| Fault::invalid(error.header, error.value, error.message, error.allowed))
}
