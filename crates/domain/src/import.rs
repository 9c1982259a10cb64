//! Reads what other systems keep of their hooks, triggers, timers and scripts, as triggers of ours.
//!
//! A reader takes a file's text and says what should be installed, or everything that is wrong
//! with it, each with its place. It installs nothing: that is all or nothing, and for others to do.

mod document;
pub mod dreamfactory;
pub mod finding;
pub mod kii;
mod names;
pub mod space_cloud;
mod space_cloud_rules;
pub mod yandex;
mod yandex_table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use url::Url;

pub use self::finding::{Finding, Severity};
use crate::format::Format;
use crate::name::{FunctionName, Name, ProjectName};
use crate::schedule::{Cron, Payload};
use crate::trigger::Trigger;

/// A file may have so many bytes: some thousand hooks.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A file may install so many triggers; they are stored in one transaction.
pub const TRIGGERS_MAX: usize = 2_000;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A hook file of Kii Cloud.
    Kii,
    /// Trigger objects of Space Cloud.
    SpaceCloud,
    /// A trigger table of extremum's functions-api, or trigger resources of Yandex Cloud.
    Yandex,
    /// A list of event scripts of `DreamFactory`.
    DreamFactory,
}

impl Kind {
    pub const ALL: [Self; 4] = [
        Self::Kii,
        Self::SpaceCloud,
        Self::Yandex,
        Self::DreamFactory,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kii => "kii",
            Self::SpaceCloud => "space-cloud",
            Self::Yandex => "yandex",
            Self::DreamFactory => "dreamfactory",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a reader has to know of where the file goes.
#[derive(Debug, Clone)]
pub struct Target {
    pub project: ProjectName,
    pub package: Name,
    /// Functions that exist, by what files call them: `package/endpoint`, where the endpoint is a
    /// function's name or its alias.
    pub functions: BTreeMap<String, FunctionName>,
    /// What a file calls a function, and what it is called here; goes before the others.
    pub renamed: BTreeMap<String, FunctionName>,
    /// Whether comments and trailing commas are passed over.
    pub is_lenient: bool,
    pub now: Timestamp,
}

impl Target {
    /// The function that a file calls so; of the target's package where it names none.
    pub(crate) fn function(&self, package: Option<&str>, endpoint: &str) -> Option<&FunctionName> {
        let renamed = match package {
            Some(package) => self.renamed.get(&format!("{package}.{endpoint}")),
            None => self.renamed.get(endpoint),
        };
        let package = package.unwrap_or(self.package.as_str());
        renamed.or_else(|| self.functions.get(&format!("{package}/{endpoint}")))
    }

    /// What the package's functions are called, for a message.
    pub(crate) fn known_endpoints(&self) -> String {
        let prefix = format!("{}/", self.package);
        let known = self.functions.keys();
        let known: Vec<&str> = known
            .filter_map(|name| name.strip_prefix(&prefix))
            .take(20)
            .collect();
        match known.as_slice() {
            [] => format!("package {:?} has no function yet", self.package.as_str()),
            known => format!(
                "package {:?} has {}",
                self.package.as_str(),
                known.join(", ")
            ),
        }
    }
}

/// What a file comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Functions that the file itself describes.
    pub functions: Vec<PlannedFunction>,
    pub triggers: Vec<Trigger>,
    pub schedules: Vec<PlannedSchedule>,
}

impl Plan {
    /// How many triggers would be installed, those of schedules included.
    pub fn triggers_count(&self) -> usize {
        self.triggers.len() + self.schedules.len()
    }
}

/// A function to be made for a URL that stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFunction {
    pub name: FunctionName,
    pub url: Url,
    pub format: Format,
}

/// A clock to be set, with the trigger that its strikes call.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSchedule {
    /// What the file calls it; the schedule itself is called like its trigger.
    pub job: String,
    pub cron: Cron,
    pub payload: Payload,
    pub is_enabled: bool,
    pub trigger: Trigger,
}

/// What reading a file came to. Where there is an error, nothing is to be installed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    pub plan: Plan,
    /// In the order of the file.
    pub findings: Vec<Finding>,
}

impl Reading {
    pub fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads a file. The same file and target always come to the same.
pub fn read(kind: Kind, file: &[u8], target: &Target) -> Reading {
    match kind {
        Kind::Kii => kii::read(file, target),
        Kind::SpaceCloud => space_cloud::read(file, target),
        Kind::Yandex => yandex::read(file, target),
        Kind::DreamFactory => dreamfactory::read(file, target),
    }
}

/// A format by its name, and the default one while it is not there.
pub(crate) fn format(name: &str) -> Format {
    Format::parse(name).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod sample;
