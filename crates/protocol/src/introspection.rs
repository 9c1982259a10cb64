//! What every gRPC server offers beside its own services: health, and reflection in both versions.

use tonic::service::Routes;
use tonic_health::server::HealthReporter;

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors could not be read: a fault of the build.
#[derive(Debug, thiserror::Error)]
#[error("the compiled descriptors cannot be served")]
pub struct Error(#[from] tonic_reflection::server::Error);

/// Adds health and reflection to a server's routes; `served` are the full names of its services.
///
/// # Errors
/// When the compiled descriptors are broken.
pub fn with_introspection(
    routes: Routes,
    served: &[&str],
) -> Result<(Routes, HealthReporter), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        served
            .iter()
            .fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let routes = routes
        .add_service(health)
        .add_service(builder().build_v1()?)
        .add_service(builder().build_v1alpha()?);
    Ok((routes, reporter))
}

/// Says over gRPC whether the server and each of its services are ready.
pub async fn report_health(reporter: &HealthReporter, served: &[&str], is_ready: bool) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let status = if is_ready { Serving } else { NotServing };
    for name in served.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}
