//! The flags of a trigger: which events it wants, and how often a delivery is tried.

use std::time::Duration;

use clap::Args;

/// The retry policy's flags.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Retries")]
pub(crate) struct Retry {
    /// Attempts after the first, 0 to 100 [server's default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,

    /// Wait before a retry, 100ms to 24h [server's default: 5s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) interval: Option<Duration>,

    /// The waits one after the other, for example 1s,5s,1m; the last one repeats
    #[arg(
        long,
        value_name = "TIME,…",
        value_delimiter = ',',
        value_parser = humantime::parse_duration,
        conflicts_with_all = ["interval", "backoff"]
    )]
    pub(crate) waits: Vec<Duration>,

    /// fixed or exponential [server's default: fixed]
    #[arg(long)]
    pub(crate) backoff: Option<String>,

    /// No wait is longer [server's default: 60s, or the interval if that is longer]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) interval_max: Option<Duration>,

    /// Share of each wait that is spread at random, 0 to 1 [server's default: 0]
    #[arg(long, value_name = "SHARE")]
    pub(crate) jitter: Option<f64>,

    /// No attempt is made later than this after the event, 1s to 6d [server's default: 6d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) total_max: Option<Duration>,

    /// Answers after which there is no further attempt, for example 400-404,410; '' for none
    #[arg(long = "final", value_name = "STATUSES")]
    pub(crate) final_statuses: Option<String>,

    /// A Retry-After is followed for so long at most, 0s to 24h [server's default: 1h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) retry_after_max: Option<Duration>,

    /// Connecting may take this long, 10ms to the timeout; 0s as the worker is set
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) connect_timeout: Option<Duration>,

    /// The head of the answer must be there by then, 10ms to the timeout; 0s within the timeout
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) first_byte_timeout: Option<Duration>,

    /// One attempt may take this long, 100ms to 5m [server's default: 5s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// An answer of 2xx counts only if it is JSON without an "error"
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) expect_json_response: Option<bool>,
}

/// A trigger's conditions.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Conditions {
    /// A type, its number, an alias or a pattern such as storage.row.*; any of them
    #[arg(long, value_name = "TYPE_OR_NUMBER_OR_PATTERN")]
    pub(crate) on: Vec<String>,

    /// Only events about resources that match
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subject: Option<String>,

    /// The subject's last part must begin so
    #[arg(long)]
    pub(crate) prefix: Option<String>,

    /// The subject's last part must end so
    #[arg(long)]
    pub(crate) suffix: Option<String>,

    /// An attribute the event must have, with the values it may have; all are given together
    #[arg(long = "option", value_name = "NAME=VALUE,…", value_parser = parse_option)]
    pub(crate) options: Vec<(String, String)>,

    /// Condition in CEL over event, data, old, new and params; '' for none
    #[arg(long, value_name = "CEL|@FILE")]
    pub(crate) filter: Option<String>,

    /// Makes the request's body from event, data, params and attempt, in Jinja's language; '' for
    /// none
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) template: Option<String>,

    /// Media type of what the template makes [server's default: application/json]
    #[arg(long, value_name = "TYPE")]
    pub(crate) template_type: Option<String>,

    /// Overrides the function's format
    #[arg(long)]
    pub(crate) format: Option<String>,

    /// none (the default), or key: one after the other for each key of the events
    #[arg(long)]
    pub(crate) ordering: Option<String>,

    /// What is delivered of a key's backlog: all (the default) or latest
    #[arg(long)]
    pub(crate) backlog: Option<String>,

    /// Events with more events than this behind them call nobody [server's default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| "give a name, '=' and values between commas".to_owned())?;
    Ok((name.to_owned(), values.to_owned()))
}
