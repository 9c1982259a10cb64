//! `tripline health`: whether a server has what it needs; for health checks of containers.

use std::time::Duration;

use serde::Serialize;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::command_line::Connection;
use crate::failure::Failure;
use crate::output;

/// A server that does not answer this within a health check's usual time is not healthy.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Health {
    server: String,
    ready: bool,
}

pub(crate) async fn run(connection: &Connection) -> Result<(), Failure> {
    // No name of a service asks for the server as a whole.
    let mut request = Request::new(HealthCheckRequest {
        service: String::new(),
    });
    request.set_timeout(TIMEOUT);
    let mut client = connection.health()?;
    let answer = tokio::time::timeout(TIMEOUT, client.check(request))
        .await
        .map_err(|_elapsed| Failure {
            message: "the server did not answer in time".to_owned(),
            exit_code: 7,
        })??;
    let server = connection.server()?;
    let ready = answer.into_inner().status() == ServingStatus::Serving;
    if !ready {
        let message = format!("{server} is not ready; {server}readyz says what it waits for");
        return Err(Failure {
            message,
            exit_code: 7,
        });
    }
    let health = Health {
        server: server.to_string(),
        ready,
    };
    let fields = [
        ("server", health.server.clone()),
        ("state", "ready".to_owned()),
    ];
    output::one(connection.output, &health, &fields)
}
