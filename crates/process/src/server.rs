//! A service's one port: its gRPC and HTTP, introspection, health and metrics.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use lifecycle::{Health, Tasks};
use protocol::introspection::{report_health, with_introspection};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tracing::info;

/// What a process serves.
#[derive(Debug)]
pub struct Surface {
    pub routes: Routes,
    /// Full names of the gRPC services among the routes.
    pub served: Vec<&'static str>,
    pub http: Router,
}

/// Everything that answers on the port.
///
/// # Errors
/// When the compiled descriptors cannot be served.
pub fn router(surface: Surface, health: &Health, tasks: &Tasks) -> anyhow::Result<Router> {
    let served = surface.served;
    let (routes, reporter) = with_introspection(surface.routes, &served)?;
    let mut watch = health.watch();
    let stopping = tasks.stopping();
    tasks.spawn("gRPC health", async move {
        let follow = async {
            loop {
                report_health(&reporter, &served, watch.is_ready()).await;
                if !watch.changed().await {
                    return;
                }
            }
        };
        tokio::select! {
            () = stopping => {}
            () = follow => {}
        }
        // The last word: nothing new should be sent here.
        report_health(&reporter, &served, false).await;
        Ok(())
    });
    Ok(routes
        .into_axum_router()
        .merge(surface.http)
        .merge(health.router())
        .merge(telemetry::metrics::metrics_router()?)
        .fallback(unknown_path))
}

/// Where no route leads: a problem for HTTP, a status for gRPC.
async fn unknown_path(request: Request) -> Response<Body> {
    protocol::problem::unknown_path(&request).map(Body::from)
}

/// Listens on an address; `setting` names where it was set.
///
/// # Errors
/// Says which address cannot be had, and which setting to change.
pub async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} (see {setting})"))?;
    info!(%address, "listening");
    Ok(listener)
}

/// A name for this process that no other replica has: the machine's name and a few random letters.
pub fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "host",
        name => name,
    };
    let random =
        std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("{host}-{:08x}", random & 0xffff_ffff)
}
