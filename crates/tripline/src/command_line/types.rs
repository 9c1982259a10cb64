//! `tripline types`: the built-in event types and a project's own.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Types {
    /// List all types with their numbers and what other systems call them
    List {
        /// Only the project's own
        #[arg(long)]
        custom: bool,
    },
    /// Show one type
    Get {
        /// Its name, an alias or its number
        name: String,
    },
    /// Register a type of the project's own; it is given a number
    Create {
        name: String,
        /// JSON Schema that its data must obey: JSON, @FILE, or - for standard input
        #[arg(long, value_name = "JSON|@FILE|-")]
        schema: Option<String>,
        /// Who may emit it: keys, sessions or both, or nobody; without it no rule is set
        #[arg(long, value_name = "WHO", value_delimiter = ',')]
        emit: Vec<String>,
    },
    /// Change a type of the project's own; what is not named stays
    Update {
        name: String,
        /// Replaces the schema
        #[arg(long, value_name = "JSON|@FILE|-")]
        schema: Option<String>,
        /// Replaces the rule
        #[arg(long, value_name = "WHO", value_delimiter = ',')]
        emit: Vec<String>,
        /// What is removed: schema, emit
        #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = ["schema", "emit"])]
        reset: Vec<String>,
    },
    /// Delete a type of the project's own; its number stays its own
    Delete { name: String },
}
