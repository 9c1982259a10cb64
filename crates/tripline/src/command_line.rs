//! Every command and option there is, with its help.
#![expect(
    clippy::doc_markdown,
    reason = "the help shows it as it stands, backticks included"
)]

mod deliveries;
mod function_flags;
mod gateway;
mod imports;
mod redrive_flags;
mod rotation;
mod schedules;
mod sessions;
mod trigger_flags;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

pub(crate) use self::deliveries::Deliveries;
use self::function_flags::parse_header;
pub(crate) use self::function_flags::{CredentialFlags, FunctionFlags};
pub(crate) use self::gateway::{Gateway, Scripts, Services};
pub(crate) use self::imports::{Export, Import, Packages};
pub(crate) use self::redrive_flags::{AgainScope, Redrive, RedriveCommand, Replay};
pub(crate) use self::rotation::Rotation;
pub(crate) use self::schedules::{Payload, Schedules, Times};
pub(crate) use self::sessions::Sessions;
pub(crate) use self::trigger_flags::{Conditions, Retry};

const AFTER_HELP: &str = "\
Profiles:
  tripline/profiles.toml in the folder for settings ($XDG_CONFIG_HOME or ~/.config) has a section for each
  profile, with server, emitter, functions_server, worker, logs_server, api_key and project. An api_key
  is a text or { file = \"PATH\" }. Options and variables go first.

Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  the server refused the input
  4  not allowed: no key, a wrong key, or a missing scope
  5  not found
  6  exists already
  7  the server cannot be reached or is not ready
  64 the settings cannot be used";

/// When something happens, every function that asked for it is called, reliably, and everyone can
/// see what happened.
#[derive(Debug, Parser)]
#[command(name = "tripline", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server is asked, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Where tripline is served; http://127.0.0.1:8700 unless the profile says else
    #[arg(long, global = true, value_name = "URL", env = "TRIPLINE_SERVER")]
    pub(crate) server: Option<Url>,

    /// Where events are taken, if not at --server
    #[arg(long, global = true, value_name = "URL", env = "TRIPLINE_EMITTER")]
    pub(crate) emitter: Option<Url>,

    /// Where functions, triggers, keys and projects are served, if not at --server
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRIPLINE_FUNCTIONS_SERVER"
    )]
    pub(crate) functions_server: Option<Url>,

    /// Where test calls are made, if not at --server
    #[arg(long, global = true, value_name = "URL", env = "TRIPLINE_WORKER")]
    pub(crate) worker: Option<Url>,

    /// Where logs are served, if not at --server
    #[arg(long, global = true, value_name = "URL", env = "TRIPLINE_LOGS_SERVER")]
    pub(crate) logs_server: Option<Url>,

    /// API key; it decides the project
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "TRIPLINE_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Option<String>,

    /// Project, where no key decides it
    #[arg(long, global = true, value_name = "NAME", env = "TRIPLINE_PROJECT")]
    pub(crate) project: Option<String>,

    /// Section of the profile file that says what is not given here; `default` if there is one
    #[arg(long, global = true, value_name = "NAME", env = "TRIPLINE_PROFILE")]
    pub(crate) profile: Option<String>,

    /// How answers are printed; json is one object a line
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process on embedded storage
    Up(Up),

    /// Run one service, or all of them in one process, on RabbitMQ, PostgreSQL and Redis
    Serve(Serve),

    /// Create or update the tables; the first time also project `default` and its first key
    Migrate(Migrate),

    #[command(flatten)]
    Client(ClientCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Send an event
    Emit(Emit),

    /// Create, change and test functions
    #[command(subcommand)]
    Functions(Box<Functions>),

    /// Create and change triggers: which events call a function, and how often it is tried
    #[command(subcommand)]
    Triggers(Box<Triggers>),

    /// Set clocks that call functions, and see what came of it
    #[command(subcommand)]
    Schedules(Box<Schedules>),

    /// Change functions, triggers and schedules together, version by version
    #[command(subcommand)]
    Packages(Packages),

    /// Take over what another system is configured to do, from a file of its own
    Import(Import),

    /// Print a file as it was imported, byte for byte
    Export(Export),
    /// Put services behind the API gateway, and see which events their calls fire
    #[command(subcommand)]
    Gateway(Gateway),

    /// Have functions see calls of the API: before they are served, after, or when they are answered
    #[command(subcommand)]
    Scripts(Box<Scripts>),

    /// See single deliveries that wait and why; put one off, cancel it, have it tried at once or
    /// again
    #[command(subcommand)]
    Deliveries(Deliveries),

    /// See what happened
    Logs(Logs),

    /// Deliver again what failed in a time window; list, watch and stop what was ordered
    Redrive(Box<Redrive>),

    /// Bring events of the past to a function
    Replay(Box<Replay>),

    /// See why an event did or did not call a function, condition by condition
    Why {
        /// evt_… or the event's own id
        event: String,
        /// The function; all of its triggers are looked at
        #[arg(long, value_name = "NAME")]
        function: String,
    },

    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(Keys),

    /// See whether a function's session is in force; end those of a user who was disabled
    #[command(subcommand)]
    Sessions(Sessions),

    /// Create and list projects
    #[command(subcommand)]
    Projects(Projects),

    /// Measure what a deployment can do, and what it costs
    Bench(Box<crate::bench::options::Bench>),

    /// Ask the server at --server whether it is ready: exit code 0 or 7
    Health,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where everything is kept; made if it does not exist [default: the XDG data folder]
    #[arg(long, value_name = "DIR", env = "TRIPLINE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where gRPC and HTTP are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8700")]
    pub(crate) listen: SocketAddr,

    /// What is logged to standard error, for example `info` or `delivery_worker=debug`
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub(crate) log: String,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(value_enum)]
    pub(crate) role: Role,

    #[command(flatten)]
    pub(crate) process: process::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    TriggerEmitter,
    FunctionHandler,
    DeliveryWorker,
    LogService,
    ApiGateway,
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) process: process::Options,
}

