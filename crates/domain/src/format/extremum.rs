//! extremum's direct call: the data as the main method's parameter, and the call's context.

use bytes::Bytes;

use super::json::{Data, ObjectWriter};
use super::{JSON, RenderError, RenderInput, Rendered};

const AUTHORIZATION: &str = "Authorization";
const APP_ID: &str = "x-app-id";

pub(super) fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let event = input.event;
    let mut headers = ObjectWriter::with_capacity(256);
    // Without somebody to act for there is nothing to show.
    if let Some(session) = input.function_session {
        headers.text(AUTHORIZATION, &format!("Bearer {session}"))?;
    }
    headers.text(APP_ID, event.project.as_str())?;
    for (name, value) in input.call_headers {
        if !is_ours(name) {
            headers.text(name, value)?;
        }
    }
    let mut context = ObjectWriter::with_capacity(512);
    context.object("headers", headers)?;
    context.text("package", input.function.package.as_str())?;
    context.text("function", input.function.name.as_str())?;

    let mut body = ObjectWriter::with_capacity(event.data.len() + 512);
    body.data("parameters", &Data::of(event))?;
    body.object("context", context)?;
    Ok(Rendered {
        content_type: Some(JSON.to_owned()),
        headers: Vec::new(),
        body: Bytes::from(body.finish()),
    })
}

/// What a caller says cannot pass for what we say.
fn is_ours(name: &str) -> bool {
    name.eq_ignore_ascii_case(AUTHORIZATION) || name.eq_ignore_ascii_case(APP_ID)
}
