//! The flags of what is delivered again.

use clap::{Args, Subcommand};

use super::function_flags::parse_rate;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Redrive {
    #[command(subcommand)]
    pub(crate) command: Option<RedriveCommand>,

    /// Only deliveries to this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,

    /// Only what this trigger asked for
    #[arg(long, value_name = "NAME")]
    pub(crate) trigger: Option<String>,

    /// failed or cancel; any of them [default: failed]
    #[arg(long)]
    pub(crate) status: Vec<String>,

    /// To this function, instead of each delivery's own
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,

    #[command(flatten)]
    pub(crate) scope: AgainScope,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RedriveCommand {
    /// List what was ordered, newest first
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show how far it has come until it ends
    Watch {
        /// rdv_…
        id: String,
    },
    /// Stop it; what was sent stays sent
    Stop {
        /// rdv_…
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The function that gets the events, whether or not they were for it
    #[arg(long, value_name = "NAME")]
    pub(crate) function: String,

    #[command(flatten)]
    pub(crate) scope: AgainScope,
}

/// Of what, and how.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AgainScope {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,

    /// Only this event: evt_…, a dlv_… of it, or its own id
    #[arg(long, value_name = "ID")]
    pub(crate) event: Option<String>,

    /// Events accepted since: a time span (2h) or a time (2026-11-23T08:00:00Z)
    #[arg(long, value_name = "2h|TIME", required_unless_present = "event")]
    pub(crate) since: Option<String>,

    /// Events accepted before: a time span or a time [default: now]
    #[arg(long, value_name = "1h|TIME")]
    pub(crate) until: Option<String>,

    /// No faster than this, for example 100/s [default: as fast as the function bears]
    #[arg(long, value_name = "N/s|m|h", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,

    /// Say how many there are and show the oldest; deliver nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}
