//! The log-service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    process::main("log-service", async |settings, tasks| {
        log_service::start(settings, tasks).await
    })
}
