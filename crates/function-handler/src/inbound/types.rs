//! `TypeService`: the built-in event types, and those a project registers.

use domain::access::Scope;
use domain::event_type::{CATALOGUE, CUSTOM_TYPES_MAX, CustomType, EventType, FIRST_CUSTOM_NUMBER};
use domain::name::ProjectName;
use protocol::event_types::{emitters, schema};
use protocol::fault::{Fault, FaultKind};
use protocol::types::v1 as wire;
use protocol::types::v1::type_service_server::TypeService;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Desk, now};
use crate::error::of_storage;

const NAMES: &str = "1 to 128 of A-Z a-z 0-9 . _ : - that are no built-in type, alias or number";

/// Serves event types.
#[derive(Debug, Clone)]
pub struct Types {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl TypeService for Types {
    async fn create_type(
        &self,
        request: Request<wire::CreateTypeRequest>,
    ) -> Result<Response<wire::EventType>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let created_at = now();
        let custom = CustomType {
            name: own_name(&request.name)?,
            number: FIRST_CUSTOM_NUMBER,
            schema: schema("schema", &request.schema)?,
            emitters: emitters("emitters", &request.emitters)?,
            project: project.clone(),
            created_at,
            updated_at: created_at,
            revision: 0,
        };
        let store = self.desk.index.store();
        let types = store.types(&project).await.map_err(of_storage)?;
        if types.len() >= CUSTOM_TYPES_MAX {
            let message =
                format!("the project has {CUSTOM_TYPES_MAX} types already, the most there may be");
            return Err(Fault::new(FaultKind::Exhausted, message).into());
        }
        let stored = store.create_type(&custom).await.map_err(of_storage)?;
        self.desk.catch_up(stored.revision).await;
        info!(%project, event.type = %stored.name, number = stored.number, revision = stored.revision, "event type registered");
        Ok(Response::new((&stored).into()))
    }

    async fn get_type(
        &self,
        request: Request<wire::GetTypeRequest>,
    ) -> Result<Response<wire::EventType>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let name = request.into_inner().name;
        let built_in = CATALOGUE.iter().find(|built_in| {
            built_in.number.to_string() == name || built_in.names().any(|known| known == name)
        });
        if let Some(built_in) = built_in {
            return Ok(Response::new(built_in.into()));
        }
        let store = self.desk.index.store();
        let types = store.types(&project).await.map_err(of_storage)?;
        let found = types
            .iter()
            .find(|custom| custom.name.as_str() == name || custom.number.to_string() == name);
        let found = found.ok_or_else(|| Fault::not_found("event type", name))?;
        Ok(Response::new(found.into()))
    }

    async fn list_types(
        &self,
        request: Request<wire::ListTypesRequest>,
    ) -> Result<Response<wire::ListTypesResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let mut types = Vec::new();
        if !request.get_ref().custom_only {
            types.extend(CATALOGUE.iter().map(Into::into));
        }
        let store = self.desk.index.store();
        let own = store.types(&project).await.map_err(of_storage)?;
        types.extend(own.iter().map(wire::EventType::from));
        Ok(Response::new(wire::ListTypesResponse { types }))
    }

    async fn update_type(
        &self,
        request: Request<wire::UpdateTypeRequest>,
    ) -> Result<Response<wire::EventType>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let name = own_name(&request.name)?;
        let mut custom = self.existing(&project, &name).await?;
        if let Some(text) = &request.schema {
            custom.schema = schema("schema", text)?;
        }
        if let Some(given) = &request.emitters {
            custom.emitters = emitters("emitters", &given.emitters)?;
        }
        custom.updated_at = now();
        let store = self.desk.index.store();
        custom.revision = store.update_type(&custom).await.map_err(of_storage)?;
        self.desk.catch_up(custom.revision).await;
        info!(%project, event.type = %name, revision = custom.revision, "event type changed");
        Ok(Response::new((&custom).into()))
    }

    async fn delete_type(
        &self,
        request: Request<wire::DeleteTypeRequest>,
    ) -> Result<Response<wire::DeleteTypeResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let name = own_name(&request.get_ref().name)?;
        let store = self.desk.index.store();
        let deleted = store.delete_type(&project, &name).await;
        let revision = deleted.map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        info!(%project, event.type = %name, revision, "event type deleted");
        Ok(Response::new(wire::DeleteTypeResponse {}))
    }
}

impl Types {
    async fn existing(&self, project: &ProjectName, name: &EventType) -> Result<CustomType, Fault> {
        let store = self.desk.index.store();
        let types = store.types(project).await.map_err(of_storage)?;
        let found = types.into_iter().find(|custom| custom.name == *name);
        found.ok_or_else(|| Fault::not_found("event type", name))
    }
}

impl Desk {
    /// Puts the names of registered types where a trigger names them by their numbers.
    pub(crate) fn name_types(&self, project: &ProjectName, on: &mut [String]) {
        let registry = self.index.view().read();
        for text in on {
            let number = text.parse().ok();
            let number = number.filter(|number| *number >= FIRST_CUSTOM_NUMBER);
            let custom = number.and_then(|number| registry.custom_type_by_number(project, number));
            if let Some(custom) = custom {
                *text = custom.name.to_string();
            }
        }
    }
}

/// The name of a type of the project's own.
fn own_name(text: &str) -> Result<EventType, Fault> {
    if text.is_empty() {
        return Err(Fault::missing("name", NAMES));
    }
    let event_type = EventType::from_client(text).map_err(|error| {
        let message = format!("is not an event type: {}", error.fault);
        Fault::invalid("name", text, message, NAMES)
    })?;
    if event_type.is_built_in() {
        let message = format!("is the built-in type {event_type} already");
        return Err(Fault::invalid("name", text, message, NAMES));
    }
    Ok(event_type)
}
