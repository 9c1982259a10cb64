//! One file for each command.

mod bench;
mod deliveries;
mod emit;
mod functions;
mod gateway;
mod health;
mod imports;
mod keys;
mod logs;
pub(crate) mod migrate;
mod packages;
mod projects;
mod redrive;
mod schedules;
mod scripts;
pub(crate) mod serve;
mod sessions;
mod triggers;
mod types;
pub(crate) mod up;
mod why;

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use crate::command_line::{ClientCommand, Connection};
use crate::failure::Failure;

/// Runs a command that asks a server.
pub(crate) fn run_client(command: ClientCommand, connection: Connection) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::local(format!("cannot start: {error}")).report(),
    };
    let ended = runtime.block_on(async {
        match command {
            ClientCommand::Emit(options) => emit::run(options, &connection).await,
            ClientCommand::Functions(command) => functions::run(*command, &connection).await,
            ClientCommand::Triggers(command) => triggers::run(*command, &connection).await,
            ClientCommand::Schedules(command) => schedules::run(*command, &connection).await,
            ClientCommand::Packages(command) => packages::run(command, &connection).await,
            ClientCommand::Import(options) => imports::import(options, &connection).await,
            ClientCommand::Export(options) => imports::export(options, &connection).await,
            ClientCommand::Gateway(command) => gateway::run(command, &connection).await,
            ClientCommand::Scripts(command) => scripts::run(*command, &connection).await,
            ClientCommand::Types(command) => types::run(command, &connection).await,
            ClientCommand::Deliveries(command) => deliveries::run(command, &connection).await,
            ClientCommand::Logs(options) => logs::run(options, &connection).await,
            ClientCommand::Redrive(options) => redrive::run(*options, &connection).await,
            ClientCommand::Replay(options) => redrive::replay(*options, &connection).await,
            ClientCommand::Why { event, function } => why::run(event, function, &connection).await,
            ClientCommand::Keys(command) => keys::run(command, &connection).await,
            ClientCommand::Sessions(command) => sessions::run(command, &connection).await,
            ClientCommand::Projects(command) => projects::run(command, &connection).await,
            ClientCommand::Bench(options) => Box::pin(bench::run(*options, &connection)).await,
            ClientCommand::Health => health::run(&connection).await,
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What `--data` says: the text itself, a file's content, or standard input.
fn read_data(data: &str) -> Result<Vec<u8>, Failure> {
    if data == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::local(format!("standard input cannot be read: {error}")))?;
        return Ok(bytes);
    }
    match data.strip_prefix('@') {
        Some(file) => std::fs::read(file)
            .map_err(|error| Failure::usage(format!("--data: {file} cannot be read: {error}"))),
        None => Ok(data.as_bytes().to_vec()),
    }
}

/// A point in time: a span before now (`1h`, `2d`) or a time (`2026-11-23T08:00:00Z`).
fn read_time(option: &str, text: &str) -> Result<protocol::well_known::Timestamp, Failure> {
    let ago = humantime::parse_duration(text).ok();
    let time = match ago {
        Some(ago) => Timestamp::now().saturating_sub(ago).ok(),
        None => text.parse().ok(),
    };
    time.map(protocol::to_timestamp).ok_or_else(|| {
        let example = "a time span like 1h or a time like 2026-11-23T08:00:00Z";
        Failure::usage(format!(
            "{option}: {text:?} is not understood; give {example}"
        ))
    })
}

/// A time as people read it, in UTC.
fn show_time(time: Option<&protocol::well_known::Timestamp>) -> String {
    let time = time.and_then(protocol::from_timestamp);
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// Microseconds as people read them.
fn show_micros(micros: u64) -> String {
    match micros {
        0 => String::new(),
        1..10_000 => format!(
            "{:.1}ms",
            Duration::from_micros(micros).as_secs_f64() * 1000.0
        ),
        10_000..10_000_000 => format!("{}ms", micros / 1000),
        _ => format!("{:.1}s", Duration::from_micros(micros).as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_points() {
        let point = read_time("--since", "2026-11-23T08:00:00Z").unwrap();
        assert_eq!(show_time(Some(&point)), "2026-11-23T08:00:00.000Z");
        let hour_ago = read_time("--since", "1h").unwrap();
        let now = Timestamp::now().as_second();
        assert!((3598..=3602).contains(&(now - hour_ago.seconds)));
        let failure = read_time("--since", "yesterday").unwrap_err();
        assert!(failure.message.contains("--since"), "{}", failure.message);
        assert_eq!(failure.exit_code, 2);
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(show_micros(0), "");
        assert_eq!(show_micros(1_234), "1.2ms");
        assert_eq!(show_micros(412_345), "412ms");
        assert_eq!(show_micros(12_345_678), "12.3s");
    }
}
