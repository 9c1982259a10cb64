//! The commands about packages and files of other systems.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileKind {
    /// A hook file of Kii Cloud
    Kii,
    /// Trigger objects of Space Cloud
    SpaceCloud,
    /// A trigger table of extremum's functions-api, or trigger resources of Yandex Cloud
    Yandex,
    /// A list of event scripts of DreamFactory
    #[value(name = "dreamfactory")]
    DreamFactory,
}

impl FileKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kii => "kii",
            Self::SpaceCloud => "space-cloud",
            Self::Yandex => "yandex",
            Self::DreamFactory => "dreamfactory",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[arg(value_enum)]
    pub(crate) kind: FileKind,

    /// The file, or - for standard input
    pub(crate) file: PathBuf,

    /// The package whose new version it becomes
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) package: String,

    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Pass over comments and trailing commas
    #[arg(long)]
    pub(crate) lenient: bool,

    /// A function by what the file calls it, where that is not its name here
    #[arg(long = "map", value_name = "NAME=FUNCTION", value_parser = pair)]
    pub(crate) functions: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[arg(value_enum)]
    pub(crate) kind: FileKind,

    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) package: String,

    /// The version in force when left out
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Packages {
    /// List packages that have versions
    List,
    /// Show one package
    Get { name: String },
    /// List a package's versions, newest first
    Versions { name: String },
    /// Show what is in a version, as JSON that can be deployed again
    Show {
        name: String,
        /// The version in force when left out
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// Store a new version and put it in force: {"functions": […], "triggers": […], "schedules": […]}
    Deploy {
        name: String,
        /// A JSON file, or - for standard input
        file: PathBuf,
        /// Only store it
        #[arg(long)]
        no_activate: bool,
    },
    /// Put a version in force, an older one too
    Activate { name: String, version: u32 },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "give NAME=FUNCTION".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
