//! Packages, their versions and what readers of files find, between `domain` and what people see.

use bytes::Bytes;
use domain::format::Format;
use domain::function::FunctionSettings;
use domain::import::{Finding, Plan, PlannedFunction, PlannedSchedule};
use domain::package::{Package, PackageVersion};
use domain::schedule::Payload;
use domain::trigger::Trigger;
use prost::Message as _;

use crate::event::ConvertError;
use crate::functions::v1 as functions;
use crate::imports::v1 as imports;
use crate::packages::v1 as packages;
use crate::schedules::v1 as schedules;
use crate::settings::undecodable;
use crate::time::to_timestamp;

impl From<&Package> for packages::Package {
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.to_string(),
            active_version: package.active_version.unwrap_or_default(),
            latest_version: package.latest_version,
            created_at: Some(to_timestamp(package.created_at)),
            updated_at: Some(to_timestamp(package.updated_at)),
        }
    }
}

/// A version as it is shown; with its document and source where it was read with them.
///
/// # Errors
/// When the stored document is something else.
pub fn shown_version(
    version: &PackageVersion,
    active_version: Option<u32>,
) -> Result<packages::Version, ConvertError> {
    Ok(packages::Version {
        package: version.package.to_string(),
        version: version.version,
        active: active_version == Some(version.version),
        origin: version.origin.clone(),
        created_at: Some(to_timestamp(version.created_at)),
        activated_at: version.activated_at.map(to_timestamp),
        document: Some(document_from_bytes(version.document.clone())?),
        source: version.source.clone(),
    })
}

/// As a document is kept.
pub fn document_to_bytes(document: &packages::Document) -> Bytes {
    document.encode_to_vec().into()
}

/// Reads [`document_to_bytes`].
///
/// # Errors
/// When the bytes are something else.
pub fn document_from_bytes(bytes: Bytes) -> Result<packages::Document, ConvertError> {
    packages::Document::decode(bytes).map_err(undecodable)
}

/// What a file comes to, as a version's document.
pub fn document_of(plan: &Plan) -> packages::Document {
    packages::Document {
        functions: plan.functions.iter().map(Into::into).collect(),
        triggers: plan.triggers.iter().map(trigger_of).collect(),
        schedules: plan.schedules.iter().map(Into::into).collect(),
    }
}

/// A trigger as it is to be made: the types of a script follow from its event.
fn trigger_of(trigger: &Trigger) -> functions::Trigger {
    let mut wanted = functions::Trigger::from(trigger);
    wanted.function = full_name(&trigger.function);
    if trigger.script.is_some() {
        wanted.on.clear();
    }
    wanted
}

impl From<&PlannedFunction> for packages::FunctionSpec {
    fn from(function: &PlannedFunction) -> Self {
        Self {
            name: full_name(&function.name),
            url: function.url.to_string(),
            format: function.format.as_str().to_owned(),
            settings: Some((&FunctionSettings::default()).into()),
        }
    }
}

impl From<&PlannedSchedule> for schedules::Schedule {
    fn from(schedule: &PlannedSchedule) -> Self {
        let trigger = &schedule.trigger;
        let (parameters, payload) = match &schedule.payload {
            Payload::None => (String::new(), String::new()),
            Payload::Parameters(json) => (json.clone(), String::new()),
            Payload::Text(text) => (String::new(), text.clone()),
        };
        Self {
            name: trigger.name.to_string(),
            cron: schedule.cron.to_string(),
            dialect: schedule.cron.dialect().as_str().to_owned(),
            function: full_name(&trigger.function),
            parameters,
            payload,
            enabled: Some(schedule.is_enabled),
            format: trigger
                .format
                .map(Format::as_str)
                .unwrap_or_default()
                .to_owned(),
            retry: Some((&trigger.retry).into()),
            depth_max: Some(trigger.depth_max),
            job: schedule.job.clone(),
            ..Self::default()
        }
    }
}

/// In a document a name without a package would be one of the document's own.
fn full_name(name: &domain::name::FunctionName) -> String {
    format!("{}/{}", name.package, name.name)
}

impl From<&Finding> for imports::Finding {
    fn from(finding: &Finding) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            code: finding.code.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            json_pointer: finding.pointer.clone(),
            line: number(finding.line),
            column: number(finding.column),
            message: finding.message.clone(),
        }
    }
}
