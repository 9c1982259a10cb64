//! Packages: functions, triggers and schedules that are changed together, version by version.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;

use crate::function::Function;
use crate::name::{FunctionName, Name, ProjectName, TriggerName};
use crate::schedule::Schedule;
use crate::trigger::Trigger;

/// A package as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub project: ProjectName,
    pub name: Name,
    /// The version in force.
    pub active_version: Option<u32>,
    /// The highest number given so far.
    pub latest_version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A version of a package. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    pub project: ProjectName,
    pub package: Name,
    /// From 1.
    pub version: u32,
    /// Where it comes from: `api`, or the system whose file it was.
    pub origin: String,
    /// What is in it, as the contract writes it; empty in listings.
    pub document: Bytes,
    /// The file it was made of, byte for byte; empty where there was none, and in listings.
    pub source: Bytes,
    pub created_at: Timestamp,
    /// When it was last put in force.
    pub activated_at: Option<Timestamp>,
}

/// What putting a version in force changes, all of it at once or none of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    pub project: ProjectName,
    pub package: Name,
    pub version: u32,
    /// The version in force that this was worked out against; with another it is refused.
    pub replaces: Option<u32>,
    /// As they are from now on, secrets included.
    pub functions: Vec<Function>,
    pub functions_deleted: Vec<FunctionName>,
    /// As they are from now on, those of schedules included.
    pub triggers: Vec<Trigger>,
    /// Triggers that are the package's by its version until now; others are not replaced.
    pub triggers_owned: BTreeSet<TriggerName>,
    /// Each has its trigger above.
    pub schedules: Vec<Schedule>,
    pub at: Timestamp,
}

impl Activation {
    /// Triggers of the version until now that the next one does not have.
    pub fn triggers_deleted(&self) -> Vec<&TriggerName> {
        let kept: BTreeSet<&TriggerName> =
            self.triggers.iter().map(|trigger| &trigger.name).collect();
        let owned = self.triggers_owned.iter();
        owned.filter(|name| !kept.contains(name)).collect()
    }
}
