//! The trigger-emitter as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    process::main("trigger-emitter", async |settings, tasks| {
        trigger_emitter::start(settings, tasks).await
    })
}
