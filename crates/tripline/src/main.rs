//! `tripline`: all services in one process, one of them, and every command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

mod all_in_one;
mod bench;
mod client;
mod command_line;
mod commands;
mod failure;
mod output;
mod profile;

use std::process::ExitCode;

use clap::Parser;

use command_line::{Command, CommandLine};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    match command_line.command {
        Command::Up(options) => commands::up::run(&options),
        Command::Serve(options) => commands::serve::run(&options),
        Command::Migrate(options) => commands::migrate::run(&options),
        Command::Client(command) => match command_line.connection.with_profile() {
            Ok(connection) => commands::run_client(command, connection),
            Err(failure) => failure.report(),
        },
    }
}
