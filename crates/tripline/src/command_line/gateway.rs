//! Options of `tripline gateway` and `tripline scripts`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Put services behind the gateway, list them, take them away
    #[command(subcommand)]
    Services(Services),
    /// List the events that calls of a service fire; scripts are bound to them
    Events { service: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Put a service behind the gateway: /api/v2/NAME/… leads to it
    Create {
        /// 1 to 64 lower-case letters, digits, '-' and '_'
        name: String,
        /// Where it stands; what follows its name in a call is put behind this
        #[arg(long, value_name = "URL")]
        url: String,
        /// What its calls are: db, files, user, system, openapi or wsdl; without one they fire no events
        #[arg(long, value_name = "KIND")]
        describe: Option<String>,
        /// The OpenAPI or WSDL document: @FILE, or - for standard input
        #[arg(long, value_name = "@FILE|-")]
        document: Option<String>,
        /// Who may call it: key (whoever has a key that may emit) or open (it knows its callers itself)
        #[arg(long, value_name = "key|open")]
        access: Option<String>,
    },
    /// List services
    List,
    /// Show one service
    Get { name: String },
    /// Take a service away; its scripts stay
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scripts {
    /// Bind a function to an event of the API, in place of the one that was bound to it
    Put {
        /// service.resource.verb.pre_process, .post_process or .queued
        event: String,
        #[command(flatten)]
        script: ScriptFlags,
    },
    /// List scripts
    List,
    /// Delete the script of an event
    Delete { event: String },
}

#[derive(Debug, Args)]
pub(crate) struct ScriptFlags {
    /// The function that is called
    #[arg(long)]
    pub(crate) function: String,
    /// Run it, or stop running it; a new script is inactive unless it is said to be active
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) active: Option<bool>,
    /// Let it change requests and responses
    #[arg(long)]
    pub(crate) allow_modification: bool,
    /// What becomes of a call whose script does not answer as it should: fail (the default) or ignore
    #[arg(long, value_name = "fail|ignore")]
    pub(crate) on_error: Option<String>,
    /// Lower ones run first; of equals the generic before the special
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) priority: i32,
    /// The script has this long for each call, 100ms to 5min
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
}
