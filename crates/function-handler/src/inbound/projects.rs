//! `ProjectService`: projects, made by operators.

use domain::access::Scope;
use domain::name::ProjectName;
use domain::registry::Project;
use domain::session::{LIFETIME_MAX, SKEW};
use domain::token::TokenKeys;
use protocol::fault::{Fault, FaultKind};
use protocol::projects::v1 as wire;
use protocol::projects::v1::project_service_server::ProjectService;
use protocol::to_timestamp;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Desk, now};
use crate::error::{of_name, of_storage};
use crate::make_secrets::{make_key, make_token_key};
use crate::{define, token_keys};

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
        info!(project = %project.name, revision, "project created");
        // Should this fail, one is made soon; it is shown when it is rotated.
        let keys = token_keys::create(store, Some(&project.name), created_at).await;
        let keys = keys.ok().flatten();
        let revision = keys.as_ref().map_or(revision, |keys| keys.revision);
        self.desk.catch_up(revision).await;
        let secret = keys.and_then(|keys| keys.keys.into_iter().next());
        Ok(Response::new(wire::CreateProjectResponse {
            project: Some((&project).into()),
            key: key.text,
            secret: secret.map(|key| key.secret).unwrap_or_default(),
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

    async fn rotate_project_secret(
        &self,
        request: Request<wire::RotateProjectSecretRequest>,
    ) -> Result<Response<wire::RotateProjectSecretResponse>, Status> {
        let project = self.managed(request.metadata(), &request.get_ref().name)?;
        let overlap = define::overlap(request.get_ref().overlap.as_ref())?;
        let mut keys = self.token_keys(Some(&project)).await?;
        let now = now();
        let signs_from = now.saturating_add(overlap).unwrap_or(now);
        let fresh = make_token_key(Some(&project), signs_from)?;
        keys.rotate(fresh.clone(), now)
            .map_err(|waiting| Fault::new(FaultKind::Conflict, waiting.to_string()))?;
        self.store_token_keys(&keys).await?;
        info!(%project, kid = fresh.kid, "the project's secret is rotated");
        Ok(Response::new(wire::RotateProjectSecretResponse {
            secret: fresh.secret,
            kid: fresh.kid,
            signs_from: Some(to_timestamp(fresh.signs_from)),
        }))
    }

    async fn promote_project_secret(
        &self,
        request: Request<wire::PromoteProjectSecretRequest>,
    ) -> Result<Response<wire::PromoteProjectSecretResponse>, Status> {
        let project = self.managed(request.metadata(), &request.get_ref().name)?;
        let mut keys = self.token_keys(Some(&project)).await?;
        if !keys.promote(now()) {
            let message = "no secret of the project is waiting to be promoted";
            return Err(Fault::new(FaultKind::Conflict, message).into());
        }
        self.store_token_keys(&keys).await?;
        info!(%project, "the project's new secret is promoted");
        Ok(Response::new(wire::PromoteProjectSecretResponse {}))
    }

    async fn rotate_system_key(
        &self,
        request: Request<wire::RotateSystemKeyRequest>,
    ) -> Result<Response<wire::RotateSystemKeyResponse>, Status> {
        self.desk.gate.operator(request.metadata())?;
        let overlap = define::overlap(request.get_ref().overlap.as_ref())?;
        let mut keys = self.token_keys(None).await?;
        let now = now();
        if let Some(until) = keys
            .needed_until(LIFETIME_MAX + SKEW)
            .filter(|until| now < *until)
        {
            let message = format!(
                "sessions that the key from before has signed are in force until {until}; rotate then"
            );
            return Err(Fault::new(FaultKind::Conflict, message).into());
        }
        let signs_from = now.saturating_add(overlap).unwrap_or(now);
        let fresh = make_token_key(None, signs_from)?;
        let kid = fresh.kid.clone();
        keys.rotate(fresh, now)
            .map_err(|waiting| Fault::new(FaultKind::Conflict, waiting.to_string()))?;
        self.store_token_keys(&keys).await?;
        info!(kid, "the system's key is rotated");
        Ok(Response::new(wire::RotateSystemKeyResponse {
            kid,
            signs_from: Some(to_timestamp(signs_from)),
        }))
    }

    async fn promote_system_key(
        &self,
        request: Request<wire::PromoteSystemKeyRequest>,
    ) -> Result<Response<wire::PromoteSystemKeyResponse>, Status> {
        self.desk.gate.operator(request.metadata())?;
        let mut keys = self.token_keys(None).await?;
        if !keys.promote(now()) {
            let message = "no key of the system is waiting to be promoted";
            return Err(Fault::new(FaultKind::Conflict, message).into());
        }
        self.store_token_keys(&keys).await?;
        info!("the system's new key is promoted");
        Ok(Response::new(wire::PromoteSystemKeyResponse {}))
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

    /// The project of that name, for its own managers and for operators.
    fn managed(&self, metadata: &MetadataMap, text: &str) -> Result<ProjectName, Fault> {
        if text.is_empty() {
            return Err(Fault::missing("name", "the name of a project"));
        }
        let name: ProjectName = text.parse().map_err(|error| of_name("name", error))?;
        let gate = &self.desk.gate;
        let is_allowed =
            gate.operator(metadata).is_ok() || gate.project(metadata, Scope::Manage)? == name;
        if is_allowed && gate.view.read().has_project(&name) {
            Ok(name)
        } else {
            // A foreign project looks as if it did not exist.
            Err(Fault::not_found("project", name))
        }
    }

    /// A project's, or without one the system's, as they are stored, not as this replica knows them.
    async fn token_keys(&self, project: Option<&ProjectName>) -> Result<TokenKeys, Fault> {
        let store = self.desk.index.store();
        let all = store.token_keys().await.map_err(of_storage)?;
        let own = all
            .into_iter()
            .find(|keys| keys.project.as_ref() == project);
        own.ok_or_else(|| Fault::unavailable("the first key is being made; try again"))
    }

    async fn store_token_keys(&self, keys: &TokenKeys) -> Result<(), Fault> {
        let store = self.desk.index.store();
        let revision = store.update_token_keys(keys).await.map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        Ok(())
    }
}
