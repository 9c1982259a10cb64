//! `tripline functions invoke`: a direct call, and the function's answer.

use std::time::Duration;

use protocol::invocation::v1::{InvokeFunctionRequest, InvokeFunctionResponse};
use serde::Serialize;

use super::super::read_data;
use crate::command_line::{Connection, Output};
use crate::failure::Failure;
use crate::output;

/// What the command line says.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) parameters: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Option<Duration>,
}

/// An answer as printed.
#[derive(Debug, Serialize)]
struct Shown {
    status: u32,
    content_type: String,
    body: String,
    truncated: bool,
    duration_us: u64,
    error_class: String,
    error: String,
    event_id: String,
    delivery_id: String,
}

impl From<InvokeFunctionResponse> for Shown {
    fn from(answer: InvokeFunctionResponse) -> Self {
        Self {
            status: answer.status,
            content_type: answer.content_type,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
            truncated: answer.truncated,
            duration_us: answer.duration_us,
            error_class: answer.error_class,
            error: answer.error,
            event_id: answer.event_id,
            delivery_id: answer.delivery_id,
        }
    }
}

pub(super) async fn run(call: Call, connection: &Connection) -> Result<(), Failure> {
    let parameters = call.parameters.as_deref();
    let parameters = parameters.map(read_data).transpose()?.unwrap_or_default();
    let request = InvokeFunctionRequest {
        function: call.name,
        parameters: parameters.into(),
        headers: call.headers.into_iter().collect(),
        timeout: call.timeout.map(protocol::to_duration),
    };
    let mut client = connection.invocations()?;
    let shown: Shown = client.invoke_function(request).await?.into_inner().into();
    if connection.output == Output::Json {
        output::object(&shown)?;
    } else if !shown.body.is_empty() {
        output::line(&shown.body)?;
    }
    if shown.error_class.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the function gave no result: {} (see `tripline logs get {}`)",
        shown.error, shown.event_id
    );
    Err(Failure::local(message))
}
