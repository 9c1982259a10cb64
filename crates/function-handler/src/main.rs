//! The function-handler as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    process::main("function-handler", async |settings, tasks| {
        function_handler::start(settings, tasks).await
    })
}