#[derive(Debug, Args)]
pub(crate) struct Emit {
    /// A type's name (auth.user.register), an alias (AUTH_REGISTER), or a name of your own
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: String,

    /// JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,

    /// Path of the resource the event is about
    #[arg(long)]
    pub(crate) subject: Option<String>,

    /// The event's own id; the same id from the same source is taken once
    #[arg(long)]
    pub(crate) id: Option<String>,

    /// Where it happened, a URI reference
    #[arg(long)]
    pub(crate) source: Option<String>,

    /// The user on whose behalf it happened
    #[arg(long, value_name = "USER")]
    pub(crate) actor: Option<String>,

    /// Media type of the data
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// Take an event with this key only once, instead of by its id
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,

    /// Call functions only after this time, for example 30s or 2h, at most 6 days
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub(crate) delay: Option<std::time::Duration>,

    /// Call functions only from then on, for example 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "delay")]
    pub(crate) deliver_at: Option<jiff::Timestamp>,

    /// Wait for the first function that accepts it, and print what it answered
    #[arg(long, conflicts_with_all = ["delay", "deliver_at"])]
    pub(crate) sync: bool,

    /// How long to wait then, 10ms to 60s [default: 10s]
    #[arg(long, value_name = "TIME", requires = "sync", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<std::time::Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Functions {
    /// Create a function; its secrets are shown once
    Create {
        /// [PACKAGE/]NAME
        name: String,
        /// Where it is called
        #[arg(long)]
        url: String,
        /// Events that call it: a type, its number, an alias or a pattern such as storage.row.*
        #[arg(long, value_name = "TYPE_OR_NUMBER_OR_PATTERN")]
        on: Vec<String>,
        /// Only events about resources that match, for example datasets/*/buckets/{bucket}/**
        #[arg(long, value_name = "PATTERN")]
        subject: Option<String>,
        /// cloudevents-structured (the default), cloudevents-binary, cloudevents-batch, schmuckli,
        /// space-cloud, yandex, extremum, kii or dreamfactory
        #[arg(long)]
        format: Option<String>,
        #[command(flatten)]
        flags: Box<FunctionFlags>,
        #[command(flatten)]
        retry: Box<Retry>,
    },
    /// List functions
    List,
    /// Show one function
    Get { name: String },
    /// Change a function
    Update {
        name: String,
        /// Where it is called from now on
        #[arg(long)]
        url: Option<String>,
        /// cloudevents-structured, cloudevents-binary, cloudevents-batch, schmuckli, space-cloud, yandex,
        /// extremum, kii or dreamfactory
        #[arg(long)]
        format: Option<String>,
        #[command(flatten)]
        flags: Box<FunctionFlags>,
        /// What goes back to its default: concurrency, rate, headers, batch, disable-after, token,
        /// proxy, ca, endpoint, parameters-schema, handlers, client-cert, authorization
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        reset: Vec<String>,
    },
    /// Stop calling a function: what it is owed waits, and nothing is lost
    Pause { name: String },
    /// Call a function again, or one that was switched off by itself, and send what has waited
    Resume { name: String },
    /// Delete a function and its triggers
    Delete { name: String },
    /// Make new secrets, shown once, while those from before stay valid for a time
    RotateSecret {
        name: String,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Call a function directly and print its answer; nothing is retried
    Invoke {
        /// [PACKAGE/]NAME, or [PACKAGE/]ENDPOINT
        name: String,
        /// JSON, @FILE, or - for standard input [default: null]
        #[arg(long, value_name = "JSON|@FILE|-")]
        parameters: Option<String>,
        /// What the function sees as context.headers, 'name: value'
        #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
        headers: Vec<(String, String)>,
        /// How long to wait for the answer, 10ms to 5m [default: 5s]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        timeout: Option<std::time::Duration>,
    },
    /// Send a signed test call and show request and response; nothing is logged
    Test {
        name: String,
        /// Type of the test event
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// JSON, @FILE, or - for standard input
        #[arg(long, value_name = "JSON|@FILE|-")]
        data: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Triggers {
    /// Create a trigger
    Create {
        name: String,
        /// The function it calls
        #[arg(long)]
        function: String,
        #[command(flatten)]
        conditions: Conditions,
        #[command(flatten)]
        retry: Retry,
        /// Create it switched off
        #[arg(long)]
        disabled: bool,
    },
    /// List triggers
    List {
        /// Only those of this function
        #[arg(long)]
        function: Option<String>,
    },
    /// Show one trigger
    Get { name: String },
    /// Change a trigger; what is not named stays
    Update {
        name: String,
        /// The function it calls from now on
        #[arg(long)]
        function: Option<String>,
        #[command(flatten)]
        conditions: Conditions,
        #[command(flatten)]
        retry: Retry,
        /// Switch it on or off
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
    },
    /// Delete a trigger
    Delete { name: String },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Logs {
    #[command(subcommand)]
    pub(crate) command: Option<LogsCommand>,

    #[command(flatten)]
    pub(crate) filter: LogFilter,

    /// Go on with what happens from now on
    #[arg(long)]
    pub(crate) follow: bool,

    /// At most this many lines
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// Show one event with its deliveries and attempts
    Get {
        /// evt_…, dlv_… or the event's own id
        id: String,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogFilter {
    /// Only this event: evt_… or its own id
    #[arg(long, value_name = "ID")]
    pub(crate) event: Option<String>,

    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,

    /// Only calls of this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,

    /// Only what this trigger asked for
    #[arg(long, value_name = "NAME")]
    pub(crate) trigger: Option<String>,

    /// staged, processed, failed, cancel; any of them
    #[arg(long)]
    pub(crate) status: Vec<String>,

    /// Only what was accepted since: a time span (1h) or a time (2026-11-23T08:00:00Z)
    #[arg(long, value_name = "1h|TIME")]
    pub(crate) since: Option<String>,

    /// Only what was accepted before: a time span or a time
    #[arg(long, value_name = "1h|TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Create a key; it is shown once
    Create {
        /// What it allows: emit, manage, read
        #[arg(
            long = "scope",
            value_name = "SCOPE",
            required = true,
            value_delimiter = ','
        )]
        scopes: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List the project's keys
    List,
    /// Revoke a key
    Revoke {
        /// tlk_…
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Projects {
    /// Create a project; its first key is shown once. Needs the operator's token as --api-key
    Create { name: String },
    /// List projects
    List,
    /// Stop calling the functions of a project: what they are owed waits, and nothing is lost
    Pause {
        /// The key's own project when it is left out
        name: Option<String>,
    },
    /// Call the functions of a project again, and send what has waited
    Resume {
        /// The key's own project when it is left out
        name: Option<String>,
    },
    /// Make a new secret for the project's X-SC-Token, shown once; it signs after the overlap
    RotateSecret {
        name: String,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Make a new key for the system, which signs function sessions; needs the operator's token as
    /// --api-key
    RotateSystemKey {
        #[command(flatten)]
        rotation: Rotation,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
