//! The delivery-worker as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    process::main("delivery-worker", async |settings, tasks| {
        delivery_worker::start(settings, tasks).await
    })
}
