//! How secrets are rotated: the same for those of functions and those of projects.

use std::time::Duration;

use clap::Args;

/// Options of every `rotate-secret`.
#[derive(Debug, Args)]
pub(crate) struct Rotation {
    /// How long the secrets from before stay valid beside the new ones, up to 30 days
    #[arg(
        long,
        value_name = "TIME",
        default_value = "24h",
        value_parser = humantime::parse_duration,
        conflicts_with = "promote"
    )]
    pub(crate) overlap: Duration,

    /// End the overlap of the last rotation now: only the new secrets are used
    #[arg(long)]
    pub(crate) promote: bool,
}
