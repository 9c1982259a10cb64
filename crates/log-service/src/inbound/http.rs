//! The same questions by HTTP, answered as JSON: for people with curl.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use domain::Timestamp;
use domain::access::Scope;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use protocol::access::{Caller, admit_named};
use protocol::fault::Fault;
use protocol::problem;
use serde::Serialize;
use url::form_urlencoded;

use super::grpc::Guard;
use crate::present::as_json::{Listing, Story};
use crate::query::{Conditions, Reader};

const DELIVERIES: &str = "/v1/projects/{project}/deliveries";
const EVENT: &str = "/v1/projects/{project}/events/{id}";

const PARAMETERS: &str =
    "event, type, function, trigger, status, since, until, page_size, page_token";

#[derive(Debug)]
struct Http {
    guard: Guard,
    reader: Reader,
}

pub(crate) fn router(guard: Guard, reader: Reader) -> Router {
    Router::new()
        .route(DELIVERIES, get(list).fallback(refuse_method))
        .route(EVENT, get(event).fallback(refuse_method))
        .with_state(Arc::new(Http { guard, reader }))
}

async fn refuse_method(method: Method) -> Response {
    problem::method_not_allowed(&method, "GET")
        .map(Body::from)
        .into_response()
}

async fn list(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(
        http.list(&project, query.as_deref().unwrap_or_default(), &headers)
            .await,
    )
}

async fn event(
    State(http): State<Arc<Http>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(http.event(&project, &id, &headers).await)
}

impl Http {
    async fn list(
        &self,
        project: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Listing, Fault> {
        let caller = self.admit(project, headers)?;
        let question = Question::read(query)?;
        let filter = question.conditions.read()?;
        let page = self
            .reader
            .list_for(&caller, filter, question.page_size, &question.page_token);
        let page = page.await?;
        Ok(Listing {
            deliveries: page.lines.into_iter().map(Into::into).collect(),
            next_page_token: Some(page.next).filter(|token| !token.is_empty()),
        })
    }

    async fn event(&self, project: &str, id: &str, headers: &HeaderMap) -> Result<Story, Fault> {
        let caller = self.admit(project, headers)?;
        self.reader.event_for(&caller, id).await.map(Into::into)
    }

    fn admit(&self, project: &str, headers: &HeaderMap) -> Result<Caller, Fault> {
        self.guard.known()?;
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        let keys_required = self.guard.keys_required;
        admit_named(
            &self.guard.registry,
            authorization,
            Some(project),
            Scope::Read,
            keys_required,
        )
    }
}

/// What stands behind the question mark.
#[derive(Debug, Default)]
struct Question {
    conditions: Conditions,
    page_size: u32,
    page_token: String,
}

impl Question {
    fn read(query: &str) -> Result<Self, Fault> {
        let mut question = Self::default();
        let conditions = &mut question.conditions;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "event" => conditions.event = value,
                "type" => conditions.event_type = value,
                "function" => conditions.function = value,
                "trigger" => conditions.trigger = value,
                "status" => {
                    conditions
                        .statuses
                        .extend(value.split(',').map(ToOwned::to_owned));
                }
                "since" => conditions.since = Some(time("since", &value)?),
                "until" => conditions.until = Some(time("until", &value)?),
                "page_size" => question.page_size = size(&value)?,
                "page_token" => question.page_token = value,
                other => {
                    return Err(Fault::invalid(
                        other,
                        value,
                        "is not a parameter",
                        PARAMETERS,
                    ));
                }
            }
        }
        Ok(question)
    }
}

fn time(field: &str, text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_unreadable| {
        Fault::invalid(
            field,
            text,
            "is not a time",
            "RFC 3339, such as 2026-11-22T01:15:31Z",
        )
    })
}

fn size(text: &str) -> Result<u32, Fault> {
    text.parse()
        .map_err(|_no_number| Fault::invalid("page_size", text, "is not a number", "1 to 1000"))
}

fn answer(answer: Result<impl Serialize, Fault>) -> Response {
    match answer {
        Ok(answer) => {
            let mut response =
                Response::new(Body::from(serde_json::to_vec(&answer).unwrap_or_default()));
            let content_type = HeaderValue::from_static("application/json");
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(fault) => problem::response(&fault).map(Body::from).into_response(),
    }
}
