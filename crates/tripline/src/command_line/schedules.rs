//! The commands about schedules.

use clap::{Args, Subcommand};

use super::Retry;

#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// Create a schedule, with a trigger of its name
    Create {
        name: String,
        /// The function it calls
        #[arg(long, value_name = "NAME")]
        function: String,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        payload: Payload,
        /// Overrides the function's format
        #[arg(long)]
        format: Option<String>,
        #[command(flatten)]
        retry: Box<Retry>,
        /// Create it switched off
        #[arg(long)]
        disabled: bool,
    },
    /// List schedules by name
    List {
        /// Only those of this package's version in force
        #[arg(long, value_name = "NAME")]
        package: Option<String>,
    },
    /// Show one schedule
    Get { name: String },
    /// Change a schedule; what is not named stays
    Update {
        name: String,
        /// The function it calls from now on
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        payload: Payload,
        /// Overrides the function's format
        #[arg(long)]
        format: Option<String>,
        /// Switch it on or off
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
    },
    /// Delete a schedule with its trigger
    Delete { name: String },
    /// Have a schedule strike once, now
    RunNow { name: String },
    /// List the runs of a schedule, newest first
    History {
        name: String,
        /// Only what was started since: a time span (1h) or a time (2026-11-23T08:00:00Z)
        #[arg(long, value_name = "1h|TIME", alias = "since")]
        from: Option<String>,
        /// Only what was started before: a time span or a time
        #[arg(long, value_name = "1h|TIME", alias = "until")]
        to: Option<String>,
        /// At most this many lines
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Times {
    /// When it strikes: minute hour day month weekday, for example '0 3 * * MON-FRI'
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,

    /// How the expression is read: cron (the default), kii or yandex
    #[arg(long)]
    pub(crate) dialect: Option<String>,

    /// A zone of the IANA's database, for example Europe/Berlin [server's default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Payload {
    /// A JSON value that goes with each strike: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) parameters: Option<String>,

    /// A text that goes with each strike
    #[arg(long, value_name = "TEXT", conflicts_with = "parameters")]
    pub(crate) payload: Option<String>,
}
