//! `/api/v2/{service}/…`, by every method.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::any;
use domain::api_event::message::API_VERSION;

use crate::metrics;
use crate::serve::Gateway;

const ROOT: &str = "/api/v2/";

pub(crate) fn router(gateway: Gateway) -> Router {
    debug_assert!(API_VERSION.starts_with('2'), "the path says the version");
    Router::new()
        .route("/api/v2/{service}", any(call))
        .route("/api/v2/{service}/", any(call))
        .route("/api/v2/{service}/{*path}", any(call))
        .with_state(gateway)
}

async fn call(State(gateway): State<Gateway>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let below = path.strip_prefix(ROOT).unwrap_or_default();
    let (service, path) = below.split_once('/').unwrap_or((below, ""));
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0.ip());
    match gateway.serve(service, path, peer, request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            metrics::refused(refusal.why());
            refusal.response()
        }
    }
}
