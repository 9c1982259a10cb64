//! `GatewayService` and `ScriptService`: services behind the API gateway, and the scripts of their calls.

use domain::access::Scope;
use domain::api_event::script::trigger_name;
use domain::gateway::{GatewayService as Behind, SERVICES_MAX};
use domain::name::ProjectName;
use domain::trigger::Trigger;
use protocol::api::event_with_phase;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1 as functions;
use protocol::gateway::v1 as wire;
use protocol::gateway::v1::gateway_service_server::GatewayService;
use protocol::gateway::v1::script_service_server::ScriptService;
use protocol::well_known::FieldMask;
use storage::waiting_room::Owner;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Desk, now};
use crate::define;
use crate::define::script::{service, service_name};
use crate::error::of_storage;

/// Serves what stands behind the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(crate) desk: Desk,
}

/// Serves scripts, for gRPC and for HTTP.
#[derive(Debug, Clone)]
pub struct Scripts {
    pub(crate) desk: Desk,
    /// Whether scripts can be made and changed.
    pub(crate) is_enabled: bool,
}

#[tonic::async_trait]
impl GatewayService for Gateway {
    async fn create_service(
        &self,
        request: Request<wire::CreateServiceRequest>,
    ) -> Result<Response<wire::Service>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let mut service = service(&project, request.get_ref(), now())?;
        let known = self.all(&project).await?.len();
        if known >= SERVICES_MAX {
            let message = format!("a project has at most {SERVICES_MAX} services");
            return Err(Fault::new(FaultKind::Exhausted, message).into());
        }
        let store = self.desk.index.store();
        service.revision = store.create_gateway(&service).await.map_err(of_storage)?;
        self.desk.catch_up(service.revision).await;
        info!(%project, service = %service.name, revision = service.revision, "service created");
        Ok(Response::new((&service).into()))
    }

    async fn get_service(
        &self,
        request: Request<wire::GetServiceRequest>,
    ) -> Result<Response<wire::Service>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let service = self.one(&project, "name", &request.get_ref().name).await?;
        Ok(Response::new((&service).into()))
    }

    async fn list_services(
        &self,
        request: Request<wire::ListServicesRequest>,
    ) -> Result<Response<wire::ListServicesResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let services = self.all(&project).await?;
        let services = services.iter().map(Into::into).collect();
        Ok(Response::new(wire::ListServicesResponse { services }))
    }

    async fn delete_service(
        &self,
        request: Request<wire::DeleteServiceRequest>,
    ) -> Result<Response<wire::DeleteServiceResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let name = service_name("name", &request.get_ref().name)?;
        let store = self.desk.index.store();
        let deleted = store.delete_gateway(&project, &name).await;
        let revision = deleted.map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        info!(%project, service = %name, revision, "service deleted");
        Ok(Response::new(wire::DeleteServiceResponse {}))
    }

    async fn list_events(
        &self,
        request: Request<wire::ListEventsRequest>,
    ) -> Result<Response<wire::ListEventsResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let service = self
            .one(&project, "service", &request.get_ref().service)
            .await?;
        let events = service.description.names().iter();
        let events = events.map(ToString::to_string).collect();
        Ok(Response::new(wire::ListEventsResponse { events }))
    }
}

impl Gateway {
    async fn all(&self, project: &ProjectName) -> Result<Vec<Behind>, Fault> {
        let store = self.desk.index.store();
        store.gateways(project).await.map_err(of_storage)
    }

    async fn one(&self, project: &ProjectName, field: &str, name: &str) -> Result<Behind, Fault> {
        let name = service_name(field, name)?;
        let services = self.all(project).await?;
        let service = services.into_iter().find(|service| service.name == name);
        service.ok_or_else(|| Fault::not_found("service", name))
    }
}

