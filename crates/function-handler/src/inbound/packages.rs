//! `PackageService`: what is changed together, version by version.

use domain::access::Scope;
use domain::name::{FunctionName, Name, ProjectName};
use domain::package::Package;
use protocol::ConvertError;
use protocol::fault::{Fault, FaultKind};
use protocol::package::shown_version;
use protocol::packages::v1 as wire;
use protocol::packages::v1::package_service_server::PackageService;
use tonic::{Request, Response, Status};
use tracing::error;

use super::gate::Gate;
use super::{Desk, now, paging};
use crate::deploy::{Wanted, What, deploy};
use crate::error::{of_name, of_storage};

/// Serves packages.
#[derive(Debug, Clone)]
pub struct Packages {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl PackageService for Packages {
    async fn deploy_version(
        &self,
        request: Request<wire::DeployVersionRequest>,
    ) -> Result<Response<wire::DeployVersionResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let package = package_name("package", &request.package)?;
        let missing = || Fault::missing("document", "functions, triggers and schedules");
        let what = What::Version {
            origin: "api".to_owned(),
            document: request.document.ok_or_else(missing)?,
            source: request.source,
            is_activated: request.activate.unwrap_or(true),
        };
        let wanted = Wanted {
            project,
            package,
            what,
        };
        let deployed = deploy(&self.desk, &wanted, now()).await?;
        let (project, package) = (&wanted.project, &wanted.package);
        Ok(Response::new(wire::DeployVersionResponse {
            version: Some(self.version(project, package, deployed.version).await?),
            created: deployed.created,
        }))
    }

    async fn activate_version(
        &self,
        request: Request<wire::ActivateVersionRequest>,
    ) -> Result<Response<wire::ActivateVersionResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let package = package_name("package", &request.package)?;
        if request.version == 0 {
            return Err(Fault::missing("version", "a version's number, from 1").into());
        }
        let what = What::Activation {
            version: request.version,
        };
        let wanted = Wanted {
            project,
            package,
            what,
        };
        let deployed = deploy(&self.desk, &wanted, now()).await?;
        let package = self.existing(&wanted.project, &wanted.package).await?;
        Ok(Response::new(wire::ActivateVersionResponse {
            package: Some((&package).into()),
            created: deployed.created,
        }))
    }

    async fn list_versions(
        &self,
        request: Request<wire::ListVersionsRequest>,
    ) -> Result<Response<wire::ListVersionsResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let name = package_name("package", &request.package)?;
        let size = paging::size(request.page_size)?;
        let before: Option<u32> = paging::start(&request.page_token)?;
        let package = self.existing(&project, &name).await?;
        let store = self.desk.index.store();
        let page = store
            .package_versions(&project, &name, before, size)
            .await
            .map_err(of_storage)?;
        let last = page.items.last().map(|version| version.version);
        let shown = page.items.iter().map(|version| {
            let shown = shown_version(version, package.active_version);
            shown.map(|shown| wire::Version {
                document: None,
                ..shown
            })
        });
        Ok(Response::new(wire::ListVersionsResponse {
            next_page_token: paging::next(last, page.has_more),
            versions: shown.collect::<Result<_, _>>().map_err(unreadable)?,
        }))
    }

    async fn get_version(
        &self,
        request: Request<wire::GetVersionRequest>,
    ) -> Result<Response<wire::Version>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let package = package_name("package", &request.get_ref().package)?;
        let version = self.version(&project, &package, request.get_ref().version);
        Ok(Response::new(version.await?))
    }

    async fn get_package(
        &self,
        request: Request<wire::GetPackageRequest>,
    ) -> Result<Response<wire::Package>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let name = package_name("name", &request.get_ref().name)?;
        let package = self.existing(&project, &name).await?;
        Ok(Response::new((&package).into()))
    }

    async fn list_packages(
        &self,
        request: Request<wire::ListPackagesRequest>,
    ) -> Result<Response<wire::ListPackagesResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let size = paging::size(request.get_ref().page_size)?;
        let after: Option<Name> = paging::start(&request.get_ref().page_token)?;
        let store = self.desk.index.store();
        let page = store
            .packages(&project, after.as_ref(), size)
            .await
            .map_err(of_storage)?;
        let last = page.items.last().map(|package| &package.name);
        Ok(Response::new(wire::ListPackagesResponse {
            next_page_token: paging::next(last, page.has_more),
            packages: page.items.iter().map(Into::into).collect(),
        }))
    }
}

impl Packages {
    fn gate(&self) -> &Gate {
        &self.desk.gate
    }

    async fn existing(&self, project: &ProjectName, name: &Name) -> Result<Package, Fault> {
        let store = self.desk.index.store();
        let package = store.package(project, name).await.map_err(of_storage)?;
        package.ok_or_else(|| Fault::not_found("package", name))
    }

    /// A version with all that is in it; the one in force for 0.
    async fn version(
        &self,
        project: &ProjectName,
        name: &Name,
        version: u32,
    ) -> Result<wire::Version, Fault> {
        let package = self.existing(project, name).await?;
        let number = match version {
            0 => package.active_version.ok_or_else(|| {
                let message = format!("no version of package {:?} is in force", name.as_str());
                Fault::new(FaultKind::NotFound, message)
            })?,
            number => number,
        };
        let store = self.desk.index.store();
        let stored = store.package_version(project, name, number).await;
        let stored = stored.map_err(of_storage)?;
        let stored =
            stored.ok_or_else(|| Fault::not_found("version", format!("{name} {number}")))?;
        shown_version(&stored, package.active_version).map_err(unreadable)
    }
}

/// A package by its name.
pub(super) fn package_name(field: &str, text: &str) -> Result<Name, Fault> {
    if text.is_empty() {
        return Err(Fault::missing(field, "a package's name"));
    }
    text.parse().map_err(|error| of_name(field, error))
}

/// A package by its name; `default` where none is named.
pub(super) fn package_or_default(field: &str, text: &str) -> Result<Name, Fault> {
    match text {
        "" => package_name(field, FunctionName::DEFAULT_PACKAGE),
        text => package_name(field, text),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
pub(super) fn unreadable(reason: ConvertError) -> Fault {
    error!(%reason, "a stored version cannot be read");
    Fault::new(
        FaultKind::Internal,
        "the stored version cannot be read; the log says why",
    )
}
