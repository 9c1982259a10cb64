//! `ImportService`: files of other systems become versions of packages, all of a file or nothing.

use std::collections::BTreeMap;

use domain::access::Scope;
use domain::import::{self, Finding, Kind, Plan, Severity, Target};
use domain::name::{FunctionName, Name, ProjectName};
use jiff::Timestamp;
use protocol::fault::{Fault, FaultKind};
use protocol::imports::v1 as wire;
use protocol::imports::v1::import_service_server::ImportService;
use protocol::package::{document_from_bytes, document_of};
use protocol::packages::v1::{Document, FunctionSpec};
use tonic::{Request, Response, Status};
use tracing::info;

use super::gate::Gate;
use super::packages::{package_or_default, unreadable};
use super::{Desk, now};
use crate::define;
use crate::deploy::{Deployed, Wanted, What, deploy};
use crate::error::of_storage;

/// A file may name so many functions by other names.
const RENAMED_MAX: usize = 2_000;

/// Serves imports.
#[derive(Debug, Clone)]
pub struct Imports {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl ImportService for Imports {
    async fn import(
        &self,
        request: Request<wire::ImportRequest>,
    ) -> Result<Response<wire::ImportResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let kind = kind(&request.kind)?;
        let package = package_or_default("package", &request.package)?;
        let now = now();
        let target = self.target(&project, &package, &request, now)?;
        let reading = import::read(kind, &request.file, &target);
        let has_errors = reading.has_errors();
        let mut deployed = Deployed {
            version: 0,
            created: Vec::new(),
        };
        if !has_errors && !request.dry_run {
            let wanted = Wanted {
                what: What::Version {
                    origin: kind.as_str().to_owned(),
                    document: self.document(&project, &package, &reading.plan).await?,
                    source: request.file,
                    is_activated: true,
                },
                project,
                package,
            };
            deployed = deploy(&self.desk, &wanted, now).await?;
            let (project, package, version) = (&wanted.project, &wanted.package, deployed.version);
            info!(%project, %package, version, kind = kind.as_str(), "file imported");
        }
        let document = document_of(&reading.plan);
        let of = |severity| {
            let findings = reading.findings.iter();
            let found = findings.filter(move |finding: &&Finding| finding.severity == severity);
            found.map(Into::into).collect()
        };
        Ok(Response::new(wire::ImportResponse {
            version: deployed.version,
            triggers: document.triggers,
            schedules: document.schedules,
            warnings: of(Severity::Warning),
            errors: of(Severity::Error),
            created: deployed.created,
        }))
    }

    async fn export(
        &self,
        request: Request<wire::ExportRequest>,
    ) -> Result<Response<wire::ExportResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let kind = kind(&request.kind)?;
        let name = package_or_default("package", &request.package)?;
        let store = self.desk.index.store();
        let package = store.package(&project, &name).await.map_err(of_storage)?;
        let package = package.ok_or_else(|| Fault::not_found("package", &name))?;
        let number = match request.version {
            0 => package.active_version.unwrap_or_default(),
            number => number,
        };
        let version = store.package_version(&project, &name, number).await;
        let version = version.map_err(of_storage)?;
        let version =
            version.ok_or_else(|| Fault::not_found("version", format!("{name} {number}")))?;
        if version.origin != kind.as_str() {
            let message = format!(
                "version {number} of package {:?} was not imported from {}: it comes from {}",
                name.as_str(),
                kind.as_str(),
                version.origin
            );
            return Err(Fault::new(FaultKind::NotFound, message).into());
        }
        Ok(Response::new(wire::ExportResponse {
            version: number,
            file: version.source,
        }))
    }
}

impl Imports {
    fn gate(&self) -> &Gate {
        &self.desk.gate
    }

    /// What the reader has to know: which functions there are, by all names they go by.
    fn target(
        &self,
        project: &ProjectName,
        package: &Name,
        request: &wire::ImportRequest,
        now: Timestamp,
    ) -> Result<Target, Fault> {
        if request.functions.len() > RENAMED_MAX {
            let count = request.functions.len().to_string();
            let allowed = format!("at most {RENAMED_MAX}");
            return Err(Fault::invalid("functions", count, "are too many", allowed));
        }
        let registry = self.desk.index.view().read();
        let of_project = registry
            .functions()
            .filter(|function| function.project == *project);
        let functions: BTreeMap<String, FunctionName> = of_project
            .flat_map(|function| {
                let name = &function.name;
                let called = endpoints(function);
                called.map(move |endpoint| (format!("{}/{endpoint}", name.package), name.clone()))
            })
            .collect();
        let mut renamed = BTreeMap::new();
        for (called, name) in &request.functions {
            let name = define::function_in(Some(package), "functions", name)?;
            if registry.function(project, &name).is_none() {
                return Err(Fault::not_found("function", name));
            }
            renamed.insert(called.clone(), name);
        }
        Ok(Target {
            project: project.clone(),
            package: package.clone(),
            functions,
            renamed,
            is_lenient: request.lenient,
            now,
        })
    }

    /// The plan, together with the functions that the version in force has already.
    async fn document(
        &self,
        project: &ProjectName,
        package: &Name,
        plan: &Plan,
    ) -> Result<Document, Fault> {
        let mut document = document_of(plan);
        let store = self.desk.index.store();
        let known = store.package(project, package).await.map_err(of_storage)?;
        let Some(active) = known.and_then(|known| known.active_version) else {
            return Ok(document);
        };
        let active = store.package_version(project, package, active).await;
        let Some(active) = active.map_err(of_storage)? else {
            return Ok(document);
        };
        let active = document_from_bytes(active.document).map_err(unreadable)?;
        let name = |text: &str| define::function_in(Some(package), "name", text);
        for function in active.functions {
            let function = name(&function.name)?;
            let is_described = document
                .functions
                .iter()
                .any(|other| name(&other.name).is_ok_and(|other| other == function));
            if is_described {
                continue;
            }
            // As it is now, since people may have changed it.
            let current = store
                .function(project, &function)
                .await
                .map_err(of_storage)?;
            document
                .functions
                .extend(current.map(|current| FunctionSpec {
                    name: format!("{}/{}", function.package, function.name),
                    url: current.url.to_string(),
                    format: current.format.as_str().to_owned(),
                    settings: Some((&current.settings).into()),
                }));
        }
        Ok(document)
    }
}

/// What files may call a function: its name.
fn endpoints(function: &domain::function::Function) -> impl Iterator<Item = &str> {
    std::iter::once(function.name.name.as_str())
}

fn kind(text: &str) -> Result<Kind, Fault> {
    let allowed = || Kind::ALL.map(Kind::as_str).join(", ");
    if text.is_empty() {
        return Err(Fault::missing("kind", allowed()));
    }
    Kind::parse(text).ok_or_else(|| {
        let message = "is not a system that files are taken of";
        Fault::invalid("kind", text, message, allowed())
    })
}
