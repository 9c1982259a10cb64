//! `ProjectService`: projects, made by operators.

use domain::access::Scope;
use domain::name::ProjectName;
use domain::registry::Project;
use protocol::fault::Fault;
use protocol::projects::v1 as wire;
use protocol::projects::v1::project_service_server::ProjectService;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Desk, now};
use crate::error::{of_name, of_storage};
use crate::make_secrets::make_key;

/// Serves projects.
#[derive(Debug, Clone)]
pub struct Projects {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl ProjectService for Projects {
    async fn create_project(
        &self,
        request: Request<wire::CreateProjectRequest>,
    ) -> Result<Response<wire::CreateProjectResponse>, Status> {
        self.desk.gate.operator(request.metadata())?;
        let text = request.into_inner().name;
        if text.is_empty() {
            return Err(Fault::missing("name", "a name of 3 to 63 characters").into());
        }
        let name: ProjectName = text.parse().map_err(|error| of_name("name", error))?;
        let created_at = now();
        let note = "made with the project".to_owned();
        let key = make_key(&name, Scope::ALL.to_vec(), note, created_at)?;
        let project = Project {
            name,
            created_at,
            is_paused: false,
            revision: 0,
        };
        let store = self.desk.index.store();
        let revision = store
            .create_project(&project, &key.stored)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        info!(project = %project.name, revision, "project created");
        Ok(Response::new(wire::CreateProjectResponse {
            project: Some((&project).into()),
            key: key.text,
        }))
    }

    async fn list_projects(
        &self,
        request: Request<wire::ListProjectsRequest>,
    ) -> Result<Response<wire::ListProjectsResponse>, Status> {
        let gate = &self.desk.gate;
        let own = match gate.operator(request.metadata()) {
            Ok(()) => None,
            Err(_not_an_operator) => Some(gate.project(request.metadata(), Scope::Read)?),
        };
        let mut projects = self
            .desk
            .index
            .store()
            .projects()
            .await
            .map_err(of_storage)?;
        projects.retain(|project| own.as_ref().is_none_or(|own| *own == project.name));
        projects.sort_by(|one, other| one.name.cmp(&other.name));
        let projects = projects.iter().map(Into::into).collect();
        Ok(Response::new(wire::ListProjectsResponse { projects }))
    }

    async fn pause_project(
        &self,
        request: Request<wire::PauseProjectRequest>,
    ) -> Result<Response<wire::Project>, Status> {
        let name = self.named(request.metadata(), &request.get_ref().name)?;
        self.pause(name, true).await
    }

    async fn resume_project(
        &self,
        request: Request<wire::ResumeProjectRequest>,
    ) -> Result<Response<wire::Project>, Status> {
        let name = self.named(request.metadata(), &request.get_ref().name)?;
        self.pause(name, false).await
    }
}

impl Projects {
    /// An operator may name any project, a key only its own.
    fn named(&self, metadata: &MetadataMap, name: &str) -> Result<ProjectName, Fault> {
        let gate = &self.desk.gate;
        let named = match name {
            "" => None,
            text => {
                let name: ProjectName = text.parse().map_err(|error| of_name("name", error))?;
                Some(name)
            }
        };
        if let (Some(name), Ok(())) = (&named, gate.operator(metadata)) {
            return Ok(name.clone());
        }
        let own = gate.project(metadata, Scope::Manage)?;
        match named {
            Some(name) if name != own => Err(Fault::not_found("project", name)),
            _ => Ok(own),
        }
    }

    async fn pause(
        &self,
        name: ProjectName,
        is_paused: bool,
    ) -> Result<Response<wire::Project>, Status> {
        let store = self.desk.index.store();
        let paused = store.pause_project(&name, is_paused).await;
        let project = paused.map_err(of_storage)?;
        self.desk.catch_up(project.revision).await;
        info!(project = %name, is_paused, revision = project.revision, "project paused or resumed");
        Ok(Response::new((&project).into()))
    }
}
