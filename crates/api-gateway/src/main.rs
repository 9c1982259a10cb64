//! The api-gateway as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    process::main("api-gateway", async |settings, tasks| {
        api_gateway::start(settings, tasks).await
    })
}
