//! `DreamFactory`'s event object: the request, the response where there is one, and the resource.

use bytes::Bytes;

use super::about::About;
use super::json::{Data, ObjectWriter};
use super::{JSON, RenderError, RenderInput, Rendered};

const API_VERSION: &str = "2.0";

pub(super) fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let event = input.event;
    let data = Data::of(event);
    let about = About::of(event, &data);
    let mut body = ObjectWriter::with_capacity(event.data.len() + 512);
    let is_call = matches!(event.event_type.number(), Some(6000..=6002));
    match about.first(&["request"]).filter(|_| is_call) {
        Some(request) => body.raw("request", request.get())?,
        None => body.object("request", request(input, &about, &data)?)?,
    }
    // Before the call is processed there is none.
    if is_call
        && event.event_type.number() != Some(6000)
        && let Some(response) = about.first(&["response"])
    {
        body.raw("response", response.get())?;
    }
    match about.first(&["resource"]).filter(|_| is_call) {
        Some(resource) => body.raw("resource", resource.get())?,
        None => body.text_or_null("resource", about.last())?,
    }
    // Who called, as it was at the time of the call: for scripts that run later.
    if let Some(session) = about.first(&["session"]).filter(|_| is_call) {
        body.raw("session", session.get())?;
    }
    Ok(Rendered {
        content_type: Some(JSON.to_owned()),
        headers: Vec::new(),
        body: Bytes::from(body.finish()),
    })
}

/// An event that was no call, as the call that would have led to it.
fn request(
    input: &RenderInput<'_>,
    about: &About<'_>,
    data: &Data<'_>,
) -> Result<ObjectWriter, RenderError> {
    let event = input.event;
    let (service, resource) = match about.root() {
        "api" => (
            about.segment(1).unwrap_or_default().to_owned(),
            about.rest(2),
        ),
        _ => {
            let name = event.event_type.as_str();
            let service = name.split('.').next().unwrap_or(name);
            (service.to_owned(), about.rest(0))
        }
    };
    let resource = resource.unwrap_or_default();
    let uri = match resource.as_str() {
        "" => format!("/api/v2/{service}"),
        resource => format!("/api/v2/{service}/{resource}"),
    };
    let mut request = ObjectWriter::with_capacity(event.data.len() * 2 + 512);
    request.text("api_version", API_VERSION)?;
    request.text("method", method(event.event_type.as_str()))?;
    request.raw("parameters", "{}")?;
    request.raw("headers", "{}")?;
    request.data("payload", data)?;
    let text = std::str::from_utf8(&event.data).ok();
    request.text_or_null("content", text.filter(|text| !text.is_empty()))?;
    request.text_or_null("content_type", event.data_content_type.as_deref())?;
    request.text("uri", &uri)?;
    request.text("service", &service)?;
    request.text("resource", &resource)?;
    Ok(request)
}

/// By the type's last word.
fn method(type_name: &str) -> &'static str {
    match type_name.rsplit('.').next().unwrap_or_default() {
        "update" | "change" | "reset" | "verify" | "enable" | "disable" => "PATCH",
        "delete" | "remove" | "remove_user" | "remove_group" => "DELETE",
        _ => "POST",
    }
}
