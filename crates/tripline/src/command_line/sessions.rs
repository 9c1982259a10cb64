//! `tripline sessions`: by which functions act for users.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// Say whether a session is in force, and what it says
    Introspect {
        /// The session, @FILE, or - for standard input
        #[arg(value_name = "TOKEN|@FILE|-")]
        token: String,
    },
    /// End all sessions of a user that were made up to now
    Revoke {
        /// The user's id, as it stands in events
        #[arg(long, value_name = "ID")]
        actor: String,
    },
}
