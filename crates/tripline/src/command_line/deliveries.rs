//! The commands about deliveries that wait.

use std::time::Duration;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// List deliveries that wait, oldest first
    List {
        /// Only those to this function
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Only what this trigger asked for
        #[arg(long, value_name = "NAME")]
        trigger: Option<String>,
        /// retry, scheduled, concurrency, rate, breaker, paused, order or in_flight
        #[arg(long)]
        reason: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Count what waits, by function and reason
    Backlog,
    /// Have a delivery wait until another time, at most 6 days ahead
    #[command(group(clap::ArgGroup::new("when").required(true)))]
    Reschedule {
        /// dlv_…
        id: String,
        /// When it is due, for example 2026-11-23T08:00:00Z
        #[arg(long, value_name = "TIME", group = "when")]
        at: Option<jiff::Timestamp>,
        /// How long from now, for example 30s or 2h
        #[arg(long = "in", value_name = "SPAN", group = "when", value_parser = humantime::parse_duration)]
        after: Option<Duration>,
    },
    /// End a delivery that waits: it is not sent any more
    Cancel {
        /// dlv_…
        id: String,
    },
    /// Try a delivery as soon as its function may be called, instead of waiting any longer
    RetryNow {
        /// dlv_…
        id: String,
    },
}
