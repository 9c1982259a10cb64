//! `POST /v1/projects/{project}/messages`: what triggers of Yandex Cloud send to extremum's packages.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use domain::access::Scope;
use http::header::HeaderMap;
use serde::Deserialize;

use super::answer::{self, Answer, TakenAnswer};
use super::body::Incoming;
use super::{Http, Refusal, finish, query};
use crate::draft::Dialect;

pub(super) const MESSAGES: &str = "/v1/projects/{project}/messages";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    require_exchange: bool,
}

pub(super) async fn take(
    State(http): State<Arc<Http>>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let options = query(&request);
    finish(request, async |headers, body| {
        http.take(&project, &options?, headers, body).await
    })
    .await
}

impl Http {
    async fn take(
        &self,
        project: &str,
        options: &Options,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Response, Refusal> {
        let call = self.call(headers, project, Scope::Emit, Dialect::PlainJson)?;
        let _room = self.door.room(self.expected_bytes(headers)?)?;
        let body = self.read(body).await?;
        let taken = self
            .door
            .take_messages(&call, &body, options.require_exchange);
        let taken = taken.await?;
        Ok(answer::accepted(&TakenAnswer {
            events: taken.accepted.iter().map(Answer::of).collect(),
            ignored: taken.ignored,
        }))
    }
}