#[tonic::async_trait]
impl ScriptService for Scripts {
    async fn put_script(
        &self,
        request: Request<wire::PutScriptRequest>,
    ) -> Result<Response<wire::PutScriptResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let (script, created) = self.put(&project, request.get_ref()).await?;
        Ok(Response::new(wire::PutScriptResponse {
            script: Some((&script).into()),
            created,
        }))
    }

    async fn list_scripts(
        &self,
        request: Request<wire::ListScriptsRequest>,
    ) -> Result<Response<wire::ListScriptsResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Read)?;
        let registry = self.desk.index.view().read();
        let mut scripts: Vec<functions::Trigger> = registry
            .scripts(&project)
            .iter()
            .map(|script| script.as_ref().into())
            .collect();
        scripts.sort_by(|one, other| one.api_event.cmp(&other.api_event));
        Ok(Response::new(wire::ListScriptsResponse { scripts }))
    }

    async fn delete_script(
        &self,
        request: Request<wire::DeleteScriptRequest>,
    ) -> Result<Response<wire::DeleteScriptResponse>, Status> {
        let project = self.desk.gate.project(request.metadata(), Scope::Manage)?;
        let event = event_of(&request.get_ref().event)?;
        let name = trigger_name(&event);
        let store = self.desk.index.store();
        let deleted = store.delete_trigger(&project, &name).await;
        let revision = deleted.map_err(|error| match error {
            storage::Error::NotFound { .. } => Fault::not_found("script", &event),
            error => of_storage(error),
        })?;
        self.desk.catch_up(revision).await;
        let owner = Owner::Trigger(name);
        self.desk.call_off.waiting_for(&project, owner);
        info!(%project, script = %event, revision, "script deleted");
        Ok(Response::new(wire::DeleteScriptResponse {}))
    }
}

impl Scripts {
    /// Makes the script of an event, or changes the one there is; and whether there was none.
    pub(crate) async fn put(
        &self,
        project: &ProjectName,
        request: &wire::PutScriptRequest,
    ) -> Result<(Trigger, bool), Fault> {
        if !self.is_enabled {
            let message = "scripts are switched off here (function_handler.scripting)";
            return Err(Fault::unavailable(message));
        }
        let event = event_of(&request.event)?;
        let wanted = functions::Trigger {
            function: request.function.clone(),
            // As in DreamFactory: a new script runs only when somebody says so.
            enabled: Some(request.active.unwrap_or(false)),
            api_event: event.to_string(),
            priority: request.priority,
            allow_event_modification: request.allow_event_modification,
            on_error: request.on_error.clone(),
            retry: request.retry.clone(),
            ..functions::Trigger::default()
        };
        let mut script = define::trigger(project, &wanted, now()).map_err(as_asked)?;
        let store = self.desk.index.store();
        let existing = store.trigger(project, &script.name).await;
        let created = match existing.map_err(of_storage)? {
            None => match store.create_trigger(&script).await {
                Ok(revision) => {
                    script.revision = revision;
                    true
                }
                // Somebody was faster by a moment.
                Err(storage::Error::AlreadyExists { .. }) => {
                    script = self.change(project, &wanted, request).await?;
                    false
                }
                Err(error) => return Err(of_storage(error)),
            },
            Some(_) => {
                script = self.change(project, &wanted, request).await?;
                false
            }
        };
        self.desk.catch_up(script.revision).await;
        info!(%project, script = %event, revision = script.revision, created, "script saved");
        Ok((script, created))
    }

    async fn change(
        &self,
        project: &ProjectName,
        wanted: &functions::Trigger,
        request: &wire::PutScriptRequest,
    ) -> Result<Trigger, Fault> {
        let store = self.desk.index.store();
        let name = trigger_name(&event_of(&wanted.api_event)?);
        let existing = store.trigger(project, &name).await.map_err(of_storage)?;
        let mut script = existing.ok_or_else(|| Fault::not_found("script", &wanted.api_event))?;
        let mut paths = vec![
            "function",
            "priority",
            "allow_event_modification",
            "on_error",
        ];
        if request.active.is_some() {
            paths.push("enabled");
        }
        if request.retry.is_some() {
            paths.push("retry");
        }
        let mask = FieldMask {
            paths: paths.into_iter().map(ToOwned::to_owned).collect(),
        };
        define::change_trigger(&mut script, wanted, Some(&mask), now()).map_err(as_asked)?;
        script.revision = store.update_trigger(&script).await.map_err(of_storage)?;
        Ok(script)
    }
}

fn event_of(text: &str) -> Result<domain::api_event::EventName, Fault> {
    let allowed = "service[.resource].verb and .pre_process, .post_process or .queued";
    if text.is_empty() {
        return Err(Fault::missing("event", allowed));
    }
    event_with_phase(text, "").map_err(as_asked)
}

/// What a trigger calls `api_event` is `event` here.
fn as_asked(fault: Fault) -> Fault {
    let field = fault.field.map(|field| match field.as_str() {
        "api_event" => "event".to_owned(),
        _ => field,
    });
    Fault { field, ..fault }
}
